"""Whoever holds the records comes to the same costs by them alone, and says where more was charged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing.metered import MeteredEnergy
from app.billing.pricing import BillingMode, Pricing
from app.billing.tariff import Interval, Tariff
from app.gateway.terms import terms_record
from app.ledger.drafts import Draft, LaborDraft, UptimeDraft, UsageDraft
from app.ledger.ids import uuid7
from app.ledger.records import decode, encode
from app.receiver.repricing import Repricing, cost_of_record, pricing_of_record
from tests.receiver.sending import START_US, usage

HOUR_US = 3_600_000_000
EDGE_US = START_US + HOUR_US
TARIFF = Tariff.of(
    "EUR", [Interval(None, EDGE_US, 150_000_000_000), Interval(EDGE_US, None, 450_000_000_000)]
)
MARGINAL = Pricing(BillingMode.MARGINAL, TARIFF, 100_000, 0, 36 * 10**12)
DEDICATED = replace(MARGINAL, mode=BillingMode.DEDICATED, base_rate_pico_per_hour=10**12)


def noted(*drafts: Draft) -> tuple[str, ...]:
    repricing = Repricing()
    for seq, draft in enumerate(drafts):
        repricing.take(seq, draft)
    return repricing.notes


def request(pricing: Pricing, **changes: Any) -> UsageDraft:
    """One whose cost is what its terms come to, plus `more`."""
    more = changes.pop("more", 0)
    draft: UsageDraft = usage(
        tariff=pricing.tariff.id, e_uj=10**9, t0=START_US, t1=START_US + 10**6, dur_us=10**6, **changes
    )
    return replace(draft, cost=cost_of_record(pricing, draft) + more)


def uptime(pricing: Pricing, t1_us: int) -> UptimeDraft:
    draft = UptimeDraft(
        uuid7(t1_us, 7), t1_us - HOUR_US, t1_us, HOUR_US // 3, 10**12, "nvml", pricing.tariff.id, 0
    )
    return replace(draft, cost=cost_of_record(pricing, draft))


def terms(pricing: Pricing, t0_us: int = START_US - HOUR_US) -> Draft:
    return terms_record(pricing, t0_us)


@pytest.mark.parametrize("pricing", [MARGINAL, DEDICATED, replace(MARGINAL, ac_factor_ppm=1_090_000)])
def test_honest_records_are_no_matter_and_a_pico_more_is(pricing: Pricing) -> None:
    assert noted(terms(pricing), request(pricing), uptime(pricing, EDGE_US + HOUR_US // 2)) == ()
    (note,) = noted(terms(pricing), request(pricing, more=1))
    assert note.startswith("Record 1 charges EUR 0.000")
    assert note.endswith("by the terms of record 0.")


def test_less_than_the_terms_come_to_is_a_gift() -> None:
    assert noted(terms(MARGINAL), request(MARGINAL, more=-1)) == ()


def test_a_share_of_the_time_that_is_told_is_what_the_base_rate_is_charged_for() -> None:
    shared = request(DEDICATED, share_us=500_000)
    assert shared.cost < request(DEDICATED).cost
    assert noted(terms(DEDICATED), shared) == ()
    assert len(noted(terms(DEDICATED), replace(shared, cost=request(DEDICATED).cost))) == 1


def test_labour_is_priced_again_too() -> None:
    def labour(cost: int) -> LaborDraft:
        return LaborDraft(uuid7(START_US, 5), START_US, START_US + HOUR_US, HOUR_US, "set up", cost)

    assert noted(terms(MARGINAL), labour(36 * 10**12)) == ()
    assert len(noted(terms(MARGINAL), labour(36 * 10**12 + 1))) == 1


def test_terms_that_changed_while_a_request_ran_were_not_its_own() -> None:
    dearer = replace(MARGINAL, margin_ppm=900_000)
    later = terms(dearer, START_US + 1)
    assert noted(terms(MARGINAL), later, request(MARGINAL)) == ()
    assert len(noted(terms(MARGINAL), later, request(dearer))) == 1
    after = replace(request(dearer), t0=START_US + 2)
    assert noted(terms(MARGINAL), later, after) == ()


def test_terms_that_no_record_tells_or_nobody_can_price_by_are_named() -> None:
    (note,) = noted(request(MARGINAL))
    assert note.endswith(f"names the tariff {TARIFF.id}, which no record before it tells.")
    (note, _) = noted(replace(terms(MARGINAL), content="[[null,null]]"), request(MARGINAL))
    assert note.startswith("Record 0 says terms that nobody can price by:")
    (note, _) = noted(replace(terms(MARGINAL), content='[[null,null,"1"]]'), request(MARGINAL))
    assert "does not have the prices" in note


def test_parts_that_are_not_those_of_its_energy_are_named() -> None:
    (note,) = noted(terms(MARGINAL), replace(request(MARGINAL), e_parts="[[0,1]]"))
    assert note == "Record 1 cannot be priced again: The parts of its energy do not begin when it began."


def test_only_the_first_ones_are_named_and_the_rest_is_counted() -> None:
    notes = noted(terms(MARGINAL), *(request(MARGINAL, more=1) for _ in range(9)))
    assert len(notes) == 4
    assert notes[-1] == "6 more records charge what they should not."


@given(
    st.sampled_from([MARGINAL, DEDICATED]),
    st.lists(st.tuples(st.integers(0, HOUR_US), st.integers(0, 10**12)), max_size=5),
    st.integers(0, 10**10),
)
def test_the_bytes_of_a_metered_request_are_enough_to_price_it_again(
    pricing: Pricing, steps: list[tuple[int, int]], share_us: int
) -> None:
    metered, at_us, energy_uj = MeteredEnergy(pricing.tariff, START_US), START_US, 0
    for later_us, more_uj in steps:
        at_us, energy_uj = at_us + later_us, energy_uj + more_uj
        metered.upto(energy_uj, at_us)
    draft = replace(
        usage(tariff=pricing.tariff.id, t0=START_US, t1=at_us, dur_us=at_us - START_US, e_uj=energy_uj),
        cost=pricing.request_cost(metered.by_price, share_us),
        e_parts=metered.text,
        share_us=share_us,
    )
    read, told = decode(encode(draft, "log", 1, 0)).draft, decode(encode(terms(pricing), "log", 0, 0)).draft
    assert read == draft
    assert cost_of_record(pricing_of_record(told), read) == draft.cost
