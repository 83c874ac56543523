"""Receivers that are down, slow and lying: a sentence in `/reconcile` and in the log, serving goes on, nothing is lost.

Between the gateway and the client's real receiver stands a liar. Once it is honest again, both sides hold the same
records, each of them once.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from app.face import ReceiptState
from app.gateway.delivery.guard import Guard
from app.gateway.delivery.outgoing import Outgoing
from app.ledger.invitation import Invitation
from tests.gateway.conftest import Build, House
from tests.gateway.delivery.conftest import until
from tests.gateway.delivery.strange import Receiver, receiver
from tests.gateway.delivery.test_callback import ask, receipts, reconciled, told
from tests.gateway.delivery.test_receivers import enrolled
from tests.real.postgres_server import PostgresServer
from tests.receiver.asking import Asked, Desk

DEADLINE_S = 0.5


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that waits for half a second where it would wait for half a minute."""
    monkeypatch.setitem(Outgoing.__init__.__kwdefaults__, "deadline_s", DEADLINE_S)


@dataclass
class Between:
    """A receiver that passes everything on to the real one, and remembers what that answered."""

    asked: Asked
    log: str = ""
    answers: list[bytes] = field(default_factory=list)

    async def __call__(self, request: web.Request, body: bytes) -> web.StreamResponse:
        headers = {
            name: request.headers[name]
            for name in ("Authorization", "Content-Type")
            if name in request.headers
        }
        url = self.asked.url + request.path_qs
        async with self.asked.session.request(request.method, url, data=body, headers=headers) as reply:
            answer = await reply.read()
            self.answers.append(answer)
            return web.Response(status=reply.status, body=answer)


Lie = Callable[[Between, web.Request, bytes], Awaitable[web.StreamResponse]]


def says(status: int, body: bytes = b"", **headers: str) -> Lie:
    async def lie(_: Between, request: web.Request, body_: bytes) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return lie


async def sleeps(_: Between, request: web.Request, body: bytes) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def floods(_: Between, request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 0x4000)


