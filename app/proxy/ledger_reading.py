"""The ledger for whoever checks it: a log's leaves, its signed checkpoints, and proofs of single records.

Rule 1: a client's key reads its own client's log and hears of no other; the operator names one with `?log=`, by the
log's name or its client's. Rule 2: leaves go out byte for byte as they were hashed, and a stream that cannot go on
breaks off instead of ending.

docs/ledger.md tells how these answers are checked by somebody who has never seen this program.
"""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Awaitable, Callable

from aiohttp import web

from app.access.identify import Access
from app.access.query import number, whole
from app.access.refusals import Refusal
from app.ledger.canonical import INT_MAX
from app.ledger.errors import LedgerError, NotInLog
from app.ledger.parties import log_named
from app.ledger.sqlite.store import Ledger
from app.proxy.control import reply

log = logging.getLogger(__name__)

AT_ONCE = 256
"""Leaves that are read and sent together: some 130 kB."""
TEXT = "text/plain; charset=utf-8"
LEAVES = "application/x-ndjson"
COSIGNED = "cosigned"
_PROOF = "/ledger/proof/"


class LedgerReading:
    """Handlers that need nothing but a key, and give nothing that they cannot prove."""

    def __init__(self, access: Access, ledger: Ledger) -> None:
        self._access = access
        self._ledger = ledger

    def routes(self) -> dict[str, dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]]]:
        """Path → method → handler."""
        return {
            "/ledger/logs": {"GET": self.logs},
            "/ledger/checkpoint": {"GET": self.checkpoint},
            "/ledger/entries": {"GET": self.entries},
            _PROOF + "*": {"GET": self.proof},
        }

    async def logs(self, request: web.BaseRequest) -> web.Response:
        """The logs that this key may read, and the verifier key of their checkpoints."""
        scope = self._access.identify(request.headers, request.remote).scope
        sizes = {claim.origin: claim.size for claim in self._ledger.newest()}
        return reply(
            {
                "vkey": self._ledger.vkey,
                "logs": [
                    {"log": client.log, "client": client.name, "size": sizes[client.log]}
                    for client in self._ledger.clients()
                    if client.log in sizes and scope in (None, client.log)
                ],
            }
        )

    async def checkpoint(self, request: web.BaseRequest) -> web.Response:
        """The newest signed note over the log, or with `?size=` the one over its first records; with `?known=` as well
        the longest up to there that whoever has read the first `known` records can check: of before the key changed."""
        name = self._log(request)
        size = await self._size(request, name)
        known = whole(request, "known", INT_MAX, 0, INT_MAX)
        try:
            if size is not None and known < size:
                note = await self._ledger.checkpoint_for(name, known, size)
            else:
                note = await self._ledger.checkpoint(name, size, cosigned=True)
        except NotInLog as error:
            raise Refusal(400, "invalid_value", str(error)) from None
        return web.Response(body=note.encode(), headers={"Content-Type": TEXT})

    async def entries(self, request: web.BaseRequest) -> web.StreamResponse:
        """The leaves from `?from=` (default 0) on, at most `?limit=` (default: all there are), one a line."""
        name = self._log(request)
        at = whole(request, "from", 0, 0, INT_MAX)
        left = whole(request, "limit", INT_MAX, 0, INT_MAX)
        try:
            part = await self._ledger.entries(name, at, min(left, AT_ONCE))
        except NotInLog as error:
            raise Refusal(400, "invalid_value", str(error)) from None
        response = web.StreamResponse(headers={"Content-Type": LEAVES})
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        while part:
            await response.write(b"\n".join(part) + b"\n")
            at, left = at + len(part), left - len(part)
            try:
                part = await self._ledger.entries(name, at, min(left, AT_ONCE))
            except LedgerError as error:
                log.error("The leaves of %s were cut off at %d: %s", name, at, error)
                if request.transport is not None:
                    request.transport.close()
                raise ConnectionResetError("The stream of leaves cannot go on.") from None
        return response

    async def proof(self, request: web.BaseRequest) -> web.Response:
        """Record number … of the log with the proof that it is in the newest tree, or in that of `?size=` records."""
        name = self._log(request)
        size = await self._size(request, name)
        path = request.raw_path.partition("?")[0]
        seq = number(path.removeprefix(_PROOF), "The record's number", 0, INT_MAX)
        try:
            found = await self._ledger.inclusion(name, seq, size)
        except NotInLog as error:
            raise Refusal(404, "record_not_found", str(error)) from None
        return reply(
            {
                "leaf": found.body.decode(),
                "seq": found.seq,
                "size": found.size,
                "proof": [b64encode(step).decode() for step in found.proof],
                "checkpoint": found.checkpoint,
            }
        )

    def _log(self, request: web.BaseRequest) -> str:
        """The log that is asked for; Refusal 401 to 403, 400 where one must be named, 404 for one not of this key."""
        principal = self._access.identify(request.headers, request.remote)
        asked = request.query.get("log")
        clients = [client for client in self._ledger.clients() if principal.scope in (None, client.log)]
        if (name := log_named(clients, asked)) is not None:
            return name
        if asked is None:
            some = ", ".join([client.log for client in clients[:8]] + ["…"] * (len(clients) > 8))
            raise Refusal(
                400, "log_required", f"There are {len(clients)} logs: name one with ?log= ({some})."
            )
        # To a client another's log sounds just like one that never was.
        raise Refusal(404, "log_not_found", f"There is no log {asked!r:.80} for this key.")

    async def _size(self, request: web.BaseRequest, log: str) -> int | None:
        """The size that is asked for: None is the newest, `cosigned` the newest that a receiver has cosigned."""
        if request.query.get("size") != COSIGNED:
            return whole(request, "size", 0, 1, INT_MAX) or None
        try:
            return await self._ledger.cosigned_size(log)
        except NotInLog as error:
            raise Refusal(404, "not_cosigned", str(error)) from None
