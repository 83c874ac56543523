"""A key gets another secret, is shown, and the operator makes keys of his own: over HTTP and by the command."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.ledger.drafts import KeyDraft
from app.ledger.records import decode
from app.vault.base import VaultUnavailable
from app.vault.memory import MemoryVault
from tests.gateway.conftest import House, chat
from tests.gateway.processes import gateway, run


async def ask(house: House, verb: str, body: Any, key: str | None = None) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {key or house.operator}"}
    async with house.session.post(f"/admin/keys{verb}", json=body, headers=headers) as reply:
        if reply.status == 200 and verb:
            assert reply.headers["Cache-Control"] == "no-store"
        return reply.status, await reply.json()


async def opens(house: House, key: str) -> bool:
    async with house.post("/api/chat", {**chat("Hi"), "stream": False}, key=key) as reply:
        await reply.read()
        return reply.status == 200


async def test_a_rotated_key_is_billed_as_before_and_recorded_in_its_log(house: House) -> None:
    assert await opens(house, house.key)
    status, made = await ask(house, "/rotate", {"key": "first key", "grace_seconds": 3600})
    assert (status, made["label"]) == (200, "first key")
    assert [await opens(house, key) for key in (house.key, made["key"])] == [True, True]
    assert {row.key for row in await house.usage()} == {made["id"]}
    status, last = await ask(house, "/rotate", {"key": made["id"]})
    assert (status, last["old_secret_until"]) == (200, None)
    assert [await opens(house, key) for key in (house.key, made["key"], last["key"])] == [False, False, True]
    ledger = house.gateway.ledger
    drafts = [decode(body).draft for body in await ledger.entries(ledger.clients()[0].log, 0, 100)]
    keys = [draft for draft in drafts if isinstance(draft, KeyDraft)]
    assert [draft.action for draft in keys] == ["created", "rotated", "rotated"]
    assert len({draft.key_sha256 for draft in keys}) == 3
    assert (await ledger.verify()).verdict == "OK"


async def test_a_secret_is_shown_to_the_operator_alone_and_leaves_a_line(house: House) -> None:
    assert (await ask(house, "/reveal", {"key": "first key"}))[1]["key"] == house.key
    assert (await ask(house, "/reveal", {"key": "first key"}, house.key))[0] == 403
    assert (await ask(house, "/rotate", {"key": "first key"}, house.key))[0] == 403
    assert (await ask(house, "/rotate", {"key": "first key"}, "mg_no"))[0] == 401
    async with house.get("/admin/audit", key=house.operator) as reply:
        entries = (await reply.json())["entries"]
    [shown] = [entry for entry in entries if entry["result"] == "done"]
    assert (shown["action"], shown["note"]) == ("POST /admin/keys/reveal", house.gateway.keys.all()[0]["id"])
    assert house.key not in str(entries)


@pytest.mark.parametrize(
    ("verb", "body", "status"),
    [
        ("/rotate", {"key": "nobody"}, 404),
        ("/rotate", {"key": 5}, 400),
        ("/rotate", {"key": "first key", "grace_seconds": -1}, 400),
        ("/rotate", {"key": "first key", "grace_seconds": 1.5}, 400),
        ("/rotate", {"key": "first key", "grace_seconds": True}, 400),
        ("/rotate", {"key": "first key", "grace_seconds": 31 * 86_400 + 1}, 400),
        ("/reveal", {"key": "nobody"}, 404),
        ("/reveal", {}, 400),
        ("", {"label": "x", "role": "king"}, 400),
        ("", {"label": "x", "role": ["operator"]}, 400),
        ("", {"label": "x", "role": "operator", "client": "Ben"}, 400),
        ("", {"label": "x", "role": "operator", "address": True}, 400),
        ("", {"label": "x", "limits": {"former": [{"sha256": "0" * 64, "until": 2_000_000_000}]}}, 400),
    ],
)
async def test_what_cannot_be_asked_changes_nothing(house: House, verb: str, body: Any, status: int) -> None:
    before = house.gateway.keys.all()
    answered, said = await ask(house, verb, body)
    assert answered == status
    assert said["error"].endswith(".")
    assert house.gateway.keys.all() == before
    assert await opens(house, house.key)


async def test_an_operators_key_does_what_the_token_does_until_it_is_revoked(house: House) -> None:
    status, made = await ask(house, "", {"label": "script", "role": "operator"})
    assert (status, made["client"], made["role"]) == (201, "", "operator")
    async with house.get("/config", key=made["key"]) as reply:
        assert reply.status == 200
    async with house.get("/config", key=made["key"], headers={"X-Forwarded-For": "203.0.113.7"}) as reply:
        assert reply.status == 403
    headers = {"Authorization": f"Bearer {house.operator}"}
    async with house.session.delete("/admin/keys", json={"key": "script"}, headers=headers) as reply:
        assert reply.status == 200
    async with house.get("/config", key=made["key"]) as reply:
        assert reply.status == 401
    assert (await house.gateway.ledger.verify()).verdict == "OK"


def test_the_command_rotates_shows_and_makes_operators_keys_with_a_gateway_and_without(
    tmp_path: Path,
) -> None:
    words = ("--vault", "file")
    first = run(tmp_path, "keys", "create", "laptop", "--client", "Ben", *words).stdout.strip()
    shown = run(tmp_path, "keys", "show", "laptop", *words).stdout
    assert "client: Ben\n" in shown
    assert "state: active\n" in shown
    assert first not in shown
    assert f"secret: {first}\n" in run(tmp_path, "keys", "show", "laptop", "--reveal", *words).stdout
    done = run(tmp_path, "keys", "rotate", "laptop", "--grace", "24h", *words)
    second = done.stdout.strip()
    assert second.startswith("mg_")
    assert "works until" in done.stderr
    mine = run(tmp_path, "keys", "create", "mine", "--operator", *words).stdout.strip()
    assert "kept nowhere" in run(tmp_path, "keys", "show", "mine", "--reveal", *words).stderr
    with gateway(tmp_path, "--simulate"):
        assert "old secret: works until" in run(tmp_path, "keys", "show", "laptop", *words).stdout
        assert f"secret: {second}\n" in run(tmp_path, "keys", "show", "laptop", "--reveal", *words).stdout
        done = run(tmp_path, "keys", "rotate", "laptop", *words)
        assert done.stdout.strip() not in (first, second)
        assert "works no more" in done.stderr
        assert "(the operator)" in run(tmp_path, "keys", "list", *words).stdout
        path = run(tmp_path, "keys", "address", "laptop", *words).stdout.strip()
        again = run(tmp_path, "keys", "rotate", "laptop (address)", *words).stdout.strip()
        assert path.rpartition("/")[0] == again.rpartition("/")[0]
        assert path != again
        assert run(tmp_path, "keys", "revoke", "mine", *words).returncode == 0
    assert "state: revoked\n" in run(tmp_path, "keys", "show", "mine", *words).stdout
    for wrong, said in (
        (("show", "nobody"), "No key is called 'nobody'"),
        (("rotate", "mine"), "No active key is called 'mine'"),
        (("rotate", "laptop", "--grace", "5s"), "no duration"),
        (("rotate",), "id or label"),
        (("create", "x", "--operator", "--client", "Ben"), "no client"),
    ):
        done = run(tmp_path, "keys", *wrong, *words)
        assert (done.returncode, said in done.stderr) == (2, True), done
    actions = run(tmp_path, "audit", *words).stdout
    assert "keys rotate" in actions
    assert "POST /admin/keys/rotate" in actions
    assert "keys show" in actions
    assert all(secret not in actions for secret in (first, second, mine))
    assert run(tmp_path, "ledger", "verify", *words).returncode == 0


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/admin/keys", {"label": "new"}),
        ("POST", "/admin/keys", {"label": "new", "client": "Somebody else"}),
        ("POST", "/admin/keys/rotate", {"key": "first key"}),
        ("POST", "/admin/keys/reveal", {"key": "first key"}),
    ],
)
async def test_a_keyring_that_does_not_answer_is_503_in_its_own_words_and_leaves_no_key_behind(
    house: House, monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: Any
) -> None:
    async def locked(*_: object) -> None:
        raise VaultUnavailable("The keyring is locked: unlock it.")

    monkeypatch.setattr(MemoryVault, "set", locked)
    monkeypatch.setattr(MemoryVault, "get", locked)
    headers = {"Authorization": f"Bearer {house.operator}"}
    async with house.session.request(method, path, json=body, headers=headers) as reply:
        assert (reply.status, (await reply.json())["error"]) == (503, "The keyring is locked: unlock it.")
        assert int(reply.headers["Retry-After"]) > 0
    async with asyncio.timeout(10):
        while [key["label"] for key in house.gateway.keys.all() if key["revoked"] is None] != ["first key"]:
            await asyncio.sleep(0.01)
    assert await opens(house, house.key)
