"""Whose turn it is at the engine: a fair queue, without a clock and without I/O.

Rule 1: no more run than the engine works on side by side. Rule 2: those who wait are served by start-time fair queueing
(Goyal, Vin and Cheng, 1996): every key has a virtual time, which one answer moves on by 1/weight, and the key that is
furthest behind is next; within a key, first come, first served. A key that had nothing to do begins at the present
virtual time: it has saved up nothing, and owes nothing, so that one request beside fifty of another key waits for at
most one running answer. Rule 3: only an answer that begins counts; whoever leaves before has used nothing.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

WEIGHT_MOST = 1000
_STEP = 720_720_000
"""One answer of weight 1 in virtual time; whole numbers stay exact for most weights, and never drift for any."""


class NoPlace(Exception):
    """The queue is full: for everybody, or (`own`) as far as this key is concerned."""

    def __init__(self, *, own: bool) -> None:
        super().__init__("no place in the queue")
        self.own = own


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
    """One request's place: `running`, or waiting until `Turns` says otherwise."""

    __slots__ = ("_lane", "arrived", "gone", "running")

    def __init__(self, lane: _Lane) -> None:
        self._lane = lane
        self.running = False
        self.gone = False
        self.arrived = 0
        """How many would have begun before it when it came; 0: it began at once."""


class Turns:
    """At most `width` run, at most `most` wait, at most `most_of_key` of them with one key; None: no bound.

    A step costs O(log n) with n keys that wait; `position` O(n) and the requests of its own key before it.
    """

    __slots__ = (
        "_heap",
        "_lanes",
        "_now",
        "_orders",
        "_swept",
        "_waiting",
        "most",
        "most_of_key",
        "running",
        "width",
    )

    def __init__(self, width: int | None, *, most: int, most_of_key: int) -> None:
        self.width = width
        self.most = most
        self.most_of_key = most_of_key
        self.running = 0
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

    def arrive(self, key: str, weight: int = 1) -> Turn:
        """A request of `key`, at whose place one sees whether it may begin. Raises NoPlace."""
        if not 1 <= weight <= WEIGHT_MOST:
            raise ValueError(f"A weight is a whole number from 1 to {WEIGHT_MOST}, not {weight}.")
        lane = self._lanes.get(key)
        if lane is None:
            if len(self._lanes) >= self._swept:
                self._sweep()
            lane = self._lanes[key] = _Lane(key)
        lane.step = _STEP // weight
        turn = Turn(lane)
        if not self._waiting and (self.width is None or self.running < self.width):
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
        turn.arrived = self.position(turn)
        return turn

    def leave(self, turn: Turn) -> list[Turn]:
        """It is over, or its client has gone: its place is free. Those who may begin now; again is harmless."""
        if turn.gone:
            return []
        turn.gone = True
        lane = turn._lane
        if turn.running:
            turn.running = False
            self.running -= 1
            return self._serve()
        del lane.waiting[turn]
        self._waiting -= 1
        if len(self._heap) > 2 * len(self._lanes) + 16:
            # Of keys whose requests have all left, and came again.
            self._heap = [entry for entry in self._heap if _stands(entry)]
            heapify(self._heap)
        return []

    def resize(self, width: int | None) -> list[Turn]:
        """The engine works on another number side by side from now on; those who may begin now. Nobody is ended."""
        self.width = width
        return self._serve()

    def position(self, turn: Turn) -> int:
        """How many begin before it does, itself counted, if nobody else comes or leaves; 0: it has begun, or left."""
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

    def _serve(self) -> list[Turn]:
        begun: list[Turn] = []
        while self._waiting and (self.width is None or self.running < self.width):
            entry = heappop(self._heap)
            if not _stands(entry):
                continue
            lane = entry[2]
            turn = next(iter(lane.waiting))
            del lane.waiting[turn]
            self._waiting -= 1
            self._begin(turn)
            begun.append(turn)
            if lane.waiting:
                heappush(self._heap, (lane.tag, lane.order, lane))
        if not self.running and not self._waiting:
            # Nobody is behind anybody any more, and no key need be remembered.
            self._lanes.clear()
            self._heap.clear()
            self._now = 0
        return begun

    def _begin(self, turn: Turn) -> None:
        lane = turn._lane
        self._now = max(self._now, lane.tag)
        lane.tag += lane.step
        turn.running = True
        self.running += 1

    def _sweep(self) -> None:
        """Forget keys that wait for nothing: none of them is ahead of the others by more than its last answer."""
        for lane in [lane for lane in self._lanes.values() if not lane.waiting]:
            del self._lanes[lane.key]
        self._swept = 2 * len(self._lanes) + 64


def _stands(entry: tuple[int, int, _Lane]) -> bool:
    """Whether an entry of the heap still speaks of requests that wait."""
    tag, order, lane = entry
    return bool(lane.waiting) and lane.tag == tag and lane.order == order
