"""`_gateway`: what a request took and cost, as every answer carries it.

The names and the rounding are the seed's, with exact integers beside them as strings: pico-units of the currency
and microjoules do not fit a JSON number. A request of 59 W for 3.42 s at 0.15 per kWh reads 0.0561 Wh and
0.0000084075.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal

from app.billing.money import pico_to_float
from app.proxy.dialects.base import Tokens

_THREE_FIGURES = Context(prec=3, rounding=ROUND_HALF_UP)
_UJ_PER_WH = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Figures:
    """One settled request in the units of the house."""

    request_id: str
    outcome: str
    dur_us: int
    energy_uj: int
    low_uj: int
    high_uj: int
    """The ends of the energy's 95 % interval."""
    formula_uj: int
    """What the watts of the settings alone come to."""
    energy_source: str
    cost_pico: int
    spent_pico: int
    remaining_pico: int
    currency: str
    billing_mode: str
    tokens: Tokens


def three_figures(numerator: int, denominator: int) -> float:
    """`numerator / denominator` to three significant figures, half up, as people round."""
    if numerator == 0:
        return 0.0
    return float(_THREE_FIGURES.divide(Decimal(numerator), Decimal(denominator)))


def gateway_json(figures: Figures) -> bytes:
    """The value of `_gateway` as JSON. It is built on every request, so by hand: only plain numbers and names
    of our own go in, and the request's id and the currency, which hold no character that JSON escapes."""
    dur_us = figures.dur_us
    # µJ / µs = W
    watts = round(figures.energy_uj / dur_us, 1) if dur_us > 0 else 0.0
    whole = int(watts)
    tokens = figures.tokens
    return (
        f'{{"duration_seconds":{round(dur_us / 1e6, 4)}'
        f',"marginal_watts":{whole if whole == watts else watts}'
        f',"energy_wh":{three_figures(figures.energy_uj, _UJ_PER_WH)}'
        f',"energy_wh_low":{three_figures(figures.low_uj, _UJ_PER_WH)}'
        f',"energy_wh_high":{three_figures(figures.high_uj, _UJ_PER_WH)}'
        f',"energy_wh_by_formula":{three_figures(figures.formula_uj, _UJ_PER_WH)}'
        f',"estimated_cost":{pico_to_float(figures.cost_pico)}'
        f',"total_cost":{pico_to_float(figures.spent_pico)}'
        f',"budget_remaining":{pico_to_float(figures.remaining_pico)}'
        f',"billing_mode":"{figures.billing_mode}"'
        f',"request_id":"{figures.request_id}"'
        f',"outcome":"{figures.outcome}"'
        f',"energy_source":"{figures.energy_source}"'
        f',"prompt_tokens":{"null" if tokens.prompt is None else tokens.prompt}'
        f',"completion_tokens":{"null" if tokens.completion is None else tokens.completion}'
        f',"token_source":"{tokens.source}"'
        f',"currency":"{figures.currency}"'
        f',"energy_uj":"{figures.energy_uj}"'
        f',"estimated_cost_pico":"{figures.cost_pico}"'
        f',"total_cost_pico":"{figures.spent_pico}"'
        f',"budget_remaining_pico":"{figures.remaining_pico}"}}'
    ).encode()
