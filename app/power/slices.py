"""Slices of time that wait until somebody knows what was drawn in them, and the accounts that share them.

Rule 1: a slice remembers who ran in it; it is cut where that changes, and again where a sample falls into it.
Rule 2: shares add up however often a slice is cut, because a share is the difference of two shares of absolute
time, and those only depend on the moment.
"""

from __future__ import annotations

from app.power.exact import PARTS_PER_US
from app.power.running import Place


class Account(Place):
    """One open request. Energy in units; `share`, `pending` and `due` in parts of time (see `exact`)."""

    __slots__ = (
        "busy_us",
        "closed",
        "due",
        "edge_us",
        "energy",
        "first_us",
        "guessed",
        "measured",
        "model",
        "modelled",
        "moved_us",
        "opened_us",
        "pending",
        "share",
        "stretches",
        "tokens",
        "told_us",
    )

    def __init__(self, order: int, opened_us: int, model: str = "") -> None:
        self.order = order
        self.opened_us = opened_us
        self.model = model
        self.first_us = self.tokens = self.told_us = 0
        """When its first output was seen, and how many tokens had come when that was told last."""
        self.moved_us = 0
        """So much time of work was moved onto it since somebody looked at its bill."""
        self.stretches: list[Stretch] = []
        # `pending` is the part of `share` in slices that still wait, `due` the part of it being settled right now.
        self.busy_us = self.share = self.pending = self.due = self.energy = self.guessed = self.edge_us = 0
        self.seen = self.running = self.closed = self.measured = self.modelled = False


class Stretch:
    """What open requests were given of a stretch of time; shared by their accounts, and corrected in place."""

    __slots__ = ("end_us", "given", "start_us")

    def __init__(self, start_us: int, end_us: int, given: dict[Account, int]) -> None:
        self.start_us = start_us
        self.end_us = end_us
        self.given = given


class Taken:
    """Slices that left the queue: parts of time with requests, without, and with a model loading."""

    __slots__ = ("accounts", "end_us", "loading", "ran_last", "rest", "run", "start_us")

    def __init__(self, start_us: int, end_us: int) -> None:
        self.start_us = start_us
        self.end_us = end_us
        self.run = self.rest = self.loading = 0
        self.accounts: list[Account] = []
        """Open accounts with something due; closed ones were billed already."""
        self.ran_last = False

    @property
    def whole(self) -> int:
        """All parts of time."""
        return self.run + self.rest + self.loading


class Slices:
    """A queue of slices, oldest first, without holes as long as time is handed in without holes."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, tuple[Account, ...], bool]] = []

    @property
    def count(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def start_us(self) -> int | None:
        """Where the oldest slice begins; None while nothing waits."""
        return self._waiting[0][0] if self._waiting else None

    def run_begins(self, from_us: int, to_us: int) -> int | None:
        """Where nobody runs at `from_us`, the moment before `to_us` at which somebody begins to."""
        for start_us, end_us, accounts, loading in self._waiting:
            if end_us <= from_us:
                continue
            if start_us >= to_us or (start_us <= from_us and (accounts or loading)):
                return None
            if accounts or loading:
                return start_us
        return None

    def add(self, start_us: int, end_us: int, accounts: tuple[Account, ...], loading: bool) -> None:
        """A slice in which `accounts` ran side by side; `loading` counts where none did."""
        self._waiting.append((start_us, end_us, accounts, loading))
        if not accounts:
            return
        span_us = end_us - start_us
        count = len(accounts)
        if count == 1:
            parts = span_us * PARTS_PER_US
        else:
            parts = end_us * PARTS_PER_US // count - start_us * PARTS_PER_US // count
        for account in accounts:
            account.busy_us += span_us
            account.share += parts
            account.pending += parts

    def take(self, until_us: int) -> Taken:
        """Everything before `until_us`. Sets `due` of the open accounts, which the caller settles and clears."""
        waiting = self._waiting
        taken = Taken(waiting[0][0] if waiting else until_us, until_us)
        gone = 0
        for start_us, end_us, accounts, loading in waiting:
            if start_us >= until_us:
                break
            if end_us > until_us:
                waiting[gone] = (until_us, end_us, accounts, loading)
                end_us = until_us
            else:
                gone += 1
            span = (end_us - start_us) * PARTS_PER_US
            count = len(accounts)
            taken.ran_last = count > 0
            if not count:
                if loading:
                    taken.loading += span
                else:
                    taken.rest += span
                continue
            taken.run += span
            if count > 1:
                span = end_us * PARTS_PER_US // count - start_us * PARTS_PER_US // count
            for account in accounts:
                if not account.closed:
                    if not account.due:
                        taken.accounts.append(account)
                    account.due += span
        del waiting[:gone]
        return taken
