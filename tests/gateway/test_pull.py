"""`receiver pull`: a client that no gateway can reach fetches its log, and believes no more than of what is sent."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from app.commands import receiver_pull
from app.commands.asking_gateway import asking_gateway
from app.commands.common import CommandError
from app.commands.receiver_pull import _Pull
from app.ledger.checkpoint import Signer
from app.ledger.copies import AskedCopy, Fetch
from app.ledger.cosignature import Cosigner
from app.ledger.errors import BadProof
from app.ledger.sqlite.rotation import SIGNED_EVERY
from app.receiver.audit import audit_copy
from app.receiver.sqlite.schema import RECEIVER_FILE
from app.receiver.sqlite.store import SqliteCopy
from tests.gateway.conftest import Build, House, chat
from tests.gateway.processes import gateway, run
from tests.receiver.sending import SendingLog, usage
from tests.receiver.stores import enrolment
from tests.receiver.test_intake import forked

COSIGNER = Cosigner(bytes(range(32)), "receiver.example/r1")
GARAGE = enrolment("garage")
VAULT = ("--vault", "file")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteCopy]:
    made = SqliteCopy(tmp_path / RECEIVER_FILE)
    made.enrol(GARAGE)
    yield made
    made.close()


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_pull, "AT_ONCE", 3)


def shows(log: SendingLog, size: int | None = None) -> Fetch:
    """A gateway that has the first `size` records of a log, and answers as docs/ledger.md says."""

    async def fetch(path: str) -> tuple[int, bytes]:
        asked = {name: values[-1] for name, values in parse_qs(urlsplit(path).query).items()}
        bodies = log.bodies[:size]
        if path.startswith("/ledger/checkpoint"):
            return 200, log.note(int(asked.get("size", len(bodies)))).encode()
        begin, limit = int(asked["from"]), int(asked["limit"])
        return 200, b"".join(body + b"\n" for body in bodies[begin : begin + limit])

    return fetch


async def pulled(store: SqliteCopy, fetch: Fetch) -> int:
    return await _Pull(store, GARAGE, COSIGNER, AskedCopy(fetch, "", "gateway")).run()


async def test_a_client_whom_nobody_can_reach_fetches_its_log_with_its_key(
    house: House, tmp_path: Path
) -> None:
    client = tmp_path / "client"
    client.mkdir()

    async def types(*words: str) -> str:
        done = await asyncio.to_thread(run, client, "receiver", *words, *VAULT)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def ask() -> None:
        async with house.post("/api/chat", chat(stream=False)) as reply:
            assert reply.status == 200

    await ask()
    await types("enrol", "garage")
    there = ("--url", house.gateway.address, "--key", house.key)
    log, size = house.gateway.ledger.clients()[0].log, house.gateway.ledger.newest()[0].size
    assert await types("pull", "garage", *there) == (
        f"OK: {log}: {size} new; {size} records are held, with the gateway's signature over them.\n"
    )
    assert (await types("pull", "garage", *there)).startswith(f"OK: {log}: nothing new; {size} records")
    await ask()
    assert (await types("pull", "garage", *there)).startswith(f"OK: {log}: 1 new; {size + 1} records")
    assert (await types("verify")).endswith(f"all {size + 1} records are as they were signed.\n")
    assert (await types("reconcile", "garage", *there)).startswith("OK: Both sides hold the same")


async def test_a_certificate_that_no_authority_vouches_for_is_known_by_its_fingerprint(
    build: Build, store: SqliteCopy
) -> None:
    house = await build(tls="own")
    tls = house.gateway.snapshot().tls
    assert tls is not None
    for fingerprint in (tls.fingerprint, tls.fingerprint.replace(":", "").lower()):
        async with asking_gateway(house.gateway.address, house.key, fingerprint) as fetch:
            assert await pulled(store, fetch) == 0
    for wrong in (None, "AB:" * 31 + "AB"):
        with pytest.raises(BadProof, match="did not answer as it should"):
            async with asking_gateway(house.gateway.address, house.key, wrong) as fetch:
                await pulled(store, fetch)
    for nonsense in ("", "AB:CD", "x" * 64):
        with pytest.raises(CommandError, match="The fingerprint cannot be read"):
            async with asking_gateway(house.gateway.address, house.key, nonsense):
                pass


async def test_a_log_whose_key_was_passed_on_meanwhile_comes_as_far_as_each_key_vouches_for(
    store: SqliteCopy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert receiver_pull.AT_ONCE > SIGNED_EVERY
    home = tmp_path / "home"
    home.mkdir()

    def ask(connection: dict[str, str], times: int) -> None:
        for _ in range(times):
            body = json.dumps(chat(stream=False)).encode()
            headers = {"Authorization": f"Bearer {connection['api_key']}", "Content-Type": "application/json"}
            request = urllib.request.Request(connection["url"] + "/api/chat", body, headers)
            with urllib.request.urlopen(request, timeout=30) as reply:
                assert reply.status == 200

    for number in range(3):
        with gateway(home, "--simulate") as lender:
            await asyncio.to_thread(ask, lender.connection, 5)
            if number == 2:
                url, key = lender.connection["url"], lender.connection["api_key"]
                async with asking_gateway(url, key) as fetch:
                    assert await pulled(store, fetch) == 0
        if number < 2:
            done = await asyncio.to_thread(run, home, "ledger", "rotate-key", *VAULT)
            assert done.returncode == 0, done.stderr
    (listed,) = store.logs(GARAGE.id)
    assert len(listed.log.keys) == 3
    assert listed.log.head.requests == 15
    assert audit_copy(store, listed.log).sentence == ""
    assert f"{listed.log.size} new" in capsys.readouterr().out


async def test_a_gateway_that_shows_fewer_than_it_signed_is_said_so(
    store: SqliteCopy, in_parts: None, capsys: pytest.CaptureFixture[str]
) -> None:
    log = SendingLog(records=9)
    assert await pulled(store, shows(log)) == 0
    assert await pulled(store, shows(log, 7)) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"OK: {log.log}: 10 new; 10 records are held")
    assert said[1].startswith(
        f"ROLLBACK: {log.log}: 10 records are held with the gateway's signature, and it"
    )


@pytest.mark.parametrize("size", [5, 10, 12])
async def test_another_history_is_refused_and_both_signatures_are_kept(
    store: SqliteCopy, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    log = SendingLog(records=9)
    assert await pulled(store, shows(log)) == 0
    other = forked(log, 3)
    for _ in range(3):
        other.append(usage())
    assert await pulled(store, shows(other, size)) == 1
    assert f"REFUSED: {log.log}: " in capsys.readouterr().out
    (charge,) = store.charges(GARAGE.id, 9)
    assert charge.proof is (size < 11)
    assert store.logs(GARAGE.id)[0].log.size == 10


async def test_what_is_not_signed_by_the_logs_own_key_is_refused(
    store: SqliteCopy, capsys: pytest.CaptureFixture[str]
) -> None:
    log = SendingLog(records=3)
    genuine = log.signer
    log.signer = Signer(bytes(32), genuine.name)
    assert await pulled(store, shows(log)) == 1
    assert "The checkpoint is not signed as it must be" in capsys.readouterr().out
    assert store.logs(GARAGE.id) == ()


@pytest.mark.parametrize("spoil", ["fewer", "none", "cut", "nonsense", "shorter"])
async def test_an_answer_that_is_none_keeps_what_came_before(
    store: SqliteCopy, in_parts: None, spoil: str
) -> None:
    log = SendingLog(records=9)
    honest = shows(log)

    async def fetch(path: str) -> tuple[int, bytes]:
        status, body = await honest(path)
        if "from=6" in path:
            cut = {"fewer": body.partition(b"\n")[0] + b"\n", "none": b"", "cut": body[:-5]}
            return status, cut.get(spoil, body)
        if "known=6" in path:
            odd = {"nonsense": b"nonsense", "shorter": log.note(6).encode()}
            return status, odd.get(spoil, body)
        return status, body

    with pytest.raises(BadProof, match=r"does not show the records 6 to 8|break off|is none"):
        await pulled(store, fetch)
    assert store.logs(GARAGE.id)[0].log.size == 6
    assert await pulled(store, honest) == 0


async def test_what_cannot_be_fetched_is_one_sentence(house: House, tmp_path: Path) -> None:
    async def types(*words: str) -> str:
        done = await asyncio.to_thread(run, tmp_path, "receiver", "pull", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        return done.stderr

    assert "wants the gateway's name" in await types("--url", "x", "--key", "k", *VAULT)
    assert "No gateway is enrolled as garage" in await types("garage", "--url", "x", "--key", "k", *VAULT)
    assert "with --url" in await types("garage", *VAULT)
    assert "memory vault" in await types("garage", "--url", "x", "--key", "k", "--vault", "memory")
    await asyncio.to_thread(run, tmp_path, "receiver", "enrol", "garage", *VAULT)
    assert "did not answer as it should" in await types(
        "garage", "--url", "http://127.0.0.1:9", "--key", "k", *VAULT
    )
    address = house.gateway.address
    assert "answers 401" in await types("garage", "--url", address, "--key", "mg_" + "x" * 43, *VAULT)
    assert "answers 404" not in await types(
        "garage", "--url", address, "--key", house.operator, "--log", "no", *VAULT
    )
