"""The fast way of usage records: one that is out of bounds, whatever stands beside it, is left to the slow way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.ledger import usage
from app.ledger.canonical import INT_MAX
from app.ledger.drafts import MONEY_MAX
from app.ledger.errors import RecordError
from app.ledger.records import encode
from tests.ledger.test_records import LOG, USAGE

COUNTS = ("t0", "t1", "dur_us", "e_uj", "tok_in", "tok_out")


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("beyond", [-1, -(2**60), INT_MAX + 1, True, 1.0])
def test_one_count_out_of_bounds_is_refused_whatever_stands_beside_it(name: str, beyond: int) -> None:
    for others in (0, 5, INT_MAX):
        draft = replace(USAGE, **dict.fromkeys(COUNTS, others) | {name: beyond})
        assert usage.encode(draft, LOG, others, 7) is None
        with pytest.raises(RecordError):
            encode(draft, LOG, others, 7)


@pytest.mark.parametrize("seq", [-1, INT_MAX + 1, True])
def test_a_place_out_of_bounds_is_refused_too(seq: int) -> None:
    assert usage.encode(USAGE, LOG, seq, 7) is None


@pytest.mark.parametrize("bound", [-MONEY_MAX, MONEY_MAX])
def test_money_goes_the_fast_way_to_its_bounds_and_no_further(bound: int) -> None:
    step = 1 if bound > 0 else -1
    assert usage.encode(replace(USAGE, cost=bound), LOG, 5, bound) is not None
    assert usage.encode(replace(USAGE, cost=bound + step), LOG, 5, 7) is None
    assert usage.encode(USAGE, LOG, 5, bound + step) is None


@pytest.mark.parametrize("name", ["tok_in", "tok_out"])
def test_what_the_engine_did_not_count_hides_nothing_of_what_it_did(name: str) -> None:
    unknown = replace(USAGE, **dict.fromkeys(COUNTS, 0) | {name: None})
    body = usage.encode(unknown, LOG, 0, 7)
    assert body == encode(unknown, LOG, 0, 7)
    assert body is not None
    assert f'"{name}":null'.encode() in body
    assert usage.encode(replace(unknown, t1=INT_MAX), LOG, 0, 7) is not None
