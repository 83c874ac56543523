"""A receiver over HTTP: what gateways hear, and what can be read."""

from __future__ import annotations

import asyncio
import hashlib
import json
from base64 import b64decode
from collections.abc import AsyncIterator

import apsw
import pytest

from app.ledger.checkpoint import verify_checkpoint
from app.ledger.cosignature import find_cosignature
from app.ledger.merkle import leaf_hash, verify_consistency, verify_inclusion
from app.receiver.assembly import now_s
from app.receiver.sqlite.schema import RECEIVER_FILE
from app.receiver.submission import LEAVES_MAX, write_submission
from tests.receiver.asking import Asked, Desk
from tests.receiver.sending import SendingLog, usage
from tests.receiver.test_intake import changed, forked


@pytest.fixture
async def asked(desk: Desk) -> AsyncIterator[Asked]:
    async with desk.open() as receiver:
        yield receiver


@pytest.fixture
async def secret(asked: Asked) -> str:
    return await asked.enrol("garage")


@pytest.fixture
def gateway() -> SendingLog:
    return SendingLog(records=9)


async def test_a_push_is_answered_with_a_cosignature_over_its_checkpoint(
    asked: Asked, secret: str, gateway: SendingLog
) -> None:
    before = now_s()
    reply = await asked.push(secret, gateway.push(0, 6))
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    found = find_cosignature(gateway.note(6), reply.text, asked.receiver.identity.cosigner.verifier)
    assert (found.checkpoint.size, found.checkpoint.root) == (6, gateway.root(6))
    assert before <= found.at_s <= now_s()
    reply = await asked.push(secret, gateway.push(6))
    assert find_cosignature(gateway.note(), reply.text, asked.receiver.identity.cosigner.verifier)


async def test_what_was_cosigned_is_there_after_a_restart(desk: Desk, gateway: SendingLog) -> None:
    async with desk.open() as asked:
        secret = await asked.enrol("garage")
        vkey = asked.receiver.identity.cosigner.vkey
        assert (await asked.push(secret, gateway.push(0, 6))).status == 200
    async with desk.open() as asked:
        assert asked.receiver.identity.cosigner.vkey == vkey
        reply = await asked.push(secret, gateway.push(8))
        assert (reply.status, reply.text, reply.headers["Content-Type"]) == (409, "6\n", "text/x.tlog.size")
        assert (await asked.push(secret, gateway.push(6))).status == 200
        assert (await asked.get("/ledger/entries", secret)).text.encode().splitlines() == gateway.bodies


async def test_anyone_with_the_key_verifies_everything_that_is_read(
    asked: Asked, secret: str, gateway: SendingLog
) -> None:
    await asked.push(secret, gateway.push())
    for key in (secret, asked.owner):
        note = (await asked.get("/ledger/checkpoint", key)).text
        claim = verify_checkpoint(note, gateway.signer.verifier, gateway.log)
        head, _, lines = note.partition("\n\n")
        assert (
            find_cosignature(head + "\n\n", lines, asked.receiver.identity.cosigner.verifier).checkpoint
            == claim
        )
        reply = await asked.get("/ledger/entries?from=3&limit=4", key)
        assert reply.text == "".join(body.decode() + "\n" for body in gateway.bodies[3:7])
        proof = (await asked.get("/ledger/proof/5?size=10", key)).json
        assert proof["leaf"].encode() == gateway.bodies[5]
        path = [b64decode(step) for step in proof["proof"]]
        verify_inclusion(leaf_hash(gateway.bodies[5]), 5, proof["size"], path, claim.root)
        assert (proof["checkpoint"], proof["growth"]) == (note, [])
        logs = (await asked.get("/ledger/logs", key)).json
        assert logs["vkey"] == asked.receiver.identity.cosigner.vkey
        assert logs["logs"] == [
            {"log": gateway.log, "gateway": "garage", "size": 10, "vkey": gateway.signer.vkey}
        ]
        recent = (await asked.get("/ledger?limit=2", key)).json
        assert [row["seq"] for row in recent["transactions"]] == [9, 8]
        assert (recent["total_cost_pico"], recent["entries"]) == (str(gateway.cum), 10)


async def test_a_record_is_proven_in_the_tree_of_every_past_size(
    asked: Asked, secret: str, gateway: SendingLog
) -> None:
    await asked.push(secret, gateway.push())
    root = gateway.root()
    for size in range(1, 11):
        proof = (await asked.get(f"/ledger/proof/{size - 1}?size={size}", secret)).json
        path, growth = ([b64decode(step) for step in proof[name]] for name in ("proof", "growth"))
        verify_inclusion(leaf_hash(gateway.bodies[size - 1]), size - 1, size, path, gateway.root(size))
        verify_consistency(size, 10, growth, gateway.root(size), root)


