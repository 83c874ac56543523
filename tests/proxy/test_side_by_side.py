"""How many an engine works on at once is found out by watching: never more than is true, and nearly all of it."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import pytest

from app.proxy.side_by_side import MOST, PAUSE_US, SideBySide, Visit

S = 1_000_000


@dataclass
class Answer:
    visit: Visit
    tokens: int
    takes_us: int


@dataclass
class World:
    """An engine with so many places and a queue of its own, and clients that always ask again. `slower`: with n at
    once, each takes n to the power of it as long."""

    places: int
    streamed: bool
    clients: int = 12
    seed: int = 1
    whole_us: int = 5 * S
    first_us: int = 300_000
    slower: float = 0.5
    load_us: int = 0
    """So much longer the first answer takes."""
    now_us: int = 0
    waited_there: int = 0
    most_there: int = 0
    seen: SideBySide = field(default_factory=SideBySide)
    there: list[Answer] = field(default_factory=list)
    queued: list[Answer] = field(default_factory=list)
    events: list[tuple[int, int, str, Answer]] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def answers(self, count: int) -> None:
        """Let so many answers end."""
        self._ask()
        while count:
            self.now_us, _, what, answer = heapq.heappop(self.events)
            if what == "first":
                self.seen.showed(answer.visit, self.now_us)
            else:
                count -= 1
                self.there.remove(answer)
                self.seen.end(answer.visit, self.now_us, answer.tokens)
                if self.queued:
                    self._begin(self.queued.pop(0))
            self._ask()

    def _ask(self) -> None:
        while len(self.there) < min(self.clients, self.seen.allowed(self.now_us)):
            tokens = self.chance.randint(50, 150)
            visit = self.seen.begin(self.now_us, streamed=self.streamed)
            answer = Answer(visit, tokens, self.whole_us * tokens // 100)
            self.there.append(answer)
            self.most_there = max(self.most_there, len(self.there))
            if len(self.there) - len(self.queued) <= self.places:
                self._begin(answer)
            else:
                self.waited_there += 1
                self.queued.append(answer)

    def _begin(self, answer: Answer) -> None:
        slower = max(1, len(self.there) - len(self.queued)) ** self.slower
        load_us, self.load_us = self.load_us, 0
        if self.streamed:
            self._later(
                int(load_us + self.first_us * slower * self.chance.uniform(0.8, 1.2)), "first", answer
            )
        self._later(int(load_us + max(answer.takes_us, 2 * self.first_us) * slower), "end", answer)

    def _later(self, in_us: int, what: str, answer: Answer) -> None:
        self.count += 1
        heapq.heappush(self.events, (self.now_us + in_us, self.count, what, answer))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("slower", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("places", [1, 2, 4, 8])
def test_of_streams_as_many_are_found_as_the_engine_has_places(places: int, slower: float, seed: int) -> None:
    world = World(places, streamed=True, slower=slower, seed=seed)
    world.answers(1000)
    assert places * 7 // 8 <= world.seen.proven <= places
    assert world.most_there <= places + 1
    assert world.waited_there <= 50, "a trial that failed is not made again at once"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("slower", [0.0, 0.5])
@pytest.mark.parametrize("places", [1, 2, 4])
def test_of_whole_answers_as_many_are_found_too(places: int, slower: float, seed: int) -> None:
    world = World(places, streamed=False, slower=slower, seed=seed)
    world.answers(1000)
    assert world.seen.proven == places
    assert world.waited_there <= 50


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("places", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("slower", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ("first_us", "load_us"), [(900_000, 0), (5_000, 0), (5_000, 2 * S), (300_000, 5 * S), (900_000, 20 * S)]
)
def test_more_than_there_are_is_never_believed(
    first_us: int, load_us: int, places: int, slower: float, streamed: bool, seed: int
) -> None:
    world = World(
        places,
        streamed=streamed,
        slower=slower,
        seed=seed,
        first_us=first_us,
        load_us=load_us,
        whole_us=3 * S,
    )
    world.answers(400)
    assert world.seen.proven <= places
    assert world.most_there <= places + 1


def test_an_engine_that_became_narrower_is_found_out() -> None:
    world = World(4, streamed=True)
    world.answers(100)
    assert world.seen.proven == 4
    world.places = 1
    world.answers(100)
    assert world.seen.proven == 1


def test_an_engine_that_became_wider_is_found_out_by_a_later_trial() -> None:
    world = World(1, streamed=True)
    world.answers(20)
    assert world.seen.proven == 1
    world.places = 4
    world.now_us += PAUSE_US
    world.answers(100)
    assert world.seen.proven == 4


def test_trials_that_fail_become_rare() -> None:
    world = World(1, streamed=True, whole_us=2 * S)
    world.answers(2000)  # more than an hour
    assert world.waited_there <= 15


@pytest.mark.parametrize("streamed", [True, False])
def test_answers_that_are_over_at_once_need_no_queue(streamed: bool) -> None:
    world = World(MOST, streamed=streamed, clients=32, whole_us=20_000, first_us=2_000)
    world.answers(200)
    assert world.most_there == 32
    world.whole_us = 5 * S
    world.answers(MOST)
    assert world.seen.allowed(world.now_us) <= world.seen.proven + 1, "long ones again are let in with care"


def test_a_burst_of_long_answers_after_fleeting_ones_is_not_taken_for_company() -> None:
    world = World(1, streamed=False, clients=8, whole_us=20_000)
    world.answers(50)
    world.whole_us = 5 * S
    world.answers(40)
    assert world.seen.proven == 1
    assert len(world.there) <= 2


def test_an_answer_that_ends_without_a_word_proves_nothing() -> None:
    seen = SideBySide()
    first = seen.begin(0, streamed=True)
    trial = seen.begin(0, streamed=True)
    assert (trial.trial, seen.allowed(0)) == (True, 1), "one trial at a time"
    seen.end(trial, 3 * S, None)
    assert (seen.proven, seen.allowed(3 * S)) == (1, 2)
    seen.end(first, 4 * S, None)
    assert not seen.busy
