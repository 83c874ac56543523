"""Whose turn it is at the engine: a fair queue, without a clock and without I/O.

Rule 1: nobody begins for whom the engine has no room; `room` says whether it has. Rule 2: those who wait are served by
start-time fair queueing (Goyal, Vin and Cheng, 1996): every key has a virtual time, which one answer moves on by
1/weight, and the key that is furthest behind is next; within a key, first come, first served. A key that had nothing
to do begins at the present virtual time: it has saved up nothing, and owes nothing, so that one request beside fifty of
another key waits for at most one running answer. Rule 3: only an answer that begins counts; whoever leaves before has
used nothing. Rule 4: whoever needs the engine for itself (another model must leave its memory first) is waited for:
nobody who comes later begins before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum, auto
from heapq import heapify, heappop, heappush

from app.access.limits import WEIGHT_MOST

_STEP = 720_720_000
"""One answer of weight 1 in virtual time; whole numbers stay exact for most weights, and never drift for any."""


class NoPlace(Exception):
    """The queue is full: for everybody, or (`own`) as far as this key is concerned."""

    def __init__(self, *, own: bool) -> None:
        super().__init__("no place in the queue")
        self.own = own


class Room(Enum):
    """Whether one more may begin in a pool of the engine's."""

    FREE = auto()
    FULL = auto()
    """When one of this pool has ended; what goes to other pools is no matter of its."""
    ALONE = auto()
    """When all of the other pools have ended."""


class _Lane:
    """The requests of one key that wait, oldest first, and how much the key has had (`tag`: of its next answer)."""

    __slots__ = ("key", "order", "step", "tag", "waiting")

    def __init__(self, key: str) -> None:
        self.key = key
        self.order = 0
        self.step = _STEP
        self.tag = 0
        self.waiting: dict[Turn, None] = {}


class Turn:
    """One request's place: `running`, or waiting until `Turns` says otherwise. `pool`: what it needs of the engine."""

    __slots__ = ("_lane", "arrived", "gone", "pool", "running")

    def __init__(self, lane: _Lane, pool: str) -> None:
        self._lane = lane
        self.pool = pool
        self.running = False
        self.gone = False
        self.arrived = 0
        """How many would have begun up to it, itself counted, when it came; 0: it began at once."""


