"""What the contributor wants, and every reason not to serve.

Rule 1: the contributor's word is one of four: contribute, finish, pause, snooze. Everything else that stands in the
way follows from a rule (engine, cap, disk), comes and goes by itself, and never changes what the contributor wants.
Rule 2: no timer of its own. After each look it says when the next one is due, and whoever was told calls `look` then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

from app.basics.clock import wall_us
from app.basics.signal import Signal
from app.presence.blockers import Blocker, Blockers, Lending, Weight
from app.presence.rules import Later, Rule


class Wish(StrEnum):
    """The contributor's last word."""

    CONTRIBUTE = "contribute"
    FINISH = "finish"
    PAUSE = "pause"
    SNOOZE = "snooze"


STARTING = Blocker(
    "starting",
    "The gateway is starting.",
    "It is ready in a moment.",
    Weight.FAULT,
    retry_after_s=2,
    lending=Lending.ENDS,
)
STOPPING = Blocker(
    "stopping",
    "The gateway is being quit.",
    "Start it again to serve.",
    Weight.ENDING,
    retry_after_s=60,
    lending=Lending.ENDS,
)
PAUSED = Blocker(
    "paused",
    "Paused.",
    "Press Contribute to serve.",
    Weight.CHOSEN,
    retry_after_s=300,
    lending=Lending.ENDS,
)
FINISHING = Blocker(
    "finishing",
    "Running requests end, then the gateway pauses.",
    "Press Contribute to go on serving.",
    Weight.CHOSEN,
    retry_after_s=300,
    lending=Lending.ENDS_WITH_REQUESTS,
)


_LEAST_US = 1_000_000
"""A rule that asks to be looked at in the past is asked again this much later, and not without end."""


def _nobody(_: int | None) -> None: ...


class Conduct:
    """The wish and the blockers. `changed` is told whenever either is different.

    `wake_at` is called after each look with the wall time (microseconds) of the next one, or None where only something
    else than time can change anything.
    """

    def __init__(
        self,
        rules: Sequence[Rule] = (),
        *,
        wake_at: Callable[[int | None], None] = _nobody,
        now_us: Callable[[], int] = wall_us,
    ) -> None:
        self.changed: Signal[[]] = Signal()
        self.looked: Signal[[]] = Signal()
        """Told after each look, whether anything is different or not."""
        self.wish = Wish.PAUSE
        self.blockers = Blockers([STARTING])
        self._rules = tuple(rules)
        self._wake_at = wake_at
        self._now_us = now_us
        self._phase: Blocker | None = STARTING
        self._chosen: Blocker | None = None

    @property
    def serving(self) -> bool:
        """True while nothing stands in the way."""
        return not self.blockers

    def first(self) -> Blocker | None:
        """The most important blocker, or None while serving."""
        return self.blockers.first()

    # The contributor's word.

    def started(self, *, contribute: bool) -> None:
        """The gateway listens."""
        self._phase = None
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

    def snooze(self, until_us: int, until: str) -> None:
        """Take nothing until `until_us` (wall), which `until` says in words."""
        blocker = Blocker(
            "snoozed",
            f"Paused until {until}.",
            f"Serving goes on by itself at {until}, or press Contribute.",
            Weight.CHOSEN,
            until_us=until_us,
            lending=Lending.ENDS,
        )
        self._want(Wish.SNOOZE, blocker)

    def stopping(self) -> None:
        """The gateway is being quit."""
        self._phase = STOPPING
        self.look()

    # What follows.

    def look(self) -> None:
        """Ask every rule, end what ends by itself, and say when to look again."""
        self._look(self.wish)

    def _want(self, wish: Wish, blocker: Blocker | None) -> None:
        before, self.wish, self._chosen = self.wish, wish, blocker
        self._look(before)

    def _look(self, wish_before: Wish) -> None:
        now_us = self._now_us()
        if self._chosen is not None and _over(self._chosen, now_us):
            self.wish, self._chosen = Wish.CONTRIBUTE, None
        again_us: list[int] = []
        present = [blocker for blocker in (self._phase, self._chosen) if blocker is not None]
        for rule in self._rules:
            found = rule(now_us)
            if isinstance(found, Later):
                again_us.append(max(found.at_us, now_us + _LEAST_US))
            elif found is not None and not _over(found, now_us):
                present.append(found)
        before, self.blockers = self.blockers, Blockers(present)
        again_us += [blocker.until_us for blocker in present if blocker.until_us is not None]
        self._wake_at(min(again_us, default=None))
        self.looked()
        if self.blockers != before or self.wish is not wish_before:
            self.changed()


def _over(blocker: Blocker, now_us: int) -> bool:
    return blocker.until_us is not None and now_us >= blocker.until_us
