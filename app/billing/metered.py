"""A request's energy, each part of it at the price that held when it was metered.

Rule 1: what was metered before a price changed is never priced anew: a reading divides only what is new since the one
before it, evenly over the time between the two. Rule 2: the parts add up to the energy exactly, none is below zero, and
they follow one another in time: whoever holds the parts and the tariff can price them again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

from app.billing.tariff import Tariff, TariffError


class MeteredEnergy:
    """Hand it every reading with `upto`. Wall time in µs, energy in µJ."""

    __slots__ = ("_at_us", "_energy_uj", "_parts", "_tariff")

    def __init__(self, tariff: Tariff, t0_us: int) -> None:
        self._tariff = tariff
        self._at_us = t0_us
        self._energy_uj = 0
        self._parts = [(t0_us, 0)]

    def upto(self, energy_uj: int, t_us: int) -> None:
        """All in all `energy_uj` was used before `t_us`. Less than was said before, where the meter has corrected
        itself, is taken from the newest parts; time that goes back stands still."""
        more = energy_uj - self._energy_uj
        self._energy_uj = energy_uj
        if self._tariff.flat_price is not None:
            self._parts[0] = (self._parts[0][0], energy_uj)
            return
        t_us = max(t_us, self._at_us)
        stretches = self._tariff.split(self._at_us, t_us)
        whole = t_us - self._at_us
        if more <= 0 or not whole:
            self._add(self._parts[-1][0], more)
        given = 0
        for from_us, until_us, _ in stretches:
            reached = more * (until_us - self._at_us) // whole if more > 0 else 0
            # A stretch that begins where the last reading was goes on with the price of that, unless it changed there.
            same = from_us < self._tariff.changes_after(self._parts[-1][0])
            self._add(self._parts[-1][0] if same else from_us, reached - given)
            given = reached
        self._at_us = t_us

    def _add(self, from_us: int, energy_uj: int) -> None:
        if from_us != self._parts[-1][0]:
            self._parts.append((from_us, 0))
        for place in reversed(range(len(self._parts))):
            since_us, had = self._parts[place]
            self._parts[place] = (since_us, max(0, had + energy_uj))
            energy_uj = min(0, had + energy_uj)
            if not energy_uj:
                return

    @property
    def by_price(self) -> tuple[tuple[int, int], ...]:
        """(energy_uj, price_pico_per_kwh) pairs, for `Pricing.request_cost`."""
        return tuple((energy_uj, self._tariff.price_at(from_us)) for from_us, energy_uj in self._parts)

    @property
    def text(self) -> str | None:
        """The parts as a record tells them, «[[from_us,energy_uj],…]»; None where one price held all the time."""
        return None if len(self._parts) == 1 else json.dumps(self._parts, separators=(",", ":"))


def parts_by_price(tariff: Tariff, text: str, energy_uj: int, t0_us: int) -> Sequence[tuple[int, int]]:
    """(energy_uj, price_pico_per_kwh) pairs from what `MeteredEnergy.text` said of `energy_uj` from `t0_us` on.

    Raises TariffError where the parts are not those of such energy under this tariff.
    """
    try:
        parts = [(int(from_us), int(part_uj)) for from_us, part_uj in json.loads(text)]
    except (ValueError, TypeError):
        raise TariffError("The parts of its energy cannot be read.") from None
    if not parts or parts[0][0] != t0_us:
        raise TariffError("The parts of its energy do not begin when it began.")
    for (before_us, _), (from_us, _) in pairwise(parts):
        if from_us <= before_us or tariff.changes_after(from_us - 1) != from_us:
            raise TariffError("A part of its energy begins where no price changes.")
    if min(part_uj for _, part_uj in parts) < 0 or sum(part_uj for _, part_uj in parts) != energy_uj:
        raise TariffError("The parts of its energy do not add up to the whole.")
    return [(part_uj, tariff.price_at(from_us)) for from_us, part_uj in parts]
