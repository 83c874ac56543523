"""Every endpoint of the real table, asked with mistakes in the request: with a key and without, over TLS and plain.

`test_raw_input.py` knows each mistake by name; here they are thrown at every method of every path. The request's
first two lines stay whole, so that it is certain who is asked, what may be said without a key, and that the
connection ends with the answer. Few of these get beyond the door; those of `wrong_bodies` do.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import ssl
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from app.gateway import assembly
from app.proxy.dialects.anthropic import COUNT_TOKENS
from app.proxy.server import Routes
from tests.gateway.conftest import MODEL, Build, House, chat
from tests.gateway.rough import (
    Kept,
    comes_down_to,
    exchange,
    heard_of,
    in_pieces,
    of_tls,
    request,
    spoilt,
    told,
)
from tests.gateway.speaking import ASKED, body
from tests.gateway.wrong_bodies import ASKABLE, MISTAKES, Mistake, wrong_body

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="platform: descriptors are counted in /proc"),
]
T = TypeVar("T")
EACH = 100 if "SOAK" in os.environ else 1
"""Requests to each method of each path, with a key and as many without."""
BODIES = 30 if "SOAK" in os.environ else 3
"""Times that each path is asked with each kind of mistake in a body; some of these are of a megabyte."""
AT_ONCE = 48
ANYBODYS = {"/", "/health", "/dashboard", "/dashboard/data"}
"""What needs no key: the last one only on this machine, which a request becomes whose forwarding line was spoilt."""
HONEST = {501, 503, 507}
"""What an engine cannot do, what is not served now and what no disk has room for are no faults."""
CLIENTS = {400, 404, 413, 429}
"""What a body that is not as it should be is answered with, and whoever asks for too much at once."""
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
        if self.method in ("POST", "PATCH", "DELETE", "PUT"):
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


def in_dialect(path: str, answer: bytes) -> bool:
    """Whether it is an error as the path's SDKs read one, be it ours or the engine's own, which passes on."""
    try:
        error = json.loads(answer)["error"]
        if not path.startswith("/v1/"):
            return isinstance(error, str) and error != ""
        if path.startswith("/v1/messages"):
            return json.loads(answer)["type"] == "error" and {"type", "message"} <= error.keys()
        return {"message", "type", "code"} <= error.keys()
    except (AttributeError, LookupError, TypeError, ValueError):
        return False


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def at_once(given: list[T], send: Callable[[T], Awaitable[None]]) -> None:
    """Each of `given`, some dozens under way at any time."""
    left = iter(given)

    async def sender() -> None:
        for one in left:
            await send(one)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(sender())


async def serves(house: House, tls: ssl.SSLContext | None) -> None:
    """An honest request is answered, over a connection that does not stay."""
    headers = {"Authorization": f"Bearer {house.key}"}
    async with house.session.post(
        "/api/chat", json=chat(stream=False), headers=headers, ssl=tls or True
    ) as reply:
        assert reply.status == 200


async def is_sound(house: House, tls: ssl.SSLContext | None) -> None:
    """It still serves, and its books agree."""
    await serves(house, tls)
    async with house.get("/reconcile", key=house.operator, ssl=tls or True) as reply:
        said = await reply.json()
    assert said["hash_verification"]["invalid"] == 0
    assert said["discrepancy"] == 0
    assert said["findings"] == []


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
    caplog.set_level(logging.ERROR)
    house = await build(header_seconds=1, body_seconds=1, **({"tls": "own"} if encrypted else {}))
    tls = of_tls(encrypted)
    every = [(door, key) for door in doors(tables[0]) for _ in range(EACH) for key in (False, True)]
    assert {door.path for door, _ in every} >= {*ANYBODYS, *ASKED}
    random.Random(0).shuffle(every)
    wrong: dict[tuple[int, Door, bool], list[int]] = {}

    async def throw(numbered: tuple[int, tuple[Door, bool]]) -> None:
        seed, (door, key) = numbered
        pieces = door.request(house, random.Random(seed), key=key)
        statuses = await exchange(house, *pieces, tls=tls)
        opened = not key and door.path not in ANYBODYS and any(status < 400 for status in statuses)
        if opened or any(status >= 500 and status not in HONEST for status in statuses):
            wrong[seed, door, key] = statuses

    await serves(house, tls)
    before = Kept.now()
    numbered = list(enumerate(every))
    await at_once(numbered[: len(numbered) // 2], throw)
    needed = resident()
    await at_once(numbered[len(numbered) // 2 :], throw)
    assert not wrong
    assert not caplog.text
    await comes_down_to(before)
    assert resident() - needed < GROWS_BY
    await is_sound(house, tls)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
async def test_no_mistake_in_a_body_is_a_fault_and_each_is_answered_in_the_dialect_of_its_path(
    build: Build, caplog: pytest.LogCaptureFixture, encrypted: bool
) -> None:
    """Here all is proper but the body, which is as long as it says: so the handlers are asked, not the door alone.

    The number in the failure's words is the seed, as above.
    """
    caplog.set_level(logging.ERROR)
    # Where the machine is slow, a large body takes its time; an answer need not.
    house = await build(
        header_seconds=30, body_seconds=30, max_output_tokens=100, **({"tls": "own"} if encrypted else {})
    )
    tls = of_tls(encrypted)
    every = [(path, mistake) for path in ASKABLE for mistake in MISTAKES for _ in range(BODIES)]
    random.Random(0).shuffle(every)
    came = {path: Counter[int]() for path in ASKABLE}
    wrong: dict[tuple[int, str, str], tuple[int, bytes]] = {}

    async def throw(numbered: tuple[int, tuple[str, Mistake]]) -> None:
        seed, (path, mistake) = numbered
        chance = random.Random(seed)
        sent = wrong_body(path, chance, mistake)
        pieces = in_pieces(request(house, path=path, sent=sent), chance)
        status, answer = told(await heard_of(house, *pieces, half_close=False, tls=tls))
        came[path][status] += 1
        if not (status == 200 or ((status in CLIENTS or status in HONEST) and in_dialect(path, answer))):
            wrong[seed, path, mistake.__name__] = status, answer[:200]

    await serves(house, tls)
    before = Kept.now()
    numbered = list(enumerate(every))
    await at_once(numbered[: len(numbered) // 2], throw)
    needed = resident()
    await at_once(numbered[len(numbered) // 2 :], throw)
    assert not wrong
    assert not caplog.text
    # Every handler is reached: it answers some, and refuses some. The simulator does not count tokens.
    del came[COUNT_TOKENS]
    assert {path: statuses for path, statuses in came.items() if not (statuses[200] and statuses[400])} == {}
    assert sum(statuses[200] for statuses in came.values()) > len(every) // 5
    await comes_down_to(before)
    assert resident() - needed < GROWS_BY
    await is_sound(house, tls)
