"""Plugs at the wall, each played by a small local server that answers as the maker documents."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from app.power import plug as plugs
from app.power.plug import Plug, PlugError, PlugKind, WallPlug
from tests.power.played_plug import Answers, Device


async def watts(
    kind: PlugKind, url: str, entity: str = "", token: str | None = None, times: int = 1
) -> float:
    wall = WallPlug(Plug(kind, url, entity, token))
    try:
        for _ in range(times - 1):
            await wall.watts()
        return await wall.watts()
    finally:
        await wall.close()


GEN2_SWITCH = {
    "sys": {"mac": "A8032ABE54DC"},
    "switch:0": {"id": 0, "output": True, "apower": 8.9, "voltage": 237.5},
}
GEN2_PM = {"pm1:0": {"id": 0, "voltage": 240.2, "current": 0.413, "apower": 91.3, "freq": 50}}
GEN2_EM = {"em1:0": {"id": 0, "act_power": 100.5}, "em1:1": {"id": 1, "act_power": 20.0}}


@pytest.mark.parametrize(("status", "expected"), [(GEN2_SWITCH, 8.9), (GEN2_PM, 91.3), (GEN2_EM, 120.5)])
async def test_a_shelly_of_today_tells_by_rpc(
    device: tuple[Device, str], status: Answers, expected: float
) -> None:
    played, url = device
    played.answers = {
        "/shelly": {"name": None, "id": "x", "gen": 2, "auth_en": False},
        "/rpc/Shelly.GetStatus": status,
    }
    assert await watts(PlugKind.SHELLY, url, times=2) == pytest.approx(expected)
    assert [request.path for request in played.asked].count("/shelly") == 1


async def test_a_shelly_of_the_first_generation_tells_by_status(device: tuple[Device, str]) -> None:
    played, url = device
    played.answers = {
        "/shelly": {"type": "SHPLG-S", "mac": "x", "auth": True, "fw": "1"},
        "/status": {"meters": [{"power": 65.27, "is_valid": True}, {"power": 9999, "is_valid": False}]},
    }
    assert await watts(PlugKind.SHELLY, url, token="geheim") == 65.27
    assert "Authorization" not in played.asked[0].headers
    assert played.asked[1].headers["Authorization"].startswith("Basic ")


async def test_a_shelly_with_a_password_is_answered_its_digest(device: tuple[Device, str]) -> None:
    played, url = device

    async def guarded(request: web.Request) -> web.StreamResponse:
        said = request.headers.get("Authorization", "")
        if not said.startswith("Digest "):
            challenge = 'Digest qop="auth", realm="shelly", nonce="60dc2c69", algorithm=SHA-256'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        assert 'username="admin"' in said
        return web.json_response(GEN2_SWITCH)

    played.answers = {"/shelly": {"gen": 3, "auth_en": True}, "/rpc/Shelly.GetStatus": guarded}
    assert await watts(PlugKind.SHELLY, url, token="geheim") == 8.9


async def test_a_tasmota_tells_by_its_status_10(device: tuple[Device, str]) -> None:
    played, url = device
    energy = {
        "Total": 3.185,
        "Yesterday": 3.058,
        "Today": 0.127,
        "Power": 147,
        "Factor": 0.98,
        "Voltage": 234,
    }
    played.answers = {
        "/cm?cmnd=Status%2010": {"StatusSNS": {"Time": "2026-11-28T08:00:00", "ENERGY": energy}}
    }
    assert await watts(PlugKind.TASMOTA, url) == 147
    energy["Power"] = [100, 47]  # several channels
    assert await watts(PlugKind.TASMOTA, url) == 147


async def test_a_tasmota_with_a_password_is_given_it(device: tuple[Device, str]) -> None:
    played, url = device
    path = "/cm?cmnd=Status%2010&user=admin&password=a%26b"
    played.answers = {path: {"StatusSNS": {"ENERGY": {"Power": 5}}}}
    assert await watts(PlugKind.TASMOTA, url, token="a&b") == 5


@pytest.mark.parametrize(("state", "unit", "expected"), [("123.4", "W", 123.4), ("0.25", "kW", 250.0)])
async def test_home_assistant_tells_an_entity_in_its_unit(
    device: tuple[Device, str], state: str, unit: str, expected: float
) -> None:
    played, url = device
    entity = {"entity_id": "sensor.desk_power", "state": state, "attributes": {"unit_of_measurement": unit}}
    played.answers = {"/api/states/sensor.desk_power": entity}
    assert await watts(PlugKind.HOME_ASSISTANT, url, "sensor.desk_power", "llat") == expected
    assert played.asked[0].headers["Authorization"] == "Bearer llat"


@pytest.mark.parametrize(
    ("entity", "said"),
    [
        ({"state": "unavailable", "attributes": {"unit_of_measurement": "W"}}, "has no value now"),
        ({"state": "12", "attributes": {"unit_of_measurement": "kWh"}}, "is in kWh, which is no power"),
        ({"state": "12"}, "is in no unit"),
        ({"state": "nan", "attributes": {"unit_of_measurement": "W"}}, "which no socket gives"),
    ],
)
async def test_an_entity_that_is_no_power_is_said(
    device: tuple[Device, str], entity: Answers, said: str
) -> None:
    played, url = device
    played.answers = {"/api/states/sensor.x": entity}
    with pytest.raises(PlugError, match=said):
        await watts(PlugKind.HOME_ASSISTANT, url, "sensor.x", "llat")


@pytest.mark.parametrize(
    "body", [b"<html>", b"[1]", b"", b'"x"', b"\xff", b"[" * 100_000, b" " * 70_000 + b"{}"]
)
async def test_what_is_no_answer_is_one_sentence(device: tuple[Device, str], body: bytes) -> None:
    played, url = device

    async def odd(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    played.answers = {"/cm?cmnd=Status%2010": odd}
    with pytest.raises(PlugError, match="did not answer as a tasmota does"):
        await watts(PlugKind.TASMOTA, url)


async def test_a_device_without_a_meter_is_said(device: tuple[Device, str]) -> None:
    played, url = device
    played.answers = {"/shelly": {"gen": 2}, "/rpc/Shelly.GetStatus": {"switch:0": {"output": True}}}
    with pytest.raises(PlugError, match="measures no power"):
        await watts(PlugKind.SHELLY, url)
    played.answers = {"/cm?cmnd=Status%2010": {"StatusSNS": {"Switch1": "OFF"}}}
    with pytest.raises(PlugError, match="measures no power"):
        await watts(PlugKind.TASMOTA, url)


async def test_a_redirect_is_not_followed(device: tuple[Device, str]) -> None:
    played, url = device

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(f"{url}/stolen")

    played.answers = {"/cm?cmnd=Status%2010": elsewhere}
    with pytest.raises(PlugError, match="status 302"):
        await watts(PlugKind.TASMOTA, url)
    assert len(played.asked) == 1


async def test_a_wrong_token_is_said_and_not_shown(device: tuple[Device, str]) -> None:
    played, url = device

    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.Response(status=401)

    played.answers = {"/api/states/sensor.x": refuse}
    with pytest.raises(PlugError, match="plug-token") as caught:
        await watts(PlugKind.HOME_ASSISTANT, url, "sensor.x", "llat-secret")
    assert "llat-secret" not in str(caught.value)
    assert "llat-secret" not in repr(Plug(PlugKind.HOME_ASSISTANT, url, "sensor.x", "llat-secret"))


async def test_a_plug_that_hangs_is_left_in_time(
    device: tuple[Device, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    played, url = device
    released = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    monkeypatch.setattr(plugs, "ANSWER_S", 0.05)
    played.answers = {"/cm?cmnd=Status%2010": hang}
    with pytest.raises(PlugError, match="did not answer in time"):
        await watts(PlugKind.TASMOTA, url)
    released.set()


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "0.0.0.0", "[::ffff:169.254.1.1]"]
)
async def test_an_address_where_no_plug_can_be_is_not_asked(host: str) -> None:
    with pytest.raises(PlugError, match="no plug is there"):
        await watts(PlugKind.TASMOTA, f"http://{host}")


async def test_a_name_that_leads_there_is_not_asked_either() -> None:
    wall = WallPlug(Plug(PlugKind.TASMOTA, "http://plug.lan"), lambda host, port: [(2, "169.254.169.254")])
    with pytest.raises(PlugError, match=r"plug\.lan is a link-local address"):
        await wall.watts()
    await wall.close()


async def test_a_plug_that_is_not_there_is_said() -> None:
    with pytest.raises(PlugError, match="nothing answers there"):
        await watts(PlugKind.SHELLY, "http://127.0.0.1:9")
