"""A living key is given other limits: they are recorded, count from the next request on, and stand after a restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.ledger.drafts import KeyDraft
from app.ledger.records import decode
from tests.gateway.conftest import House
from tests.gateway.processes import gateway, run

CHAT = {"model": "qwen2.5:3b", "messages": [{"role": "user", "content": "Hi"}], "stream": False}


async def ask(house: House, said: Any, key: str) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {key}"}
    async with house.session.patch("/admin/keys", json=said, headers=headers) as reply:
        return reply.status, json.loads(await reply.text())


async def change(house: House, name: str, limits: Any, **more: Any) -> tuple[int, dict[str, Any]]:
    return await ask(house, {"key": name, "limits": limits, **more}, house.operator)


async def chat(house: House, model: str = "qwen2.5:3b") -> int:
    async with house.post("/api/chat", {**CHAT, "model": model}) as reply:
        await reply.read()
        return reply.status


async def limited_records(house: House) -> list[str | None]:
    ledger = house.gateway.ledger
    bodies = await ledger.entries(ledger.clients()[0].log, 0, 100)
    drafts = [decode(body).draft for body in bodies]
    return [draft.limits for draft in drafts if isinstance(draft, KeyDraft) and draft.action == "limited"]


async def test_a_limit_counts_from_the_next_request_on_and_is_lifted_again(house: House) -> None:
    name = house.gateway.keys.all()[0]["id"]
    assert await chat(house) == 200
    status, said = await change(house, name, {"requests_per_minute": 1})
    assert (status, said["limits"]) == (200, {"requests_per_minute": 1})
    assert [await chat(house), await chat(house)] == [200, 429]
    status, said = await change(house, name, {"requests_per_minute": None, "models": ["llama3.1:8b"]})
    assert (status, said["limits"]) == (200, {"models": ["llama3.1:8b"]})
    assert [await chat(house), await chat(house, "llama3.1:8b")] == [404, 200]
    assert (await change(house, name, {"concurrent": 3}))[1]["limits"] == {
        "concurrent": 3,
        "models": ["llama3.1:8b"],
    }
    assert (await change(house, name, {}, anew=True))[1]["limits"] == {}
    assert await chat(house) == 200
    assert len(await limited_records(house)) == 4
    assert (await house.gateway.ledger.verify()).verdict == "OK"


async def test_the_same_limits_again_are_no_second_record(house: House) -> None:
    name = house.gateway.keys.all()[0]["id"]
    for _ in range(3):
        assert (await change(house, name, {"concurrent": 2}))[0] == 200
    assert await limited_records(house) == ['{"concurrent":2}']


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"limits": {}}, 400),
        ({"key": "first key"}, 400),
        ({"key": "first key", "limits": []}, 400),
        ({"key": "first key", "limits": {}, "anew": 1}, 400),
        ({"key": "first key", "limits": {"concurrent": 0}}, 400),
        ({"key": "first key", "limits": {"colour": "red"}}, 400),
        ({"key": "first key", "limits": {"address_of": "k_1"}}, 400),
        ({"key": "first key", "limits": {"expires": 1}}, 400),
        ({"key": "first key", "limits": {"expires": "soon"}}, 400),
        ({"key": "nobody", "limits": {}}, 404),
    ],
)
async def test_what_is_no_limit_is_said_and_changes_nothing(
    house: House, said: dict[str, Any], status: int
) -> None:
    before = house.gateway.keys.all()
    assert (await ask(house, said, house.operator))[0] == status
    assert house.gateway.keys.all() == before
    assert await limited_records(house) == []


async def test_an_address_has_its_keys_limits_and_a_revoked_key_none(house: House) -> None:
    name = house.gateway.keys.all()[0]["id"]
    address = await house.gateway.keys.create_address(name)
    assert (await change(house, address["id"], {"concurrent": 1}))[0] == 400
    await house.gateway.keys.revoke(name)
    assert (await change(house, name, {"concurrent": 1}))[0] == 404


async def test_a_client_cannot_lift_its_own_limits(house: House) -> None:
    name = house.gateway.keys.all()[0]["id"]
    assert (await ask(house, {"key": name, "limits": {}, "anew": True}, house.key))[0] in (401, 403)


def test_limits_from_a_terminal_with_a_gateway_and_without_stand_after_a_restart(tmp_path: Path) -> None:
    words = ("--vault", "file")
    with gateway(tmp_path, "--simulate"):
        done = run(tmp_path, "keys", "limit", "first key", "--concurrent", "2", *words)
        assert done.stdout.endswith("): 2 at once.\n"), done
    done = run(tmp_path, "keys", "limit", "first key", "--requests-per-minute", "9", *words)
    assert done.stdout.endswith("): 9 requests/min, 2 at once.\n"), done
    with gateway(tmp_path, "--simulate"):
        assert "9 requests/min, 2 at once" in run(tmp_path, "keys", "list", *words).stdout
        assert run(tmp_path, "keys", "limit", "first key", "--anew", *words).stdout.endswith("no limits.\n")
    assert run(tmp_path, "ledger", "verify", *words).returncode == 0
