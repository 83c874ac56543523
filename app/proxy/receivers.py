"""The operator's say over who gets a copy of the ledger: which client's log goes to which receiver of its own.

Rule: the line that a receiver printed comes in, and its secret never goes out again. A comparison is asked for here
because only the gateway may use that secret.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from app.access.identify import Access
from app.access.refusals import Refusal
from app.face import DeliveriesFace
from app.ledger.evidence import write_evidence
from app.ledger.invitation import NoInvitation, parse_invitation
from app.ledger.parties import Client, client_named
from app.ledger.sqlite.store import Ledger
from app.proxy.bodies import read_body
from app.proxy.control import reply
from app.proxy.receipts import receipts_json
from app.proxy.strict_json import parse_object

_SMALL_BODY_B = 8192


class Receivers:
    """Handlers of `/admin/receivers`."""

    def __init__(self, access: Access, ledger: Ledger, deliveries: DeliveriesFace) -> None:
        self._access = access
        self._ledger = ledger
        self._deliveries = deliveries

    def routes(self) -> dict[str, dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]]]:
        """Path → method → handler."""
        return {
            "/admin/receivers": {"GET": self.all, "POST": self.enrol, "DELETE": self.withdraw},
            "/admin/receivers/reconcile": {"POST": self.reconcile},
        }

    async def all(self, request: web.BaseRequest) -> web.Response:
        """Every receiver, and how far it is."""
        self._access.operator(request.headers, request.remote)
        names = {client.log: client.name for client in self._ledger.clients()}
        receipts = self._deliveries.receipts()
        told = receipts_json(receipts, to_client=False)
        return reply(
            {
                "receivers": [
                    {
                        "client": names.get(view.log, ""),
                        **one,
                        "key": view.vkey or None,
                        "checkpoint": view.checkpoint or None,
                    }
                    for view, one in zip(receipts, told, strict=True)
                ]
            }
        )

    async def enrol(self, request: web.BaseRequest) -> web.Response:
        """`{"client", "line"}`: deliver that client's log to the receiver whose line it is, from now on."""
        client, asked = await self._asked(request)
        line = asked.get("line")
        if not isinstance(line, str):
            raise Refusal(400, "invalid_value", "line must be what `receiver enrol` printed.")
        try:
            invitation = parse_invitation(line)
            await self._deliveries.enrol(client, invitation)
        except NoInvitation as error:
            raise Refusal(400, "invalid_value", str(error)) from None
        return reply({"client": client.name, "receiver": invitation.url, "key": invitation.vkey})

    async def withdraw(self, request: web.BaseRequest) -> web.Response:
        """`{"client"}`: deliver that client's log to no receiver of its own any more."""
        client, _ = await self._asked(request)
        if not await self._deliveries.withdraw(client):
            raise Refusal(404, "receiver_not_found", f"{client.name} has no receiver of its own.")
        return reply({"client": client.name, "receiver": None})

    async def reconcile(self, request: web.BaseRequest) -> web.Response:
        """`{"client", "every_record"}`: hold that client's log against its receiver's copy, and say what came of it."""
        client, asked = await self._asked(request)
        found = await self._deliveries.reconcile(client, every_record=asked.get("every_record") is True)
        if found is None:
            raise Refusal(404, "receiver_not_found", f"{client.name} has no receiver of its own.")
        told = {"verdict": str(found.verdict), "sentence": found.sentence, "seq": found.first}
        return reply({"log": found.log, **told, "evidence": write_evidence(found)})

    async def _asked(self, request: web.BaseRequest) -> tuple[Client, Mapping[str, Any]]:
        self._access.operator(request.headers, request.remote)
        body = parse_object(await read_body(request, _SMALL_BODY_B))
        named = body.get("client")
        client = client_named(self._ledger.clients(), named)
        if client is None:
            raise Refusal(
                404, "client_not_found", f"There is no client {named!r:.80}: create a key for it first."
            )
        return client, body
