"""What was spent and when, as the ledger tells it to whoever keeps to a sum for a day or a month.

Rule: pure; a record counts in the quarter of an hour in which its work ended (`t1`, or `t0` where it took no time).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spent:
    """A sum in pico-units over the records of one log, one key (None: of no key) and one quarter of an hour."""

    log: str
    key: str | None
    quarter: int
    cost_pico: int


@dataclass(frozen=True, slots=True)
class SpentSince:
    """Everything from the quarter `known_from` on; `total_pico` is the sum over all records, older ones too."""

    total_pico: int
    known_from: int
    parts: tuple[Spent, ...]

    def quarters(self, log: str | None = None, key: str | None = None) -> Mapping[int, int]:
        """Quarter → sum in pico-units; of one log, of one key, or of all."""
        sums: dict[int, int] = {}
        for part in self.parts:
            if (log is None or part.log == log) and (key is None or part.key == key):
                sums[part.quarter] = sums.get(part.quarter, 0) + part.cost_pico
        return sums
