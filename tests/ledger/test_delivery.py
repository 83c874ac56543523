"""Delivery as a script: events and a clock in, wishes and what is kept out. No receiver is asked."""

from __future__ import annotations

import random
from dataclasses import astuple, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ledger.delivery import (
    DAY_S,
    DAY_US,
    OVERDUE_US,
    RETRY_S,
    SECOND_US,
    Acknowledged,
    Beat,
    Came,
    Contested,
    Delivery,
    DeliveryEvent,
    DeliveryRow,
    DeliveryTrouble,
    DeliveryWay,
    DeliveryWish,
    Failed,
    Grew,
    Hurry,
    Progressed,
    Push,
    Refill,
    Refilled,
    Sized,
    Standing,
)

NOTHING_YET = Standing()
START_US = 1_700_000_000 * SECOND_US
DOWN = Failed("The receiver cannot be reached.")


class Script:
    """One log and its receiver; each line says what happens and gives what is to be done."""

    def __init__(self, standing: Standing = NOTHING_YET, size: int = 0, *, asks: bool = False) -> None:
        self.life = Delivery(standing, size, asks=asks)
        self.now_us = START_US

    def tell(self, event: DeliveryEvent, after_s: float = 0) -> tuple[DeliveryWish, ...]:
        self.now_us += round(after_s * SECOND_US)
        return self.life.told(event, self.now_us)

    @property
    def kept(self) -> Standing:
        return self.life.standing

    def wait_s(self) -> float | None:
        at_us = self.life.look_us(self.now_us)
        return None if at_us is None else (at_us - self.now_us) / SECOND_US


def test_a_record_is_told_at_once_and_what_comes_meanwhile_after_it() -> None:
    script = Script()
    assert script.tell(Grew(1)) == (Push(0),)
    assert script.tell(Grew(3)) == ()
    assert script.tell(Acknowledged(1, "note")) == (Push(1),)
    assert script.tell(Acknowledged(3, "newer")) == ()
    assert (script.kept.acked, script.kept.note, script.wait_s()) == (3, "newer", None)


def test_an_acknowledgement_may_be_of_more_than_we_have_heard_of_ourselves() -> None:
    script = Script()
    assert script.tell(Grew(1)) == (Push(0),)
    assert script.tell(Acknowledged(4)) == ()
    assert script.life.size == 4
    assert script.tell(Grew(4)) == ()
    assert script.tell(Grew(5)) == (Push(4),)
    assert script.tell(Progressed(7)) == ()
    assert (script.kept.acked, script.life.size) == (7, 7)


def test_a_receiver_that_stays_away_is_asked_after_5_s_5_min_30_min_2_h_5_h_10_h_and_then_daily_for_ever() -> (
    None
):
    script = Script()
    assert script.tell(Grew(1)) == (Push(0),)
    for wait_s in (5, 300, 1800, 7200, 18_000, 36_000, *[86_400] * 30):
        assert script.tell(DOWN) == ()
        assert script.wait_s() == wait_s
        assert script.tell(Grew(script.life.size + 1), wait_s - 1) == ()
        assert script.tell(Came(), 1) == (Push(0),)
    assert script.kept.failures == 36
    script.tell(Acknowledged(script.life.size))
    assert (script.kept.failures, script.kept.said, script.kept.since_us) == (0, "", 0)


@pytest.mark.parametrize(
    ("retry_after_s", "wait_s"), [(None, 5), (1, 5), (60, 60), (10**9, DAY_S), (float(DAY_S), DAY_S)]
)
def test_retry_after_is_heeded_up_to_a_day(retry_after_s: float | None, wait_s: int) -> None:
    script = Script(size=1)
    script.tell(Came())
    script.tell(Failed("Busy.", retry_after_s))
    assert script.wait_s() == wait_s


def test_what_was_delivered_before_a_failure_stays_delivered_and_the_failure_is_the_first() -> None:
    script = Script(Standing(acked=2, failures=4), size=9)
    assert script.tell(Came()) == (Push(2),)
    for acked in (3, 4, 5):
        assert script.tell(Progressed(acked)) == ()
    script.tell(Failed("It went away."))
    assert (script.kept.acked, script.kept.failures, script.wait_s()) == (5, 1, 5)
    assert script.tell(Came(), 5) == (Push(5),)


def test_a_person_or_another_address_makes_it_try_at_once() -> None:
    script = Script(size=1)
    script.tell(Came())
    for _ in range(6):
        script.tell(DOWN)
        assert script.tell(Hurry()) == (Push(0),)
    script.tell(DOWN)
    assert script.wait_s() == 5