async def test_what_is_not_there_is_said(asked: Asked, secret: str, gateway: SendingLog) -> None:
    reply = await asked.get("/ledger/checkpoint", secret)
    assert (reply.status, reply.code) == (400, "log_required")
    await asked.push(secret, gateway.push())
    for path, status, code in (
        ("/ledger/proof/10", 404, "record_not_found"),
        ("/ledger/proof/x", 400, "invalid_value"),
        ("/ledger/proof/4?size=4", 404, "record_not_found"),
        ("/ledger/proof/1?size=11", 400, "invalid_value"),
        ("/ledger/proof/1?size=0", 400, "invalid_value"),
        ("/ledger/checkpoint?size=4", 400, "invalid_value"),
        ("/ledger/checkpoint?log=none", 404, "log_not_found"),
        ("/ledger/entries?from=-1", 400, "invalid_value"),
        ("/ledger?gateway=attic", 404, "gateway_not_found"),
        ("/nothing", 404, "not_found"),
        ("/ledger/", 404, "not_found"),
    ):
        reply = await asked.get(path, secret)
        assert (reply.status, reply.code) == (status, code), path
    assert (await asked.get("/ledger/entries?from=99", secret)).text == ""
    assert (await asked.ask("DELETE", "/ledger", secret)).headers["Allow"] == "GET, POST"


async def test_gateways_hear_nothing_of_each_other(asked: Asked, secret: str, gateway: SendingLog) -> None:
    attic, other = await asked.enrol("attic"), SendingLog(2, records=3)
    await asked.push(secret, gateway.push())
    await asked.push(attic, other.push())
    assert (await asked.get("/ledger/entries", attic)).text.encode().splitlines() == other.bodies
    for path in (f"/ledger/entries?log={gateway.log}", "/ledger?gateway=garage"):
        assert (await asked.get(path, attic)).status == 404
    assert [log["log"] for log in (await asked.get("/ledger/logs", attic)).json["logs"]] == [other.log]
    assert len((await asked.get("/ledger", attic)).json["transactions"]) == 4
    assert [log["gateway"] for log in (await asked.get("/reconcile", attic)).json["logs"]] == ["attic"]
    assert (await asked.get("/ledger/checkpoint", asked.owner)).code == "log_required"
    reply = await asked.get(f"/ledger/checkpoint?log={other.log}&gateway=attic", asked.owner)
    assert reply.text.startswith(other.note())
    assert (await asked.get("/metrics", attic)).status == 403


# Keys.


async def test_without_a_key_nothing_is_taken_and_nothing_shown(asked: Asked, gateway: SendingLog) -> None:
    for method, path in (
        ("POST", "/ledger"),
        ("GET", "/ledger"),
        ("GET", "/ledger/logs"),
        ("GET", "/ledger/entries"),
        ("GET", "/ledger/checkpoint"),
        ("GET", "/ledger/proof/0"),
        ("GET", "/reconcile"),
        ("GET", "/metrics"),
    ):
        for key in (None, "mr_" + "x" * 43):
            reply = await asked.ask(method, path, key, gateway.push() if method == "POST" else None)
            assert (reply.status, reply.code) == (401, "invalid_key"), path
    assert (await asked.push(asked.owner, gateway.push())).status == 403


async def test_whoever_tries_too_many_keys_is_told_to_wait_and_keeps_nobody_out(
    asked: Asked, secret: str, gateway: SendingLog
) -> None:
    for _ in range(20):
        assert (await asked.push("mr_wrong", b"")).status == 401
    reply = await asked.push("mr_wrong", b"")
    assert (reply.status, reply.headers["Retry-After"]) == (429, "60")
    assert (await asked.push(secret, gateway.push())).status == 200


