"""Asking a receiver that behaves in every bad way: each is one sentence, in time, and nothing is followed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from app.gateway.delivery.guard import Guard
from app.gateway.delivery.outgoing import NoAnswer, Outgoing, ReceiverAnswer, retry_after_s, shown
from tests.gateway.delivery.strange import raw, receiver

Ask = Callable[..., Awaitable[ReceiverAnswer]]


def addresses(host: str, port: int) -> list[tuple[int, str]]:
    if host == "nowhere.example":
        raise socket.gaierror("unknown")
    if host == "metadata.example":
        return [(int(socket.AF_INET), "169.254.169.254")]
    return [(int(socket.AF_INET), "127.0.0.1")]


@pytest.fixture
async def outgoing() -> AsyncIterator[Outgoing]:
    guard = Guard(private=lambda: True, never=lambda: ("http://127.0.0.1:1",), addresses=addresses)
    made = Outgoing(guard, deadline_s=1.0)
    yield made
    await made.close()


async def said(outgoing: Outgoing, url: str) -> str:
    with pytest.raises(NoAnswer) as caught:
        await outgoing.post(url, b"{}", {})
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert "secret" not in sentence
    return sentence


async def test_a_whole_answer_comes_with_its_status_and_its_wish_to_be_left_alone(outgoing: Outgoing) -> None:
    async with receiver() as strange:
        strange.says(503, "busy", Retry_After="120")
        answer = await outgoing.post(strange.url + "/transaction?a=%2Fb", b"{}", {"X-A": "b"})
        assert (answer.status, answer.body, answer.retry_after_s) == (503, b"busy", 120.0)
        (heard,) = strange.heard
        assert (heard.method, heard.path, heard.body) == ("POST", "/transaction?a=%2Fb", b"{}")
        assert heard.headers["X-A"] == "b"
        assert heard.headers["Accept-Encoding"] == "identity"
        assert "Cookie" not in heard.headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_never_followed(outgoing: Outgoing, status: int) -> None:
    async with receiver() as strange, receiver() as other:
        strange.says(status, Location=other.url, Set_Cookie="a=b")
        assert (await outgoing.post(strange.url, b"{}", {})).status == status
        await outgoing.post(strange.url, b"{}", {})
        assert other.heard == []
        assert all("Cookie" not in heard.headers for heard in strange.heard)


async def test_a_receiver_that_is_down_is_said(outgoing: Outgoing) -> None:
    async with receiver() as strange:
        url = strange.url
    sentence = await said(outgoing, url + "/?secret=x")
    assert sentence.startswith("The receiver at 127.0.0.1:")
    assert sentence.endswith("cannot be reached: Connection refused.")


async def test_a_name_without_an_address_is_said(outgoing: Outgoing) -> None:
    assert await said(outgoing, "http://nowhere.example:8435/secret") == (
        "The receiver's host nowhere.example has no address."
    )


async def test_a_name_that_leads_to_a_metadata_service_is_refused_before_anything_is_sent(
    outgoing: Outgoing,
) -> None:
    assert "metadata service" in await said(outgoing, "http://metadata.example/latest/secret")


async def test_a_slow_receiver_is_left_in_time(outgoing: Outgoing) -> None:
    async def sleeps(request: web.Request, body: bytes) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    async with receiver() as strange:
        strange.answer = sleeps
        assert "did not answer within 1 s" in await said(outgoing, strange.url)


async def test_a_body_that_drips_for_ever_is_left_in_time(outgoing: Outgoing) -> None:
    async def drips(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with raw(drips) as url:
        assert "did not answer within 1 s" in await said(outgoing, url)


async def test_a_body_without_end_is_read_no_further_than_a_bound(outgoing: Outgoing) -> None:
    async def floods(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            await writer.drain()

    async with raw(floods) as url:
        assert "answers without end" in await said(outgoing, url)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        (b"\x00\xff" * 50 + b"\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "broke off"),
        (b"", "broke off"),
    ],
)
async def test_garbage_and_half_an_answer_are_said(outgoing: Outgoing, answer: bytes, words: str) -> None:
    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with raw(script) as url:
        assert words in await said(outgoing, url)


async def test_a_receiver_with_a_certificate_of_its_own_making_is_said(outgoing: Outgoing) -> None:
    async with receiver() as strange:
        assert "127.0.0.1" in await said(outgoing, strange.url.replace("http:", "https:"))


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("0", 0.0),
        ("120", 120.0),
        ("9" * 400, float("9" * 12)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 60.0),
        ("Wed, 21 Oct 2015 07:00:00 GMT", 0.0),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_retry_after_in_each_of_its_forms(value: str | None, wait_s: float | None) -> None:
    assert retry_after_s(value, now_s=1_445_412_420.0) == wait_s


def test_what_a_receiver_says_is_shown_without_its_tricks() -> None:
    assert shown("a\nb\x1b[31mc" + "d" * 300) == "a b [31mc" + "d" * 191
