"""`POST /admin/statement`: a client's month, signed by the gateway whose log it is of.

Rule: the operator asks; records are read and added up beside the loop, part by part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from app.access.identify import Access
from app.access.refusals import Refusal
from app.basics.clock import wall_us
from app.basics.zones import local_zone, zone_named
from app.ledger.checkpoint import Signer, parse_checkpoint
from app.ledger.parties import log_named
from app.ledger.sqlite.store import Ledger
from app.ledger.statement import Gathering, Month, sign_statement
from app.proxy.bodies import read_body
from app.proxy.control import reply
from app.proxy.statement_page import statement_csv, statement_page, with_signature
from app.proxy.strict_json import parse_object

AT_ONCE = 1024
_SMALL_BODY_B = 8192


class StatedLedger(Protocol):
    """A ledger, as far as a statement is made of it."""

    async def checkpoint(self, log_id: str, size: int | None = None, *, cosigned: bool = False) -> str:
        """See `Readings.checkpoint`."""

    async def entries(self, log_id: str, from_seq: int, limit: int) -> tuple[bytes, ...]:
        """See `Readings.entries`."""


class NoMonth(ValueError):
    """The month or the zone is none; `str()` is one sentence."""


@dataclass(frozen=True, slots=True)
class IssuedStatement:
    """The files of a statement, by their endings."""

    log: str
    client: str
    month: str
    files: Mapping[str, str]


def month_of(text: str, zone_name: str | None) -> Month:
    """The month `text` (YYYY-MM) in the zone of that name, or this machine's. Raises NoMonth."""
    zone = local_zone() if zone_name is None else zone_named(zone_name)
    if zone is None:
        if zone_name is None:
            raise NoMonth("This machine does not say which time zone it is in: name one with --time-zone.")
        raise NoMonth(f"There is no time zone {zone_name!r:.60}: write it like Europe/Berlin.")
    try:
        return Month.of(text, zone.key, zone)
    except (ValueError, OverflowError):
        raise NoMonth(f"{text!r:.40} is no month: write it like 2026-08.") from None


async def issue(ledger: StatedLedger, log: str, month: Month, signer: Signer) -> IssuedStatement:
    """The month's statement of `log`, up to its newest checkpoint. Raises LedgerError."""
    note = await ledger.checkpoint(log, cosigned=True)
    size, at = parse_checkpoint(note)[0].size, 0
    gathered = Gathering(month)
    while at < size:
        bodies = await ledger.entries(log, at, min(AT_ONCE, size - at))
        await asyncio.to_thread(gathered.read, bodies)
        at += len(bodies)
    data = gathered.data(note, signer.vkey)
    page = statement_page(data, over=wall_us() >= month.to_us)
    table = statement_csv(data)
    signed = sign_statement(signer, log, month.text, {"html": page.encode(), "json": data, "csv": table})
    files = {"html": with_signature(page, signed), "json": data.decode(), "csv": table.decode()}
    return IssuedStatement(log, gathered.client, month.text, files)


class Statements:
    """Handler of `/admin/statement`."""

    def __init__(self, access: Access, ledger: Ledger) -> None:
        self._access = access
        self._ledger = ledger

    def routes(self) -> dict[str, dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]]]:
        """Path → method → handler."""
        return {"/admin/statement": {"POST": self.issue}}

    async def issue(self, request: web.BaseRequest) -> web.Response:
        """`{"log", "month", "time_zone"}`: the log may be named by its client, and left out where there is one."""
        self._access.operator(request.headers, request.remote)
        body = parse_object(await read_body(request, _SMALL_BODY_B))
        zone = _text(body, "time_zone")
        try:
            month = month_of(_text(body, "month") or "", zone)
        except NoMonth as error:
            raise Refusal(400, "invalid_value", str(error)) from None
        log = log_named(self._ledger.clients(), _text(body, "log"))
        if log is None:
            raise Refusal(
                404, "log_not_found", "Name the log, or its client: there is none such, or several."
            )
        made = await issue(self._ledger, log, month, self._ledger.signer)
        return reply({"log": made.log, "client": made.client, "month": made.month, "files": dict(made.files)})


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) else None
