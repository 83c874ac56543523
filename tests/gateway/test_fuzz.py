"""Every endpoint of the real table, asked with mistakes in the request: with a key and without, over TLS and plain.

`test_raw_input.py` knows each mistake by name; here they are thrown at every method of every path. The request's
first two lines stay whole, so that it is certain who is asked, what may be said without a key, and that the
connection ends with the answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import ssl
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from app.gateway import assembly
from app.proxy.server import Routes
from tests.gateway.conftest import MODEL, Build, House, chat
from tests.gateway.rough import Kept, comes_down_to, exchange, in_pieces, spoilt
from tests.gateway.speaking import ASKED, body

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="platform: descriptors are counted in /proc"),
]
EACH = 100 if "SOAK" in os.environ else 1
"""Requests to each method of each path, with a key and as many without."""
AT_ONCE = 48
ANYBODYS = {"/", "/health", "/dashboard", "/dashboard/data"}
"""What needs no key: the last one only on this machine, which a request becomes whose forwarding line was spoilt."""
HONEST = {501, 503, 507}
"""What an engine cannot do, what is not served now and what no disk has room for are no faults."""
GROWS_BY = 48 << 20
"""How many bytes of memory the second half may add to what the first half needed."""
KEYLESS = ("", "Authorization: Bearer mg_wrong", "x-api-key: mg_wrong", "Authorization: Basic Og==")


@dataclass(frozen=True)
class Door:
    """A method of a path."""

    method: str
    path: str

    def request(self, house: House, chance: random.Random, *, key: bool) -> tuple[bytes, ...]:
        """Spoilt behind its first two lines, from an address of its own so that nobody is told to wait."""
        sent = b""
        if self.method in ("POST", "DELETE", "PUT"):
            call = body(self.path) if self.path in ASKED else {**chat(stream=False), "model": MODEL}
            sent = json.dumps(call).encode()
        origin = ".".join(str(chance.randrange(1, 255)) for _ in range(3))
        lines = [
            "Host: localhost",
            f"X-Forwarded-For: 203.{origin}",
            f"Authorization: Bearer {house.key}" if key else chance.choice(KEYLESS),
            f"Content-Length: {len(sent)}",
        ]
        head = "\r\n".join(line for line in lines if line).encode() + b"\r\n\r\n"
        first = f"{self.method} {self.path} HTTP/1.1\r\nConnection: close\r\n".encode()
        return in_pieces(first + spoilt(head + sent, chance), chance)


def doors(table: Routes) -> list[Door]:
    return [
        Door(method, path[:-1] + "0" if path.endswith("/*") else path)
        for path, methods in table.items()
        for method in methods
    ]


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
async def test_no_mistake_at_any_endpoint_is_a_fault_or_opens_it_or_leaves_anything_behind(
    build: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, encrypted: bool
) -> None:
    """The number in the failure's words is the seed: the same bytes again with `random.Random(number)`."""
    tables: list[Routes] = []
    made = assembly.routes

    def kept(*parts: Any) -> Any:
        tables.append(made(*parts))
        return tables[-1]

    monkeypatch.setattr(assembly, "routes", kept)
    more = {"tls": "own"} if encrypted else {}
    house = await build(header_seconds=1, body_seconds=1, **more)
    tls = None
    if encrypted:
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    caplog.set_level(logging.ERROR)
    every = [(door, key) for door in doors(tables[0]) for _ in range(EACH) for key in (False, True)]
    assert {door.path for door, _ in every} >= {*ANYBODYS, *ASKED}
    random.Random(0).shuffle(every)
    wrong: dict[tuple[int, Door, bool], list[int]] = {}

    async def throw(numbered: list[tuple[int, tuple[Door, bool]]]) -> None:
        left = iter(numbered)

        async def sender() -> None:
            for seed, (door, key) in left:
                pieces = door.request(house, random.Random(seed), key=key)
                statuses = await exchange(house, *pieces, tls=tls)
                opened = not key and door.path not in ANYBODYS and any(status < 400 for status in statuses)
                if opened or any(status >= 500 and status not in HONEST for status in statuses):
                    wrong[seed, door, key] = statuses

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(sender())

    async with house.session.post(
        "/api/chat",
        json=chat(stream=False),
        headers={"Authorization": f"Bearer {house.key}"},
        ssl=tls or True,
    ) as reply:
        assert reply.status == 200
    before = Kept.now()
    numbered = list(enumerate(every))
    await throw(numbered[: len(numbered) // 2])
    needed = resident()
    await throw(numbered[len(numbered) // 2 :])
    assert not wrong
    assert not caplog.text
    await comes_down_to(before)
    assert resident() - needed < GROWS_BY

    async with house.post("/api/chat", chat(stream=False), ssl=tls or True) as reply:
        assert reply.status == 200, "it still serves"
    async with house.get("/reconcile", key=house.operator, ssl=tls or True) as reply:
        said = await reply.json()
    assert said["hash_verification"]["invalid"] == 0
    assert said["discrepancy"] == 0
    assert said["findings"] == []
