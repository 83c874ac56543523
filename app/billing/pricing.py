"""From energy and time to money.

Rule 1: one rounding. A bill is one exact fraction, rounded half-even at its very end.
Rule 2: a ceiling is never too low: it is made of exact fractions too, and rounds up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from app.basics.rounding import round_half_even
from app.billing.tariff import Tariff

UJ_PER_KWH = 3_600_000_000_000
US_PER_HOUR = 3_600_000_000
PPM = 1_000_000

# Energy × AC factor × price is in pico × µJ/kWh × ppm and base rate × time in pico × µs/h: one denominator for both,
# margin included.
_DENOMINATOR = UJ_PER_KWH * PPM * PPM
_BASE_FACTOR = UJ_PER_KWH // US_PER_HOUR * PPM


class BillingMode(StrEnum):
    """What a request pays for."""

    MARGINAL = "marginal"
    """The watts it adds to an idle machine."""
    DEDICATED = "dedicated"
    """All the watts for the whole uptime, and a base rate."""


@dataclass(frozen=True, slots=True)
class Pricing:
    """The terms of a bill. Rates are pico-units per hour; `margin_ppm` 100000 is 10 % on top."""

    mode: BillingMode
    tariff: Tariff
    margin_ppm: int
    base_rate_pico_per_hour: int
    labor_rate_pico_per_hour: int
    ac_factor_ppm: int = PPM
    """What the socket gives for what the meter counts: 1090000 where the power supply loses 9 % on top."""

    def __post_init__(self) -> None:
        if self.margin_ppm < -PPM:
            raise ValueError("The margin cannot take away more than the whole price; choose -100 % or more.")
        if self.base_rate_pico_per_hour < 0 or self.labor_rate_pico_per_hour < 0:
            raise ValueError("An hourly rate cannot be negative; choose 0 or more.")
        if self.ac_factor_ppm < 0:
            raise ValueError("The AC factor cannot be negative; choose 1 or more.")

    @property
    def charges_time(self) -> bool:
        """Whether time costs anything by itself."""
        return self.mode is BillingMode.DEDICATED and self.base_rate_pico_per_hour > 0

    def request_cost(self, energy_by_price: Sequence[tuple[int, int]], share_us: int) -> int:
        """Pico-units for one request, or for a stretch of uptime:
        (energy × AC factor × price + share of the time × base rate) × (1 + margin).

        `energy_by_price` holds (energy_uj, price_pico_per_kwh) pairs as `Tariff.spread` makes them; `share_us` is
        the request's share of wall time, which only dedicated mode charges, at the base rate.
        """
        exact = 0
        for energy_uj, price in energy_by_price:
            exact += energy_uj * price
        exact *= self.ac_factor_ppm
        if self.mode is BillingMode.DEDICATED:
            exact += self.base_rate_pico_per_hour * share_us * _BASE_FACTOR
        return round_half_even(exact * (PPM + self.margin_ppm), _DENOMINATOR)

    def ceiling(self, watts: float, seconds: float, t_us: int) -> int:
        """The most that `seconds` at `watts` from wall time `t_us` on can cost: for a hold; never negative.

        Taken at the dearest price of the period, rounded up. Raises ValueError for NaN, OverflowError for
        infinities; what is below zero counts as zero.
        """
        energy_uj, span_us = _at_most(watts, seconds)
        if not span_us:
            return 0
        exact = energy_uj * self.ac_factor_ppm * max(0, self.tariff.highest_price(t_us, t_us + span_us))
        if self.mode is BillingMode.DEDICATED:
            exact += self.base_rate_pico_per_hour * span_us * _BASE_FACTOR
        return -(-exact * (PPM + self.margin_ppm) // _DENOMINATOR)

    def labor_cost(self, dur_us: int) -> int:
        """Pico-units for work logged by hand. The labour rate is a price already: no margin is added."""
        if dur_us < 0:
            raise ValueError("Work cannot take less than no time; log a positive duration.")
        return round_half_even(self.labor_rate_pico_per_hour * dur_us, US_PER_HOUR)


@lru_cache(maxsize=64)
def _at_most(watts: float, seconds: float) -> tuple[int, int]:
    """(microjoules, microseconds), both rounded up from the exact product. Cached: holds repeat the same figures."""
    watts_top, watts_bottom = watts.as_integer_ratio()
    seconds_top, seconds_bottom = seconds.as_integer_ratio()
    if seconds_top <= 0:
        return 0, 0
    energy_uj = -(-max(0, watts_top) * seconds_top * 1_000_000 // (watts_bottom * seconds_bottom))
    return energy_uj, -(-seconds_top * 1_000_000 // seconds_bottom)
