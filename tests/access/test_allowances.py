"""Rates of keys: who keeps to one is never refused, nobody gets more, and the wait that is said is exact."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.allowances import KEYS_REMEMBERED, Allowances, Grant
from app.access.limits import Limits
from app.access.principals import Principal, Role
from app.access.refusals import Refusal

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US


@dataclass
class Door:
    """One key, and a clock that a test sets."""

    now_us: int = 7
    allowances: Allowances = field(init=False)

    def __post_init__(self) -> None:
        self.allowances = Allowances(lambda: self.now_us)

    def take(self, body_b: int = 4, key: str = "k_1", **limits: Any) -> Grant:
        principal = Principal(key, "laptop", Role.CLIENT, "Ben", "gw/c", b"", Limits(**limits))
        return self.allowances.take(principal, body_b)

    def asked(self, tokens: int | None = None, body_b: int = 4, **limits: Any) -> Grant:
        """A request that the engine answered."""
        with self.take(body_b, **limits) as grant:
            grant.counts(tokens)
        return grant

    def refused(self, body_b: int = 4, **limits: Any) -> Refusal:
        with pytest.raises(Refusal) as caught:
            self.take(body_b, **limits)
        assert caught.value.status == 429
        return caught.value


def test_a_key_without_rates_has_no_bound_and_costs_no_memory() -> None:
    door = Door()
    for _ in range(5000):
        assert door.asked(max_output_tokens=5).headers == {}
    assert len(door.allowances) == 0


def test_a_minutes_requests_may_come_at_once_and_then_one_at_a_time() -> None:
    door = Door()
    for left in (2, 1, 0):
        headers = door.asked(requests_per_minute=3).headers
        assert headers["X-RateLimit-Limit-Requests"] == "3"
        assert headers["X-RateLimit-Remaining-Requests"] == str(left)
    refusal = door.refused(requests_per_minute=3)
    assert (refusal.code, refusal.retry_after_s) == ("rate_limited", 20)
    assert refusal.sentence == "This key may ask 3 times a minute: try again in 20 s."
    assert refusal.headers["X-RateLimit-Remaining-Requests"] == "0"
    assert refusal.headers["X-RateLimit-Reset-Requests"] == "60000ms"
    door.now_us += 20 * SECOND_US - 1
    assert door.refused(requests_per_minute=3).retry_after_s == 1
    door.now_us += 1
    door.asked(requests_per_minute=3)
    door.refused(requests_per_minute=3)


@given(st.integers(1, 1000), st.lists(st.integers(0, MINUTE_US), min_size=1, max_size=60))
def test_nobody_gets_more_than_a_minutes_worth_and_what_time_brings(most: int, pauses: list[int]) -> None:
    door, begun, granted = Door(), 7, 0
    for pause in pauses:
        door.now_us += pause
        with contextlib.suppress(Refusal):
            for _ in range(1 + most // 4):
                door.asked(requests_per_minute=most)
                granted += 1
        assert granted * MINUTE_US <= most * MINUTE_US + (door.now_us - begun) * most


@given(st.integers(1, 1000), st.integers(1, 200))
def test_who_keeps_to_the_rate_is_never_refused(most: int, requests: int) -> None:
    door = Door()
    for _ in range(requests):
        door.asked(requests_per_minute=most)
        door.now_us += -(-MINUTE_US // most)


@given(st.integers(1, 100_000), st.integers(0, 10_000), st.integers(0, 300_000))
def test_the_wait_that_is_said_is_enough_and_a_second_less_is_not(most: int, body_b: int, used: int) -> None:
    door = Door()
    door.asked(used, body_b, tokens_per_minute=most)
    try:
        door.asked(0, body_b, tokens_per_minute=most)
    except Refusal as refusal:
        wait_s = refusal.retry_after_s
        assert wait_s is not None
        door.now_us += (wait_s - 1) * SECOND_US
        if wait_s > 1:
            door.refused(body_b, tokens_per_minute=most)
        door.now_us += SECOND_US
        door.asked(0, body_b, tokens_per_minute=most)


def test_what_was_guessed_of_tokens_is_corrected_by_what_was_counted() -> None:
    door = Door()
    assert door.asked(10, 400, tokens_per_minute=1000).headers["X-RateLimit-Remaining-Tokens"] == "900"
    assert door.asked(0, 4, tokens_per_minute=1000).headers["X-RateLimit-Remaining-Tokens"] == "989"
    assert door.asked(None, 400, tokens_per_minute=1000).headers["X-RateLimit-Remaining-Tokens"] == "890"
    assert door.asked(None, 4, tokens_per_minute=1000).headers["X-RateLimit-Remaining-Tokens"] == "889"


def test_an_answer_that_was_longer_than_what_is_left_leaves_a_debt() -> None:
    door = Door()
    door.asked(180, tokens_per_minute=60)
    refusal = door.refused(tokens_per_minute=60)
    assert (refusal.sentence[:37], refusal.retry_after_s) == ("This key may use 60 tokens a minute: ", 121)


def test_a_body_of_more_than_a_minutes_tokens_is_let_in_when_all_of_them_are_there() -> None:
    door = Door()
    door.asked(None, 1_000_000, tokens_per_minute=100)
    door.refused(1_000_000, tokens_per_minute=100)


def test_as_many_run_at_once_as_may_and_each_end_gives_its_place_back_once() -> None:
    door = Door()
    first, second = door.take(concurrent=2), door.take(concurrent=2)
    refusal = door.refused(concurrent=2)
    assert (refusal.code, refusal.retry_after_s) == ("too_many_at_once", 2)
    assert refusal.sentence == "This key may have 2 requests running at a time: try again when one has ended."
    for _ in range(3):
        first.__exit__(None, None, None)
    with door.take(concurrent=2):
        door.refused(concurrent=2)
    with pytest.raises(ValueError, match="broken"), door.take(concurrent=2):
        raise ValueError("broken")
    second.__exit__(None, None, None)
    with door.take(concurrent=1):
        assert "one request running" in door.refused(concurrent=1).sentence


def test_what_never_reached_the_engine_is_given_back() -> None:
    door = Door()
    for _ in range(10):
        with door.take(4000, requests_per_minute=1, tokens_per_minute=1000, concurrent=1):
            pass
    assert (
        door.asked(requests_per_minute=1, tokens_per_minute=1000).headers["X-RateLimit-Remaining-Tokens"]
        == "999"
    )


def test_what_is_refused_takes_nothing() -> None:
    door = Door()
    door.asked(requests_per_minute=1)
    for _ in range(5):
        door.refused(requests_per_minute=1)
    door.now_us += MINUTE_US
    door.asked(requests_per_minute=1)


def test_each_key_has_its_own_and_those_at_rest_are_forgotten() -> None:
    door = Door()
    for number in range(KEYS_REMEMBERED):
        with door.take(key=f"k{number}", requests_per_minute=1) as grant:
            grant.counts(None)
    held = door.take(key="k0x", concurrent=1)
    assert len(door.allowances) == KEYS_REMEMBERED + 1
    door.now_us += MINUTE_US
    door.take(key="new", requests_per_minute=1)
    assert len(door.allowances) == 2
    with pytest.raises(Refusal):
        door.take(key="k0x", concurrent=1)
    held.__exit__(None, None, None)


def test_another_rate_holds_at_once_and_what_was_used_stays_used() -> None:
    door = Door()
    for _ in range(3):
        door.asked(requests_per_minute=3)
    assert door.asked(requests_per_minute=5).headers["X-RateLimit-Remaining-Requests"] == "1"
    door.refused(requests_per_minute=4)
    assert door.asked(tokens_per_minute=9).headers.keys() == {
        f"X-RateLimit-{what}-Tokens" for what in ("Limit", "Remaining", "Reset")
    }


def test_a_clock_that_stands_still_or_goes_back_brings_nothing() -> None:
    door = Door()
    door.asked(requests_per_minute=1)
    door.now_us -= 5
    door.refused(requests_per_minute=1)


def test_what_a_client_may_use_its_keys_share_and_each_keeps_to_its_own_besides() -> None:
    door = Door()
    shared = Limits(requests_per_minute=3, concurrent=2, whole_client=True)
    own = Limits(requests_per_minute=2)

    def take(key: str, log: str = "gw/c", limits: Limits = own) -> Grant:
        return door.allowances.take(Principal(key, "laptop", Role.CLIENT, "Ben", log, b"", limits, shared), 4)

    first, second = take("k_1"), take("k_2")
    assert first.headers["X-RateLimit-Remaining-Requests"] == "1"
    assert second.headers["X-RateLimit-Limit-Requests"] in ("2", "3")
    with pytest.raises(Refusal, match="This client may have 2 requests running"):
        take("k_3")
    assert take("k_3", log="gw/other").headers["X-RateLimit-Limit-Requests"] == "2"
    for grant in (first, second):
        with grant:
            grant.counts(None)
    with take("k_1") as third:
        third.counts(None)
    assert third.headers["X-RateLimit-Remaining-Requests"] == "0"
    with pytest.raises(Refusal, match="This key may ask 2 times"):
        take("k_1")
    with pytest.raises(Refusal, match="This client may ask 3 times") as caught:
        take("k_3", limits=Limits())
    assert caught.value.headers["X-RateLimit-Limit-Requests"] == "3"


def test_what_a_key_is_refused_its_client_has_not_used() -> None:
    door = Door()
    shared = Limits(requests_per_minute=5, whole_client=True)
    poor = Principal("k_1", "a", Role.CLIENT, "Ben", "gw/c", b"", Limits(requests_per_minute=1), shared)
    rich = Principal("k_2", "b", Role.CLIENT, "Ben", "gw/c", b"", Limits(), shared)
    for _ in range(4):
        with contextlib.suppress(Refusal), door.allowances.take(poor, 4) as grant:
            grant.counts(None)
    with door.allowances.take(rich, 4) as grant:
        pass  # it never reached the engine
    assert grant.headers["X-RateLimit-Remaining-Requests"] == "3"
    with door.allowances.take(rich, 4) as grant:
        grant.counts(None)
    assert grant.headers["X-RateLimit-Remaining-Requests"] == "3"
