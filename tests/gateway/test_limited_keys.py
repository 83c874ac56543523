"""A living key is given other limits: they are recorded, count from the next request on, and stand after a restart."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.access.hours import DAYS
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


async def whole(house: House, client: str, limits: Any, **more: Any) -> tuple[int, dict[str, Any]]:
    return await ask(house, {"client": client, "limits": limits, **more}, house.operator)


async def test_what_a_client_may_use_counts_for_all_of_its_keys_and_for_those_to_come(house: House) -> None:
    name = house.gateway.ledger.clients()[0].name
    assert (await whole(house, name, {"models": ["llama3.1:8b"], "concurrent": 9}))[0] == 200
    status, said = await whole(house, name, {"requests_per_minute": 2})
    limits = {"models": ["llama3.1:8b"], "concurrent": 9, "requests_per_minute": 2}
    assert (status, said["limits"]) == (200, limits)
    later = (await house.gateway.keys.create("later", None))["key"]
    other = (await house.gateway.keys.create("others", "Somebody else"))["key"]

    async def asks(key: str, model: str = "llama3.1:8b") -> int:
        async with house.post("/api/chat", {**CHAT, "model": model}, key=key) as reply:
            await reply.read()
            return int(reply.status)

    assert [await asks(house.key, "qwen2.5:3b"), await asks(later, "qwen2.5:3b")] == [404, 404]
    assert [await asks(house.key), await asks(later), await asks(later)] == [200, 200, 429]
    assert await asks(other, "qwen2.5:3b") == 200
    async with house.get("/admin/keys", key=house.operator) as reply:
        shown = await reply.json()
    assert [key["label"] for key in shown["keys"]] == ["first key", "later", "others"]
    assert [client["limits"] for client in shown["clients"]] == [limits, {}]
    assert (await whole(house, name, {}, anew=True))[1]["limits"] == {}
    assert await asks(house.key, "qwen2.5:3b") == 200
    assert (await house.gateway.ledger.verify()).verdict == "OK"


async def test_a_key_and_its_client_both_count_and_the_narrower_does(house: House) -> None:
    client, key = house.gateway.ledger.clients()[0], house.gateway.keys.all()[0]["id"]
    await whole(house, client.id, {"max_output_tokens": 3, "models": ["qwen2.5:3b", "llama3.1:8b"]})
    await change(house, key, {"max_output_tokens": 5, "models": ["qwen2.5:3b", "gemma2:9b"]})
    assert [await chat(house, model) for model in ("llama3.1:8b", "qwen2.5:3b")] == [404, 200]
    assert (await house.usage())[-1].tok_out == 3
    await change(house, key, {"max_output_tokens": 2})
    assert await chat(house) == 200
    assert (await house.usage())[-1].tok_out == 2


async def test_outside_its_hours_a_key_asks_the_engine_nothing_and_reads_its_ledger(house: House) -> None:
    key = house.gateway.keys.all()[0]["id"]
    now = datetime.now(ZoneInfo("Europe/Berlin"))
    await house.gateway.settings.configure({"time_zone": "Europe/Berlin"})
    other = f"{DAYS[(now.weekday() + 3) % 7]} 08:00-09:00"
    assert (await change(house, key, {"hours": [other]}))[0] == 200
    async with house.post("/v1/chat/completions", {**CHAT, "stream": True}) as reply:
        answer = await reply.json()
    assert (reply.status, answer["error"]["code"]) == (403, "outside_hours")
    assert 86_400 < int(reply.headers["Retry-After"]) <= 4 * 86_400
    async with house.get("/stats") as reply:
        assert reply.status == 200
    assert (await change(house, key, {"hours": ["00:00-24:00"]}))[1]["limits"] == {"hours": ["00:00-24:00"]}
    assert await chat(house) == 200
    assert (await change(house, key, {"hours": ["noon"]}))[0] == 400


async def test_a_client_whose_time_is_over_has_no_key_that_works(house: House) -> None:
    name = house.gateway.ledger.clients()[0].name
    soon = await whole(house, name, {"expires": time.time() + 0.3})
    assert soon[0] == 200
    assert await chat(house) == 200
    async with asyncio.timeout(10):
        while await chat(house) != 401:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"client": "nobody", "limits": {}}, 404),
        ({"client": "First client", "key": "first key", "limits": {}}, 400),
        ({"client": "First client", "limits": {"address_of": "k_1"}}, 400),
        ({"client": "First client", "limits": {"whole_client": False, "concurrent": -1}}, 400),
        ({"client": "First client", "limits": {"expires": 5}}, 400),
        ({"client": 7, "limits": {}}, 400),
        ({"key": "first key", "limits": {"whole_client": True}}, 400),
        ({"key": "all keys", "limits": {"concurrent": 5}}, 404),
    ],
)
async def test_what_cannot_be_said_of_a_client_changes_nothing(house: House, said: Any, status: int) -> None:
    await whole(house, "First client", {"concurrent": 2})
    assert (await ask(house, said, house.operator))[0] == status
    assert [client["limits"] for client in house.gateway.keys.clients()] == [{"concurrent": 2}]


async def test_two_who_limit_a_client_at_once_leave_one_row(house: House) -> None:
    answers = await asyncio.gather(
        *(whole(house, "First client", {name: 5}) for name in ("concurrent", "weight", "max_output_tokens"))
    )
    assert {status for status, _ in answers} == {200}
    assert house.gateway.keys.clients()[0]["limits"] == {"concurrent": 5, "weight": 5, "max_output_tokens": 5}


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
    done = run(tmp_path, "keys", "limit", "first key", "--cost-per-day", "0.50", *words)
    assert done.stdout.endswith("): 9 requests/min, 2 at once, 0.5 a day.\n"), done
    done = run(tmp_path, "keys", "limit", "first key", "--cost-per-month", "$5", *words)
    assert (done.returncode, "cost_per_month must be an amount above 0" in done.stderr) == (2, True)
    with gateway(tmp_path, "--simulate"):
        assert "2 at once, 0.5 a day (0.5 left)" in run(tmp_path, "keys", "list", *words).stdout
        assert "9 requests/min, 2 at once" in run(tmp_path, "keys", "list", *words).stdout
        assert run(tmp_path, "keys", "limit", "first key", "--anew", *words).stdout.endswith("no limits.\n")
        done = run(tmp_path, "keys", "limit", "--client", "First client", "--concurrent", "3", *words)
        assert (done.returncode, "All keys of First client" in done.stdout) == (0, True), done
    done = run(
        tmp_path,
        "keys",
        "limit",
        "first key",
        "--hours",
        "mon-fri 18:00-23:00",
        "--hours",
        "sat 8:00-9:00",
        *words,
    )
    assert done.stdout.endswith("): mon-fri 18:00-23:00, sat 8:00-9:00.\n"), done
    done = run(tmp_path, "keys", "limit", "--client", "First client", "--weight", "2", *words)
    assert done.stdout.endswith("): 3 at once, 2 turns for one of others.\n"), done
    assert "All keys of First client together: 3 at once" in run(tmp_path, "keys", "list", *words).stdout
    both = run(tmp_path, "keys", "limit", "first key", "--client", "First client", *words)
    assert (both.returncode, "not both" in both.stderr) == (2, True)
    assert run(tmp_path, "ledger", "verify", *words).returncode == 0
