"""A rule looks at one thing and says whether it stands in the way.

Adding a reason not to serve takes a file here that makes its blocker, and a line in `gateway/rules.py`. Rule 1: a rule
keeps nothing and starts nothing: the same moment gives the same answer. Rule 2: whoever changes what a rule looks at
calls `Conduct.look`; what only time changes is looked at when the rule said so (`Blocker.until_us`, or `Later`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.presence.blockers import Blocker, Lending, Weight


@dataclass(frozen=True, slots=True)
class Later:
    """Nothing stands in the way now; look again at this wall time, in microseconds."""

    at_us: int


Rule = Callable[[int], Blocker | Later | None]
"""Wall time in microseconds in; what stands in the way then, or nothing."""


PREPARING = Blocker(
    "preparing",
    "The engine is being prepared.",
    "Serving goes on in a moment.",
    Weight.TEMPORARY,
    retry_after_s=5,
)


def cap_reached(cap: str, until_us: int | None = None, until: str = "") -> Blocker:
    """`cap` is the amount in words; where it is for a period, that ends at `until_us`, which `until` says in words.
    Nobody can be served, so nobody pays for the machine, and the GPU is free."""
    return Blocker(
        "cap_reached",
        f"The spending cap of {cap} is reached."
        if until_us is None
        else f"The spending cap of {cap} is reached until {until}.",
        "Raise the cap to serve again."
        if until_us is None
        else f"Serving goes on by itself at {until}, or raise the cap.",
        Weight.FAULT,
        retry_after_s=3600,
        until_us=until_us,
        lending=Lending.ENDS_WITH_REQUESTS,
    )


def storage_fault(sentence: str) -> Blocker:
    """The ledger cannot be written; nothing may be served that cannot be recorded."""
    return Blocker(
        "storage_fault",
        sentence,
        "Free some space; serving goes on by itself.",
        Weight.FAULT,
        retry_after_s=60,
    )
