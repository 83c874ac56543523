"""What an answer's headers say of a key's rate, and of an engine that has no room."""

from __future__ import annotations

from app.access.allowances import Grant
from app.basics.clock import wall_us
from app.proxy.dialects.base import Dialect

ENGINE_BUSY_S = 5


def rate_headers(grant: Grant, dialect: Dialect) -> dict[str, str]:
    """The rates under which a request was granted, in the names of every answer and those of its dialect."""
    if not grant.rates:
        return {}
    return grant.headers | dialect.rate_headers(grant.rates, wall_us())


def busy(status: int) -> dict[str, str]:
    """Retry-After for an engine's own answer that it has too much to do: no such status leaves without."""
    return {"Retry-After": str(ENGINE_BUSY_S)} if status in (429, 503) else {}
