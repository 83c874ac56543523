"""Turns at the engine: fair between keys, first come first served within one, bounded, and exact about positions."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from app.proxy.turns import NoPlace, Room, Turn, Turns


class Engine:
    """Works on `width` requests of each pool side by side (None: on any number); those of `alone` bear no others."""

    def __init__(self, width: int | None = 1, *alone: str) -> None:
        self.width = width
        self.alone = alone

    def room(self, pool: str, running: Mapping[str, int]) -> Room:
        others = [other for other in running if other != pool]
        if others and (pool in self.alone or set(others) & set(self.alone)):
            return Room.ALONE
        return Room.FREE if self.width is None or running.get(pool, 0) < self.width else Room.FULL

    def queue(self, most: int = 1000, most_of_key: int = 1000) -> Turns:
        return Turns(self.room, most=most, most_of_key=most_of_key)


def queue(width: int | None = 1, most: int = 1000, most_of_key: int = 1000) -> Turns:
    return Engine(width).queue(most, most_of_key)


def drain(turns: Turns, running: list[Turn]) -> list[Turn]:
    """End the oldest running request, over and over; who began meanwhile, in order."""
    begun: list[Turn] = []
    running = list(running)
    while running:
        came = turns.leave(running.pop(0))
        begun += came
        running += came
    return begun


def test_whoever_finds_a_free_place_begins_at_once() -> None:
    turns = queue(width=2)
    first, second, third = turns.arrive("a"), turns.arrive("a"), turns.arrive("a")
    assert (first.running, second.running, third.running) == (True, True, False)
    assert (first.arrived, second.arrived, third.arrived) == (0, 0, 1)
    assert turns.leave(second) == [third]
    assert turns.running == 2


def test_one_request_beside_fifty_of_another_key_waits_for_the_one_running_answer() -> None:
    turns = queue()
    running = turns.arrive("many")
    crowd = [turns.arrive("many") for _ in range(50)]
    lone = turns.arrive("one")
    assert lone.arrived == 1
    assert turns.leave(running) == [lone]
    assert turns.leave(lone) == [crowd[0]]


def test_a_great_weight_of_the_others_does_not_keep_the_one_waiting_longer() -> None:
    turns = queue()
    running = turns.arrive("many", weight=1000)
    for _ in range(50):
        turns.arrive("many", weight=1000)
    lone = turns.arrive("one")
    assert turns.leave(running) == [lone]


def test_weights_three_to_one_are_served_three_to_one() -> None:
    turns = queue()
    running = turns.arrive("other")
    heavy = {turns.arrive("heavy", 3) for _ in range(60)}
    for _ in range(60):
        turns.arrive("light", 1)
    order = drain(turns, [running])
    for end in (4, 8, 20, 40, 80):
        assert abs(sum(turn in heavy for turn in order[:end]) - end * 3 / 4) <= 1


def test_a_key_that_was_idle_has_saved_up_nothing() -> None:
    turns = queue()
    running = turns.arrive("busy")
    busy = [turns.arrive("busy") for _ in range(40)]
    for _ in range(30):
        (running,) = turns.leave(running)
    late = [turns.arrive("late") for _ in range(10)]
    order = drain(turns, [running])
    # It does not get all of its ten turns at once for the thirty that it never asked for.
    assert [turn in late for turn in order[:6]] == [True, False, True, False, True, False]
    assert busy[-1] in order


def test_within_a_key_it_is_first_come_first_served() -> None:
    turns = queue()
    running = turns.arrive("a")
    waiting = [turns.arrive("a") for _ in range(10)]
    assert drain(turns, [running]) == waiting


def test_whoever_leaves_the_queue_gives_the_place_to_the_next() -> None:
    turns = queue(most=2)
    running = turns.arrive("a")
    first, second = turns.arrive("a"), turns.arrive("b")
    with pytest.raises(NoPlace):
        turns.arrive("c")
    assert turns.leave(first) == []
    assert turns.leave(first) == [], "leaving twice does nothing"
    assert turns.position(second) == 1
    third = turns.arrive("c")
    assert turns.leave(running) == [second]
    assert turns.leave(second) == [third]


def test_a_full_queue_says_whether_it_is_full_for_all_or_for_this_key() -> None:
    turns = queue(most=3, most_of_key=2)
    turns.arrive("a")
    turns.arrive("a")
    turns.arrive("a")
    with pytest.raises(NoPlace) as own:
        turns.arrive("a")
    turns.arrive("b")
    with pytest.raises(NoPlace) as everybody:
        turns.arrive("c")
    assert (own.value.own, everybody.value.own) == (True, False)


def test_a_wider_engine_lets_more_begin_and_a_narrower_one_ends_nobody() -> None:
    engine = Engine()
    turns = engine.queue()
    running = turns.arrive("a")
    second, third = turns.arrive("a"), turns.arrive("a")
    engine.width = 3
    assert turns.serve() == [second, third]
    engine.width = 1
    assert turns.serve() == []
    fourth = turns.arrive("a")
    assert turns.leave(running) == []
    assert turns.leave(second) == []
    assert turns.leave(third) == [fourth]
    engine.width = None
    assert turns.serve() == []
    assert turns.arrive("a").running


def test_a_full_pool_keeps_nobody_back_who_needs_another_one() -> None:
    turns = queue()
    first = turns.arrive("a", pool="small")
    second = turns.arrive("a", pool="small")
    other = turns.arrive("b", pool="large")
    assert not other.running, "it came while others wait, and is looked at by"
    assert turns.serve() == [other]
    assert turns.leave(first) == [second]


def test_whoever_needs_the_engine_alone_is_waited_for_and_overtaken_by_nobody() -> None:
    engine = Engine(2, "large")
    turns = engine.queue()
    first, second = turns.arrive("a", pool="small"), turns.arrive("a", pool="small")
    lone = turns.arrive("b", pool="large")
    late = turns.arrive("c", pool="small")
    assert turns.leave(first) == [], (
        "the free place of the small pool would make the large one wait without end"
    )
    assert turns.leave(second) == [lone]
    assert turns.leave(lone) == [late]


def test_whoever_was_kept_back_by_one_that_gives_up_begins_at_once() -> None:
    turns = Engine(2, "large").queue()
    first = turns.arrive("a", pool="small")
    lone = turns.arrive("b", pool="large")
    late = turns.arrive("c", pool="small")
    assert turns.leave(lone) == [late]
    assert turns.running == 2
    assert turns.leave(first) == []


@pytest.mark.parametrize("weight", [0, -1, 1001])
def test_a_weight_has_bounds(weight: int) -> None:
    with pytest.raises(ValueError, match="weight"):
        queue().arrive("a", weight)


def test_keys_that_come_and_go_leave_nothing_behind() -> None:
    turns = queue(width=2)
    held = turns.arrive("always")
    for number in range(5000):
        turns.leave(turns.arrive(f"key {number}"))
    for number in range(5000):
        running = turns.arrive("running")
        turns.leave(turns.arrive(f"waiting {number % 3}"))
        turns.leave(running)
    assert len(turns._lanes) < 1000
    assert len(turns._heap) < 1000
    turns.leave(held)
    assert not turns._lanes


class Comings(RuleBasedStateMachine):
    """Whatever comes and goes, in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine(2)
        self.turns = self.engine.queue(most=20, most_of_key=8)
        self.weights = {"a": 1, "b": 1, "c": 3, "d": 7}
        self.running: list[Turn] = []
        self.waiting: list[tuple[str, Turn]] = []

    @rule(key=st.sampled_from("abcd"))
    def arrive(self, key: str) -> None:
        mates = sum(other == key for other, _ in self.waiting)
        if self.waiting and (len(self.waiting) >= 20 or mates >= 8):
            with pytest.raises(NoPlace) as full:
                self.turns.arrive(key, self.weights[key])
            assert full.value.own == (len(self.waiting) < 20)
            return
        turn = self.turns.arrive(key, self.weights[key])
        if turn.running:
            assert not self.waiting
            self.running.append(turn)
        else:
            self.waiting.append((key, turn))

    def begun(self, turns: list[Turn], expected: list[Turn]) -> None:
        assert turns == expected[: len(turns)], "the positions told who would be next"
        for turn in turns:
            key = next(key for key, other in self.waiting if other is turn)
            assert next(other for mate, other in self.waiting if mate == key) is turn, (
                "first come within a key"
            )
            self.waiting.remove((key, turn))
            self.running.append(turn)

    def in_order(self) -> list[Turn]:
        return sorted((turn for _, turn in self.waiting), key=self.turns.position)

    @rule(which=st.integers(0, 30))
    def end(self, which: int) -> None:
        if self.running:
            expected = self.in_order()
            self.begun(self.turns.leave(self.running.pop(which % len(self.running))), expected)

    @rule(which=st.integers(0, 30))
    def give_up(self, which: int) -> None:
        if self.waiting:
            assert self.turns.leave(self.waiting.pop(which % len(self.waiting))[1]) == []

    @rule(width=st.sampled_from([1, 2, 4, None]))
    def resize(self, width: int | None) -> None:
        expected = self.in_order()
        self.engine.width = width
        self.begun(self.turns.serve(), expected)

    @invariant()
    def nobody_waits_beside_a_free_place_and_positions_are_exact(self) -> None:
        turns = self.turns
        assert turns.running == len(self.running)
        assert turns.waiting == len(self.waiting)
        if self.waiting:
            assert self.engine.width is not None
            assert turns.running >= self.engine.width
        assert sorted(turns.position(turn) for _, turn in self.waiting) == list(
            range(1, len(self.waiting) + 1)
        )


