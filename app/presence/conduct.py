"""What the contributor wants, and the blockers that follow from it.

Rule 1: the contributor's word is one of four: contribute, finish, pause, snooze. Everything else that stands in
the way is a fault that comes and goes by itself (engine, cap, disk) and never changes what the contributor wants.
Rule 2: no timer of its own. A snooze is a blocker with a time at which it ends; whoever owns the loop calls `due`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from app.presence.blockers import Blocker, Blockers, Weight


class Wish(StrEnum):
    """The contributor's last word."""

    CONTRIBUTE = "contribute"
    FINISH = "finish"
    PAUSE = "pause"
    SNOOZE = "snooze"


STARTING = Blocker(
    "starting", "The gateway is starting.", "It is ready in a moment.", Weight.FAULT, retry_after_s=2
)
STOPPING = Blocker(
    "stopping", "The gateway is being quit.", "Start it again to serve.", Weight.ENDING, retry_after_s=60
)
PAUSED = Blocker("paused", "Paused.", "Press Contribute to serve.", Weight.CHOSEN, retry_after_s=300)
FINISHING = Blocker(
    "finishing",
    "Running requests end, then the gateway pauses.",
    "Press Contribute to go on serving.",
    Weight.CHOSEN,
    retry_after_s=300,
)


PREPARING = Blocker(
    "preparing",
    "The engine is being prepared.",
    "Serving goes on in a moment.",
    Weight.TEMPORARY,
    retry_after_s=5,
)


def cap_reached(cap: str) -> Blocker:
    """`cap` is the amount in words."""
    return Blocker(
        "cap_reached",
        f"The spending cap of {cap} is reached.",
        "Raise the cap to serve again.",
        Weight.FAULT,
        retry_after_s=3600,
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


class Conduct:
    """The wish and the blockers; calls `changed` whenever what a face shows is different."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.blockers = Blockers()
        self.blockers.put(STARTING)
        self.wish = Wish.PAUSE
        self._changed = changed

    @property
    def serving(self) -> bool:
        """True while nothing stands in the way."""
        return not self.blockers

    def started(self, *, contribute: bool) -> None:
        """The gateway listens."""
        self.blockers.lift(STARTING.code)
        if contribute:
            self.contribute()
        else:
            self.pause()

    def contribute(self) -> None:
        """Serve as soon as nothing else stands in the way."""
        self._want(Wish.CONTRIBUTE, None)

    def finish(self) -> None:
        """Take nothing new; `finished` is called when the last request has ended."""
        self._want(Wish.FINISH, FINISHING)

    def finished(self) -> None:
        """The last running request has ended; a wish to finish is now a pause."""
        if self.wish is Wish.FINISH:
            self.pause()

    def pause(self) -> None:
        """Take nothing until told otherwise."""
        self._want(Wish.PAUSE, PAUSED)

    def snooze(self, until_us: int, until: str, now_us: int) -> None:
        """Take nothing until `until_us` (wall), which `until` says in words."""
        seconds = max(1, (until_us - now_us) // 1_000_000)
        blocker = Blocker(
            "snoozed",
            f"Paused until {until}.",
            f"Serving goes on by itself at {until}, or press Contribute.",
            Weight.CHOSEN,
            retry_after_s=seconds,
            until_us=until_us,
        )
        self._want(Wish.SNOOZE, blocker)

    def due(self, now_us: int) -> None:
        """End a snooze whose time has come."""
        blocker = self.blockers.get("snoozed")
        if blocker is not None and blocker.until_us is not None and now_us >= blocker.until_us:
            self.contribute()

    def stopping(self) -> None:
        """The gateway is being quit."""
        self.put(STOPPING)

    def put(self, blocker: Blocker) -> None:
        """Something stands in the way."""
        if self.blockers.put(blocker):
            self._changed()

    def lift(self, code: str) -> None:
        """It does no more."""
        if self.blockers.lift(code):
            self._changed()

    def _want(self, wish: Wish, blocker: Blocker | None) -> None:
        self.wish = wish
        for code in ("paused", "finishing", "snoozed"):
            if blocker is None or code != blocker.code:
                self.blockers.lift(code)
        if blocker is not None:
            self.blockers.put(blocker)
        self._changed()
