"""What a token takes is found from records, and is never below nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.listing import LedgerRow
from app.proxy.token_pace import PerToken, pace_of, per_token

counts = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), max_size=30)


@given(counts, st.integers(0, 1000), st.integers(0, 100_000))
def test_shares_that_are_exactly_so_are_found(
    seen: list[tuple[int, int]], prompt: int, completion: int
) -> None:
    amounts = [x * prompt + y * completion for x, y in seen]
    found = per_token(seen, amounts)
    for (x, y), amount in zip(seen, amounts, strict=True):
        assert found.of(x, y) == pytest.approx(amount, rel=1e-6, abs=1)


@given(counts, st.data())
def test_no_share_is_below_zero(seen: list[tuple[int, int]], data: st.DataObject) -> None:
    amounts = data.draw(st.lists(st.integers(0, 10**9), min_size=len(seen), max_size=len(seen)))
    found = per_token(seen, amounts)
    assert found.prompt >= 0
    assert found.completion >= 0


def test_without_records_there_is_no_pace() -> None:
    pace = pace_of([])
    assert (pace.requests, pace.usual_completion, pace.time) == (0, 0, PerToken(0.0, 0.0))


def test_a_request_that_waited_for_its_model_to_be_loaded_is_left_out() -> None:
    def took(dur_us: int) -> LedgerRow:
        return LedgerRow(
            1,
            "log",
            1,
            "id",
            "usage",
            0,
            dur_us,
            "k",
            "m",
            "/api/chat",
            10,
            100,
            "engine",
            "complete",
            dur_us,
            "nvml",
            0,
            0,
        )

    pace = pace_of([took(60_000_000), took(1_000_000), took(1_000_000), took(1_100_000)])
    assert pace.requests == 3
    assert pace.dur_us(10, 100) < 1_100_000
