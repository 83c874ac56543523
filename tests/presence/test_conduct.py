"""What the contributor says, and what follows."""

from __future__ import annotations

import pytest

from app.presence.blockers import Blocker, Blockers, Lending, Weight
from app.presence.conduct import FINISHING, PAUSED, STARTING, STOPPING, Conduct, Wish
from app.presence.rules import PREPARING, Later, cap_reached, storage_fault

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US

DOWN = Blocker("engine_down", "No engine answers at http://127.0.0.1:11434.", "Start it.", Weight.FAULT)


class World:
    """A conduct, the clock, one thing that may stand in the way, and what was heard."""

    def __init__(self, *, contribute: bool = True, way: Blocker | Later | None = None) -> None:
        self.now_us = 0
        self.way = way
        self.heard = 0
        self.next_us: int | None = None
        self.subject = Conduct([lambda _: self.way], wake_at=self.wake_at, now_us=lambda: self.now_us)
        self.subject.changed.connect(self.hear)
        self.subject.started(contribute=contribute)
        self.heard = 0

    def wake_at(self, at_us: int | None) -> None:
        self.next_us = at_us

    def hear(self) -> None:
        self.heard += 1

    def put(self, way: Blocker | Later | None) -> None:
        self.way = way
        self.subject.look()

    def at(self, now_us: int) -> None:
        self.now_us = now_us
        self.subject.look()

    @property
    def codes(self) -> list[str]:
        return [blocker.code for blocker in self.subject.blockers.all()]


def test_a_gateway_that_has_not_started_serves_nobody() -> None:
    subject = Conduct()
    assert [blocker.code for blocker in subject.blockers.all()] == ["starting"]
    subject.look()
    assert not subject.serving


def test_it_starts_paused_unless_told_to_contribute() -> None:
    assert World(contribute=False).codes == ["paused"]
    assert World(contribute=True).subject.serving


def test_finishing_becomes_a_pause_when_the_last_request_has_ended() -> None:
    world = World()
    world.subject.finish()
    assert world.codes == ["finishing"]
    world.subject.finished()
    assert world.codes == ["paused"]


def test_contribute_takes_a_finish_back() -> None:
    world = World()
    world.subject.finish()
    world.subject.contribute()
    world.subject.finished()
    assert world.subject.serving


def test_a_snooze_says_until_when_and_ends_then_and_not_before() -> None:
    world = World()
    world.subject.snooze(HOUR_US, "22:00")
    blocker = world.subject.first()
    assert blocker is not None
    assert blocker.until_us == HOUR_US
    assert "22:00" in blocker.sentence
    assert "22:00" in blocker.ends
    assert world.next_us == HOUR_US
    world.at(HOUR_US - 1)
    assert world.codes == ["snoozed"]
    world.heard = 0
    world.at(HOUR_US)
    assert world.subject.serving
    assert world.subject.wish is Wish.CONTRIBUTE
    assert world.heard == 1
    assert world.next_us is None


@pytest.mark.parametrize(
    ("left_us", "seconds"),
    [(HOUR_US, 3600), (HOUR_US - 1, 3600), (SECOND_US + 1, 2), (SECOND_US, 1), (1, 1), (0, 1), (-HOUR_US, 1)],
)
def test_a_client_is_told_the_seconds_that_are_left_of_a_snooze(left_us: int, seconds: int) -> None:
    world = World()
    world.subject.snooze(5 * HOUR_US, "22:00")
    blocker = world.subject.first()
    assert blocker is not None
    assert blocker.wait_s(5 * HOUR_US - left_us) == seconds


def test_a_client_is_told_the_usual_wait_where_nobody_knows_the_end() -> None:
    assert PAUSED.wait_s(10**15) == PAUSED.retry_after_s == 300


@pytest.mark.parametrize(
    ("blocker", "seconds"),
    [
        (STARTING, 2),
        (PREPARING, 5),
        (STOPPING, 60),
        (storage_fault("The disk is full."), 60),
        (DOWN, 60),
        (PAUSED, 300),
        (FINISHING, 300),
        (cap_reached("$10.00"), 3600),
    ],
)
def test_a_client_comes_back_sooner_where_it_is_over_sooner(blocker: Blocker, seconds: int) -> None:
    assert blocker.wait_s(0) == seconds


def test_a_fault_does_not_change_what_the_contributor_wants() -> None:
    world = World()
    world.put(DOWN)
    assert world.codes == ["engine_down"]
    assert world.subject.wish is Wish.CONTRIBUTE
    world.put(None)
    assert world.subject.serving


def test_a_fault_that_stands_at_the_start_keeps_the_gateway_from_serving() -> None:
    assert World(way=DOWN).codes == ["engine_down"]