async def test_who_was_removed_stays_out_and_what_it_sent_stays_in(
    asked: Asked, secret: str, gateway: SendingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.receiver.doorkeeper.AGE_S", 0.0)
    await asked.push(secret, gateway.push(0, 6))
    from app.receiver.enrolling import remove

    await asked.receiver.keeper.write(lambda store: remove(store, "garage", now_s()))
    await asked.get("/ledger", secret)  # the list is read again beside this one
    async with asyncio.timeout(5):
        while (await asked.push(secret, gateway.push(6))).status != 401:
            await asyncio.sleep(0.01)
    reply = await asked.get("/ledger/entries", asked.owner)
    assert reply.text.encode().splitlines()[:6] == gateway.bodies[:6]


async def test_a_page_of_somebody_elses_may_not_ask(asked: Asked, secret: str) -> None:
    reply = await asked.ask("GET", "/ledger", secret, **{"Sec-Fetch-Site": "cross-site"})
    assert (reply.status, reply.code) == (403, "foreign_page")


# What is wrong with what comes.


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda log: log.bodies.__setitem__(slice(7, 9), [log.bodies[8], log.bodies[7]]), "out_of_order"),
        (lambda log: log.bodies.insert(7, log.bodies[6]), "out_of_order"),
        (lambda log: log.bodies.__setitem__(7, b'{"hello":"world"}'), "bad_record"),
        (lambda log: changed(log, 7, log="gw_1/other"), "other_log"),
    ],
    ids=["out of order", "twice", "of another schema", "of another log"],
)
async def test_leaves_that_do_not_fit_are_refused_in_one_sentence_and_the_rest_goes_on(
    asked: Asked, secret: str, gateway: SendingLog, spoil: object, code: str
) -> None:
    await asked.push(secret, gateway.push(0, 6))
    good = gateway.bodies.copy()
    spoil(gateway)  # type: ignore[operator]
    reply = await asked.push(secret, gateway.push(6))
    assert (reply.status, reply.code) == (422, code)
    assert reply.json["error"]["seq"] == 7
    gateway.bodies = good
    assert (await asked.push(secret, gateway.push(6))).status == 200


async def test_a_changed_byte_is_refused_held_against_the_gateway_and_forgotten_when_it_comes_whole(
    asked: Asked, secret: str, gateway: SendingLog
) -> None:
    await asked.push(secret, gateway.push(0, 6))
    body = gateway.push(6).replace(b"llama3.1:8b", b"llama3.1:9b", 1)
    reply = await asked.push(secret, body)
    assert (reply.status, reply.code) == (422, "other_root")
    state = (await asked.get("/reconcile", secret)).json
    assert (state["status"], len(state["findings"])) == ("UNVERIFIABLE", 1)
    await asked.push(secret, gateway.push(6))
    state = (await asked.get("/reconcile", secret)).json
    assert (state["status"], state["findings"], state["charges"]) == ("OK", [], [])


async def test_a_fork_is_refused_proven_and_shown_with_both_signatures(
    asked: Asked, secret: str, gateway: SendingLog
) -> None:
    await asked.push(secret, gateway.push())
    other = forked(gateway, 4)
    reply = await asked.push(secret, other.push())
    assert (reply.status, reply.code) == (422, "fork")
    assert (reply.json["error"]["checkpoint"], reply.json["error"]["seq"]) == (gateway.note(), 4)
    state = (await asked.get("/reconcile", asked.owner)).json
    assert state["status"] == "FORK"
    (charge,) = state["charges"]
    for note, bodies in (
        (charge["held_checkpoint"], gateway.bodies),
        (charge["shown_checkpoint"], other.bodies),
    ):
        claim = verify_checkpoint(note, gateway.signer.verifier, gateway.log)
        assert claim.root == SendingLog.root(gateway if bodies is gateway.bodies else other)
    assert charge["shown_record"].encode() == other.bodies[4]
    assert "mortdecai_receiver_forks 1" in (await asked.get("/metrics", asked.owner)).text


@pytest.mark.parametrize("body", [b"", b"old 0\n", b'{"a":1}', b"\xff" * 1000, b"old 0\n\n\n\n"])
async def test_what_is_no_submission_is_400(asked: Asked, secret: str, body: bytes) -> None:
    reply = await asked.push(secret, body)
    assert (reply.status, reply.code) == (400, "malformed")


async def test_ten_megabytes_are_refused_before_they_are_read(
    asked: Asked, secret: str, gateway: SendingLog
) -> None:
    reply = await asked.push(secret, write_submission(0, (b"x" * (10 << 20),), gateway.note()))
    assert (reply.status, reply.code) == (413, "body_too_large")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * (1 << 20)

    async with asked.session.post(
        asked.url + "/ledger", data=chunks(), headers={"Authorization": f"Bearer {secret}"}
    ) as response:
        assert response.status == 413
    reply = await asked.push(secret, write_submission(0, (b"{}",) * (LEAVES_MAX + 1), gateway.note()))
    assert (reply.status, reply.code) == (413, "too_many_leaves")
    assert (await asked.push(secret, gateway.push())).status == 200


async def test_a_packed_body_is_not_unpacked(asked: Asked, secret: str, gateway: SendingLog) -> None:
    reply = await asked.ask("POST", "/ledger", secret, gateway.push(), **{"Content-Encoding": "gzip"})
    assert (reply.status, reply.code) == (415, "content_encoding")


