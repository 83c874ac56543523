"""Which records charge more than their energy, their time and the terms that they name come to.

Rule 1: pure; it believes nothing but the records. Rule 2: less than that is no fault: what a cap or a refusal left
uncharged was a gift. Corrections (`adjust`) give their own reason and are nobody's sum.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.billing.metered import parts_by_price
from app.billing.money import pico_to_decimal
from app.billing.pricing import PPM, BillingMode, Pricing
from app.billing.tariff import Tariff, TariffError
from app.ledger.drafts import Draft, LaborDraft, TariffDraft, UptimeDraft, UsageDraft

NAMED = 3


@dataclass(frozen=True, slots=True)
class Terms:
    """What record `seq` says that holds from `t0_us` on."""

    seq: int
    t0_us: int
    pricing: Pricing


class Repricing:
    """Tell it every record with `take`, from the first on; `notes` says what was found."""

    def __init__(self) -> None:
        self._terms: list[Terms] = []
        self._found: list[str] = []
        self._count = 0

    def take(self, seq: int, draft: Draft) -> None:
        """One more record."""
        if isinstance(draft, TariffDraft):
            try:
                self._terms.append(Terms(seq, draft.t0, pricing_of_record(draft)))
            except ValueError as error:
                self._add(f"Record {seq} says terms that nobody can price by: {error}")
        elif isinstance(draft, UsageDraft | UptimeDraft):
            if draft.cost:
                self._judge(seq, draft)
        elif isinstance(draft, LaborDraft) and self._terms:
            terms = self._terms[-1]
            self._compare(seq, draft.cost, terms.pricing.labor_cost(draft.dur_us), terms)

    def _judge(self, seq: int, draft: UsageDraft | UptimeDraft) -> None:
        terms = self._that_held(draft)
        if terms is None:
            self._add(f"Record {seq} names the tariff {draft.tariff}, which no record before it tells.")
            return
        try:
            owed = cost_of_record(terms.pricing, draft)
        except TariffError as error:
            self._add(f"Record {seq} cannot be priced again: {error}")
            return
        self._compare(seq, draft.cost, owed, terms)

    def _compare(self, seq: int, cost: int, owed: int, terms: Terms) -> None:
        if cost > owed:
            currency = terms.pricing.tariff.currency
            self._add(
                f"Record {seq} charges {currency} {pico_to_decimal(cost):f}, and what it tells comes to "
                f"{pico_to_decimal(owed):f} by the terms of record {terms.seq}."
            )

    def _that_held(self, draft: UsageDraft | UptimeDraft) -> Terms | None:
        """The terms of that tariff that held when the work began: those that were changed while it ran were not its
        own. Where all of them are younger, by a clock that was set back, the oldest."""
        oldest = None
        for terms in reversed(self._terms):
            if terms.pricing.tariff.id == draft.tariff:
                oldest = terms
                if terms.t0_us <= draft.t0:
                    break
        return oldest

    def _add(self, what: str) -> None:
        self._count += 1
        if len(self._found) < NAMED:
            self._found.append(what)

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each of the first ones, and how many more there are."""
        more = self._count - len(self._found)
        return (*self._found, *([f"{more} more records charge what they should not."] if more else ()))


def pricing_of_record(draft: TariffDraft) -> Pricing:
    """The terms that a record tells. Raises ValueError (TariffError among them) where they are none."""
    tariff = Tariff.of_content(draft.currency, draft.content)
    if tariff.id != draft.tariff:
        raise TariffError(f"The tariff {draft.tariff} does not have the prices its id was made from.")
    return Pricing(
        mode=BillingMode(draft.mode),
        tariff=tariff,
        margin_ppm=draft.margin_ppm,
        base_rate_pico_per_hour=draft.base_rate,
        labor_rate_pico_per_hour=draft.labor_rate,
        ac_factor_ppm=PPM if draft.ac_factor_ppm is None else draft.ac_factor_ppm,
    )


def cost_of_record(pricing: Pricing, draft: UsageDraft | UptimeDraft) -> int:
    """Pico-units that the record comes to by `pricing`. Raises TariffError where its parts are not its energy's."""
    tariff = pricing.tariff
    parts, share_us = None, draft.dur_us
    if isinstance(draft, UsageDraft):
        parts = draft.e_parts
        share_us = draft.dur_us if draft.share_us is None else draft.share_us
    by_price = (
        tariff.spread(draft.e_uj, draft.t0, draft.t1)
        if parts is None
        else parts_by_price(tariff, parts, draft.e_uj, draft.t0)
    )
    return pricing.request_cost(by_price, share_us)
