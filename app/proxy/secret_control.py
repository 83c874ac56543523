"""The operator's verbs over the secrets of keys: another one in place of the old, and the present one told again.

Rule: both are deeds of the audit trail, so neither is a GET; what they answer holds a secret and is stored by nobody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from app.access.identify import Access
from app.access.key_secrets import GRACE_MOST_S, KeySecrets
from app.access.limits import LimitError
from app.access.refusals import Refusal
from app.proxy.bodies import read_body
from app.proxy.control import named, reply
from app.proxy.strict_json import parse_object
from app.proxy.witness import told

_SMALL_BODY_B = 4096


class SecretControl:
    """Handlers over the secrets. `address` is the gateway's URL."""

    def __init__(self, access: Access, secrets: KeySecrets, address: str) -> None:
        self._access = access
        self._secrets = secrets
        self._address = address

    def routes(self) -> dict[str, dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]]]:
        """Path → method → handler."""
        return {"/admin/keys/rotate": {"POST": self.rotate}, "/admin/keys/reveal": {"POST": self.reveal}}

    async def rotate(self, request: web.BaseRequest) -> web.Response:
        """`{"key": id or label, "grace_seconds"?}` → its new secret, in plain text this once; the old one goes on
        working for so long, or not at all. For an address of a key's own: its new path."""
        body = await self._body(request)
        grace = body.get("grace_seconds", 0)
        if type(grace) is not int or not 0 <= grace <= GRACE_MOST_S:
            raise Refusal(
                400,
                "invalid_value",
                f"grace_seconds must be a whole number from 0 to {GRACE_MOST_S} (31 days).",
            )
        made = await self._done(request, self._secrets.rotate(named(body, "key"), grace))
        return _secret({**made, "url": self._address + made["path"]} if "path" in made else made)

    async def reveal(self, request: web.BaseRequest) -> web.Response:
        """`{"key": id or label}` → its secret, where the vault keeps it."""
        body = await self._body(request)
        return _secret(await self._done(request, self._secrets.reveal(named(body, "key"))))

    async def _body(self, request: web.BaseRequest) -> dict[str, Any]:
        self._access.operator(request.headers, request.remote)
        return parse_object(await read_body(request, _SMALL_BODY_B))

    async def _done(self, request: web.BaseRequest, work: Awaitable[Mapping[str, Any]]) -> Mapping[str, Any]:
        try:
            done = await work
        except LookupError as error:
            raise Refusal(404, "key_not_found", str(error)) from None
        except LimitError as error:
            raise Refusal(400, "invalid_value", str(error)) from None
        told(request, (done["id"],))
        return done


def _secret(answer: Mapping[str, Any]) -> web.Response:
    response = reply(answer)
    response.headers["Cache-Control"] = "no-store"
    return response
