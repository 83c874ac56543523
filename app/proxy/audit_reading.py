"""The audit trail for the operator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from app.access.client_keys import ClientKeys
from app.access.deeds import DeedLine
from app.access.identify import Access
from app.access.query import number, whole
from app.access.refusals import Refusal
from app.access.trail import Trail
from app.proxy.control import reply

MOST_AT_ONCE = 1000


class AuditReading:
    """Handlers over the trail."""

    def __init__(self, access: Access, keys: ClientKeys, trail: Trail) -> None:
        self._access = access
        self._keys = keys
        self._trail = trail

    def routes(self) -> dict[str, dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]]]:
        """Path → method → handler."""
        return {"/admin/audit": {"GET": self.lines}}

    async def lines(self, request: web.BaseRequest) -> web.Response:
        """`?from=` the number of a line, `?limit=`: lines from there on, or the newest ones; oldest first. `next` is
        where to ask on from, also later."""
        self._access.operator(request.headers, request.remote)
        given = request.query.get("from")
        begin = None if given is None else number(given, "from", 0, 2**62)
        limit = whole(request, "limit", 100, 1, MOST_AT_ONCE)
        try:
            lines = await self._trail.entries(begin, limit)
        except (OSError, TimeoutError) as error:
            raise Refusal(
                500, "audit_unreadable", str(error) or "The audit trail cannot be read now."
            ) from None
        labels = {key["id"]: str(key["label"]) for key in self._keys.all()} | {"operator": "operator"}
        after = (lines[-1].id or 0) + 1 if lines else begin or 0
        return reply(
            {"entries": [line_json(line, labels.get(line.deed.key, "")) for line in lines], "next": after}
        )


def line_json(line: DeedLine, label: str = "") -> dict[str, object]:
    """A line for a program; times are seconds since the epoch."""
    deed = line.deed
    return {
        "id": line.id,
        "first": line.first_us / 1e6,
        "last": line.last_us / 1e6,
        "count": line.count,
        "key": deed.key or None,
        "label": label,
        "address": deed.address,
        "action": deed.action,
        "result": "refused" if deed.code else "done",
        "status": deed.status,
        "code": deed.code or None,
        "note": deed.note,
    }
