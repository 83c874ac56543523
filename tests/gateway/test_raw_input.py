"""Raw sockets: what is malformed, oversized, late or ambiguous is refused, and nothing of it stays behind."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import sys
from collections.abc import Callable

import pytest

from tests.gateway.conftest import MODEL, Build, House, chat
from tests.gateway.rough import Kept, comes_down_to, exchange, mangled, request

pytestmark = [
    pytest.mark.both_loops,
    pytest.mark.skipif(sys.platform != "linux", reason="platform: descriptors are counted in /proc"),
]
MANGLED = 20_000 if "SOAK" in os.environ else 300
AT_ONCE = 24

ASK = json.dumps(chat(stream=False)).encode()
CHUNKED = "Transfer-Encoding: chunked"
Case = Callable[[House], tuple[bytes, ...]]


def one(*lines: str, sent: bytes | None = None, path: str = "/api/chat", version: str = "1.1") -> Case:
    return lambda house: (request(house, *lines, sent=sent, path=path, version=version),)


def raw(*pieces: bytes) -> Case:
    return lambda house: pieces


def object_of(member: bytes) -> Case:
    return one(sent=b'{"model":"%b","stream":false,%b}' % (MODEL.encode(), member))


REFUSED: dict[str, tuple[Case, set[int]]] = {
    # Whose length is not certain, and what somebody in front of us might read differently.
    "two lengths that differ": (one("Content-Length: 4", f"Content-Length: {len(ASK)}"), {400}),
    "two lengths that agree": (one(f"Content-Length: {len(ASK)}", f"Content-Length: {len(ASK)}"), {400}),
    "a list of lengths": (one(f"Content-Length: {len(ASK)}, {len(ASK)}"), {400}),
    "a length and chunks": (one(f"Content-Length: {len(ASK)}", CHUNKED, sent=b"0\r\n\r\n"), {400}),
    "chunks and a length": (one(CHUNKED, "Content-Length: 5", sent=b"0\r\n\r\n"), {400}),
    "a signed length": (one(f"Content-Length: +{len(ASK)}"), {400}),
    "a negative length": (one("Content-Length: -1"), {400}),
    "a length in hexadecimal": (one("Content-Length: 0x10"), {400}),
    "a length of twenty digits": (one("Content-Length: 99999999999999999999"), {400, 413}),
    "a length beyond the limit": (one("Content-Length: 9999999999"), {413}),
    "a coding that nobody knows": (one("Transfer-Encoding: xchunked", sent=b"0\r\n\r\n"), {400}),
    "a coding behind chunked": (one("Transfer-Encoding: chunked, identity", sent=b"0\r\n\r\n"), {400}),
    "chunked twice": (one(CHUNKED, CHUNKED, sent=b"0\r\n\r\n"), {400}),
    "a space before the colon": (one("Transfer-Encoding : chunked", sent=b"0\r\n\r\n"), {400}),
    "a chunk without a size": (one(CHUNKED, sent=b"\r\n\r\n"), {400}),
    "a negative chunk": (one(CHUNKED, sent=b"-1\r\n\r\n0\r\n\r\n"), {400}),
    "a chunk's size with a prefix": (one(CHUNKED, sent=b"0x4\r\nabcd\r\n0\r\n\r\n"), {400}),
    "a chunk's size beyond 64 bits": (one(CHUNKED, sent=b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n"), {400}),
    "a chunk longer than it says": (one(CHUNKED, sent=b"3\r\nabcdef\r\n0\r\n\r\n"), {400}),
    # Headers.
    "a folded header": (one("X-Long: a\r\n b"), {400}),
    "a header without a colon": (one("nonsense"), {400}),
    "a NUL in a header": (one("X-Nul: a\0b"), {400}),
    "a header's name with a space": (one("X Y: z"), {400}),
    "two hosts": (one("Host: evil.example"), {400, 403}),
    "a header of 100 KB": (one("X-Long: " + "x" * 100_000), {400}),
    "ten thousand headers": (one(*[f"X-{number}: x" for number in range(10_000)]), {400}),
    "a path of 100 KB": (one(path="/" + "x" * 100_000), {400}),
    "a NUL in the path": (one(path="/api/chat\0"), {400}),
    "a space in the path": (one(path="/api/chat x"), {400}),
    "a path that is not UTF-8": (one(path="/\xff\xfe"), {400, 404}),
    # Other protocols.
    "a version to come": (one(version="9.9"), {400}),
    "HTTP/2 with prior knowledge": (raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), {400}),
    "a TLS hello": (raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)), {400}),
    "a tunnel": (raw(b"CONNECT example.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n"), {400, 403, 404, 405}),
    "another authority": (raw(b"GET http://evil.example/config HTTP/1.1\r\nHost: localhost\r\n\r\n"), {401, 403}),
    "nothing but noise": (raw(random.Random(1).randbytes(4096)), {400}),
    # Bodies.
    "a body that is not UTF-8": (one(sent=b'{"model":"\xff\xfe"}'), {400}),
    "a NUL in JSON": (one(sent=b'{"model":"a\0b"}'), {400}),
    "a NUL behind JSON": (one(sent=ASK + b"\0"), {400}),
    "half a surrogate pair": (object_of(b'"prompt":"\\ud800"'), {400}),
    "JSON of a hundred thousand levels": (one(sent=b"[" * 100_000), {400}),
    "an object of ten thousand levels": (one(sent=b'{"a":' * 10_000 + b"1" + b"}" * 10_000), {400}),
    "a number of ten thousand digits": (object_of(b'"options":{"seed":' + b"9" * 10_000 + b"}"), {400}),
    "a number without a bound": (object_of(b'"options":{"temperature":1e999}'), {400}),
    "no number": (object_of(b'"options":{"temperature":NaN}'), {400}),
    "a key twice": (object_of(b'"model":"other"'), {400}),
    "a key in another case": (object_of(b'"Keep_Alive":-1'), {400}),
    "an expectation nobody knows": (one("Expect: the-spanish-inquisition"), {200, 417}),
    "a compressed body": (one("Content-Encoding: gzip"), {400, 415}),
    # Late ones: the time for headers and bodies is a second here.
    "half a head": (raw(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nX-Slow"), {408}),
    "half a body": (one(f"Content-Length: {len(ASK) * 2}"), {408}),
    "half a chunk": (one(CHUNKED, sent=b"ff\r\n{"), {408}),
}  # fmt: skip
"""What is sent, and with which statuses it may be refused. The connection ends with it."""

TAKEN: dict[str, tuple[Case, list[int]]] = {
    "an absolute target": (one(path="http://localhost/api/chat"), [200]),
    "an empty line before": (lambda house: (b"\r\n", request(house)), [200]),
    "a chunk's extension": (one(CHUNKED, sent=b"%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(ASK), ASK)), [200]),
    "a byte at a time": (lambda house: tuple(bytes([byte]) for byte in request(house)), [200]),
    "HTTP/1.0": (one(version="1.0"), [200]),
    "HTTP/0.9, where no key is needed": (raw(b"GET /health\r\n\r\n"), [200]),
    "ten thousand keys that nobody knows": (
        object_of(b'"messages":[],' + b",".join(b'"k%d":%d' % (number, number) for number in range(10_000))),
        [200],
    ),
    "fifty requests ahead": (
        lambda house: (request(house).replace(b"Connection: close\r\n", b"") * 49 + request(house),),
        [200] * 50,
    ),
}


@pytest.fixture
async def impatient(build: Build) -> House:
    """A house that gives a head and a body a second each."""
    return await build(header_seconds=1, body_seconds=1)


async def test_what_is_no_proper_request_is_refused_and_nothing_of_it_stays(
    impatient: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with impatient.post("/api/chat", chat(stream=False)) as reply:
        await reply.read()
    asked, before = impatient.simulator.asked, Kept.now()
    # Whoever breaks off in the middle keeps the other half open, and is waited for.
    late = [name for name in REFUSED if name.startswith("half")]
    heard = await asyncio.gather(
        *(
            exchange(impatient, *case(impatient), half_close=name not in late)
            for name, (case, _) in REFUSED.items()
        )
    )
    wrong = {
        name: statuses
        for (name, (_, allowed)), statuses in zip(REFUSED.items(), heard, strict=True)
        if len(statuses) != 1 or statuses[0] not in allowed
    }
    assert not wrong
    assert impatient.simulator.asked - asked == sum(statuses == [200] for statuses in heard)
    assert "A request failed by a fault" not in caplog.text
    assert "A connection failed" not in caplog.text
    await comes_down_to(before)


@pytest.mark.parametrize("name", TAKEN)
async def test_what_is_odd_and_still_clear_is_answered(impatient: House, name: str) -> None:
    case, statuses = TAKEN[name]
    assert await exchange(impatient, *case(impatient)) == statuses


@pytest.mark.soak
async def test_requests_with_mistakes_in_them_end_and_leave_nothing_behind(
    impatient: House, caplog: pytest.LogCaptureFixture
) -> None:
    """The seed is in the failure's words: the same bytes again with `random.Random(seed)`."""
    caplog.set_level(logging.ERROR)
    async with impatient.post("/api/chat", chat(stream=False)) as reply:
        await reply.read()
    before = Kept.now()
    seeds, wrong = iter(range(MANGLED)), {}

    async def sender() -> None:
        for seed in seeds:
            statuses = await exchange(impatient, *mangled(impatient, random.Random(seed)))
            if any(status >= 500 and status != 501 for status in statuses):
                wrong[seed] = statuses

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(sender())
    assert not wrong
    assert not caplog.text
    await comes_down_to(before)
    async with impatient.post("/api/chat", chat(stream=False)) as reply:
        assert reply.status == 200