TestComings = Comings.TestCase
TestComings.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


class Pools(RuleBasedStateMachine):
    """Several pools, one of which bears no others: nobody waits for nothing, and nobody for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine(2, "alone")
        self.turns = self.engine.queue(most=30, most_of_key=30)
        self.running: list[Turn] = []
        self.waiting: list[Turn] = []

    def began(self, turns: list[Turn]) -> None:
        for turn in turns:
            self.waiting.remove(turn)
            self.running.append(turn)

    @rule(key=st.sampled_from("abc"), pool=st.sampled_from(["one", "two", "alone"]))
    def arrive(self, key: str, pool: str) -> None:
        if len(self.waiting) < 30:
            turn = self.turns.arrive(key, pool=pool)
            (self.running if turn.running else self.waiting).append(turn)
            self.began(self.turns.serve())

    @rule(which=st.integers(0, 40), running=st.booleans())
    def leave(self, which: int, running: bool) -> None:
        leaving = self.running if running else self.waiting
        if leaving:
            self.began(self.turns.leave(leaving.pop(which % len(leaving))))

    @rule()
    def all_end(self) -> None:
        begun = len(self.running)
        while self.running:
            self.began(self.turns.leave(self.running.pop(0)))
            begun += 1
            assert begun < 200
        assert not self.waiting, "whoever waits has its turn once the others have ended"

    @invariant()
    def nobody_shares_the_engine_with_the_one_that_cannot(self) -> None:
        pools = {turn.pool for turn in self.running}
        assert "alone" not in pools or len(pools) == 1
        assert all(sum(turn.pool == pool for turn in self.running) <= 2 for pool in pools)
        assert self.turns.running == len(self.running)
        assert self.turns.waiting == len(self.waiting)
        assert not self.waiting or self.running


TestPools = Pools.TestCase
TestPools.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
