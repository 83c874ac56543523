"""Who notes in the audit trail what was refused and what was administered, whatever handler answered.

Rule: of a request nothing is noted that its sender chose freely: its endpoint as the table has it, its method, and
whose key it was; what a handler wants named besides, it says itself (`told`), and that is names, never values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aiohttp import hdrs, web

from app.access.deeds import NAMES_MOST, Deed
from app.access.identify import Access
from app.access.refusals import Refusal
from app.proxy.manners import Request

_REFUSED = frozenset({401, 402, 403, 404, 429})
"""What was wrong with the sender, not with what was sent or with us."""
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def told(request: web.BaseRequest, names: Iterable[str]) -> None:
    """Have `names` stand beside what was done: of settings, of a key, of a model."""
    if isinstance(request, Request):
        request.told = ", ".join(names)[:NAMES_MOST]


class Witness:
    """Sees every answer."""

    def __init__(self, access: Access, note: Callable[[Deed], None]) -> None:
        self._access = access
        self._note = note

    def refused(self, request: web.BaseRequest, endpoint: str, refusal: Refusal) -> None:
        """A request ended with `refusal`; `endpoint` is as the table has it, or empty."""
        if refusal.status in _REFUSED or _administers(request, endpoint):
            self._note(self._deed(request, endpoint, refusal.status, refusal.code))

    def answered(self, request: web.BaseRequest, endpoint: str, status: int) -> None:
        """A request was answered."""
        if not _administers(request, endpoint):
            return
        code = "" if status < 400 else f"http_{status}"
        self._note(self._deed(request, endpoint, status, code, getattr(request, "told", "")))

    def _deed(self, request: web.BaseRequest, endpoint: str, status: int, code: str, note: str = "") -> Deed:
        method = request.method if request.method in hdrs.METH_ALL else "?"
        principal = self._access.known(request.headers)
        return Deed(
            key="" if principal is None else principal.key,
            address=self._access.origin(request.headers, request.remote) or "?",
            action=f"{method} {endpoint}".rstrip(),
            status=status,
            code=code,
            note=note,
        )


def _administers(request: web.BaseRequest, endpoint: str) -> bool:
    return request.method not in _READING and (endpoint == "/config" or endpoint.startswith("/admin/"))
