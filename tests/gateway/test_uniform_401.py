"""Every endpoint of the real table, asked in every way of having no valid key: one answer, byte for byte.

Whoever knocks learns nothing by it: not which paths there are behind the door, not whether a key was ever one.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from app.access.limits import Limits
from app.gateway import assembly
from app.gateway.routes import DIALECTS
from app.proxy.dialects.base import Dialect
from app.proxy.dialects.ollama import OLLAMA
from app.proxy.server import MANAGEMENT, Routes
from app.simulator import Simulator
from tests.gateway.conftest import Build, House

OPEN = {"/", "/health", "/dashboard"}
"""What the design says is anybody's; everything else asks for a key."""
ITS_OWN = {"date", "x-request-id"}


class Doorbell:
    """Asks, each time from another address behind a proxy, so that nobody is told to wait."""

    def __init__(
        self, house: House, table: Routes, keys: Mapping[str, str], forwarded: list[tuple[str, str]]
    ) -> None:
        self.house = house
        self.forwarded = forwarded
        """Methods and paths that reached the engine."""
        self.table = table
        self.keys = keys
        self._count = 0

    async def ring(
        self, method: str, path: str, headers: Mapping[str, str], prefix: str = ""
    ) -> tuple[int, bytes, dict[str, str]]:
        self._count += 1
        origin = f"203.0.{self._count // 250}.{self._count % 250 + 1}"
        url = URL(self.house.gateway.address + prefix + path, encoded=True)
        async with self.house.session.request(
            method, url, headers={**headers, "X-Forwarded-For": origin}
        ) as reply:
            said = {name: value for name, value in reply.headers.items() if name.lower() not in ITS_OWN}
            return reply.status, await reply.read(), said

    def endpoints(self) -> list[tuple[str, str]]:
        """Each method of each path that is not anybody's; below `/*` stands one that may be there."""
        return [
            (method, path[:-1] + "0" if path.endswith("/*") else path)
            for path, methods in self.table.items()
            if path not in OPEN
            for method in (*methods, *(("HEAD",) if "GET" in methods else ()))
        ]


def dialect(path: str) -> Dialect:
    below = [name for name in DIALECTS if name.endswith("/*") and path.startswith(name[:-1])]
    return DIALECTS.get(path) or (DIALECTS[max(below, key=len)] if below else OLLAMA)


@pytest.fixture
async def doorbell(build: Build, monkeypatch: pytest.MonkeyPatch) -> Doorbell:
    tables: list[Routes] = []
    made = assembly.routes

    def kept(*parts: Any) -> Any:
        tables.append(made(*parts))
        return tables[-1]

    monkeypatch.setattr(assembly, "routes", kept)
    forwarded: list[tuple[str, str]] = []
    handle = Simulator._handle

    async def noted(self: Simulator, request: web.BaseRequest) -> web.StreamResponse:
        forwarded.append((request.method, request.raw_path))
        return await handle(self, request)

    monkeypatch.setattr(Simulator, "_handle", noted)
    house = await build()
    owner = house.gateway.keys
    gone, late = await owner.create("gone", None), await owner.create("late", None, Limits(expires_us=1))
    address, shut = await owner.create_address("first key"), await owner.create_address("first key")
    late_address = await owner.create_address("late")
    await owner.revoke("gone")
    await owner.revoke(shut["id"])
    keys = {
        "valid": house.key,
        "revoked": gone["key"],
        "expired": late["key"],
        "address": address["path"].removeprefix("/k/"),
        "revoked address": shut["path"].removeprefix("/k/"),
        "address of an expired key": late_address["path"].removeprefix("/k/"),
    }
    return Doorbell(house, tables[0], keys, forwarded)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"user:{password}".encode()).decode()}


