"""The queue before the engine: who waits for its turn, and who has it.

Rule 1: whoever waits holds no money, has no energy account and is not at the engine: waiting costs exactly nothing.
Rule 2: on its turn a request is looked at again, since its key may have been revoked and the contributor may have
paused meanwhile; whatever stops serving also ends the waiting, at once. Rule 3: a place is given back once, whatever
ended it, and as soon as the engine is done with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass

from app.access.refusals import Refusal
from app.basics.clock import mono_us, wall_us
from app.ledger.ids import new_id
from app.proxy.admission import Call
from app.proxy.engine_room import EngineRoom, EngineTraits
from app.proxy.side_by_side import Visit
from app.proxy.turns import NoPlace, Turn, Turns

BODIES_MOST_B = 256 << 20
"""Bytes of bodies that wait, all together: their number alone would not bound the memory they take."""
TELL_EVERY_S = 1.0
TELL_AGAIN_S = 10.0
"""A stream that is told its place hears of it this often though nothing has changed, so that nobody thinks it dead."""
RETRY_MOST_S = 600
_SHARE = 0.2
_LEAST_GUESS_US = 1_000_000
_BEGAN_AT_ONCE = {"X-Queue-Position": "0", "X-Queue-Wait": "0"}

Tell = Callable[[int, int], Awaitable[None]]
"""Told a position and the seconds that it is expected to take from now."""


@dataclass(frozen=True, slots=True)
class QueueBounds:
    """At most `most` wait, at most `most_of_key` of them with one key, and none for longer than `wait_s`."""

    most: int
    most_of_key: int
    wait_s: float


class QueuePlace:
    """One request's place: waiting, or with its turn. Times are monotonic microseconds."""

    __slots__ = (
        "_queue",
        "arrived_us",
        "begun_us",
        "call",
        "headers",
        "id",
        "left",
        "refusal",
        "since_us",
        "turn",
        "visit",
        "woken",
    )

    def __init__(self, queue: Queue, call: Call, turn: Turn, now_us: int) -> None:
        self._queue = queue
        self.call = call
        self.turn = turn
        self.arrived_us = now_us
        self.begun_us = 0
        self.headers: Mapping[str, str] = _BEGAN_AT_ONCE
        """What its answer says of its waiting: the position at which it came, and the seconds until its turn."""
        self.id = ""
        """By which faces name it while it waits."""
        self.since_us = 0
        """Wall time since which it waits."""
        self.left = False
        self.refusal: Refusal | None = None
        self.visit: Visit | None = None
        self.woken: asyncio.Future[None] | None = None

    def showed(self) -> None:
        """Its first output came."""
        if self.visit is not None:
            self._queue.showed(self.visit)

    def leave(self, tokens: int | None = None) -> None:
        """The engine is done with it, or it never came that far. `tokens`: how many a whole answer has."""
        if not self.left:
            self.left = True
            self._queue.leave(self, tokens)


