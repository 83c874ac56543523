"""What all bodies under way may hold together, and how one key leaves room for others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.refusals import Refusal
from app.proxy.bodies import LEAST_B, Bodies, too_large

MB = 1 << 20


def test_one_key_gets_half_and_the_next_half_of_what_is_left() -> None:
    bodies = Bodies(lambda: 16 * MB)
    bodies.take("a", b"one", 32 * MB)
    with pytest.raises(Refusal) as caught:
        bodies.take("b", b"one", 1)
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (429, "bodies_full", 5)
    bodies.take("c", b"two", 16 * MB)
    with pytest.raises(Refusal) as caught:
        bodies.take("d", b"three", 16 * MB)
    assert caught.value.status == 503
    bodies.take("d", b"three", 8 * MB)
    assert bodies.held_b == 56 * MB


def test_what_is_answered_gives_its_room_back_once() -> None:
    bodies = Bodies(lambda: 16 * MB)
    for _ in range(3):
        bodies.take("a", b"one", 8 * MB)
        bodies.take("a", b"one", 8 * MB)
        bodies.take("b", b"one", 16 * MB)
        bodies.end("a")
        bodies.end("a")
        assert bodies.held_b == 16 * MB
        bodies.end("b")
        assert bodies.held_b == 0


def test_the_largest_body_that_is_allowed_always_fits_an_empty_house() -> None:
    for largest in (1, 16 * MB, 256 * MB):
        bodies = Bodies(lambda largest=largest: largest)
        bodies.take("a", b"one", largest)
    assert Bodies(lambda: 1).most_b == LEAST_B


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(1, 40 * MB))))
def test_never_more_than_the_bound_and_never_nothing_left(steps: list[tuple[int, int, int]]) -> None:
    bodies = Bodies(lambda: 16 * MB)
    for request, holder, more in steps:
        try:
            bodies.take((request, holder), bytes([holder]), more)
        except Refusal:
            bodies.end((request, holder))
        assert 0 <= bodies.held_b < bodies.most_b
    for request in range(10):
        for holder in range(4):
            bodies.end((request, holder))
    assert bodies.held_b == 0


def test_a_bound_is_said_in_the_unit_it_has() -> None:
    assert "64 KB" in too_large(64 << 10).sentence
    assert "32 MB" in too_large(32 << 20).sentence
