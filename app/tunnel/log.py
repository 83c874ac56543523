"""What cloudflared's log says: the address it was given, whether it is connected, and why it is not.

Pure: lines in, facts out. The words are those of cloudflared's own log and of the threads where people show it
(cloudflare/cloudflared #426, #519, #555, #972, #1503, #1581); a line that is not understood is kept for the person.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

TAIL = 20
"""Lines that are kept for showing."""
_UNAUTHORISED = 3
"""So many refusals in a row mean it: one alone also comes while Cloudflare is busy (#657)."""

# The service that hands out addresses lives in the same domain and is named in its errors.
_QUICK = re.compile(r"https://(?!api\.)[a-z0-9-]+\.trycloudflare\.com\b", re.IGNORECASE)
_REGISTERED = re.compile(r"Registered tunnel connection\b.*?\bconnIndex=(\d+)")
_REGISTERED_OLD = re.compile(r"Connection [0-9a-f-]{36} registered\b.*?\bconnIndex=(\d+)")
_LOST = re.compile(
    r"(?:Unregistered tunnel connection|Connection terminated|Lost connection)\b.*?\bconnIndex=(\d+)"
)
_ROUTE = re.compile(r'"hostname"\s*:\s*"([^"]+)"[^{}]*?"service"\s*:\s*"([^"]+)"')
_NO_NETWORK = re.compile(
    r"no such host|network is unreachable|i/o timeout|connection refused|edge discovery|DNS query failed|"
    r"failed to dial|Temporary failure in name resolution|server misbehaving",
    re.IGNORECASE,
)


class Trouble(StrEnum):
    """Why a tunnel does not come about."""

    TOKEN = "token"  # noqa: S105
    RATE = "rate"
    NETWORK = "network"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Route:
    """A public name and what the tunnel's own configuration, kept at Cloudflare, leads it to."""

    hostname: str
    service: str


class LogReader:
    """Feed it the log from its beginning. `secrets` never appear in what it keeps."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        self.address = ""
        """The quick tunnel's https address, once it is known."""
        self.routes: tuple[Route, ...] = ()
        self.given_up = False
        """No connection came about for too long."""
        self._secrets = tuple(secret for secret in secrets if secret)
        self._connected: set[str] = set()
        self._refusals = 0
        self._refused = False
        self._limited = False
        self._offline = False
        self._tail: deque[str] = deque(maxlen=TAIL)

    @property
    def connected(self) -> bool:
        """At least one connection to Cloudflare stands."""
        return bool(self._connected)

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines, for a person."""
        return tuple(self._tail)

    @property
    def hopeless(self) -> bool:
        """Trying again soon cannot help."""
        return self._refused or self._limited or self.given_up

    @property
    def trouble(self) -> Trouble:
        """The most telling reason so far."""
        if self._refused or self._refusals:
            return Trouble.TOKEN
        if self._limited:
            return Trouble.RATE
        return Trouble.NETWORK if self._offline else Trouble.OTHER

    def feed(self, line: str) -> None:
        """Take one line."""
        line = line.rstrip()
        for secret in self._secrets:
            line = line.replace(secret, "…")
        if line:
            self._tail.append(line[:500])
        found = _QUICK.search(line)
        if found is not None:
            self.address = found.group().lower()
        registered = _REGISTERED.search(line) or _REGISTERED_OLD.search(line)
        if registered is not None:
            self._connected.add(registered.group(1))
            self._refusals, self._offline = 0, False
            return
        lost = _LOST.search(line)
        if lost is not None:
            self._connected.discard(lost.group(1))
        if "Updated to new configuration" in line:
            routes = _ROUTE.findall(line.replace('\\"', '"'))
            self.routes = tuple(Route(hostname, service) for hostname, service in routes)
        self._blame(line)

    def _blame(self, line: str) -> None:
        if "token is not valid" in line:
            self._refused = True
        elif "Unauthorized:" in line:
            self._refusals += 1
            self._refused = self._refusals >= _UNAUTHORISED and not self._connected
        elif "429 Too Many Requests" in line or "error code: 1015" in line:
            self._limited = True
        elif _NO_NETWORK.search(line) and not self._connected:
            self._offline = True
