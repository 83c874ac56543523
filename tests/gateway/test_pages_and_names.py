"""Web pages, names that are not this machine's, and proxies in front: over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.gateway.conftest import Build, House, chat

CHAT = "https://chat.example"


def preflight(*headers: str) -> dict[str, str]:
    return {
        "Origin": CHAT,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": ", ".join(headers or ("authorization", "content-type")),
    }


def cors(reply: Any) -> dict[str, str]:
    return {name: value for name, value in reply.headers.items() if name.startswith("Access-Control-")}


async def test_no_page_is_granted_anything_where_none_is_named(house: House) -> None:
    async with house.session.options("/api/chat", headers=preflight()) as reply:
        assert (reply.status, cors(reply), "Vary" in reply.headers) == (204, {}, False)
    async with house.get("/api/tags", headers={"Origin": CHAT}) as reply:
        assert (reply.status, cors(reply)) == (403, {})


async def test_a_named_page_may_ask_stream_and_read_what_the_headers_say(build: Build) -> None:
    house = await build(cors_origins=CHAT)
    private = {"Access-Control-Request-Private-Network": "true"}
    async with house.session.options("/api/chat", headers=preflight() | private) as reply:
        assert reply.status == 204
        assert cors(reply) == {
            "Access-Control-Allow-Origin": CHAT,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Allow-Methods": "POST, OPTIONS",
            "Access-Control-Allow-Headers": "authorization, content-type",
            "Access-Control-Max-Age": "600",
            "Access-Control-Allow-Private-Network": "true",
        }
    page = {"Origin": CHAT, "Sec-Fetch-Site": "cross-site"}
    async with house.post("/api/chat", chat(), headers=page) as reply:
        assert reply.status == 200
        assert b'"done":true' in await reply.read()
        assert reply.headers["Access-Control-Allow-Origin"] == CHAT
        assert reply.headers["Vary"] == "Origin"
        assert "X-Request-Id" in reply.headers["Access-Control-Expose-Headers"]
    async with house.post("/api/chat", chat(), key="mg_wrong", headers=page) as reply:
        assert reply.status == 401
        assert reply.headers["Access-Control-Allow-Origin"] == CHAT, "a page reads why it was refused"


async def test_every_answer_says_that_it_depends_on_the_page_where_pages_are_named(build: Build) -> None:
    house = await build(cors_origins=CHAT)
    for headers in ({}, {"Origin": "https://evil.example"}):
        async with house.get("/api/tags", headers=headers) as reply:
            assert reply.headers["Vary"] == "Origin"
            assert cors(reply) == {}
            assert reply.status == (403 if headers else 200)


async def test_a_named_page_gets_nothing_of_the_operators_and_no_endpoint_that_is_not_there(
    build: Build,
) -> None:
    house = await build(cors_origins=CHAT)
    async with house.get("/config", key=house.operator, headers={"Origin": CHAT}) as reply:
        assert reply.status == 403
    async with house.session.get("/dashboard/data", headers={"Origin": CHAT}) as reply:
        assert reply.status == 401
    for path, status in (("/nothing", 404), ("/api/pull", 403)):
        async with house.session.options(path, headers=preflight()) as reply:
            assert reply.status == status
    async with house.session.options("/api/chat", headers=preflight("bad name")) as reply:
        assert "Access-Control-Allow-Headers" not in reply.headers


async def test_pages_are_named_and_unnamed_live(house: House) -> None:
    await house.gateway.settings.configure({"cors_origins": [CHAT]})
    async with house.get("/api/tags", headers={"Origin": CHAT}) as reply:
        assert reply.status == 200
    await house.gateway.settings.configure({"cors_origins": []})
    async with house.get("/api/tags", headers={"Origin": CHAT}) as reply:
        assert reply.status == 403


@pytest.mark.parametrize("path", ["/", "/health", "/dashboard", "/dashboard/data", "/api/tags", "/nothing"])
async def test_a_name_that_somebody_made_lead_here_opens_nothing_at_all(house: House, path: str) -> None:
    async with house.get(path, headers={"Host": "evil.example:8434"}) as reply:
        assert reply.status == 403
        assert "allowed_hosts" in (await reply.json())["error"]
        assert "evil" not in await reply.text()
    async with house.session.get("/v1/models", headers={"Host": "evil.example"}) as reply:
        assert (await reply.json())["error"]["code"] == "unknown_host"


async def test_a_name_can_be_allowed_live_and_a_proxy_may_keep_its_own(house: House) -> None:
    async with house.get("/api/tags", headers={"Host": "gpu.lan"}) as reply:
        assert reply.status == 403
    async with house.get("/api/tags", headers={"Host": "gpu.lan", "X-Forwarded-For": "203.0.113.7"}) as reply:
        assert reply.status == 200, "a proxy on this machine hands on what its clients asked for"
    await house.gateway.settings.configure({"allowed_hosts": ["gpu.lan"]})
    async with house.get("/api/tags", headers={"Host": "gpu.lan"}) as reply:
        assert reply.status == 200


async def test_the_operator_is_local_by_the_connection_alone(build: Build) -> None:
    house = await build(trusted_proxies="127.0.0.0/8")
    for name in ("X-Forwarded-For", "CF-Connecting-IP", "Forwarded", "X-Real-IP"):
        async with house.get("/config", key=house.operator, headers={name: "127.0.0.1"}) as reply:
            assert reply.status == 403, name
    async with house.get("/config", key=house.operator) as reply:
        assert reply.status == 200


async def test_each_client_behind_a_proxy_is_throttled_alone(house: House) -> None:
    async def status(client: str) -> int:
        async with house.get(
            "/api/tags", key="mg_no", headers={"X-Forwarded-For": f"8.8.8.8, {client}"}
        ) as reply:
            return int(reply.status)

    first = [await status("203.0.113.7") for _ in range(21)]
    assert first == [401] * 20 + [429]
    assert await status("203.0.113.8") == 401
    await asyncio.gather(*(status(f"203.0.113.{number}") for number in range(9, 20)))
