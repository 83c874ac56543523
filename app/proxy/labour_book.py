"""What the proxy asks of whoever records the contributor's own time, and how it is told.

Rule: no handlers here: the figures of `/stats` need it as well.
"""

from __future__ import annotations

from typing import Any, Protocol

from app.billing.money import pico_to_float
from app.ledger.drafts import LaborDraft
from app.ledger.heads import LabourSum
from app.ledger.parties import Client

US_PER_HOUR = 3_600_000_000


class NoRoomForLabour(Exception):
    """The spending cap has no room for it: `cost_pico` are needed and `room_pico` are left."""

    def __init__(self, cost_pico: int, room_pico: int) -> None:
        super().__init__("no room under the cap")
        self.cost_pico = cost_pico
        self.room_pico = room_pico


class LabourBook(Protocol):
    """What records labour."""

    def sum(self, log: str | None) -> LabourSum:
        """What was logged in one log, or (None) in all."""

    async def log(self, client: Client, dur_us: int, note: str, record_id: str) -> LaborDraft:
        """Record it durably. Raises NoRoomForLabour, LedgerError."""


def labour_json(labour: LabourSum) -> dict[str, Any]:
    """Hours and money, by the seed's names, and the exact integers."""
    return {
        "labor_hours": labour.dur_us / US_PER_HOUR,
        "labor_us": str(labour.dur_us),
        "labor_cost": pico_to_float(labour.cost_pico),
        "labor_cost_pico": str(labour.cost_pico),
    }