def test_a_receiver_that_has_less_gets_it_again_and_one_that_has_more_of_ours_is_not_told_twice() -> None:
    script = Script(Standing(acked=8), size=10)
    assert script.tell(Came()) == (Push(8),)
    assert script.tell(Sized(3)) == (Push(3),)
    assert "only 3 of the 8 records" in script.kept.said
    assert script.kept.next_us == 0
    assert script.tell(Sized(9)) == (Push(9),)
    assert script.tell(Acknowledged(10)) == ()
    assert script.kept.said == ""


def test_a_receiver_that_does_not_know_what_it_has_is_a_failure_and_not_asked_without_end() -> None:
    script = Script(size=10)
    assert script.tell(Came()) == (Push(0),)
    assert script.tell(Sized(0)) == ()
    assert script.wait_s() == 5
    assert script.tell(Came(), 5) == (Push(0),)
    for size in (1, 2, 1):
        assert script.tell(Sized(size)) == (Push(size),)
    assert script.tell(Sized(2)) == ()
    assert script.kept.failures == 2


def test_a_receiver_that_says_another_size_each_time_is_given_three_turns() -> None:
    script = Script(size=10)
    assert script.tell(Came()) == (Push(0),)
    for size in (1, 2, 1):
        assert script.tell(Sized(size)) == (Push(size),)
    assert script.tell(Sized(2)) == ()
    said = "The receiver says another number of records each time it is asked."
    assert (script.kept.failures, script.kept.said) == (1, said)
    # Whatever it took in between, the next time it is given as many.
    script.tell(Hurry())
    script.tell(Acknowledged(10))
    script.tell(Grew(11))
    for size in (1, 2, 1):
        assert script.tell(Sized(size)) == (Push(size),)
    assert script.tell(Sized(2)) == ()


def test_a_receiver_ahead_of_us_holds_our_lost_tail() -> None:
    script = Script(Standing(acked=7), size=7, asks=True)
    assert script.tell(Came()) == (Push(7),)
    assert script.tell(Sized(12)) == (Refill(7, 12),)
    assert script.kept.trouble is DeliveryTrouble.AHEAD
    assert script.kept.said == "The receiver has 12 records of ours and we have 7: our newest ones are lost."
    assert script.tell(Came(), 9) == ()
    assert script.tell(Refilled(12)) == (Push(12),)
    assert script.tell(Acknowledged(12)) == ()
    assert script.kept.trouble is DeliveryTrouble.NONE


def test_what_came_back_is_asked_about_before_it_is_believed() -> None:
    script = Script(Standing(acked=7), size=7, asks=True)
    script.tell(Came())
    script.tell(Acknowledged(7))
    assert script.tell(Grew(8)) == (Push(7),)
    assert script.tell(Sized(12)) == (Refill(8, 12),)
    assert script.tell(Refilled(12)) == (Push(12),)


def test_a_tail_that_cannot_be_fetched_is_the_receivers_word_against_ours() -> None:
    script = Script(Standing(acked=7), size=7, asks=True)
    for _ in range(5):
        script.tell(Came())
        script.tell(DOWN, 86_400)
    script.tell(Hurry())
    script.tell(Sized(12))
    assert script.tell(DOWN) == ()
    assert (script.kept.trouble, script.wait_s()) == (DeliveryTrouble.AHEAD, 5)
    assert script.tell(Came(), 5) == (Push(7),)
    assert script.tell(Sized(12)) == (Refill(7, 12),)
    assert script.tell(Failed("It does not show them.")) == ()
    assert (script.kept.trouble, script.wait_s()) == (DeliveryTrouble.DISPUTED, 5)


def test_a_tail_that_is_proven_to_be_ours_stays_lost_however_often_it_cannot_be_fetched() -> None:
    script = Script(Standing(acked=7), size=7, asks=True)
    for wait_s in RETRY_S:
        assert script.tell(Hurry() if script.kept.failures == 0 else Came()) == (Push(7),)
        assert script.tell(Sized(12)) == (Refill(7, 12),)
        assert script.tell(Failed("Its key is not here.", proven=True)) == ()
        assert (script.kept.trouble, script.kept.said) == (DeliveryTrouble.AHEAD, "Its key is not here.")
        assert script.wait_s() == wait_s
        script.tell(Came(), wait_s - 1)
        script.now_us += SECOND_US


def test_who_is_ahead_and_gone_again_holds_serving_up_for_one_more_try() -> None:
    script = Script(size=7, asks=True)
    script.tell(Came())
    script.tell(Sized(12))
    script.tell(DOWN)
    assert script.tell(Came(), 5) == (Push(0),)
    script.tell(DOWN)
    assert script.kept.trouble is DeliveryTrouble.DISPUTED


