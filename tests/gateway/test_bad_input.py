"""What the gateway says to requests that it does not serve."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from yarl import URL

from tests.gateway.conftest import Build, House, chat


async def refused(reply: Any) -> tuple[int, str]:
    """Status and sentence, whatever the dialect."""
    error = (await reply.json())["error"]
    return reply.status, error if isinstance(error, str) else error["message"]


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer mg_wrong"}, {"Authorization": "Basic !!"}, {"x-api-key": "é"}]
)
async def test_a_wrong_or_missing_key_is_401_with_one_and_the_same_answer(
    house: House, headers: dict[str, str]
) -> None:
    async with house.session.post("/api/chat", json=chat(), headers=headers) as reply:
        status, sentence = await refused(reply)
    assert status == 401
    assert "missing or not valid" in sentence


async def test_the_key_is_taken_from_each_place_that_sdks_put_it(house: House) -> None:
    basic = "Basic " + base64.b64encode(f"anyone:{house.key}".encode()).decode()
    for headers in (
        {"x-api-key": house.key},
        {"Authorization": basic},
        {"Authorization": f"bearer {house.key}"},
    ):
        async with house.session.post("/api/chat", json=chat(stream=False), headers=headers) as reply:
            assert reply.status == 200


async def test_errors_speak_the_dialect_of_the_path(house: House) -> None:
    async with house.session.post("/v1/chat/completions", json={}) as reply:
        error = (await reply.json())["error"]
        assert error["code"] == "invalid_api_key"
        assert error["type"] == "authentication_error"
    async with house.session.post("/api/chat", json={}) as reply:
        assert isinstance((await reply.json())["error"], str)


async def test_twenty_wrong_keys_a_minute_close_the_door_to_that_address(house: House) -> None:
    for _ in range(20):
        async with house.post("/api/chat", chat(), key="mg_wrong") as reply:
            assert reply.status == 401
    async with house.post("/api/chat", chat(), key="mg_wrong") as reply:
        assert reply.status == 429
        assert reply.headers["Retry-After"] == "60"
    async with house.get("/stats") as reply:
        assert reply.status == 200, "a valid key is never throttled"
    async with house.get("/stats", key=house.operator) as reply:
        assert reply.status == 200


async def test_a_web_page_in_a_local_browser_locks_nobody_out_and_gets_nothing(house: House) -> None:
    foreign = {"Origin": "https://evil.example"}
    for _ in range(25):
        async with house.session.get("/api/tags", headers=foreign) as reply:
            assert await refused(reply) == (
                403,
                "A web page of another origin sent this request; only the gateway's own and those in cors_origins may.",
            )
    async with house.session.post("/v1/chat/completions", data=b"{}", headers=foreign) as reply:
        error = (await reply.json())["error"]
        assert (reply.status, error["code"]) == (403, "foreign_page")
    for sender in (foreign, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        async with house.session.get("/dashboard/data", headers=sender) as reply:
            assert reply.status == 403
    async with house.session.get("/api/tags") as reply:
        assert reply.status == 401, "none of them counted"
    async with house.post("/admin/pause", {}, key=house.operator) as reply:
        assert reply.status == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b'{"model":"qwen2.5:3b","model":"other"}', 400),
        (b'{"model":"qwen2.5:3b","Keep_Alive":-1}', 400),
        (b'{"messages":[]}', 400),
        (b'{"model":7}', 400),
        (b'{"model":"qwen2.5:3b","stream":"yes"}', 400),
        (b'{"model":"no-such-model"}', 404),
        (b'{"model":"' + b"x" * 5000 + b'"}', 404),
    ],
)
async def test_a_bad_body_is_refused_and_never_reaches_the_engine(
    house: House, body: bytes, status: int
) -> None:
    headers = {"Authorization": f"Bearer {house.key}"}
    async with house.session.post("/api/chat", data=body, headers=headers) as reply:
        assert (await refused(reply))[0] == status
    assert house.simulator.asked == 0
    assert await house.usage() == []


async def test_a_huge_body_is_413_whether_or_not_it_says_its_length(build: Build) -> None:
    house = await build(max_body_mb=1)
    headers = {"Authorization": f"Bearer {house.key}"}

    async def pieces() -> Any:
        for _ in range(40):
            yield b" " * 65536

    for data in (io.BytesIO(b" " * (2**20 + 1)), pieces()):
        async with house.session.post("/api/chat", data=data, headers=headers) as reply:
            assert (await refused(reply))[0] == 413
    async with house.post("/api/chat", chat(stream=False)) as reply:
        assert reply.status == 200


async def test_a_compressed_body_is_415(house: House) -> None:
    async with house.post("/api/chat", chat(), headers={"Content-Encoding": "gzip"}) as reply:
        assert (await refused(reply))[0] in (400, 415)


@pytest.mark.parametrize(
    "path", ["/api/pull", "/api/delete", "/api/blobs/sha256:0", "/api/create", "/api/user/keys"]
)
async def test_the_engines_management_is_forbidden_to_everybody(house: House, path: str) -> None:
    for key in (house.key, house.operator):
        async with house.post(path, {}, key=key) as reply:
            assert (await refused(reply))[0] == 403


@pytest.mark.parametrize(
    "path", ["/api/unknown", "/v1/unknown", "/api/chat/", "/api//chat", "/%61pi/chat", "/admin"]
)
async def test_whatever_is_not_named_does_not_exist(house: House, path: str) -> None:
    # As it stands: a client library would tidy the path before it sends it.
    async with house.post(URL(house.gateway.address + path, encoded=True), {}) as reply:
        assert reply.status == 404


async def test_a_wrong_method_is_405_and_says_which_would_do(house: House) -> None:
    async with house.get("/api/chat") as reply:
        status, sentence = await refused(reply)
    assert status == 405
    assert "POST" in sentence


async def test_a_client_may_not_do_what_the_operator_may(house: House) -> None:
    for method, path in (
        ("GET", "/config"),
        ("POST", "/config"),
        ("POST", "/admin/pause"),
        ("GET", "/admin/keys"),
    ):
        async with house.session.request(
            method, path, headers={"Authorization": f"Bearer {house.key}"}
        ) as reply:
            assert (await refused(reply))[0] == 403


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"NO_SUCH_THING": 1}, "no_such_thing"),
        ({"SPENDING_CAP": -1}, "spending_cap"),
        ({"ELECTRICITY_RATE": "free"}, "electricity_rate"),
        ({"SPENDING_CAP": 7, "GPU_IDLE_WATTS": "NaN"}, "gpu_idle_watts"),
        ({"PORT": 99999}, "port"),
    ],
)
async def test_an_invalid_setting_is_named_and_nothing_is_changed(
    house: House, change: dict[str, Any], words: str
) -> None:
    async with house.post("/config", change, key=house.operator) as reply:
        status, sentence = await refused(reply)
    assert status == 400
    assert words in sentence.lower()
    assert house.gateway.snapshot().money.cap_pico == 10 * 10**12


async def test_settings_change_live_under_the_seeds_names(house: House) -> None:
    async with house.post(
        "/config", {"SPENDING_CAP": 5, "ELECTRICITY_RATE": 0.3}, key=house.operator
    ) as reply:
        assert reply.status == 200, await reply.text()
        assert set((await reply.json())["changed"]) == {"spending_cap", "electricity_rate"}
    async with house.post("/api/chat", chat(stream=False)) as reply:
        figures = (await reply.json())["_gateway"]
    (row,) = await house.usage()
    assert row.e_uj is not None
    assert row.cost_pico == round(row.e_uj * 3 / 36)
    assert figures["budget_remaining"] == pytest.approx(5, abs=0.01)


async def test_the_dashboards_figures_are_open_to_this_machine_and_not_to_a_rebound_name(
    house: House,
) -> None:
    async with house.session.get("/dashboard") as reply:
        assert "text/html" in reply.headers["Content-Type"]
        assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
    async with house.session.get("/dashboard/data") as reply:
        assert (await reply.json())["spending_cap"] == 10
    async with house.session.get("/dashboard/data", headers={"Host": "evil.example"}) as reply:
        assert reply.status == 403


async def test_no_key_and_no_prompt_is_ever_in_an_error(house: House) -> None:
    secret = "mg_" + "s3cret" * 6
    async with house.post("/api/chat", chat("my secret prompt"), key=secret) as reply:
        text = json.dumps(await reply.json())
    assert secret not in text
    assert "secret prompt" not in text


async def test_a_revoked_key_stops_working_with_the_next_request(house: House) -> None:
    async with house.post("/admin/keys", {"label": "guest"}, key=house.operator) as reply:
        assert reply.status == 201
        made = await reply.json()
    async with house.get("/api/tags", key=made["key"]) as reply:
        assert reply.status == 200
    headers = {"Authorization": f"Bearer {house.operator}"}
    async with house.session.delete("/admin/keys", json={"key": made["id"]}, headers=headers) as reply:
        assert reply.status == 200
    async with house.get("/api/tags", key=made["key"]) as reply:
        assert reply.status == 401


async def test_a_client_sees_its_own_records_and_nobody_elses(house: House) -> None:
    async with house.post(
        "/admin/keys", {"label": "other", "client": "Another"}, key=house.operator
    ) as reply:
        other = (await reply.json())["key"]
    async with house.post("/api/chat", chat(stream=False)) as reply:
        await reply.read()
    async with house.get("/ledger", key=other) as reply:
        assert not [entry for entry in (await reply.json())["transactions"] if entry["kind"] == "usage"]
    async with house.get("/stats", key=other) as reply:
        assert (await reply.json())["requests"] == 0
    async with house.get("/reconcile", key=other) as reply:
        assert len((await reply.json())["merkle"]) == 1
    async with house.get("/ledger") as reply:
        assert len([entry for entry in (await reply.json())["transactions"] if entry["kind"] == "usage"]) == 1


async def test_a_keys_limits_hold_in_every_answer_and_are_listed(house: House) -> None:
    limits = {"max_output_tokens": 3, "models": ["Qwen2.5:3b"], "expires": 4_000_000_000}
    async with house.post("/admin/keys", {"label": "small", "limits": limits}, key=house.operator) as reply:
        assert reply.status == 201
        small = await reply.json()
    assert small["limits"] == limits
    async with house.get("/admin/keys", key=house.operator) as reply:
        assert [key["limits"] for key in (await reply.json())["keys"]] == [{}, limits]
    async with house.post("/api/chat", chat(tokens=20, stream=False), key=small["key"]) as reply:
        assert (await reply.json())["eval_count"] == 3
    async with house.get("/api/tags") as reply:
        every = {entry["name"] for entry in (await reply.json())["models"]}
    assert len(every) > 1
    async with house.get("/api/tags", key=small["key"]) as reply:
        assert [entry["name"] for entry in (await reply.json())["models"]] == ["qwen2.5:3b"]
    async with house.get("/v1/models", key=small["key"]) as reply:
        assert [entry["id"] for entry in (await reply.json())["data"]] == ["qwen2.5:3b"]
    for other in every - {"qwen2.5:3b"}:
        async with house.post("/api/show", {"model": other}, key=small["key"]) as reply:
            assert reply.status == 404
        async with house.post("/api/chat", chat() | {"model": other}, key=small["key"]) as reply:
            assert reply.status == 404


@pytest.mark.parametrize("limits", [[], {"hours": "9-17"}, {"expires": 1}, {"max_output_tokens": 10**30}])
async def test_limits_that_nobody_would_enforce_make_no_key(house: House, limits: Any) -> None:
    async with house.post("/admin/keys", {"label": "x", "limits": limits}, key=house.operator) as reply:
        assert reply.status == 400
    async with house.get("/admin/keys", key=house.operator) as reply:
        assert len((await reply.json())["keys"]) == 1
