"""`/admin/labor`: the operator logs work done for a client, which is billed by LABOR_RATE_PER_HOUR.

Rule: who asks twice with the same id is billed once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from app.access.identify import Access
from app.access.refusals import Refusal
from app.basics.clock import wall_us
from app.basics.rounding import round_half_even
from app.billing.money import format_money, pico_to_float
from app.ledger.drafts import TEXT_MAX
from app.ledger.errors import DuplicateRecord
from app.ledger.ids import is_id, new_id
from app.ledger.parties import Client, client_named
from app.ledger.sqlite.store import Ledger
from app.proxy.bodies import read_body
from app.proxy.control import reply
from app.proxy.labour_book import US_PER_HOUR, LabourBook, NoRoomForLabour, labour_json
from app.proxy.strict_json import parse_object
from app.proxy.witness import told

_SMALL_BODY_B = 8192
HOURS_MOST = 744
"""A month of days and nights; more at once is a slip of the hand."""


class LabourControl:
    """Handlers of `/admin/labor`."""

    def __init__(self, access: Access, ledger: Ledger, book: LabourBook, currency: Callable[[], str]) -> None:
        self._access = access
        self._ledger = ledger
        self._book = book
        self._currency = currency

    def routes(self) -> dict[str, dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]]]:
        """Path → method → handler."""
        return {"/admin/labor": {"GET": self.sums, "POST": self.log}}

    async def sums(self, request: web.BaseRequest) -> web.Response:
        """What was logged for each client, and in all."""
        self._access.operator(request.headers, request.remote)
        clients = [
            {"client": client.name, **labour_json(self._book.sum(client.log))}
            for client in self._ledger.clients()
        ]
        return reply({**labour_json(self._book.sum(None)), "currency": self._currency(), "clients": clients})

    async def log(self, request: web.BaseRequest) -> web.Response:
        """`{"hours", "note"?, "client"?, "id"?}` → what was recorded. `hours` is a number, or exact as a text; `id`, a
        UUIDv7 of the caller's own, makes a second try harmless: it is answered 409."""
        self._access.operator(request.headers, request.remote)
        body = parse_object(await read_body(request, _SMALL_BODY_B))
        unknown = sorted(set(body) - {"hours", "note", "client", "id"})
        if unknown:
            raise Refusal(400, "invalid_value", f"{unknown[0]:.64} is nothing that can be said of labour.")
        dur_us = _duration_us(body.get("hours"))
        note = _note(body.get("note"))
        record_id = body.get("id")
        if record_id is None:
            record_id = new_id(wall_us())
        elif not isinstance(record_id, str) or not is_id(record_id):
            raise Refusal(400, "invalid_value", "id must be a UUID of version 7, in lower case.")
        client = self._client(body)
        currency = self._currency()
        try:
            draft = await self._book.log(client, dur_us, note, record_id)
        except NoRoomForLabour as error:
            raise Refusal(
                402,
                "cap_reached",
                f"This costs {format_money(error.cost_pico, currency)}, and the spending cap leaves room for "
                f"{format_money(error.room_pico, currency)}: raise the cap first. Nothing was recorded.",
            ) from None
        except DuplicateRecord:
            raise Refusal(409, "already_recorded", f"{record_id} is in the ledger already.") from None
        told(request, (draft.id,))
        return reply(
            {
                "id": draft.id,
                "client": client.name,
                "hours": draft.dur_us / US_PER_HOUR,
                "note": draft.note,
                "cost": pico_to_float(draft.cost),
                "cost_pico": str(draft.cost),
                "currency": currency,
            },
            201,
        )

    def _client(self, body: Mapping[str, Any]) -> Client:
        name = body.get("client")
        clients = self._ledger.clients()
        if name is None:
            return clients[0]
        client = client_named(clients, name)
        if client is None:
            raise Refusal(404, "client_not_found", f"There is no client {name!r:.80}.")
        return client


def _duration_us(hours: object) -> int:
    """Microseconds; a number's shortest digits are what was meant."""
    try:
        if isinstance(hours, bool) or not isinstance(hours, int | float | str) or len(str(hours)) > 32:
            raise InvalidOperation
        exact = Decimal(str(hours))
        if not exact.is_finite() or not 0 < exact <= HOURS_MOST:
            raise InvalidOperation
    except InvalidOperation:
        raise Refusal(
            400, "invalid_value", f"hours must be a number above 0 and at most {HOURS_MOST}, like 1.5."
        ) from None
    top, bottom = exact.as_integer_ratio()
    dur_us = round_half_even(top * US_PER_HOUR, bottom)
    if not dur_us:
        raise Refusal(400, "invalid_value", "hours must be a microsecond at least.")
    return dur_us


def _note(note: object) -> str:
    if note is None:
        return ""
    if not isinstance(note, str) or len(note) > TEXT_MAX or not note.isprintable():
        raise Refusal(
            400, "invalid_value", f"note must be a text of at most {TEXT_MAX} printable characters."
        )
    return note.strip()