def test_a_loss_that_was_not_mended_when_we_ended_is_found_anew() -> None:
    script = Script(Standing(acked=7, trouble=DeliveryTrouble.AHEAD), size=7, asks=True)
    assert script.kept.trouble is DeliveryTrouble.NONE
    assert script.tell(Came()) == (Push(7),)


def test_a_dispute_stands_until_the_receiver_accepts_and_is_tried_again_like_any_failure() -> None:
    script = Script(size=2)
    script.tell(Came())
    for wait_s in RETRY_S[:3]:
        assert script.tell(Contested("Record 1 is another.")) == ()
        assert (script.kept.trouble, script.wait_s()) == (DeliveryTrouble.DISPUTED, wait_s)
        assert script.life.overdue(script.now_us)
        assert script.tell(Came(), wait_s) == (Push(0),)
    script.tell(DOWN)
    assert script.kept.trouble is DeliveryTrouble.DISPUTED
    script.tell(Hurry())
    script.tell(Acknowledged(2))
    assert script.kept == Standing(acked=2, acked_us=script.now_us)


def test_a_proven_fork_is_asked_about_once_a_day() -> None:
    script = Script(size=2)
    script.tell(Came())
    script.tell(Contested("It shows our signature on another record 1.", forked=True))
    assert (script.kept.trouble, script.wait_s()) == (DeliveryTrouble.FORK, DAY_S)


def test_a_receiver_of_ours_is_asked_at_the_start_what_it_has_and_a_seed_receiver_is_not() -> None:
    standing = Standing(acked=5, acked_us=START_US)
    assert Script(standing, size=5, asks=True).tell(Came()) == (Push(5),)
    script = Script(standing, size=5, asks=False)
    assert (script.tell(Came()), script.wait_s()) == ((), None)


def test_a_day_without_a_record_brings_a_heartbeat_and_never_two() -> None:
    script = Script(size=5, asks=True)
    script.tell(Came())
    script.tell(Acknowledged(5))
    assert script.wait_s() == DAY_S
    assert script.tell(Came(), DAY_S - 1) == ()
    assert script.tell(Came(), 1) == (Beat(),)
    assert script.tell(Came(), 60) == ()
    assert script.tell(Grew(6)) == (Push(5),)
    script.tell(Acknowledged(6))
    assert script.wait_s() == DAY_S


def test_while_something_waits_there_is_no_heartbeat() -> None:
    script = Script(size=5, asks=True)
    script.tell(Came())
    script.tell(DOWN)
    assert script.tell(Came(), 2 * DAY_S) == (Push(0),)


def test_what_waits_for_ten_minutes_is_overdue() -> None:
    script = Script(Standing(acked=1), size=1)
    script.tell(Grew(2))
    script.tell(DOWN)
    assert not script.life.overdue(script.now_us + OVERDUE_US - 1)
    assert script.life.overdue(script.now_us + OVERDUE_US)
    script.tell(Hurry())
    script.tell(Grew(3), 599)
    script.tell(Acknowledged(2))
    assert not script.life.overdue(script.now_us + OVERDUE_US - 1)
    script.tell(Acknowledged(3))
    assert not script.life.overdue(script.now_us + 400 * DAY_US), "nothing waits"


def test_a_clock_that_is_set_back_by_a_year_puts_nothing_off_for_longer_than_a_day() -> None:
    script = Script(size=1, asks=True)
    script.tell(Came())
    script.tell(DOWN)
    assert script.tell(Came(), -365 * DAY_S) == ()
    assert script.wait_s() == DAY_S
    assert script.life.overdue(script.now_us + OVERDUE_US), (
        "it waits from now on, and not from the year to come"
    )
    assert not script.life.overdue(script.now_us + OVERDUE_US - 1)
    assert script.tell(Came(), DAY_S) == (Push(0),)
    script.tell(Acknowledged(1))
    script.tell(Came(), -365 * DAY_S)
    assert script.wait_s() == DAY_S
    assert script.tell(Came(), DAY_S) == (Beat(),)


def test_nothing_is_known_of_a_delivery_that_has_not_begun_and_events_are_values() -> None:
    assert astuple(Standing()) == (0, 0, 0, 0, 0, DeliveryTrouble.NONE, "", "")
    assert (Came(), Hurry(), Beat()) == (Came(), Hurry(), Beat())
    assert DeliveryRow("g/c", DeliveryWay.SEED, "", "", Standing()) == DeliveryRow(
        "g/c", DeliveryWay.SEED, "", "", NOTHING_YET
    )
    assert (SECOND_US, OVERDUE_US) == (10**6, 600 * 10**6)


