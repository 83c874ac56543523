"""The clocks."""

from __future__ import annotations

import time

import pytest

from app.basics.clock import mono_us, wall_us
from app.ledger.ids import is_id, new_id


def test_a_clock_before_1970_counts_as_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: -86_400_000_000_000)
    assert wall_us() == 0
    assert is_id(new_id(wall_us()))


def test_the_wall_clock_is_in_microseconds_and_the_other_one_ascends() -> None:
    assert abs(wall_us() - time.time() * 1e6) < 1e6
    assert mono_us() <= mono_us()
