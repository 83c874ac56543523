"""How the proxy says no.

Rule 1: whoever refuses raises `Refusal` with a status, a code for machines and one sentence for people; only
the dialect of the path decides how it is written down. Rule 2: a refusal never repeats anything secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from app.access.rates import KeyRate, openai_headers

_NONE: Mapping[str, str] = MappingProxyType({})


class Refusal(Exception):
    """A request that will not be served.

    `code` is stable and machine-readable (`invalid_api_key`, `cap_reached`, ...); `retry_after_s` becomes the
    Retry-After header where waiting helps, `headers` are further ones, and `rates` what is said of those that were
    exhausted.
    """

    def __init__(
        self,
        status: int,
        code: str,
        sentence: str,
        *,
        retry_after_s: int | None = None,
        headers: Mapping[str, str] = _NONE,
        rates: tuple[KeyRate, ...] = (),
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = sentence
        self.retry_after_s = retry_after_s
        self.headers = {**headers, **openai_headers(rates)} if rates else headers
        self.rates = rates


def not_found() -> Refusal:
    """The answer to every path that is not in the table."""
    return Refusal(404, "not_found", "There is no such endpoint here.")


def management_forbidden() -> Refusal:
    """The answer to the engine's own management endpoints, whoever asks."""
    return Refusal(403, "management_forbidden", "The engine's management endpoints are not shared.")


def foreign_page() -> Refusal:
    """The answer to what a web page of somebody else's had a browser send."""
    return Refusal(
        403,
        "foreign_page",
        "A web page of another origin sent this request; only the gateway's own and those in cors_origins may.",
    )


def unknown_host() -> Refusal:
    """The answer to what a program on this machine sent under a name that is not this machine's."""
    return Refusal(
        403,
        "unknown_host",
        "The Host header names another machine: use localhost or an address, or add the name to allowed_hosts.",
    )
