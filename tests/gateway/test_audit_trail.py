"""Who was refused what and what was administered: noted by a real gateway, read by its operator and by a command."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from app.access.limits import Limits
from app.access.trail import TRAIL_FILE
from app.cli import main
from app.settings.errors import SettingError
from tests.gateway.conftest import House, chat
from tests.gateway.processes import run


async def trail(house: House, query: str = "") -> list[dict[str, Any]]:
    async with house.get("/admin/audit" + query, key=house.operator) as reply:
        assert reply.status == 200
        return list((await reply.json())["entries"])


def short(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry["key"], entry["address"], entry["action"], entry["status"], entry["code"], entry["count"]


async def test_a_wrong_key_is_counted_by_its_address_with_its_endpoint(house: House) -> None:
    for _ in range(3):
        async with house.get("/api/tags", key="mg_wrong", headers={"X-Forwarded-For": "203.0.113.7"}):
            pass
    async with house.get("/ledger/proof/7", key="mg_wrong"):
        pass
    assert [short(entry) for entry in await trail(house)] == [
        (None, "203.0.113.7", "GET /api/tags", 401, "invalid_api_key", 3),
        (None, "127.0.0.1", "GET /ledger/proof/*", 401, "invalid_api_key", 1),
    ]


async def test_a_valid_key_is_named_where_it_may_not(house: House) -> None:
    [key] = [key["id"] for key in house.gateway.keys.all()]
    for path in ("/config", "/api/pull", "/api/pull/x", "/nothing/secret?prompt=x"):
        async with house.get(path):
            pass
    late = await house.gateway.keys.create("late", None, Limits(expires_us=1))
    async with house.get("/api/tags", key=late["key"]):
        pass
    assert [short(entry) for entry in await trail(house)] == [
        (key, "127.0.0.1", "GET /config", 403, "operator_only", 1),
        (key, "127.0.0.1", "GET /api/pull", 403, "management_forbidden", 2),
        (key, "127.0.0.1", "GET", 404, "not_found", 1),
        (late["id"], "127.0.0.1", "GET /api/tags", 401, "invalid_api_key", 1),
    ]
    assert [entry["label"] for entry in await trail(house)][-1] == "late"


async def test_what_the_operator_does_has_a_line_with_names_and_no_value(house: House) -> None:
    async def ask(method: str, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {house.operator}"}
        async with house.session.request(method, path, json=body, headers=headers) as reply:
            return await reply.json()

    await ask("POST", "/config", {"spending_cap": 7.25, "ledger_secret": "swordfish"})
    await ask("POST", "/config", {"spending_cap": "-swordfish"})
    made = await ask("POST", "/admin/keys", {"label": "guest"})
    away = await ask("POST", "/admin/keys", {"address_of": "guest"})
    await ask("DELETE", "/admin/keys", {"key": "guest"})
    await ask("POST", "/admin/pause", {})
    async with house.get("/admin/keys", key=house.operator):
        pass
    entries = await trail(house)
    assert [(entry["action"], entry["result"], entry["status"], entry["note"]) for entry in entries] == [
        ("POST /config", "done", 200, "spending_cap, ledger_secret"),
        ("POST /config", "refused", 400, ""),
        ("POST /admin/keys", "done", 201, made["id"]),
        ("POST /admin/keys", "done", 201, f"{away['id']} of {made['id']}"),
        ("DELETE /admin/keys", "done", 200, made["id"]),
        ("POST /admin/pause", "done", 200, ""),
    ]
    assert {entry["label"] for entry in entries} == {"operator"}
    assert "swordfish" not in json.dumps(entries)
    assert "7.25" not in json.dumps(entries)


async def test_nothing_that_a_client_sends_is_in_the_file(house: House, tmp_path: Path) -> None:
    secret = "mg_" + "s3cret" * 7
    odd = {"X-Forwarded-For": secret, "User-Agent": secret, "Cookie": secret, "Host": secret}
    for headers in ({}, odd, {"Origin": "https://" + secret}, {"X-Forwarded-For": "203.0.113.7"}):
        for path in ("/api/chat", f"/k/{secret}/api/tags", f"/{secret}", f"/api/pull/{secret}?{secret}"):
            async with house.post(path, chat(secret), key=secret, headers=headers):
                pass
            async with house.post(path, chat(secret), headers=headers):
                pass
    assert len(await trail(house)) > 5
    files = list(tmp_path.rglob(TRAIL_FILE + "*"))
    assert files
    assert all(b"s3cret" not in file.read_bytes() for file in files)


async def test_a_flood_costs_counted_lines_and_the_operators_are_still_there(house: House) -> None:
    async with house.post("/config", {"spending_cap": 8}, key=house.operator) as reply:
        assert reply.status == 200

    async def knock(number: int) -> None:
        headers = {"X-Forwarded-For": f"203.0.{number // 250}.{number % 250 + 1}"}
        async with house.get("/api/tags", key="mg_wrong", headers=headers) as reply:
            assert reply.status == 401

    for begin in range(0, 1000, 50):
        await asyncio.gather(*map(knock, range(begin, begin + 50)))
    entries = await trail(house, "?limit=1000")
    assert entries[0]["action"] == "POST /config"
    assert sum(entry["count"] for entry in entries[1:]) == 1000
    # Two minutes at most: one may have ended meanwhile.
    assert len(entries) <= 1 + 2 * (64 + 1)


async def test_it_is_read_page_by_page_and_by_the_operator_alone(house: House) -> None:
    for cap in range(1, 6):
        async with house.post("/config", {"spending_cap": cap}, key=house.operator):
            pass
    first = await trail(house, "?from=0&limit=2")
    assert [entry["id"] for entry in first] == [1, 2]
    async with house.get("/admin/audit?from=3&limit=9", key=house.operator) as reply:
        page = await reply.json()
    assert [entry["id"] for entry in page["entries"]] == [3, 4, 5]
    assert page["next"] == 6
    assert [entry["id"] for entry in await trail(house, "?limit=2")] == [4, 5]
    for key, status in ((house.key, 403), ("mg_no", 401)):
        async with house.get("/admin/audit", key=key) as reply:
            assert reply.status == status
    for query in ("?limit=0", "?from=-1", "?limit=x"):
        async with house.get("/admin/audit" + query, key=house.operator) as reply:
            assert reply.status == 400


async def test_the_command_tells_it_while_the_gateway_runs_and_after(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MORTDECAI_HOME", str(tmp_path))
    async with house.post("/config", {"spending_cap": 8}, key=house.operator):
        pass
    async with house.get("/api/tags", key="mg_wrong"):
        pass
    assert await asyncio.to_thread(main, ["audit"]) == 0
    running = capsys.readouterr().out
    assert "POST /config" in running
    assert "401 invalid_api_key" in running
    assert await asyncio.to_thread(main, ["audit", "--json", "--limit", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["code"] == "invalid_api_key"
    assert await asyncio.to_thread(main, ["audit", "--limit", "0"]) == 2
    assert "--limit" in capsys.readouterr().err
    monkeypatch.setattr("app.commands.common.running", lambda state: None)
    assert await asyncio.to_thread(main, ["audit", "--from", "1"]) == 0
    assert "POST /config" in capsys.readouterr().out


async def test_a_verb_of_the_window_or_the_tray_has_a_line_with_names_and_no_value(house: House) -> None:
    tray, window = house.gateway.at("tray"), house.gateway.at("window")
    tray.duty.pause_now()
    tray.duty.snooze(3600)
    tray.duty.contribute()
    await tray.keys.plain()
    await window.settings.set_cap(7_250_000_000_000)
    await window.settings.configure({"electricity_rate": "0.3125"})
    with pytest.raises(SettingError):
        await window.settings.configure({"swordfish": 1})
    with pytest.raises(LookupError):
        await window.upstream.verb("sing")
    entries = await trail(house)
    assert [(entry["address"], entry["action"], entry["result"], entry["note"]) for entry in entries] == [
        ("tray", "pause", "done", ""),
        ("tray", "snooze", "done", ""),
        ("tray", "resume", "done", ""),
        ("tray", "copy key", "done", ""),
        ("window", "config", "done", "spending_cap"),
        ("window", "config", "done", "electricity_rate"),
        ("window", "config", "refused", ""),
        ("window", "engine", "refused", "sing"),
    ]
    assert {entry["label"] for entry in entries} == {"operator"}
    assert all(word not in json.dumps(entries) for word in ("swordfish", "7.25", "0.3125"))


async def test_what_only_looks_leaves_no_line(house: House) -> None:
    face = house.gateway.at("window").at("tray")
    face.snapshot()
    face.watching(face, active=True)
    face.watching(face, active=False)
    face.history(1_000_000)
    face.models.entries()
    await face.ledger.verify()
    assert await trail(house) == []


def test_what_commands_do_without_a_gateway_has_a_line_each(tmp_path: Path) -> None:
    words = ("--vault", "file")
    for command in (
        ("keys", "create", "guest", *words),
        ("keys", "limit", "guest", "--concurrent", "2", *words),
        ("keys", "list", *words),
        ("keys", "revoke", "nobody", *words),
        ("keys", "revoke", "guest", *words),
        ("ledger", "rotate-key", *words),
        ("ledger", "backup", str(tmp_path / "copy"), *words),
        ("ledger", "restore", str(tmp_path / "copy"), *words),
        ("ledger", "accept-rollback", *words),
        ("ledger", "verify", *words),
    ):
        run(tmp_path, *command)
    entries = [json.loads(line) for line in run(tmp_path, "audit", "--json", *words).stdout.splitlines()]
    [guest] = {entry["note"] for entry in entries if entry["action"].startswith("keys")}
    assert guest.startswith("k_")
    assert [entry["action"] for entry in entries] == [
        "keys create",
        "keys limit",
        "keys revoke",
        "ledger rotate-key",
        "ledger restore",
        "ledger accept-rollback",
    ]
    assert {(entry["key"], entry["address"], entry["result"]) for entry in entries} == {
        ("operator", "terminal", "done")
    }


def test_a_trail_that_cannot_be_written_fails_no_command(tmp_path: Path) -> None:
    words = ("--vault", "file")
    run(tmp_path, "keys", "list", *words)
    [folder] = [found.parent for found in tmp_path.rglob("ledger*") if found.is_file()][:1]
    (folder / TRAIL_FILE).mkdir()
    done = run(tmp_path, "keys", "create", "guest", *words)
    assert (done.returncode, done.stdout.startswith("mg_")) == (0, True)
    assert "not in the audit trail" in done.stderr