def test_the_heaviest_reason_is_shown_first() -> None:
    world = World(contribute=False)
    world.put(cap_reached("$10.00"))
    assert world.codes == ["cap_reached", "paused"]
    assert world.subject.first() == cap_reached("$10.00")
    world.subject.stopping()
    assert world.codes[0] == "stopping"


def test_faces_hear_that_a_blocker_came_changed_and_went_once_each() -> None:
    world = World()
    world.put(DOWN)
    world.subject.look()
    assert world.heard == 1
    world.put(storage_fault("The disk is full."))
    assert world.heard == 2
    world.put(None)
    world.subject.look()
    assert world.heard == 3


def test_faces_hear_that_the_wish_changed_though_the_blockers_are_the_same() -> None:
    world = World()
    heard: list[Wish] = []
    world.subject.changed.connect(lambda: heard.append(world.subject.wish))
    world.subject.pause()
    world.subject.pause()
    world.subject.contribute()
    assert heard == [Wish.PAUSE, Wish.CONTRIBUTE]
    fresh = Conduct()
    fresh.changed.connect(lambda: heard.append(fresh.wish))
    fresh.contribute()
    assert [blocker.code for blocker in fresh.blockers.all()] == ["starting"]
    assert heard[2:] == [Wish.CONTRIBUTE]


def test_whoever_does_not_want_to_hear_any_more_does_not() -> None:
    world = World()
    world.subject.changed.connect(world.hear)()
    world.put(DOWN)
    assert world.heard == 1


def test_the_next_look_is_at_the_nearest_of_all_times() -> None:
    near = Blocker("closed", "Closed until 8:00.", "It opens by itself.", Weight.CHOSEN, until_us=HOUR_US)
    world = World()
    world.subject.snooze(2 * HOUR_US, "22:00")
    world.put(near)
    assert world.next_us == HOUR_US
    world.way = None
    world.at(HOUR_US)
    assert world.next_us == 2 * HOUR_US
    world.put(Later(HOUR_US + 5 * SECOND_US))
    assert world.next_us == HOUR_US + 5 * SECOND_US


def test_a_blocker_whose_time_has_come_is_gone_also_where_its_rule_still_says_it() -> None:
    closed = Blocker("closed", "Closed until 8:00.", "It opens by itself.", Weight.CHOSEN, until_us=HOUR_US)
    world = World(way=closed)
    world.at(HOUR_US - 1)
    assert world.codes == ["closed"]
    world.at(HOUR_US)
    assert world.subject.serving
    assert world.next_us is None


def test_a_rule_that_asks_for_a_look_in_the_past_is_not_asked_without_end() -> None:
    world = World()
    world.now_us = HOUR_US
    world.put(Later(5))
    assert world.next_us == HOUR_US + SECOND_US
    assert world.subject.serving


@pytest.mark.parametrize(
    ("blocker", "lending"),
    [
        (STARTING, Lending.ENDS),
        (STOPPING, Lending.ENDS),
        (PAUSED, Lending.ENDS),
        (FINISHING, Lending.ENDS_WITH_REQUESTS),
        (cap_reached("$10.00"), Lending.ENDS_WITH_REQUESTS),
        (PREPARING, Lending.GOES_ON),
        (storage_fault("The disk is full."), Lending.GOES_ON),
        (DOWN, Lending.GOES_ON),
    ],
)
def test_each_blocker_says_what_becomes_of_the_machine(blocker: Blocker, lending: Lending) -> None:
    assert Blockers([blocker]).lending is lending


def test_of_several_blockers_the_one_that_ends_most_counts_however_light_it_is() -> None:
    assert Blockers().lending is Lending.GOES_ON
    assert Blockers([DOWN, PAUSED]).lending is Lending.ENDS
    assert Blockers([FINISHING, DOWN]).lending is Lending.ENDS_WITH_REQUESTS


def test_quitting_weighs_more_than_a_fault_a_fault_more_than_a_choice_and_a_choice_more_than_what_passes() -> (
    None
):
    everything = [
        Blocker(weight.name, "", "", weight)
        for weight in (Weight.CHOSEN, Weight.INFORMATIVE, Weight.ENDING, Weight.TEMPORARY, Weight.FAULT)
    ]
    assert [blocker.code for blocker in Blockers(everything).all()] == [
        "ENDING",
        "FAULT",
        "CHOSEN",
        "TEMPORARY",
        "INFORMATIVE",
    ]


def test_of_two_blockers_with_one_code_the_later_counts() -> None:
    first = Blocker("game", "Chess runs.", "", Weight.CHOSEN)
    second = Blocker("game", "Go runs.", "", Weight.CHOSEN)
    blockers = Blockers([first, second])
    assert blockers.all() == (second,)
    assert blockers.get("game") is second
    assert blockers.get("none") is None
    assert "game" in blockers
    assert "none" not in blockers
