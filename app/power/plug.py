"""What a smart plug at the wall says the whole machine draws: Shelly, Tasmota, Home Assistant.

Rule 1: a plug is slow, rounds, and may carry a screen as well, so it bills nobody: it tells how much the socket gives
for each watt that the GPU reports, and what the machine draws at rest. Rule 2: its address is the contributor's own, in
their network; link-local addresses and metadata services are refused even so, no redirect is followed, an answer has
64 KB and `ANSWER_S`. Rule 3: what is no answer is one sentence, and never the token.

Formats: Shelly Gen2+ `/rpc/Shelly.GetStatus` (`apower`), Gen1 `/status` (`meters`, `emeters`), told apart by `/shelly`;
Tasmota `Status 10` (`StatusSNS.ENERGY.Power`); Home Assistant `/api/states/<entity>` (`state` and its unit).
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from app.basics.addresses import is_metadata
from app.basics.resolving import Addresses, CheckedResolver, system_addresses
from app.basics.threads import Aside
from app.power.exact import plausible_w

ANSWER_S = 5.0
ANSWER_MAX_B = 64 << 10
_USER = "admin"
"""The only user that Shelly and Tasmota know."""
_IN_WATTS = {"W": 1.0, "kW": 1000.0, "mW": 0.001}


class PlugKind(Enum):
    """Who speaks at the plug's address."""

    SHELLY = "shelly"
    TASMOTA = "tasmota"
    HOME_ASSISTANT = "homeassistant"


class PlugError(Exception):
    """The plug did not tell; `str()` is one sentence with what to do."""


@dataclass(frozen=True, slots=True)
class Plug:
    """Where a plug is and how to ask it. `token`: a password, or Home Assistant's long-lived token; not in its repr."""

    kind: PlugKind
    url: str
    """Without a path, as `http://192.168.1.40`."""
    entity: str = ""
    """Home Assistant's name for the power, as `sensor.desk_power`."""
    token: str | None = None

    def __repr__(self) -> str:
        return f"Plug({self.kind.value}, {self.url})"


class WallPlug:
    """Asks one plug. Use it on one loop, and `close` it."""

    def __init__(self, plug: Plug, addresses: Addresses = system_addresses) -> None:
        self._plug = plug
        self._aside = Aside("finding a plug")
        self._resolver = CheckedResolver(_require, self._aside, addresses)
        self._session: aiohttp.ClientSession | None = None
        self._generation = 0

    async def watts(self) -> float:
        """What the socket gives now, in watts. Raises PlugError."""
        match self._plug.kind:
            case PlugKind.SHELLY:
                return await self._shelly()
            case PlugKind.TASMOTA:
                return await self._tasmota()
            case PlugKind.HOME_ASSISTANT:
                return await self._home_assistant()

    async def close(self) -> None:
        """End its connections."""
        if self._session is not None:
            await self._session.close()
        self._aside.close()

    async def _shelly(self) -> float:
        if not self._generation:
            self._generation = 2 if (await self._ask("/shelly")).get("gen", 1) != 1 else 1
        if self._generation == 1:
            status = await self._ask("/status")
            meters = [*_list(status, "meters"), *_list(status, "emeters")]
            return self._sum(meter.get("power") for meter in meters if meter.get("is_valid", True))
        status = await self._ask("/rpc/Shelly.GetStatus")
        parts = [part for _, part in sorted(status.items()) if isinstance(part, dict)]
        return self._sum(part.get("apower", part.get("act_power")) for part in parts)

    async def _tasmota(self) -> float:
        login = (
            "" if self._plug.token is None else f"&user={_USER}&password={quote(self._plug.token, safe='')}"
        )
        sensors = (await self._ask(f"/cm?cmnd=Status%2010{login}")).get("StatusSNS")
        energy = sensors.get("ENERGY") if isinstance(sensors, dict) else None
        power = energy.get("Power") if isinstance(energy, dict) else None
        return self._sum(power if isinstance(power, list) else [power])

    async def _home_assistant(self) -> float:
        state = await self._ask(f"/api/states/{quote(self._plug.entity, safe='')}")
        attributes = state.get("attributes")
        unit = attributes.get("unit_of_measurement") if isinstance(attributes, dict) else None
        if unit not in _IN_WATTS:
            raise PlugError(
                f"{self._plug.entity} is in {unit or 'no unit'}, which is no power: name an entity in W or kW."
            )
        try:
            return self._checked(float(str(state.get("state"))) * _IN_WATTS[unit])
        except ValueError:
            raise PlugError(f"{self._plug.entity} has no value now: look at it in Home Assistant.") from None

    def _sum(self, values: Any) -> float:
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        if not numbers:
            raise PlugError(f"What answers at {self._plug.url} measures no power: choose a plug that does.")
        return self._checked(sum(numbers))

    def _checked(self, watts: float) -> float:
        known = plausible_w(watts) if math.isfinite(watts) else None
        if known is None:
            raise PlugError(f"{self._plug.url} says {watts:g} W, which no socket gives.")
        return known

    async def _ask(self, path: str) -> Mapping[str, Any]:
        """One JSON object. Raises PlugError."""
        url = self._plug.url
        _require_literal(url)
        try:
            async with self._open().get(url + path, allow_redirects=False, headers=self._basic()) as reply:
                if reply.status in (401, 403):
                    raise PlugError(
                        f"{url} wants another password or token: mortdecai-gateway power plug-token keeps it."
                    )
                if reply.status != 200:
                    raise PlugError(
                        f"{url} answered with status {reply.status}: is it a {self._plug.kind.value}?"
                    )
                body = await reply.content.read(ANSWER_MAX_B + 1)
                while len(body) <= ANSWER_MAX_B and (more := await reply.content.read(ANSWER_MAX_B)):
                    body += more
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            why = "it did not answer in time" if isinstance(error, TimeoutError) else _reason(error)
            raise PlugError(f"The plug at {url} cannot be asked: {why}.") from None
        try:
            told = json.loads(body) if len(body) <= ANSWER_MAX_B else None
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise PlugError(f"{url} did not answer as a {self._plug.kind.value} does.")
        return told

    def _basic(self) -> dict[str, str]:
        """What a Shelly of the first generation wants, once it is known to be one: to others it would tell the
        password."""
        if self._generation != 1 or self._plug.token is None:
            return {}
        login = base64.b64encode(f"{_USER}:{self._plug.token}".encode()).decode("ascii")
        return {"Authorization": f"Basic {login}"}

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            plug = self._plug
            headers, digest = {}, []
            if plug.token is not None and plug.kind is PlugKind.HOME_ASSISTANT:
                headers["Authorization"] = f"Bearer {plug.token}"
            if plug.token is not None and plug.kind is PlugKind.SHELLY:
                # Gen2 and newer ask for a digest (RFC 7616, SHA-256).
                digest.append(aiohttp.DigestAuthMiddleware(_USER, plug.token))
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=ANSWER_S),
                connector=aiohttp.TCPConnector(resolver=self._resolver),
                headers=headers,
                middlewares=tuple(digest),
                trust_env=False,
            )
        return self._session


def _require(host: str, address: str, port: int) -> None:
    if is_metadata(address):
        raise PlugError(f"{host} is a link-local address or a metadata service: no plug is there.")


def _require_literal(url: str) -> None:
    """Of an address in a URL no resolver is asked."""
    host = urlsplit(url).hostname or ""
    _require(host, host, 0)


def _list(status: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = status.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _reason(error: Exception) -> str:
    return (
        "nothing answers there" if isinstance(error, aiohttp.ClientConnectorError) else type(error).__name__
    )