class Queue:
    """Everybody's places. `beside` is told how many really run side by side, whenever that is more than before or a
    trial begins, which may be waiting where the engine keeps its own queue."""

    def __init__(
        self,
        bounds: QueueBounds,
        beside: Callable[[int], None],
        now_us: Callable[[], int] = mono_us,
    ) -> None:
        self._room = EngineRoom(now_us)
        self._bounds = bounds
        self._beside = beside
        self._now_us = now_us
        self._turns = Turns(self._room.room, most=bounds.most, most_of_key=bounds.most_of_key)
        self._waiting: dict[Turn, QueuePlace] = {}
        self._running: dict[Turn, QueuePlace] = {}
        self._bodies_b = 0
        self._trials = 0
        self._said = 0
        self._answer_us: float | None = None

    def __iter__(self) -> Iterator[QueuePlace]:
        """Those who wait, in the order in which they came."""
        return iter(tuple(self._waiting.values()))

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many have their turn."""
        return self._turns.running

    def position(self, place: QueuePlace) -> int:
        """How many begin up to it, itself counted; 0: it has its turn, or has left."""
        return self._turns.position(place.turn)

    # From outside.

    def know(self, traits: EngineTraits) -> None:
        """The engine is different, or more is known of it."""
        self._room.know(traits)
        self._let_begin(self._turns.serve())

    def configure(self, bounds: QueueBounds) -> None:
        """Other bounds from now on; nobody who waits is sent away for it."""
        self._bounds = bounds
        self._turns.most, self._turns.most_of_key = bounds.most, bounds.most_of_key

    def look_again(self) -> None:
        """Something may stand in the way of those who wait."""
        for place in self:
            _wake(place)

    def refuse(self, id: str, refusal: Refusal) -> None:
        """Send away the one that waits under this id, if it does."""
        for place in self:
            if place.id == id:
                place.refusal = refusal
                _wake(place)

    # A request's way.

    def enter(self, call: Call, weight: int) -> QueuePlace:
        """A place for an admitted request; Refusal 429 where the queue is full."""
        now_us = self._now_us()
        pool = self._room.pool(call.model)
        try:
            turn = self._turns.arrive(call.principal.key, weight, pool)
        except NoPlace as full:
            raise self._full(full.own) from None
        place = QueuePlace(self, call, turn, now_us)
        if turn.running:
            self._begin(place, now_us)
            return place
        size_b = len(call.body)
        if self._bodies_b + size_b > BODIES_MOST_B and self._waiting:
            self._turns.leave(turn)
            place.left = True
            raise self._full(own=False)
        self._bodies_b += size_b
        self._waiting[turn] = place
        place.since_us = wall_us()
        place.id = new_id(place.since_us)
        self._let_begin(self._turns.serve())
        return place

    async def wait(self, place: QueuePlace, look: Callable[[], None], tell: Tell | None = None) -> None:
        """Until it is its turn. `look` raises Refusal where it is not to be served any more. Refusal 429 where it has
        waited for too long."""
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + self._bounds.wait_s
        told: tuple[int, float] | None = None
        while not place.turn.running:
            if place.refusal is not None:
                raise place.refusal
            look()
            now_s = loop.time()
            if now_s >= give_up_s:
                raise Refusal(
                    429,
                    "queue_timeout",
                    f"No turn came within {self._bounds.wait_s:.0f} s: try again later.",
                    retry_after_s=self._retry_s(self._turns.waiting),
                )
            if tell is not None:
                position = self.position(place)
                if told is None or told[0] != position or now_s - told[1] >= TELL_AGAIN_S:
                    told = position, now_s
                    await tell(position, self.expected_s(position))
                    continue  # it may have come meanwhile
            place.woken = loop.create_future()
            left_s = give_up_s - now_s
            await asyncio.wait([place.woken], timeout=left_s if tell is None else min(left_s, TELL_EVERY_S))
            place.woken = None

    def expected_s(self, position: int) -> int:
        """Seconds until whoever is at `position` begins, as far as the answers before it tell."""
        running = max(1, self._turns.running)
        # Answers run for some time already, and the one that began first is likely to end first.
        begun_us = min((place.begun_us for place in self._running.values()), default=self._now_us())
        ran_us = self._now_us() - begun_us
        answer_us = self._answer_us
        if answer_us is None:
            # Nobody has ended yet: of something that has lasted for so long one expects as much again.
            answer_us = max(_LEAST_GUESS_US, 2 * ran_us)
        wait_us = (position - 1) * answer_us / running + max(0.0, answer_us - ran_us)
        return -(-int(wait_us) // 1_000_000)

    def newcomer_s(self, model: str) -> int:
        """Seconds until a request of `model` that came now would begin; 0 where there is room for it."""
        if not self._waiting and self._turns.has_room(self._room.pool(model)):
            return 0
        return self.expected_s(len(self._waiting) + 1)

    # From its places.

    def showed(self, visit: Visit) -> None:
        """A first output came; where it tells that the engine takes more at once, more begin."""
        if visit.shown_us is not None:
            return
        visit.seen.showed(visit, self._now_us())
        if visit.trial:
            self._trials -= 1
        if self._waiting:
            self._let_begin(self._turns.serve())

    def leave(self, place: QueuePlace, tokens: int | None) -> None:
        """A place is free."""
        if self._waiting.pop(place.turn, None) is not None:
            self._bodies_b -= len(place.call.body)
        elif self._running.pop(place.turn, None) is not None:
            now_us = self._now_us()
            visit = place.visit
            if visit is not None:
                if visit.trial and visit.shown_us is None:
                    self._trials -= 1
                visit.seen.end(visit, now_us, tokens)
            if tokens is not None:
                ran_us = now_us - place.begun_us
                before = self._answer_us
                self._answer_us = ran_us if before is None else before + _SHARE * (ran_us - before)
        begun = self._turns.leave(place.turn)
        if begun:
            self._let_begin(begun)

    def _let_begin(self, turns: list[Turn]) -> None:
        if turns:
            now_us = self._now_us()
            for turn in turns:
                place = self._waiting.pop(turn)
                self._bodies_b -= len(place.call.body)
                place.headers = {
                    "X-Queue-Position": str(turn.arrived),
                    "X-Queue-Wait": f"{(now_us - place.arrived_us) / 1e6:.3f}",
                }
                self._begin(place, now_us)
                _wake(place)

    def _begin(self, place: QueuePlace, now_us: int) -> None:
        place.begun_us = now_us
        self._running[place.turn] = place
        visit = self._room.begin(place.turn.pool, now_us, streamed=place.call.frames is not None)
        place.visit = visit
        if visit is not None and visit.trial:
            self._trials += 1
            self._tell_beside(self._turns.running - self._trials)
        elif self._turns.running - self._trials > self._said:
            self._tell_beside(self._turns.running - self._trials)

    def _tell_beside(self, count: int) -> None:
        self._said = max(1, count)
        self._beside(self._said)

    def _full(self, own: bool) -> Refusal:
        waiting = self._turns.waiting
        whose = "of this key " if own else ""
        return Refusal(
            429,
            "queue_full",
            f"Too many requests {whose}wait for their turn already: try again later.",
            retry_after_s=self._retry_s(waiting),
            headers={"X-Queue-Position": str(waiting + 1), "X-Queue-Wait": str(self.expected_s(waiting + 1))},
        )

    def _retry_s(self, waiting: int) -> int:
        # When about half of those who wait now have had their turn, there is room again.
        return min(RETRY_MOST_S, max(1, self.expected_s(max(1, waiting // 2))))


def _wake(place: QueuePlace) -> None:
    if place.woken is not None and not place.woken.done():
        place.woken.set_result(None)
