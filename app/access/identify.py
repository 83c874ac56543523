"""Step 1, identify: whose request is this?

Rule 1: every wrong key gets the same answer after the same work: one SHA-256 and one comparison. Keys are 256
random bits, so a fast hash is enough and nothing about a key can be learned from timing.
Rule 2: an address that fails 20 times within a minute hears 429 until the minute is over, right key or not.
Rule 3: the operator's token works from this machine only, unless `remote_admin` is on; what a tunnel or a proxy on
this machine hands on comes from where they say (see `origin`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.access.origin import origin
from app.access.refusals import Refusal

FAILURES_A_MINUTE = 20
ADDRESSES_REMEMBERED = 10_000
_MINUTE_US = 60_000_000
_NOBODY = bytes(32)
_SENTENCE = "The key is missing or not valid here. Send it as «Authorization: Bearer mg_…»."


class Role(StrEnum):
    """What a key may do."""

    CLIENT = "client"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sent a request: a key, the client it belongs to, and that client's log."""

    key: str
    """The key's public name, as records carry it."""
    label: str
    role: Role
    client: str
    log: str
    sha256: bytes


def new_key() -> str:
    """A fresh key: `mg_` and 256 random bits."""
    return "mg_" + secrets.token_urlsafe(32)


def key_digest(key: str) -> bytes:
    """What is stored of a key: its SHA-256."""
    return hashlib.sha256(key.encode()).digest()


def is_loopback(remote: str | None) -> bool:
    """True for this machine's own addresses, IPv4 mapped into IPv6 included."""
    if remote == "127.0.0.1":
        return True
    try:
        address = ipaddress.ip_address(remote or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


class Access:
    """The keys that work now, and the addresses that tried too many that did not."""

    def __init__(self, now_us: Callable[[], int], *, remote_admin: Callable[[], bool]) -> None:
        self._now_us = now_us
        self._remote_admin = remote_admin
        self._keys: dict[bytes, Principal] = {}
        self._failures: OrderedDict[str, deque[int]] = OrderedDict()

    def replace(self, principals: Iterable[Principal]) -> None:
        """Take over the present set of keys; a key that is not in it stops working with the next request."""
        self._keys = {principal.sha256: principal for principal in principals}

    def identify(self, headers: Mapping[str, str], remote: str | None) -> Principal:
        """The principal of a request over a connection from `remote`; Refusal 401, 403 or 429."""
        remote = origin(headers, remote)
        address = remote or "?"
        if self._failures and self._throttled(address):
            raise Refusal(
                429, "too_many_failures", "Too many wrong keys came from this address.", retry_after_s=60
            )
        digest = hashlib.sha256(presented_key(headers)).digest()
        found = self._keys.get(digest)
        # The same comparison is made for a key that was not found, so both answers take the same time.
        if not hmac.compare_digest(digest, found.sha256 if found is not None else _NOBODY) or found is None:
            self._failed(address)
            raise Refusal(401, "invalid_api_key", _SENTENCE)
        if found.role is Role.OPERATOR and not self._remote_admin() and not is_loopback(remote):
            raise Refusal(
                403,
                "operator_is_local",
                "The operator's token works on the gateway's own machine only, unless remote_admin is on.",
            )
        return found

    def _throttled(self, address: str) -> bool:
        times = self._failures.get(address)
        if times is None:
            return False
        oldest = self._now_us() - _MINUTE_US
        while times and times[0] <= oldest:
            times.popleft()
        if not times:
            del self._failures[address]
        return len(times) >= FAILURES_A_MINUTE

    def _failed(self, address: str) -> None:
        times = self._failures.setdefault(address, deque(maxlen=FAILURES_A_MINUTE))
        times.append(self._now_us())
        self._failures.move_to_end(address)
        if len(self._failures) > ADDRESSES_REMEMBERED:
            self._failures.popitem(last=False)


def presented_key(headers: Mapping[str, str]) -> bytes:
    """The key in `Authorization: Bearer`, `x-api-key` or the password of Basic; empty where there is none."""
    authorization = headers.get("Authorization", "")
    scheme, _, value = authorization.partition(" ")
    scheme = scheme.lower()
    if scheme == "bearer":
        return value.strip().encode("utf-8", "surrogateescape")
    if scheme == "basic":
        try:
            _, _, password = base64.b64decode(value.strip(), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return b""
        return password
    return headers.get("x-api-key", "").strip().encode("utf-8", "surrogateescape")
