"""The ledger over HTTP: leaves, checkpoints and proofs, for a client's key and for the operator."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import aiohttp
import apsw
import pytest

from app.ledger.checkpoint import VerifierKey, verify_checkpoint
from app.ledger.cosignature import Cosigner, find_cosignature
from app.ledger.delivery import DeliveryRow, DeliveryWay, Standing
from app.ledger.merkle import leaf_hash, root_from_leaves, verify_inclusion
from app.ledger.records import HeartbeatDraft
from app.ledger.sqlite.schema import LEDGER_FILE
from tests.gateway.conftest import Build, House, chat


async def text(house: House, path: str, **more: Any) -> str:
    async with house.get(path, **more) as reply:
        assert reply.status == 200, await reply.text()
        return (await reply.read()).decode()


async def refused(house: House, path: str, **more: Any) -> tuple[int, str]:
    async with house.get(path, **more) as reply:
        assert reply.content_type == "application/json"
        return reply.status, (await reply.json())["error"]


def own(house: House) -> str:
    return house.gateway.ledger.clients()[0].log


async def grow(house: House, log: str, count: int) -> None:
    ledger = house.gateway.ledger
    await asyncio.gather(
        *[
            ledger.append(log, HeartbeatDraft(ledger.new_id(), 1_700_000_000_000_000 + n))
            for n in range(count)
        ]
    )


@pytest.fixture
async def second(house: House) -> dict[str, Any]:
    """Another client: `key` and `log`."""
    made = await house.gateway.keys.create("laptop", "Ben")
    log = next(client.log for client in house.gateway.ledger.clients() if client.name == "Ben")
    return {"key": made["key"], "log": log}


async def test_leaves_and_checkpoint_are_all_that_is_needed_to_have_the_same_root(house: House) -> None:
    async with house.post("/api/chat", chat()) as reply:
        await reply.read()
    await grow(house, own(house), 700)
    async with house.get("/ledger/entries") as reply:
        assert reply.headers["Content-Type"] == "application/x-ndjson"
        leaves = (await reply.read()).split(b"\n")
    assert leaves.pop() == b""
    assert [json.loads(leaf)["seq"] for leaf in leaves] == list(range(len(leaves)))
    async with house.get("/ledger/checkpoint") as reply:
        assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
        note = (await reply.read()).decode()
    told = json.loads(await text(house, "/ledger/logs"))
    assert told["logs"] == [{"log": own(house), "client": "First client", "size": len(leaves)}]
    claim = verify_checkpoint(note, VerifierKey.parse(told["vkey"]), own(house))
    assert (claim.size, claim.root) == (len(leaves), root_from_leaves(map(leaf_hash, leaves)))


async def test_a_part_of_the_leaves_is_that_part(house: House) -> None:
    await grow(house, own(house), 600)
    whole = (await text(house, "/ledger/entries")).splitlines()
    for start, limit in (
        (0, 1),
        (5, 3),
        (255, 257),
        (100, 400),
        (len(whole) - 2, 50),
        (7, 0),
        (len(whole), 9),
    ):
        part = (await text(house, f"/ledger/entries?from={start}&limit={limit}")).splitlines()
        assert part == whole[start : start + limit]
    assert (await text(house, "/ledger/entries?from=590")).splitlines() == whole[590:]


async def test_a_proof_has_the_leaf_and_leads_to_the_checkpoint_beside_it(house: House) -> None:
    await grow(house, own(house), 300)
    verifier = house.gateway.ledger.vkey
    for seq, size in ((0, None), (7, None), (7, 8), (7, 100), (299, 300), (0, 1)):
        asked = f"/ledger/proof/{seq}" + ("" if size is None else f"?size={size}")
        told = json.loads(await text(house, asked))
        assert told.keys() == {"leaf", "seq", "size", "proof", "checkpoint"}
        assert told["seq"] == seq == json.loads(told["leaf"])["seq"]
        claim = verify_checkpoint(told["checkpoint"], VerifierKey.parse(verifier), own(house))
        assert claim.size == told["size"] == (size or claim.size)
        steps = [base64.b64decode(step, validate=True) for step in told["proof"]]
        verify_inclusion(leaf_hash(told["leaf"].encode()), seq, claim.size, steps, claim.root)


async def test_a_past_checkpoint_is_the_one_that_was_signed_then(house: House) -> None:
    note = await text(house, "/ledger/checkpoint")
    size = int(note.split("\n")[1])
    await grow(house, own(house), 20)
    assert await text(house, f"/ledger/checkpoint?size={size}") == note
    assert await text(house, "/ledger/checkpoint") != note


async def test_what_a_receiver_cosigned_is_told_with_its_cosignature(house: House) -> None:
    await grow(house, own(house), 20)
    for path in ("/ledger/proof/3?size=cosigned", "/ledger/checkpoint?size=cosigned"):
        status, sentence = await refused(house, path)
        assert (status, "No receiver" in sentence) == (404, True)
    ledger, receiver = house.gateway.ledger, Cosigner(bytes(range(32)), "receiver/anna")
    note = await ledger.checkpoint(own(house), 10)
    standing = Standing(acked=10, note=note + receiver.cosign(note, 1_790_000_000))
    await ledger.keep_delivery(
        DeliveryRow(own(house), DeliveryWay.LEDGER, "https://a", receiver.vkey, standing)
    )
    await grow(house, own(house), 1)
    proof = json.loads(await text(house, "/ledger/proof/3?size=cosigned"))
    assert proof["size"] == 10
    for told in (proof["checkpoint"], await text(house, "/ledger/checkpoint?size=cosigned")):
        assert find_cosignature(told, told.rpartition("\n\n")[2], receiver.verifier).at_s == 1_790_000_000


async def test_a_client_reads_its_own_log_and_hears_of_no_other(house: House, second: dict[str, Any]) -> None:
    for path in ("/ledger/entries", "/ledger/checkpoint", "/ledger/proof/0"):
        mine = await text(house, path, key=second["key"])
        assert second["log"] in mine
        assert own(house) not in mine
        for name in (second["log"], "Ben"):
            assert await text(house, path, key=second["key"], params={"log": name}) == mine
        status, foreign = await refused(house, path, key=second["key"], params={"log": own(house)})
        assert status == 404
        _, invented = await refused(house, path, key=second["key"], params={"log": "gw/c_0"})
        assert foreign.replace(own(house), "?") == invented.replace("gw/c_0", "?")
    told = json.loads(await text(house, "/ledger/logs", key=second["key"]))
    assert [entry["log"] for entry in told["logs"]] == [second["log"]]


async def test_the_operator_names_a_log_where_there_are_several(house: House, second: dict[str, Any]) -> None:
    for path in ("/ledger/entries", "/ledger/checkpoint", "/ledger/proof/0"):
        status, sentence = await refused(house, path, key=house.operator)
        assert status == 400
        assert second["log"] in sentence
        for name in (second["log"], "Ben"):
            found = await text(house, path, key=house.operator, params={"log": name})
            assert found == await text(house, path, key=second["key"])
        status, sentence = await refused(house, path, key=house.operator, params={"log": "Nobody"})
        assert (status, "Nobody" in sentence) == (404, True)
    told = json.loads(await text(house, "/ledger/logs", key=house.operator))
    assert [entry["client"] for entry in told["logs"]] == ["First client", "Ben"]


async def test_the_operator_of_one_log_need_not_name_it(house: House) -> None:
    assert await text(house, "/ledger/checkpoint", key=house.operator) == await text(
        house, "/ledger/checkpoint"
    )


@pytest.mark.parametrize(
    "path",
    [
        "/ledger/proof/x",
        "/ledger/proof/-1",
        "/ledger/proof/1.5",
        "/ledger/proof/1/2",
        "/ledger/proof/" + "9" * 5000,
        "/ledger/proof/9007199254740992",
        "/ledger/proof/0?size=0",
        "/ledger/proof/0?size=",
        "/ledger/proof/0?size=-1",
        "/ledger/proof/0?size=1e3",
        "/ledger/checkpoint?size=0",
        "/ledger/checkpoint?size=x",
        "/ledger/checkpoint?size=99999",
        "/ledger/entries?from=-1",
        "/ledger/entries?from=x",
        "/ledger/entries?from=99999",
        "/ledger/entries?limit=-1",
        "/ledger/entries?limit=" + "9" * 5000,
        "/ledger/entries?from=²",
    ],
)
async def test_a_bad_number_is_one_sentence(house: House, path: str) -> None:
    status, sentence = await refused(house, path)
    assert status == 400
    assert sentence.endswith(".")
    assert len(sentence) < 200


@pytest.mark.parametrize(
    "path", ["/ledger/proof/99999", "/ledger/proof/5?size=5", "/ledger/proof/0?size=99999"]
)
async def test_what_the_log_does_not_hold_yet_is_not_found_and_said_with_its_size(
    house: House, path: str
) -> None:
    status, sentence = await refused(house, path)
    size = house.gateway.ledger.newest()[0].size
    assert (status, f"holds {size}" in sentence) == (404, True)


@pytest.mark.parametrize("path", ["/ledger/entries", "/ledger/checkpoint", "/ledger/proof/0", "/ledger/logs"])
async def test_without_a_key_nothing_is_read_and_nothing_is_written(house: House, path: str) -> None:
    assert (await refused(house, path, key="mg_wrong"))[0] == 401
    async with house.post(path, {}) as reply:
        assert reply.status == 405
        assert reply.headers["Allow"] == "GET, HEAD, OPTIONS"
    async with house.session.head(path, headers={"Authorization": f"Bearer {house.key}"}) as reply:
        assert reply.status == 200
        assert await reply.read() == b""


async def test_a_stream_that_cannot_go_on_breaks_off_instead_of_ending(build: Build, tmp_path: Any) -> None:
    house = await build()
    await grow(house, own(house), 600)
    (path,) = tmp_path.rglob(LEDGER_FILE)
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE record SET body = zeroblob(9) WHERE seq = 300")
    connection.close()
    lines = []

    async def read() -> None:
        async with house.get("/ledger/entries") as reply:
            async for line in reply.content:
                lines.append(line)

    with pytest.raises(aiohttp.ClientPayloadError):
        await read()
    assert len(lines) == 300
    status, sentence = await refused(house, "/ledger/entries?from=300")
    assert (status, "Record 300 " in sentence) == (500, True)


async def test_records_that_come_while_leaves_are_read_only_follow_them(house: House) -> None:
    await grow(house, own(house), 600)
    more = asyncio.create_task(grow(house, own(house), 600))
    leaves = (await text(house, "/ledger/entries")).splitlines()
    await more
    assert [json.loads(leaf)["seq"] for leaf in leaves] == list(range(len(leaves)))
    assert (await text(house, "/ledger/entries")).splitlines()[: len(leaves)] == leaves