async def drips(_: Between, request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x")
        await asyncio.sleep(0.02)


async def hangs_up(_: Between, request: web.Request, body: bytes) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def speaks_ssh(_: Between, request: web.Request, body: bytes) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    request.transport.close()
    return web.Response()


async def keeps_but_hangs_up(between: Between, request: web.Request, body: bytes) -> web.StreamResponse:
    """What was sent is kept and cosigned, and the answer is lost on its way."""
    await between(request, body)
    return await hangs_up(between, request, body)


async def repeats_yesterday(between: Between, request: web.Request, body: bytes) -> web.StreamResponse:
    return web.Response(body=between.answers[0])


async def cosigns_another_log(between: Between, request: web.Request, body: bytes) -> web.StreamResponse:
    note = body.split(b"\n\n", 1)[1].decode().replace(between.log, between.log + "x")
    return web.Response(text=between.asked.receiver.identity.cosigner.cosign(note, 1))


BAD_HTTP: dict[str, tuple[Lie, str]] = {
    "slow": (sleeps, "did not answer within 0.5 s"),
    "hangs up": (hangs_up, "broke off"),
    "takes it and hangs up": (keeps_but_hangs_up, "broke off"),
    "500": (says(500, b"\x00\xff"), "failed (500)"),
    "503": (says(503, b"", **{"Retry-After": "1"}), "is busy (503)"),
    "507": (says(507), "has no room left (507)"),
    "301": (says(301, b"", Location="http://169.254.169.254/"), "redirects (301), which is not followed"),
    "404": (says(404), "refuses the records (404)"),
    "413": (says(413), "(413)"),
    "no HTTP": (speaks_ssh, "does not speak HTTP"),
    "a body without end": (floods, "answers without end"),
    "a body that drips": (drips, "did not answer within 0.5 s"),
}
BAD_WORDS: dict[str, tuple[Lie, str]] = {
    "200 and nothing": (says(200), "took the records and did not cosign them"),
    "200 and garbage": (says(200, b"\xff\x00" * 99), "does not hold"),
    "200 and a page": (says(200, b"<html>Welcome</html>"), "does not hold"),
    "another log's cosignature": (cosigns_another_log, "does not hold"),
    "yesterday's cosignature": (repeats_yesterday, "does not hold"),
    "yesterday's size": (says(409, b"1\n"), "goes not on from 1 records"),
    "no size": (says(409, b"many\n"), "says not which"),
    "unknown": (says(401), "does not know this gateway (401)"),
    "422 and garbage": (says(422, b"\xff\x00" * 99), "contests our records: it does not say why."),
    "422 and a page": (says(422, b"<html>\n<b>No"), "contests our records: <html> <b>No."),
    "422 and a word": (
        says(422, b'{"error":{"code":"x","message":"Record 1 is another."}}'),
        "contests our records: Record 1 is another.",
    ),
}


def one_sentence(text: str) -> None:
    assert text.endswith("."), text
    assert text.isprintable(), text


def logged(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    """What the log says of it, at least as a warning."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and words in record.getMessage()
    ]


@dataclass
class Bad:
    """A gateway that delivers to the real receiver through a liar."""

    house: House
    between: Between
    liar: Receiver
    invitation: Invitation

    def lie(self, lie: Lie) -> None:
        async def answer(request: web.Request, body: bytes) -> web.StreamResponse:
            return await lie(self.between, request, body)

        self.liar.answer = answer

    def be_honest(self) -> None:
        self.liar.answer = self.between

    def under(self, name: str) -> None:
        """The same receiver under a name."""
        url = self.liar.url.replace("127.0.0.1", name)
        self.invitation = Invitation(url, self.invitation.secret, self.invitation.vkey)

    async def enrol(self) -> None:
        """Enrol, or say anew, which is the contributor's word to try at once."""
        said = await enrolled(self.house, self.invitation.line)
        assert said["status"] == 200, said

    async def heals(self) -> None:
        """Everything is acknowledged in the end, once, and both sides say the same of it."""
        self.be_honest()
        await self.enrol()
        await until(lambda: receipts(self.house).state is ReceiptState.ACKNOWLEDGED)
        ours, log = await reconciled(self.house), receipts(self.house).log
        assert (ours["status"], ours["findings"], ours["receipts"][0]["sentence"]) == ("OK", [], None)
        theirs = (await self.between.asked.get("/reconcile", self.invitation.secret)).json
        assert (theirs["status"], theirs["findings"], theirs["charges"]) == ("OK", [], [])
        assert theirs["ledger_total_cost_pico"] == ours["ledger_total_cost_pico"]
        leaves = (await self.between.asked.get(f"/ledger/entries?log={log}", self.invitation.secret)).text
        assert tuple(leaves.encode().splitlines()) == await self.house.gateway.ledger.entries(log, 0, 500)


@pytest.fixture
async def bad(build: Build, tmp_path: Path) -> AsyncIterator[Bad]:
    house = await build(private_receivers=True)
    async with Desk(tmp_path / "client").open() as asked, receiver() as liar:
        vkey = asked.receiver.identity.cosigner.vkey
        invitation = Invitation(liar.url, await asked.enrol("garage"), vkey)
        made = Bad(house, Between(asked), liar, invitation)
        made.be_honest()
        yield made


@pytest.mark.parametrize("what", [*BAD_HTTP, *BAD_WORDS])
async def test_whatever_the_receiver_does_it_is_a_sentence_and_nothing_is_lost(
    bad: Bad, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    lie, words = (BAD_HTTP | BAD_WORDS)[what]
    house = bad.house
    await bad.enrol()
    await until(lambda: receipts(house).state is ReceiptState.ACKNOWLEDGED)
    bad.between.log = receipts(house).log
    bad.lie(lie)
    await ask(house, 2)
    await until(lambda: words in receipts(house).sentence)
    for key in (house.key, house.operator):
        (told_of,) = (await reconciled(house, key))["receipts"]
        assert words in told_of["sentence"]
        one_sentence(told_of["sentence"])
        assert told_of["waiting"] > 0
        assert told_of["next_try"] > told_of["waiting_since"]
    (line,) = set(logged(caplog, words))
    assert line == f"Delivery of {bad.between.log}: {receipts(house).sentence}"
    assert bad.invitation.secret not in caplog.text
    assert [answer["outcome"] for answer in await ask(house, 2)] == ["complete"] * 2
    await bad.heals()
    assert len(await house.usage()) == 4


async def test_a_receiver_that_was_never_up_gets_everything_when_it_comes(
    build: Build, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    house = await build(private_receivers=True)
    async with Desk(tmp_path / "client").open() as asked:
        async with receiver() as gone:
            url = gone.url
        invitation = Invitation(url, await asked.enrol("garage"), asked.receiver.identity.cosigner.vkey)
        assert (await enrolled(house, invitation.line))["status"] == 200
        await ask(house, 2)
        await until(lambda: "cannot be reached: Connection refused." in receipts(house).sentence)
        assert (await reconciled(house))["receipts"][0]["sentence"].endswith(
            "cannot be reached: Connection refused."
        )
        assert logged(caplog, "cannot be reached")
        async with receiver(int(url.rpartition(":")[2])) as liar:
            await Bad(house, Between(asked), liar, invitation).heals()


async def test_a_receiver_whose_postgresql_goes_away_and_comes_back_has_everything(
    build: Build, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = PostgresServer("fsync=off")
    try:
        await asyncio.to_thread(server.start)
        house = await build(private_receivers=True)
        url = await asyncio.to_thread(server.database)
        async with Desk(tmp_path / "client").open(database=url) as asked, receiver() as liar:
            vkey = asked.receiver.identity.cosigner.vkey
            bad = Bad(house, Between(asked), liar, Invitation(liar.url, await asked.enrol("garage"), vkey))
            await bad.heals()
            await asyncio.to_thread(server.stop, signal.SIGQUIT)
            await ask(house, 2)
            await until(lambda: "is busy (503)" in receipts(house).sentence, 15)
            (told_of,) = (await reconciled(house))["receipts"]
            one_sentence(told_of["sentence"])
            assert logged(caplog, "is busy (503)")
            # The receiver names its own trouble, in its log and to whoever asks.
            assert logged(caplog, "There is no answer from the PostgreSQL database")
            health = await asked.get("/health")
            assert (health.status, health.json["accepting"]) == (503, False)
            assert [answer["outcome"] for answer in await ask(house, 2)] == ["complete"] * 2
            await asyncio.to_thread(server.start)
            await bad.heals()
            assert (await asked.get("/health")).status == 200
            assert len(await house.usage()) == 4
    finally:
        await asyncio.to_thread(server.close)


# A name that leads to a metadata service


@dataclass
class Names:
    """What names lead to, as a name server of somebody's tells it."""

    leads: str = "127.0.0.1"

    def __call__(self, host: str, port: int) -> list[tuple[int, str]]:
        return [(int(socket.AF_INET), self.leads)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    made = Names()
    monkeypatch.setitem(Guard.__init__.__kwdefaults__, "addresses", made)
    return made


async def test_a_name_that_leads_to_a_metadata_service_is_not_enrolled(names: Names, bad: Bad) -> None:
    names.leads = "169.254.169.254"
    bad.under("ada.example")
    said = await enrolled(bad.house, bad.invitation.line)
    assert said["status"] == 400
    assert "link-local address or a metadata service" in said["error"]
    assert bad.liar.heard == []


async def test_a_name_that_leads_to_a_metadata_service_later_gets_nothing_from_then_on(
    names: Names, bad: Bad, caplog: pytest.LogCaptureFixture
) -> None:
    house, words = bad.house, "leads to 169.254.169.254, which is a link-local address or a metadata service"
    bad.under("ada.example")
    await bad.enrol()
    await until(lambda: receipts(house).state is ReceiptState.ACKNOWLEDGED)
    names.leads = "169.254.169.254"
    # A connection that is open is to the address that was checked; the next one is checked anew.
    bad.lie(hangs_up)
    await ask(house)
    await until(lambda: receipts(house).sentence)
    heard = len(bad.liar.heard)
    async with house.post("/config", {"private_receivers": False}, key=house.operator) as reply:
        assert reply.status == 200
    await until(lambda: words in receipts(house).sentence)
    assert len(bad.liar.heard) == heard
    one_sentence((await reconciled(house))["receipts"][0]["sentence"])
    assert logged(caplog, words)
    assert (await ask(house))[0]["outcome"] == "complete"
    async with house.post("/config", {"private_receivers": True}, key=house.operator) as reply:
        assert reply.status == 200
    names.leads = "127.0.0.1"
    await bad.heals()


async def test_a_callback_url_whose_name_leads_to_a_metadata_service_is_a_sentence(
    names: Names, build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    names.leads = "169.254.169.254"
    words = "metadata.example leads to 169.254.169.254, which is a link-local address or a metadata service"
    async with receiver() as strange:
        url = strange.url.replace("127.0.0.1", "metadata.example")
        house = await build(callback_url=url)
        assert (await ask(house))[0]["outcome"] == "complete"
        await until(lambda: words in receipts(house).sentence)
        (told_of,) = (await reconciled(house, house.operator))["receipts"]
        one_sentence(told_of["sentence"])
        assert logged(caplog, words)
        assert strange.heard == []
        names.leads = "127.0.0.1"
        async with house.post("/config", {"callback_url": url + "/transaction"}, key=house.operator) as reply:
            assert reply.status == 200
        await until(lambda: len(strange.heard) == 1)


# Receivers of the seed's kind


@pytest.mark.parametrize("what", [name for name in BAD_HTTP if name != "takes it and hangs up"])
async def test_the_seeds_receiver_may_be_as_bad_and_gets_each_transaction_in_the_end(
    build: Build, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    lie, words = BAD_HTTP[what]
    async with receiver() as strange:
        house = await build(callback_url=strange.url)

        async def lies(request: web.Request, body: bytes) -> web.StreamResponse:
            return await lie(Between(None), request, body)  # type: ignore[arg-type]

        strange.answer = lies
        await ask(house, 2)
        await until(lambda: words in receipts(house).sentence)
        (told_of,) = (await reconciled(house, house.operator))["receipts"]
        one_sentence(told_of["sentence"])
        assert len(logged(caplog, words)) >= 1
        assert (await ask(house))[0]["outcome"] == "complete"
        tried = {heard.headers["Webhook-Id"] for heard in strange.heard}
        assert len(tried) == 1, "the order of the log is kept"
        strange.heard.clear()
        strange.says(200, "thanks")
        async with house.post(
            "/config", {"callback_url": strange.url + "/again"}, key=house.operator
        ) as reply:
            assert reply.status == 200
        await until(lambda: receipts(house).state is ReceiptState.ACKNOWLEDGED)
        ids = [transaction["id"] for transaction in told(strange)]
        assert ids == [row.id for row in await house.usage()]
        assert set(ids) >= tried, "the same id on every try"
