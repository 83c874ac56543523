"""The seed's figures, to its digits."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.proxy.dialects.base import Tokens, splice
from app.proxy.metadata import Figures, gateway_json, three_figures


def figures(**changes: Any) -> Figures:
    given: dict[str, Any] = {
        "request_id": "01a1f9f7-5624-7f1a-9dd7-f3321719148f",
        "outcome": "complete",
        "dur_us": 3_420_000,
        "energy_uj": 201_780_000,
        "low_uj": 181_602_000,
        "high_uj": 221_958_000,
        "formula_uj": 201_780_000,
        "energy_source": "model",
        "cost_pico": 8_407_500,
        "spent_pico": 34_200_000_000,
        "remaining_pico": 9_965_800_000_000,
        "currency": "USD",
        "billing_mode": "marginal",
        "tokens": Tokens(20, 128, "engine"),
    }
    return Figures(**{**given, **changes})


def test_the_seeds_example_reads_as_the_seed_has_it() -> None:
    got = json.loads(gateway_json(figures()))
    assert got["duration_seconds"] == 3.42
    assert got["marginal_watts"] == 59
    assert got["energy_wh"] == 0.0561
    assert got["estimated_cost"] == 0.0000084075
    assert got["total_cost"] == 0.0342
    assert got["budget_remaining"] == 9.9658
    assert got["billing_mode"] == "marginal"


def test_exact_integers_stand_beside_the_rounded_numbers() -> None:
    got = json.loads(gateway_json(figures(cost_pico=2**60 + 1)))
    assert got["estimated_cost_pico"] == str(2**60 + 1)
    assert got["energy_uj"] == "201780000"


def test_the_interval_stands_beside_the_energy() -> None:
    got = json.loads(gateway_json(figures()))
    assert (got["energy_wh_low"], got["energy_wh"], got["energy_wh_high"]) == (0.0504, 0.0561, 0.0617)


def test_what_the_seeds_formula_says_stands_beside_what_was_measured() -> None:
    got = json.loads(gateway_json(figures(energy_uj=150_000_000, energy_source="nvml")))
    assert (got["energy_wh"], got["energy_wh_by_formula"]) == (0.0417, 0.0561)


def test_what_is_not_known_is_null_and_never_zero() -> None:
    got = json.loads(gateway_json(figures(tokens=Tokens())))
    assert got["prompt_tokens"] is None
    assert got["completion_tokens"] is None
    assert got["token_source"] == "none"


@given(st.integers(0, 10**12), st.integers(0, 10**15), st.integers(-(10**18), 10**18), st.integers(0, 10**18))
def test_whatever_the_figures_it_is_json(dur: int, energy: int, cost: int, spent: int) -> None:
    got = json.loads(gateway_json(figures(dur_us=dur, energy_uj=energy, cost_pico=cost, spent_pico=spent)))
    assert got["estimated_cost_pico"] == str(cost)


def test_three_figures_are_rounded_as_people_round() -> None:
    assert three_figures(5605, 100_000) == 0.0561
    assert three_figures(0, 7) == 0.0
    assert three_figures(12345, 1) == 12300.0


@given(
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=4), st.sampled_from([b"", b"\n", b" \r\n"])
)
def test_splicing_keeps_every_other_byte(answer: dict[str, int], end: bytes) -> None:
    body = json.dumps(answer).encode() + end
    spliced = splice(body, b"{}")
    assert spliced.endswith(b"}" + end)
    assert json.loads(spliced) == {**answer, "_gateway": {}}
    assert spliced.startswith(body[: body.rfind(b"}")].rstrip())