Way = Callable[[Mapping[str, str]], dict[str, str]]
WAYS: dict[str, Way] = {
    "none": lambda keys: {},
    "an empty Authorization": lambda keys: {"Authorization": ""},
    "an empty Bearer": lambda keys: bearer(""),
    "a wrong Bearer": lambda keys: bearer("mg_" + "A" * 43),
    "a wrong x-api-key": lambda keys: {"x-api-key": "mg_" + "A" * 43},
    "a wrong password of Basic": lambda keys: basic("mg_wrong"),
    "the key as the user of Basic": lambda keys: {
        "Authorization": "Basic " + base64.b64encode(f"{keys['valid']}:".encode()).decode()
    },
    "a Basic that is no base64": lambda keys: {"Authorization": "Basic ***"},
    "a scheme of another kind": lambda keys: {"Authorization": f"Digest {keys['valid']}"},
    "a key without a scheme": lambda keys: {"Authorization": keys["valid"]},
    "a key cut short": lambda keys: bearer(keys["valid"][:-1]),
    "a key with more behind it": lambda keys: bearer(keys["valid"] + "A"),
    "a key in other letters": lambda keys: bearer(keys["valid"].swapcase()),
    "a key's hash": lambda keys: bearer(hashlib.sha256(keys["valid"].encode()).hexdigest()),
    "bytes that are no text": lambda keys: bearer("mg_\udcff\udcfe"),
    "a very long key": lambda keys: bearer("mg_" + "A" * 6000),
    "a revoked key": lambda keys: bearer(keys["revoked"]),
    "a revoked key in x-api-key": lambda keys: {"x-api-key": keys["revoked"]},
    "an expired key": lambda keys: bearer(keys["expired"]),
    "an expired password of Basic": lambda keys: basic(keys["expired"]),
    "an address's secret as a key": lambda keys: bearer(keys["address"]),
    "a key as an address's secret": lambda keys: {"Authorization": f"Address {keys['valid']}"},
    "two lines, the first one wrong": lambda keys: {**bearer("mg_wrong"), "x-api-key": keys["valid"]},
}


def test_the_table_names_what_is_open(doorbell: Doorbell) -> None:
    assert set(doorbell.table) >= OPEN
    assert len(doorbell.endpoints()) > 40


async def test_a_valid_key_is_told_apart_so_the_others_are_refused_for_their_keys(doorbell: Doorbell) -> None:
    for method, path in doorbell.endpoints():
        status, *_ = await doorbell.ring(method, path, bearer(doorbell.keys["valid"]))
        assert status != 401, path


@pytest.mark.parametrize("way", WAYS)
async def test_every_endpoint_gives_one_answer_to(doorbell: Doorbell, way: str) -> None:
    headers = WAYS[way](doorbell.keys)
    usual: dict[tuple[Dialect, bool], tuple[bytes, dict[str, str]]] = {}
    for method, path in doorbell.endpoints():
        language, head = dialect(path), method == "HEAD"
        if (language, head) not in usual:
            # What nobody at all hears at the first of them is the measure for the others.
            _, body, said = await doorbell.ring(method, path, {})
            usual[language, head] = body, said
        status, body, said = await doorbell.ring(method, path, headers)
        said.pop("Referrer-Policy" if "Address" in headers.get("Authorization", "") else "", None)
        assert (status, body, said) == (401, *usual[language, head]), (method, path)


@pytest.mark.parametrize(
    "secret", ["wrong", "%", "revoked address", "address of an expired key", "valid", "revoked"]
)
async def test_every_endpoint_behind_an_address_that_is_none_gives_that_answer_too(
    doorbell: Doorbell, secret: str
) -> None:
    prefix = "/k/" + doorbell.keys.get(secret, secret)
    for method, path in [*doorbell.endpoints(), ("GET", "/"), ("GET", "/health"), ("GET", "/none")]:
        there = path not in OPEN and path != "/none"
        _, body, said = await doorbell.ring(method, path if there else "/stats", {})
        status, found, heard = await doorbell.ring(method, path, {}, prefix)
        assert heard.pop("Referrer-Policy") == "no-referrer"
        assert (status, found, heard) == (401, body, said), (method, path)


async def test_management_and_unknown_paths_are_the_same_for_everybody_and_never_forwarded(
    doorbell: Doorbell,
) -> None:
    everybody = [{}, bearer("mg_wrong"), bearer(doorbell.keys["valid"]), bearer(doorbell.house.operator)]
    paths = [(path, 403) for managed in MANAGEMENT for path in (managed, managed + "/x")]
    paths += [(path, 404) for path in ("/none", "/api/none", "/v1/none", "/v1/messages/none", "/API/chat")]
    paths += [(path, 404) for path in ("/api//chat", "/api/chat/", "/api/../api/pull", "/%61pi/chat")]
    for path, expected in paths:
        for method in ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"):
            answers = [await doorbell.ring(method, path, headers) for headers in everybody]
            assert [status for status, *_ in answers] == [expected] * len(everybody), (method, path)
            assert all(answer == answers[0] for answer in answers), (method, path)
    assert {path for _, path in doorbell.forwarded} <= {"/", "/api/version", "/api/tags", "/api/ps"}
    assert {method for method, _ in doorbell.forwarded} <= {"GET", "HEAD"}, (
        "only what the gateway asks itself"
    )
