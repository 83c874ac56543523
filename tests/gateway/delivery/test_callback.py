"""CALLBACK_URL and LEDGER_SECRET, as the seed's users have them: every transaction reaches the receiver, once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.face import ReceiptState, ReceiptsView
from tests.gateway.conftest import Build, House, chat
from tests.gateway.delivery.conftest import until
from tests.gateway.delivery.strange import Receiver, receiver


@pytest.fixture
async def strange() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        yield made


def told(strange: Receiver) -> list[dict[str, Any]]:
    return [json.loads(heard.body) for heard in strange.heard]


def receipts(house: House) -> ReceiptsView:
    (found,) = house.gateway.snapshot().receipts
    return found


async def ask(house: House, count: int = 1) -> list[dict[str, Any]]:
    """So many requests; the `_gateway` of each."""
    answers = []
    for _ in range(count):
        async with house.post("/api/chat", chat(stream=False)) as reply:
            assert reply.status == 200
            answers.append((await reply.json())["_gateway"])
    return answers


async def test_each_request_is_one_flat_transaction_with_the_seeds_hash(
    build: Build, strange: Receiver
) -> None:
    house = await build(callback_url=strange.url + "/transaction", ledger_secret="agreed")
    answers = await ask(house, 3)
    await until(lambda: len(strange.heard) == 3)
    for said, answer, heard in zip(told(strange), answers, strange.heard, strict=True):
        assert heard.path == "/transaction"
        assert said["id"] == answer["request_id"]
        assert said["cost"] == answer["estimated_cost"]
        assert said["prompt_tokens"] == answer["prompt_tokens"]
        assert said["completion_tokens"] == answer["completion_tokens"]
        tokens = said["prompt_tokens"] + said["completion_tokens"]
        expected = hashlib.sha256(f"{said['id']}{tokens}{said['cost']}agreed".encode()).hexdigest()
        assert said["hash"] == expected
        assert {"timestamp", "model", "duration_seconds", "energy_wh"} <= said.keys()
    await until(lambda: receipts(house).state is ReceiptState.ACKNOWLEDGED)
    await until(lambda: receipts(house).unacked_pico == 0)  # what is acknowledged is priced a moment later


async def test_both_are_live_and_what_was_not_told_before_is_told_then(
    build: Build, strange: Receiver
) -> None:
    house = await build()
    await ask(house, 2)
    assert house.gateway.snapshot().receipts == ()
    change = {"CALLBACK_URL": strange.url + "/transaction", "LEDGER_SECRET": "later"}
    async with house.post("/config", change, key=house.operator) as reply:
        assert reply.status == 200, await reply.text()
    await until(lambda: len(strange.heard) == 2)
    await ask(house)
    await until(lambda: len(strange.heard) == 3)
    for said in told(strange):
        tokens = said["prompt_tokens"] + said["completion_tokens"]
        assert said["hash"] == hashlib.sha256(f"{said['id']}{tokens}{said['cost']}later".encode()).hexdigest()
    async with house.post("/config", {"callback_url": ""}, key=house.operator) as reply:
        assert reply.status == 200
    await ask(house)
    assert house.gateway.snapshot().receipts == ()
    assert len(strange.heard) == 3
    async with house.post("/config", {"callback_url": strange.url}, key=house.operator) as reply:
        assert reply.status == 200
    await until(lambda: len(strange.heard) == 4)
    assert len({said["id"] for said in told(strange)}) == 4


async def test_another_template_holds_from_the_next_transaction_on(build: Build, strange: Receiver) -> None:
    house = await build(callback_url=strange.url, ledger_secret="agreed")
    await ask(house)
    await until(lambda: len(strange.heard) == 1)
    change = {"ledger_template": "{secret}|{id}|{model}|{cost}"}
    async with house.post("/config", change, key=house.operator) as reply:
        assert reply.status == 200, await reply.text()
    await ask(house, 2)
    await until(lambda: len(strange.heard) == 3)
    before, *after = told(strange)
    tokens = before["prompt_tokens"] + before["completion_tokens"]
    texts = [
        f"{before['id']}{tokens}{before['cost']}agreed",
        *(f"agreed|{said['id']}|{said['model']}|{said['cost']}" for said in after),
    ]
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    assert [said["hash"] for said in told(strange)] == hashes


@pytest.mark.parametrize("template", ["{id}{tokens}{cost}", "{tokens}{secret}", "{id}{secret}{prompt}"])
async def test_a_template_that_proves_nothing_is_refused_and_the_old_one_goes_on(
    build: Build, strange: Receiver, template: str
) -> None:
    house = await build(callback_url=strange.url, ledger_secret="agreed")
    async with house.post("/config", {"ledger_template": template}, key=house.operator) as reply:
        assert reply.status == 400
        assert "ledger_template" in (await reply.json())["error"]
    await ask(house)
    await until(lambda: len(strange.heard) == 1)
    (said,) = told(strange)
    tokens = said["prompt_tokens"] + said["completion_tokens"]
    assert said["hash"] == hashlib.sha256(f"{said['id']}{tokens}{said['cost']}agreed".encode()).hexdigest()


async def test_another_address_is_tried_at_once(build: Build, strange: Receiver) -> None:
    async with receiver() as gone:
        url = gone.url
    house = await build(callback_url=url)
    await ask(house, 2)
    await until(lambda: receipts(house).next_us)
    assert "cannot be reached" in receipts(house).sentence
    assert receipts(house).state is ReceiptState.WAITING
    async with house.post("/config", {"callback_url": strange.url}, key=house.operator) as reply:
        assert reply.status == 200
    await until(lambda: len(strange.heard) == 2)
    await until(lambda: receipts(house).sentence == "")


@pytest.mark.parametrize("where", ["gateway", "engine", "metadata"])
async def test_the_gateway_itself_its_engine_and_metadata_services_are_told_nothing(
    build: Build, where: str
) -> None:
    house = await build()
    urls = {
        "gateway": house.gateway.address + "/admin/pause",
        "engine": house.simulator.url + "/api/delete",
        "metadata": "http://169.254.169.254/latest",
    }
    async with house.post("/config", {"callback_url": urls[where]}, key=house.operator) as reply:
        assert reply.status == 200
    await ask(house)
    await until(lambda: receipts(house).sentence)
    assert "no receiver is there" in receipts(house).sentence
    assert (await ask(house))[0]["outcome"] == "complete"


@pytest.mark.parametrize("status", [301, 404, 422, 500])
async def test_whatever_a_receiver_answers_serving_goes_on(
    build: Build, strange: Receiver, status: int
) -> None:
    strange.says(status, b"\x00garbage", Location="http://127.0.0.1:1/")
    house = await build(callback_url=strange.url)
    await ask(house, 2)
    await until(lambda: receipts(house).sentence)
    await ask(house, 2)
    assert len(await house.usage()) == 4
    assert receipts(house).acked < receipts(house).size


async def test_a_new_clients_log_is_told_too(build: Build, strange: Receiver) -> None:
    house = await build(callback_url=strange.url)
    async with house.post("/admin/keys", {"label": "b", "client": "Bert"}, key=house.operator) as reply:
        key = (await reply.json())["key"]
    async with house.post("/api/chat", chat(stream=False), key=key) as reply:
        assert reply.status == 200
    await until(lambda: len(strange.heard) == 1)
    assert len(house.gateway.snapshot().receipts) == 2


async def reconciled(house: House, key: str | None = None) -> dict[str, Any]:
    async with house.get("/reconcile", key=key) as reply:
        assert reply.status == 200
        answer: dict[str, Any] = await reply.json()
        return answer


async def test_reconcile_says_what_was_acknowledged_and_what_waits_and_why(
    build: Build, strange: Receiver
) -> None:
    house = await build()
    said = await reconciled(house)
    assert (said["status"], said["receipts"], said["peer"]) == ("OK", [], [])
    async with house.post("/config", {"callback_url": strange.url}, key=house.operator) as reply:
        assert reply.status == 200
    await ask(house, 2)
    await until(lambda: receipts(house).state is ReceiptState.ACKNOWLEDGED)
    said = await reconciled(house)
    assert said["status"] == "OK"
    assert said["findings"] == []
    (receipt,) = said["receipts"]
    assert (receipt["way"], receipt["state"], receipt["waiting"]) == ("seed", "acknowledged", 0)
    assert receipt["acknowledged"] == receipt["size"] == said["ledger_entries"]
    strange.says(500)
    await ask(house, 2)
    await until(lambda: receipts(house).sentence)
    (receipt,) = (await reconciled(house, house.operator))["receipts"]
    assert receipt["state"] == "waiting"
    assert "failed (500)" in receipt["sentence"]
    assert receipt["next_try"] > receipt["waiting_since"] > 0
    assert float(receipt["unacknowledged_cost_pico"]) > 0
    (to_client,) = (await reconciled(house))["receipts"]
    assert (to_client["receiver"], to_client["sentence"]) == (None, None)


async def test_what_is_contested_is_a_finding_and_the_status_is_not_ok(
    build: Build, strange: Receiver
) -> None:
    strange.says(422)
    house = await build(callback_url=strange.url)
    await ask(house)
    await until(lambda: receipts(house).state is ReceiptState.DISPUTED)
    said = await reconciled(house, house.operator)
    assert said["status"] == "LAGGING"
    assert "compare LEDGER_SECRET on both sides" in said["findings"][0]
    assert said["hash_verification"]["invalid"] == 0


async def test_no_more_than_the_trusted_amount_goes_unacknowledged_and_a_receipt_ends_that(
    build: Build, strange: Receiver
) -> None:
    strange.says(500)
    house = await build(callback_url=strange.url, max_unacked_cost="0.000000000001")
    await ask(house)
    await until(lambda: house.gateway.snapshot().blocker is not None)
    async with house.post("/api/chat", chat(stream=False)) as reply:
        assert reply.status == 503
        assert int(reply.headers["Retry-After"]) == 300
        assert "is the most without a receipt" in (await reply.json())["error"]
    strange.says(200)
    async with house.post("/config", {"callback_url": strange.url + "/other"}, key=house.operator) as reply:
        assert reply.status == 200
    await until(lambda: house.gateway.snapshot().blocker is None)
    await ask(house)


async def test_without_a_receiver_nothing_is_owed_a_receipt(build: Build) -> None:
    house = await build(max_unacked_cost="0.000000000001")
    await ask(house, 2)
    assert house.gateway.snapshot().blocker is None


async def test_raising_the_trust_or_having_no_receiver_any_more_ends_it_too(
    build: Build, strange: Receiver
) -> None:
    strange.says(500)
    house = await build(callback_url=strange.url, max_unacked_cost="0.000000000001")
    await ask(house)
    for change in ({"max_unacked_cost": 1}, {"callback_url": ""}):
        async with house.post("/config", {"max_unacked_cost": "0.000000000001"}, key=house.operator) as reply:
            assert reply.status == 200
        await until(lambda: house.gateway.snapshot().blocker is not None)
        async with house.post("/config", change, key=house.operator) as reply:
            assert reply.status == 200
        await until(lambda: house.gateway.snapshot().blocker is None)
