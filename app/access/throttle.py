"""Addresses that try one wrong key after the other hear «wait» instead of «no».

Rule 1: only failures are counted and only failures are refused; whoever has a valid key never notices, so nobody can
lock anybody out by failing from the same address. Rule 2: what is remembered is bounded, and the address that has
been quiet for longest is forgotten first. Rule 3: an IPv6 customer's whole /64 is one address.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from app.basics.addresses import neighbourhood

FAILURES_A_MINUTE = 20
ADDRESSES_REMEMBERED = 10_000
_MINUTE_US = 60_000_000


class Throttle:
    """Failures of the last minute, by address. `now_us` is a monotonic clock."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._failures: OrderedDict[str, deque[int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def failed(self, address: str) -> bool:
        """Count a failure; True where the address had too many within a minute already, and must wait.

        What is refused with «wait» does not count again: a minute after its twentieth failure an address may try.
        """
        address, now_us = neighbourhood(address), self._now_us()
        times = self._failures.setdefault(address, deque(maxlen=FAILURES_A_MINUTE))
        while times and times[0] <= now_us - _MINUTE_US:
            times.popleft()
        if len(times) >= FAILURES_A_MINUTE:
            return True
        times.append(now_us)
        self._failures.move_to_end(address)
        if len(self._failures) > ADDRESSES_REMEMBERED:
            self._failures.popitem(last=False)
        return False