async def test_a_largest_push_is_taken(asked: Asked, secret: str) -> None:
    gateway = SendingLog(records=LEAVES_MAX - 1)
    assert (await asked.push(secret, gateway.push())).status == 200


# Many at once.


async def test_many_gateways_at_once_each_get_their_own_cosignature(asked: Asked) -> None:
    gateways = [(await asked.enrol(f"g{number}"), SendingLog(number + 1, records=2)) for number in range(30)]
    verifier = asked.receiver.identity.cosigner.verifier

    async def run(secret: str, log: SendingLog) -> None:
        old = 0
        for _ in range(5):
            log.append(usage())
            reply = await asked.push(secret, log.push(old))
            assert find_cosignature(log.note(), reply.text, verifier).checkpoint.size == len(log.bodies)
            old = len(log.bodies)

    await asyncio.gather(*(run(*each) for each in gateways))
    state = (await asked.get("/reconcile", asked.owner)).json
    assert (state["status"], state["ledger_entries"]) == ("OK", 30 * 8)
    assert state["ledger_total_cost_pico"] == str(sum(log.cum for _, log in gateways))


async def test_the_same_log_pushed_twice_at_once_is_kept_once(
    asked: Asked, secret: str, gateway: SendingLog
) -> None:
    replies = await asyncio.gather(*(asked.push(secret, gateway.push()) for _ in range(8)))
    assert {reply.status for reply in replies} == {200}
    assert len((await asked.get("/ledger/entries", secret)).text.splitlines()) == 10


# The seed's form.


def flat(secret: str = "shh", **changes: object) -> bytes:
    sent = {
        "id": "tx-1",
        "timestamp": 1763650000.5,
        "model": "mortdecai:0.5.0",
        "prompt_tokens": 26,
        "completion_tokens": 298,
        "duration_seconds": 3.42,
        "energy_wh": 0.0561,
        "cost": 8.4075e-06,
        **changes,
    }
    tokens = int(str(sent["prompt_tokens"])) + int(str(sent["completion_tokens"]))
    text = f"{sent['id']}{tokens}{json.dumps(sent['cost'])}{secret}"
    sent.setdefault("hash", hashlib.sha256(text.encode("utf-8", "replace")).hexdigest())
    return json.dumps(sent).encode()


async def test_the_seeds_transactions_are_kept_with_a_key_or_with_a_hash(desk: Desk) -> None:
    async with desk.open(ledger_secret="shh") as asked:
        secret = await asked.enrol("garage")
        reply = await asked.ask("POST", "/transaction", None, flat())
        assert (reply.status, reply.json) == (
            200,
            {"status": "ok", "id": "tx-1", "again": False, "valid": True},
        )
        assert (await asked.ask("POST", "/transaction", None, flat())).json["again"]
        reply = await asked.ask("POST", "/transaction", None, flat(cost=9e-06))
        assert (reply.status, reply.code) == (422, "other_transaction")
        reply = await asked.ask("POST", "/transaction", None, flat("wrong", id="tx-2"))
        assert (reply.status, reply.code) == (401, "invalid_key")
        reply = await asked.ask("POST", "/transaction", secret, flat("wrong", id="tx-3"))
        assert (reply.status, reply.json["valid"]) == (200, False)
        state = (await asked.get("/reconcile", asked.owner)).json
        assert state["hash_verification"] == {"total": 2, "valid": 1, "invalid": 1}
        assert (state["status"], state["ledger_entries"]) == ("TAMPERED", 2)
        assert state["ledger_total_cost_pico"] == str(2 * 8_407_500)
        assert (await asked.get("/reconcile", secret)).json["hash_verification"]["total"] == 1


async def test_a_transaction_that_was_changed_in_the_copy_fails_in_reconcile(desk: Desk) -> None:
    async with desk.open(ledger_secret="shh") as asked:
        for number in range(3):
            reply = await asked.ask("POST", "/transaction", None, flat("shh", id=f"tx-{number}"))
            assert reply.json["valid"] is True
        state = (await asked.get("/reconcile", asked.owner)).json
        assert (state["status"], state["findings"]) == ("OK", [])
        with apsw.Connection(str(desk.folders.data / RECEIVER_FILE)) as file:
            file.execute(
                "UPDATE flat SET body = CAST(replace(CAST(body AS TEXT), '298', '29') AS BLOB) WHERE id = 'tx-1'"
            )
            assert file.changes() == 1
        state = (await asked.get("/reconcile", asked.owner)).json
        assert state["hash_verification"] == {"total": 3, "valid": 2, "invalid": 1}
        assert state["status"] == "TAMPERED"
        (finding,) = state["findings"]
        assert "(tx-1) held when it came and does not now" in finding
    async with desk.open(ledger_secret="other") as asked:
        assert (await asked.get("/reconcile", asked.owner)).json["hash_verification"]["invalid"] == 3


