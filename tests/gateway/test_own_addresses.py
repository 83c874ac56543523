"""Clients that can send no header: a key's own address, over real sockets and with clients that use such addresses."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import ollama
import openai
import pytest

from app.access.throttle import FAILURES_A_MINUTE
from tests.gateway.conftest import MODEL, House, chat


async def address(house: House, label: str = "first key") -> dict[str, Any]:
    """A new address of the key, as the operator is told it."""
    async with house.session.post(
        "/admin/keys", json={"address_of": label}, headers={"Authorization": f"Bearer {house.operator}"}
    ) as reply:
        assert reply.status == 201, await reply.text()
        return dict(await reply.json())


async def test_without_being_asked_for_no_key_has_an_address_and_no_key_makes_one(house: House) -> None:
    async with house.session.get(f"/k/{house.key}/api/tags") as reply:
        assert reply.status == 401
    made = await address(house)
    async with house.get("/api/tags", key=made["path"].removeprefix("/k/")) as reply:
        assert reply.status == 401, "and an address's secret is no key"


async def test_the_ollama_client_needs_nothing_but_the_address(house: House) -> None:
    made = await address(house)
    client = ollama.AsyncClient(made["url"])
    assert MODEL in [model.model for model in (await client.list()).models]
    assert (await client.show(MODEL)).details is not None
    said = ""
    async for part in await client.chat(MODEL, [{"role": "user", "content": "Hello"}], stream=True):
        said += part.message.content or ""
    assert said
    assert (await client.ps()).models[0].model == MODEL
    await client._client.aclose()
    [row] = await house.usage()
    first = next(key for key in house.gateway.keys.all() if key["label"] == "first key")
    assert row.key == first["id"], "it is billed to its key"


async def test_a_key_that_an_sdk_insists_on_is_looked_past(house: House) -> None:
    made = await address(house)
    async with openai.AsyncOpenAI(base_url=made["url"] + "/v1", api_key="unused") as client:
        answer = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Hello"}], max_tokens=5
        )
    assert answer.choices[0].message.content


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("rest", ["", "/"])
async def test_the_address_itself_answers_like_the_gateways_root(
    house: House, method: str, rest: str
) -> None:
    made = await address(house)
    async with house.session.request(method, made["path"] + rest) as reply:
        assert reply.status == 200
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert (await reply.text()) == ("Mortdecai Gateway is running" if method == "GET" else "")


async def test_an_address_does_what_its_key_may_and_nothing_of_the_operators(house: House) -> None:
    made = await address(house)
    for path, status in (
        ("/admin/keys", 403),
        ("/config", 403),
        ("/api/pull", 403),
        ("/nothing", 404),
        ("/k/x", 404),
    ):
        async with house.session.get(made["path"] + path) as reply:
            assert reply.status == status, path
    async with house.session.get(made["path"] + "/stats") as reply:
        assert reply.status == 200


WRONG = ("/k/ma_wrong", "/k/ma_wrong/api/tags", "/k", "//k//", "/%6b/ma_wrong/nothing", "/k/ma_wrong/health")


async def test_a_wrong_secret_is_refused_as_every_wrong_key_whatever_stands_behind_it(house: House) -> None:
    async with house.session.get("/api/tags") as reply:
        usual = (reply.status, await reply.read(), set(reply.headers))
    for path in WRONG:
        async with house.session.get(f"{house.gateway.address}{path}") as reply:
            assert (reply.status, await reply.read(), set(reply.headers) - {"Referrer-Policy"}) == usual, path


async def test_guessing_secrets_is_throttled_like_guessing_keys(house: House) -> None:
    statuses = []
    for number in range(FAILURES_A_MINUTE + 1):
        async with house.session.get(f"/k/ma_{number}/api/tags") as reply:
            statuses.append(reply.status)
    assert statuses == [401] * FAILURES_A_MINUTE + [429]
    async with house.get("/api/tags", key="mg_wrong") as reply:
        assert reply.status == 429, "the two are counted together"
    made = await address(house)
    async with house.session.get(made["path"] + "/api/tags") as reply:
        assert reply.status == 200


async def test_an_address_ends_alone_or_with_its_key_and_what_runs_by_it_is_cut(house: House) -> None:
    one, two = await address(house), await address(house)
    async with house.session.post(one["path"] + "/api/chat", json=chat(tokens=4000)) as running:
        await running.content.readline()
        async with house.session.delete(
            "/admin/keys", json={"key": one["id"]}, headers={"Authorization": f"Bearer {house.operator}"}
        ) as reply:
            assert reply.status == 200
        async with asyncio.timeout(5):
            *_, last = [line async for line in running.content]
        assert b"done" in last
    for path, status in ((one["path"], 401), (two["path"], 200)):
        async with house.session.get(path + "/api/tags") as reply:
            assert reply.status == status
    async with house.get("/api/tags") as reply:
        assert reply.status == 200, "its key goes on"
    await house.gateway.keys.revoke("first key")
    async with house.session.get(two["path"] + "/api/tags") as reply:
        assert reply.status == 401


async def test_addresses_are_bound_into_the_log_and_last_over_a_restart_of_the_door(house: House) -> None:
    made = await address(house)
    page = await house.gateway.ledger.page(None, 5)
    assert page.rows[0].kind == "key"
    house.gateway.keys.refresh()
    async with house.session.get(made["path"] + "/api/tags") as reply:
        assert reply.status == 200
    listed = next(key for key in house.gateway.keys.all() if key["id"] == made["id"])
    assert listed["limits"] == {"address_of": made["address_of"]}
    assert (await house.gateway.ledger.verify()).verdict.value == "OK"


async def test_no_log_ever_holds_a_secret(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = (await address(house))["path"].removeprefix("/k/")
    for rest in ("/api/tags", "/nothing", "/api/pull", "//x", "", "/api/chat"):
        for method in ("GET", "POST", "OPTIONS", "BREW"):
            async with house.session.request(method, f"/k/{secret}{rest}", data=b"{") as reply:
                assert secret not in await reply.text()
                assert secret not in str(reply.headers)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(house.gateway.address.rpartition(":")[2]))
    writer.write(f"GET /k/{secret}/api tags HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert secret.encode() not in await reader.read()
    writer.close()
    assert secret not in caplog.text


@pytest.mark.parametrize("name", ["nobody", ""])
async def test_an_address_of_no_key_and_of_an_address_is_refused_in_a_sentence(
    house: House, name: str
) -> None:
    made = await address(house)
    owner = {"Authorization": f"Bearer {house.operator}"}
    for label, status in ((name, 404 if name else 400), (made["id"], 404)):
        async with house.session.post("/admin/keys", json={"address_of": label}, headers=owner) as reply:
            assert reply.status == status
            assert (await reply.json())["error"].endswith(".")
    limits = {"label": "x", "limits": {"address_of": made["address_of"]}}
    async with house.session.post("/admin/keys", json=limits, headers=owner) as reply:
        assert reply.status == 400


async def test_a_key_can_be_made_with_its_address(house: House) -> None:
    owner = {"Authorization": f"Bearer {house.operator}"}
    async with house.session.post(
        "/admin/keys", json={"label": "phone", "address": True}, headers=owner
    ) as reply:
        made = await reply.json()
    async with house.session.get(made["address"]["url"] + "/api/tags") as reply:
        assert reply.status == 200
