"""Where a model's file may come from: which addresses are asked at all, and which never.

Rule 1: every hop of a redirect passes the same check as the first address. Rule 2: the address that was checked is the
address that is connected to, so that a name cannot mean another machine a moment later. Rule 3: this machine, its
network and its cloud's metadata are out of reach, unless the operator listed that very host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from app.basics.addresses import is_metadata, is_public, parsed
from app.basics.resolving import Addresses, CheckedResolver, system_addresses
from app.basics.threads import Aside
from app.models.base import ModelError

_LONGEST = 4096
_is_host = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,252}[a-z0-9_])?").fullmatch
_ASCII = "".join(chr(code) for code in range(33, 127))


class Refused(ModelError):
    """It is not allowed, whatever comes; nothing was fetched."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator allows. `hosts` may begin with `*.` for everything below a name."""

    hosts: tuple[str, ...]
    http: bool
    """Unencrypted too."""
    most_b: int
    """The largest file."""


def shown(url: str) -> str:
    """An address for logs, records and people: without its query, which often holds a secret."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))[:200]


def checked(url: str, rules: Rules) -> str:
    """`url` as it is asked for, without its fragment. Raises Refused with a sentence."""
    if len(url) > _LONGEST or any(character <= " " or character in "\\\x7f" for character in url):
        raise Refused("The address holds a character that no address has, or is too long: check it.")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise Refused("The address cannot be read: write it like https://host/path/model.gguf.") from None
    if parts.scheme == "http" and not rules.http:
        raise Refused(
            "The address is not encrypted: use https, or turn on «Plain http for models» (model_update_http)."
        )
    if parts.scheme not in ("http", "https") or not host:
        raise Refused("The address must begin with https://: write it like https://host/path/model.gguf.")
    if parts.username is not None or parts.password is not None:
        raise Refused("The address holds a user's name or password: leave them out.")
    host = _plain(host)
    if not host.isascii():
        raise Refused("The host's name holds letters that addresses do not have: write it as xn--….")
    if _is_host(host) is None and (":" not in host or parsed(host) is None):
        raise Refused("The address cannot be read: write it like https://host/path/model.gguf.")
    if not is_listed(host, rules.hosts):
        raise Refused(
            f"Models may not come from {host[:100]}: add it to «Where models may come from» (model_update_hosts)."
        )
    if (address := parsed(host)) is not None:
        _require_public(host, str(address), rules)
    # What is not ASCII is written as browsers write it; everything else stays as it was signed.
    try:
        path, query = quote(parts.path or "/", safe=_ASCII), quote(parts.query, safe=_ASCII)
    except UnicodeEncodeError:
        # Half of a surrogate pair, which JSON lets through.
        raise Refused(
            "The address holds a character that no address has, or is too long: check it."
        ) from None
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def is_listed(host: str, hosts: tuple[str, ...]) -> bool:
    """Whether a host is in the list, by name or below a `*.` name."""
    return any(
        host.endswith(entry[1:]) if entry.startswith("*.") else host == _plain(entry)
        for entry in (entry.lower() for entry in hosts)
    )


def _plain(host: str) -> str:
    return host.lower().rstrip(".")


def _require_public(host: str, address: str, rules: Rules) -> None:
    """Raises Refused where `address` is no business of a stranger's and `host` is not listed by its very name."""
    by_name = host in {_plain(entry) for entry in rules.hosts}
    if is_public(address) or (by_name and not (parsed(host) is None and is_metadata(address))):
        return
    raise Refused(
        f"{host[:100]} leads to {address}, which is not on the public internet: list that host by its own name in "
        "model_update_hosts if models really come from there."
    )


def resolver(rules: Rules, aside: Aside, addresses: Addresses = system_addresses) -> CheckedResolver:
    """A resolver for aiohttp that gives only addresses that `rules` allow; it raises Refused, OSError."""
    return CheckedResolver(
        lambda host, address, _: _require_public(_plain(host), address, rules), aside, addresses
    )