async def test_without_a_secret_only_gateways_with_keys_send_unless_the_door_is_opened(desk: Desk) -> None:
    async with desk.open() as asked:
        secret = await asked.enrol("garage")
        assert (await asked.ask("POST", "/transaction", None, flat())).status == 401
        reply = await asked.ask("POST", "/transaction", secret, flat())
        assert (reply.status, reply.json["valid"]) == (200, None)
    async with desk.open(open_transactions=True) as asked:
        assert (await asked.ask("POST", "/transaction", None, flat())).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        flat(cost="free"),
        flat(id=""),
        flat(cost=1e30),
        b"{" * 70_000,
        flat(id="\0"),
        flat(id="\ud800"),
    ],
    ids=range(9),
)
async def test_what_is_no_transaction_is_refused_in_one_sentence(
    asked: Asked, secret: str, body: bytes
) -> None:
    reply = await asked.ask("POST", "/transaction", secret, body)
    assert reply.status == (413 if len(body) > 65536 else 400)
    assert reply.code


# How it stands.


async def test_health_is_open_and_says_who_cosigns(asked: Asked) -> None:
    reply = await asked.get("/health")
    assert reply.status == 200
    assert (reply.json["store"], reply.json["accepting"]) == ("SQLite", True)
    assert reply.json["vkey"] == asked.receiver.identity.cosigner.vkey


async def test_a_gateway_that_is_silent_lags(
    asked: Asked, secret: str, gateway: SendingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asked.push(secret, gateway.push())
    later = now_s() + 27 * 3600
    monkeypatch.setattr("app.basics.clock.time.time_ns", lambda: later * 10**9)
    state = (await asked.get("/reconcile", secret)).json
    assert (state["status"], state["logs"][0]["status"]) == ("LAGGING", "LAGGING")
    assert "27 hours" in state["findings"][0]


async def test_metrics_are_prometheus_text(asked: Asked, secret: str, gateway: SendingLog) -> None:
    await asked.push(secret, gateway.push(0, 6))
    await asked.push(secret, gateway.push(8))
    await asked.push(secret, b"")
    await asked.push("mr_wrong", b"")
    reply = await asked.get("/metrics", asked.owner)
    lines = reply.text.splitlines()
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    for line in (
        "mortdecai_receiver_store_up 1",
        'mortdecai_receiver_pushes_total{outcome="cosigned"} 1',
        'mortdecai_receiver_pushes_total{outcome="elsewhere"} 1',
        'mortdecai_receiver_pushes_total{outcome="malformed"} 1',
        'mortdecai_receiver_refusals_total{status="401"} 1',
        "mortdecai_receiver_records_total 6",
        "mortdecai_receiver_commit_seconds_count 3",
    ):
        assert line in lines
    names = [line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")]
    told = {line.split(" ")[2] for line in lines if line.startswith("# TYPE")}
    assert {
        name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in names
    } <= told


# Connections.


async def test_a_connection_that_says_nothing_is_closed(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.receiver.reception.FIRST_S", 0.05)
    monkeypatch.setattr("app.receiver.reception.SWEEP_S", 0.05)
    port = int(asked.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /ledger HTTP/1.1\r\nHost: x\r\n")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_where_there_is_no_room_the_one_that_waits_longest_goes(
    desk: Desk, gateway: SendingLog
) -> None:
    async with desk.open(max_connections=8) as asked:
        secret = await asked.enrol("garage")
        port = int(asked.url.rpartition(":")[2])
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
        assert (await asked.push(secret, gateway.push())).status == 200
        async with asyncio.timeout(5):
            assert await opened[0][0].read() == b""
        for _, writer in opened:
            writer.close()


async def test_a_gateway_that_goes_away_in_the_middle_comes_back_and_goes_on(
    asked: Asked, secret: str, gateway: SendingLog
) -> None:
    body = gateway.push()
    port = int(asked.url.rpartition(":")[2])
    for sent in (len(body), len(body) // 2, 0):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /ledger HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nContent-Length: {len(body)}"
        writer.write(f"{head}\r\n\r\n".encode() + body[:sent])
        await writer.drain()
        writer.close()
    assert (await asked.push(secret, body)).status == 200