def test_whatever_ends_a_failure_leaves_nothing_of_it() -> None:
    script = Script(Standing(acked=7), size=7, asks=True)
    for mends in (Hurry(), Progressed(7), Refilled(12), Acknowledged(12)):
        script.tell(Came(), DAY_S)
        script.tell(DOWN)
        assert script.kept.failures == 1
        script.tell(mends)
        assert script.kept.failures == 0
        if isinstance(mends, Refilled):
            assert (script.kept.acked, script.kept.next_us, script.kept.said) == (12, 0, "")
            assert script.life.size == 12
    script.tell(Grew(13))
    script.tell(DOWN)
    script.life.told(Hurry(), script.now_us)
    assert script.kept.next_us == 0


@pytest.mark.parametrize("mended", ["refilled", "acknowledged"])
def test_each_loss_is_fetched_as_often_as_the_first_one(mended: str) -> None:
    script = Script(Standing(acked=7), size=7, asks=True)
    script.tell(Came())
    script.tell(Sized(12))
    script.tell(DOWN)
    assert script.kept.trouble is DeliveryTrouble.AHEAD
    script.tell(Came(), 5)
    if mended == "refilled":
        assert script.tell(Sized(12)) == (Refill(7, 12),)
        assert script.tell(Refilled(12)) == (Push(12),)
    else:
        # It was wrong about what it has.
        script.tell(Acknowledged(7))
        script.tell(Grew(8))
    assert script.kept.trouble is DeliveryTrouble.NONE
    script.tell(Sized(20))
    for trouble in (DeliveryTrouble.AHEAD, DeliveryTrouble.DISPUTED):
        script.tell(DOWN)
        assert script.kept.trouble is trouble
        script.tell(Came(), 5)


def test_a_receiver_that_has_what_it_said_it_has_lost_nothing() -> None:
    script = Script(size=10)
    assert script.tell(Came()) == (Push(0),)
    assert script.tell(Progressed(5)) == ()
    assert script.tell(Sized(5)) == (Push(5),)
    assert script.kept.said == ""
    assert script.tell(Progressed(8)) == ()
    assert script.tell(Sized(7)) == (Push(7),)
    assert script.kept.said.startswith("The receiver has only 7 of the 8 records")


class Receiver:
    """One that loses, forgets and answers nonsense, until it is told to be good."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.size = 0
        self.good = False
        self.heard = 0

    def answer(self, push: Push, size: int) -> DeliveryEvent:
        self.heard += 1
        if not self.good:
            match self.chance.randrange(6):
                case 0:
                    return DOWN
                case 1:
                    return Failed("Busy.", self.chance.random() * 3 * DAY_S)
                case 2:
                    self.size = self.chance.randrange(size + 1)
                    return Sized(self.size)
                case 3:
                    return Contested("No.", forked=self.chance.random() < 0.2)
                case 4:
                    self.size = max(self.size, size)  # it heard, and its answer was lost
                    return DOWN
        if push.old > self.size or push.old < self.size - 3:
            return Sized(self.size)
        self.size = size
        return Acknowledged(size)


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_a_receiver_did_everything_is_acknowledged_within_a_day_of_its_being_good(
    seed: int, asks: bool
) -> None:
    chance = random.Random(seed)
    receiver = Receiver(chance)
    life, now_us, wishes, beats = (
        Delivery(Standing(), 0, asks=asks),
        START_US,
        list[DeliveryWish](),
        list[int](),
    )

    def tell(event: DeliveryEvent) -> None:
        new = life.told(event, now_us)
        assert not (new and wishes), "one thing at a time"
        wishes.extend(new)
        assert 0 <= life.standing.acked <= life.size
        assert life.standing.next_us <= now_us + DAY_US
        look_us = life.look_us(now_us)
        assert life.busy or look_us is None or now_us <= look_us <= now_us + DAY_US

    def carry_out() -> None:
        while wishes:
            match wishes.pop():
                case Push() as push:
                    tell(receiver.answer(push, life.size))
                case Beat():
                    beats.append(now_us)
                    tell(Grew(life.size + 1))
                case wish:
                    raise AssertionError(wish)

    for step in range(60):
        receiver.good = step >= 40
        if step < 40 and chance.random() < 0.5:
            tell(Grew(life.size + chance.randrange(1, 5)))
        elif chance.random() < 0.1:
            now_us -= chance.randrange(40 * DAY_US)
            tell(Came())
        else:
            now_us += chance.randrange(DAY_US)
            tell(Came())
        carry_out()
        if chance.random() < 0.1:  # we are restarted from what was kept, which may be a little old
            kept = replace(life.standing, acked=max(0, life.standing.acked - chance.randrange(3)))
            life = Delivery(kept, life.size, asks=asks)
    now_us += DAY_US
    tell(Came())
    carry_out()
    assert life.standing.acked == life.size == (receiver.size if life.size else 0)
    assert life.standing.trouble is DeliveryTrouble.NONE
    assert asks or not beats
