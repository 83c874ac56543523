"""The life of a container of ours: what may happen to it at each stage, and what is to be done about it.

Rule 1: everything that decides whether it is brought up, restarted, waited for or left alone stands in this file, and
nothing here asks a clock, a daemon or a task: events and the time come in, wishes go out, and whoever owns the
container carries them out. Rule 2: this file does not know whose container it is, the engine's or the tunnel's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum, auto

LIMIT = 3
"""So often it is restarted within `WINDOW_S`; the next end is the last."""
WINDOW_S = 600.0


class Stage(Enum):
    """Where it is in its life."""

    REST = auto()
    """Nobody wants it."""
    TRIAL = auto()
    """It is brought up to see whether it answers, and is to rest afterwards."""
    RISING = auto()
    """It is wanted and being brought up; also between an end and the next try."""
    UP = auto()
    """It is wanted, and it answers."""
    AWAY = auto()
    """It is wanted, and no daemon answers."""
    FAILED = auto()
    """It was wanted, and we have stopped trying."""


class Happening(Enum):
    """What may happen."""

    START = auto()
    """A person wants it: what went wrong before is forgiven."""
    KEEP = auto()
    """It is being made anew, and is wanted afterwards."""
    TRY = auto()
    """It is being made anew; afterwards everything is to be as before."""
    STOP = auto()
    """A person wants it no more."""
    RESTS = auto()
    """It does not run, as is meant."""
    ANSWERS = auto()
    ENDED = auto()
    """It has ended by itself."""
    ENDED_AGAIN = auto()
    """The same, once too often: `Life` makes this of ENDED."""
    REFUSED = auto()
    """What was asked cannot be done, now or by trying again."""
    LOST = auto()
    """No daemon answers."""
    FOUND = auto()
    """A daemon answers again."""
    HINT = auto()
    """The daemon says something from which it may be dead; by the time that is read it may run again."""
    DOUBT = auto()
    """What it was given may have been taken from it."""


class LifeWish(Enum):
    """What is to be done."""

    BRING_UP = auto()
    """Have it running and answering; joins what is under way."""
    TRY_AGAIN = auto()
    """The same, after a pause of `Life.pause_s`."""
    CALL_OFF = auto()
    """End whatever is under way."""
    LOOK = auto()
    """See whether it runs; where it has ended, say ENDED."""
    CHECK = auto()
    """See whether it still has what it was given."""
    AWAIT_DAEMON = auto()
    """Ask for a daemon at a pace that an idle machine does not notice; where one answers, say FOUND."""
    GIVE_UP = auto()
    """Say why it does not run, and hold nothing for it any more."""


S, H, W = Stage, Happening, LifeWish

WANTED = frozenset({S.RISING, S.UP, S.AWAY})
"""Stages at which it is watched, and brought up again after an end."""

# What is not in a row does not change the stage and wishes nothing.
TABLE: Mapping[Happening, Mapping[Stage, tuple[Stage, tuple[LifeWish, ...]]]] = {
    H.START: {
        S.REST: (S.RISING, (W.BRING_UP,)),
        S.TRIAL: (S.RISING, (W.BRING_UP,)),
        S.RISING: (S.RISING, (W.BRING_UP,)),
        S.UP: (S.UP, (W.BRING_UP,)),
        S.AWAY: (S.RISING, (W.BRING_UP,)),
        S.FAILED: (S.RISING, (W.BRING_UP,)),
    },
    H.KEEP: dict.fromkeys(Stage, (S.RISING, ())),
    H.TRY: {
        S.REST: (S.TRIAL, ()),
        S.UP: (S.RISING, ()),
        S.AWAY: (S.RISING, ()),
        S.FAILED: (S.RISING, ()),
    },
    H.STOP: dict.fromkeys(Stage, (S.REST, (W.CALL_OFF,))),
    # A start that was said while it was being stopped stands.
    H.RESTS: {S.TRIAL: (S.REST, ())},
    H.ANSWERS: {
        S.RISING: (S.UP, ()),
        S.AWAY: (S.UP, ()),
    },
    H.ENDED: {
        S.TRIAL: (S.FAILED, (W.GIVE_UP,)),
        S.RISING: (S.RISING, (W.TRY_AGAIN,)),
        S.UP: (S.RISING, (W.TRY_AGAIN,)),
        S.AWAY: (S.RISING, (W.TRY_AGAIN,)),
    },
    H.ENDED_AGAIN: dict.fromkeys((S.TRIAL, S.RISING, S.UP, S.AWAY), (S.FAILED, (W.GIVE_UP,))),
    H.REFUSED: dict.fromkeys(Stage, (S.FAILED, (W.GIVE_UP,))),
    H.LOST: {
        S.TRIAL: (S.REST, ()),
        S.RISING: (S.AWAY, (W.AWAIT_DAEMON,)),
        S.UP: (S.AWAY, (W.AWAIT_DAEMON,)),
        S.AWAY: (S.AWAY, (W.AWAIT_DAEMON,)),
        S.FAILED: (S.REST, ()),
    },
    H.FOUND: {
        S.RISING: (S.RISING, (W.BRING_UP,)),
        S.UP: (S.UP, (W.BRING_UP,)),
        S.AWAY: (S.RISING, (W.BRING_UP,)),
    },
    H.HINT: {stage: (stage, (W.LOOK,)) for stage in WANTED},
    H.DOUBT: {S.UP: (S.UP, (W.CHECK,))},
}


class Life:
    """One container's life. `pauses_s`: before the first, the second, every further restart, in seconds."""

    def __init__(self, pauses_s: tuple[float, ...]) -> None:
        self.stage = Stage.REST
        self._pauses_s = pauses_s
        self._restarts: deque[float] = deque()

    @property
    def wanted(self) -> bool:
        """Whether it is to run."""
        return self.stage in WANTED

    @property
    def pause_s(self) -> float:
        """How long to wait before the restart that TRY_AGAIN wishes for."""
        return self._pauses_s[max(1, min(len(self._restarts), len(self._pauses_s))) - 1]

    def told(self, what: Happening, now_s: float) -> tuple[LifeWish, ...]:
        """What is to be done about `what` at `now_s`, in seconds of a clock that never runs backwards."""
        if what is Happening.START:
            self._restarts.clear()
        elif what is Happening.ENDED and self.wanted and not self._may_restart(now_s):
            what = Happening.ENDED_AGAIN
        self.stage, wishes = TABLE[what].get(self.stage, (self.stage, ()))
        return wishes

    def _may_restart(self, now_s: float) -> bool:
        """Count one more restart; False, counting nothing, where that would be one too many."""
        while self._restarts and now_s - self._restarts[0] >= WINDOW_S:
            self._restarts.popleft()
        if len(self._restarts) >= LIMIT:
            return False
        self._restarts.append(now_s)
        return True