class Turns:
    """At most `most` wait, at most `most_of_key` of them with one key. `room` is asked with a pool and how many run in
    each pool in which any do.

    A step costs O(log n) with n keys that wait, and O(n) where pools are full; `position` O(n) and the requests of its
    own key before it.
    """

    __slots__ = (
        "_heap",
        "_lanes",
        "_now",
        "_orders",
        "_pools",
        "_room",
        "_swept",
        "_waiting",
        "_wanted",
        "most",
        "most_of_key",
        "running",
    )

    def __init__(
        self, room: Callable[[str, Mapping[str, int]], Room], *, most: int, most_of_key: int
    ) -> None:
        self.most = most
        self.most_of_key = most_of_key
        self.running = 0
        self._room = room
        self._pools: dict[str, int] = {}
        self._wanted: dict[str, int] = {}
        """How many wait for each pool."""
        self._waiting = 0
        self._now = 0
        self._orders = 0
        self._lanes: dict[str, _Lane] = {}
        self._heap: list[tuple[int, int, _Lane]] = []
        self._swept = 64

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting

    def has_room(self, pool: str) -> bool:
        """Whether one of `pool` would begin at once, if nobody waited."""
        return self._room(pool, self._pools) is Room.FREE

    def __iter__(self) -> Iterator[Turn]:
        """Those who wait, the keys in no order."""
        for lane in self._lanes.values():
            yield from lane.waiting

    def arrive(self, key: str, weight: int = 1, pool: str = "") -> Turn:
        """A request of `key`, at whose place one sees whether it may begin. Raises NoPlace.

        Where it may not, ask `serve` as well: what it needs may be free while others wait for something else.
        """
        if not 1 <= weight <= WEIGHT_MOST:
            raise ValueError(f"A weight is a whole number from 1 to {WEIGHT_MOST}, not {weight}.")
        lane = self._lanes.get(key)
        if lane is None:
            if len(self._lanes) >= self._swept:
                self._sweep()
            lane = self._lanes[key] = _Lane(key)
        lane.step = _STEP // weight
        turn = Turn(lane, pool)
        if not self._waiting and self._room(pool, self._pools) is Room.FREE:
            lane.tag = max(lane.tag, self._now)
            self._begin(turn)
            return turn
        if self._waiting >= self.most:
            raise NoPlace(own=False)
        if len(lane.waiting) >= self.most_of_key:
            raise NoPlace(own=True)
        if not lane.waiting:
            lane.tag = max(lane.tag, self._now)
            self._orders += 1
            lane.order = self._orders
            heappush(self._heap, (lane.tag, lane.order, lane))
        lane.waiting[turn] = None
        self._waiting += 1
        self._wanted[pool] = self._wanted.get(pool, 0) + 1
        turn.arrived = self.position(turn)
        return turn

    def leave(self, turn: Turn) -> list[Turn]:
        """It is over, or its client has gone: its place is free. Those who may begin now; again is harmless."""
        if turn.gone:
            return []
        turn.gone = True
        if turn.running:
            turn.running = False
            self.running -= 1
            _less(self._pools, turn.pool)
            if self._waiting:
                return self.serve()
            if not self.running:
                self._forget()
            return []
        self._take_out(turn)
        if len(self._heap) > 2 * len(self._lanes) + 16:
            # Of keys whose requests have all left, and came again.
            self._heap = [entry for entry in self._heap if _stands(entry)]
            heapify(self._heap)
        # Whoever stood behind it may have been kept back by it alone.
        return self.serve()

    def position(self, turn: Turn) -> int:
        """How many begin up to it, itself counted, if nobody else comes or leaves and all need the same of the engine;
        0: it has begun, or left."""
        if turn.running or turn.gone:
            return 0
        mine = turn._lane
        before = 0
        for other in mine.waiting:
            if other is turn:
                break
            before += 1
        tag = mine.tag + before * mine.step
        for entry in self._heap:
            lane = entry[2]
            if lane is not mine and _stands(entry):
                ahead = tag - lane.tag
                if ahead >= 0:
                    # Of two with the same tag, the key goes first that has waited without a break for longer.
                    count = ahead // lane.step + (lane.order < mine.order or ahead % lane.step != 0)
                    before += min(len(lane.waiting), count)
        return before + 1

    def serve(self) -> list[Turn]:
        """Let begin whoever may; who did. To be asked when the engine has more room than before."""
        begun: list[Turn] = []
        passed_over: list[tuple[int, int, _Lane]] = []
        full: set[str] = set()
        while self._heap and len(full) < len(self._wanted):
            entry = heappop(self._heap)
            if not _stands(entry):
                continue
            lane = entry[2]
            turn = next(iter(lane.waiting))
            room = self._room(turn.pool, self._pools)
            if room is not Room.FREE:
                passed_over.append(entry)
                if room is Room.ALONE:
                    break
                full.add(turn.pool)
                continue
            self._take_out(turn)
            self._begin(turn)
            begun.append(turn)
            if lane.waiting:
                heappush(self._heap, (lane.tag, lane.order, lane))
        for entry in passed_over:
            heappush(self._heap, entry)
        if not self.running and not self._waiting:
            self._forget()
        return begun

    def _forget(self) -> None:
        """Nobody is behind anybody any more, and no key need be remembered."""
        self._lanes.clear()
        self._heap.clear()
        self._now = 0

    def _begin(self, turn: Turn) -> None:
        lane = turn._lane
        self._now = max(self._now, lane.tag)
        lane.tag += lane.step
        turn.running = True
        self.running += 1
        self._pools[turn.pool] = self._pools.get(turn.pool, 0) + 1

    def _take_out(self, turn: Turn) -> None:
        del turn._lane.waiting[turn]
        self._waiting -= 1
        _less(self._wanted, turn.pool)

    def _sweep(self) -> None:
        """Forget keys that wait for nothing: none of them is ahead of the others by more than its last answer."""
        for lane in [lane for lane in self._lanes.values() if not lane.waiting]:
            del self._lanes[lane.key]
        self._swept = 2 * len(self._lanes) + 64


def _less(counts: dict[str, int], pool: str) -> None:
    if counts[pool] > 1:
        counts[pool] -= 1
    else:
        del counts[pool]


def _stands(entry: tuple[int, int, _Lane]) -> bool:
    """Whether an entry of the heap still speaks of requests that wait."""
    tag, order, lane = entry
    return bool(lane.waiting) and lane.tag == tag and lane.order == order
