"""Another secret for a key that stays what it is: against a real ledger and a vault in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.access.client_keys import FIRST_KEY
from app.access.former import FormerError, former_of
from app.access.kept import kept_name, next_name
from app.access.key_secrets import KeySecrets
from app.access.limits import LimitError, Limits
from app.access.own_address import SCHEME
from app.access.principals import Role
from app.access.refusals import Refusal
from app.ledger.errors import LedgerError
from app.vault.base import VaultUnavailable
from app.vault.memory import MemoryVault
from tests.access.test_client_keys import NOW_US, House

DAY_S = 86_400


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path / "ledger.db", MemoryVault())
    await made.enter()
    yield made
    await made.ledger.close()


def secrets(house: House) -> KeySecrets:
    return KeySecrets(house.ledger, house.vault, house.keys, lambda: house.now_us)


async def test_a_rotated_key_stays_what_it_is_and_its_old_secret_ends_at_once(house: House) -> None:
    limits = Limits(models=frozenset({"tiny"}), concurrent=2)
    made = await house.keys.create("laptop", "Ben", limits)
    before = house.who(made["key"])
    rotated = await secrets(house).rotate("laptop")
    assert rotated == {"id": made["id"], "label": "laptop", "key": rotated["key"], "old_secret_until": None}
    after = house.who(rotated["key"])
    assert (after.key, after.label, after.client, after.log, after.limits) == (
        before.key,
        "laptop",
        "Ben",
        before.log,
        limits,
    )
    assert not house.opens(made["key"])
    assert house.ended == []
    await house.again()
    assert (house.opens(rotated["key"]), house.opens(made["key"])) == (True, False)
    assert (await house.ledger.verify()).verdict == "OK"


async def test_the_old_secret_opens_until_the_grace_is_over_also_after_a_restart(house: House) -> None:
    made = await house.keys.create("laptop", None, Limits(concurrent=2))
    rotated = await secrets(house).rotate("laptop", DAY_S)
    assert rotated["old_secret_until"] == NOW_US // 1_000_000 + DAY_S
    await house.again()
    house.now_us = NOW_US + DAY_S * 1_000_000 - 1_000_000
    assert house.who(made["key"]).key == house.who(rotated["key"]).key == made["id"]
    assert house.who(made["key"]).limits.concurrent == 2
    house.now_us += 1_000_000
    assert (house.opens(made["key"]), house.opens(rotated["key"])) == (False, True)


async def test_the_old_secret_never_outlives_its_key(house: House) -> None:
    ends_us = NOW_US + 5_000_000
    made = await house.keys.create("short", None, Limits(expires_us=ends_us))
    rotated = await secrets(house).rotate("short", DAY_S)
    house.now_us = ends_us
    assert not house.opens(made["key"])
    assert not house.opens(rotated["key"])
    other = await house.keys.create("gone", None)
    new = await secrets(house).rotate("gone", DAY_S)
    await house.keys.revoke("gone")
    assert not house.opens(other["key"])
    assert not house.opens(new["key"])


async def test_of_two_rotations_the_later_ones_grace_bounds_the_older_secrets(house: House) -> None:
    first = await house.keys.create("laptop", None)
    second = await secrets(house).rotate("laptop", DAY_S)
    third = await secrets(house).rotate("laptop", 60)
    assert all(house.opens(one["key"]) for one in (first, second, third))
    house.now_us += 60_000_000
    assert [house.opens(one["key"]) for one in (first, second, third)] == [False, False, True]
    fourth = await secrets(house).rotate("laptop", 60)
    fifth = await secrets(house).rotate("laptop")
    assert [house.opens(one["key"]) for one in (third, fourth, fifth)] == [False, False, True]
    assert "former" not in next(key for key in house.ledger.keys() if key.label == "laptop").limits


async def test_so_many_old_secrets_count_and_no_more(house: House) -> None:
    made = [await house.keys.create("laptop", None)]
    made += [await secrets(house).rotate("laptop", 60) for _ in range(8)]
    with pytest.raises(LimitError, match="rotation without grace"):
        await secrets(house).rotate("laptop", 60)
    assert all(house.opens(one["key"]) for one in made)
    await secrets(house).rotate("laptop")
    assert not any(house.opens(one["key"]) for one in made)


async def test_other_limits_leave_the_grace_as_it_is_and_cannot_name_it(house: House) -> None:
    made = await house.keys.create("laptop", None, Limits(concurrent=2))
    await secrets(house).rotate("laptop", DAY_S)
    done = await house.keys.limit("laptop", {"weight": 3}, anew=True)
    assert done["limits"] == {"weight": 3}
    assert house.who(made["key"]).limits.weight == 3
    assert house.of("laptop")["limits"] == {"weight": 3}
    assert house.of("laptop")["old_secret_until"] == NOW_US // 1_000_000 + DAY_S
    forged = [{"sha256": "0" * 64, "until": 2_000_000_000}]
    with pytest.raises(LimitError, match="former"):
        await house.keys.limit("laptop", {"former": forged})
    with pytest.raises(LimitError, match="former"):
        await house.keys.limit_client(house.of("laptop")["client"], {"former": forged})
    assert house.opens(made["key"])


async def test_changes_at_once_lose_nothing_of_each_other(house: House) -> None:
    made = await house.keys.create("laptop", None)
    _, rotated, _ = await asyncio.gather(
        house.keys.limit("laptop", {"concurrent": 2}),
        secrets(house).rotate("laptop", DAY_S),
        house.keys.limit("laptop", {"weight": 3}),
    )
    assert house.of("laptop")["limits"] == {"concurrent": 2, "weight": 3}
    assert house.opens(made["key"])
    assert house.opens(rotated["key"])


async def test_the_copied_and_the_shown_key_are_the_one_that_counts(house: House) -> None:
    old = await house.keys.plain()
    new = (await secrets(house).rotate(FIRST_KEY))["key"]
    assert await house.keys.plain() == new != old
    assert (await secrets(house).reveal(FIRST_KEY))["key"] == new
    await house.again()
    assert await house.keys.plain() == new
    assert len(house.keys.all()) == 1


async def test_a_program_that_ended_between_ledger_and_vault_has_lost_no_secret(house: House) -> None:
    """The new secret lies under its other name still, and the old one under the first."""
    old = await house.keys.plain()
    new = (await secrets(house).rotate(FIRST_KEY))["key"]
    name = house.of(FIRST_KEY)["id"]
    await house.vault.set(kept_name(name), old)
    await house.vault.set(next_name(name), new)
    await house.again()
    assert await house.keys.plain() == new
    assert (await secrets(house).reveal(FIRST_KEY))["key"] == new
    assert len(house.keys.all()) == 1


async def test_a_secret_that_was_never_recorded_is_none(house: House) -> None:
    old = await house.keys.plain()
    await house.vault.set(next_name(house.of(FIRST_KEY)["id"]), "mg_never recorded")
    await house.again()
    assert await house.keys.plain() == old
    assert not house.opens("mg_never recorded")


async def test_a_vault_that_takes_nothing_leaves_the_old_secret(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(name: str, secret: str) -> None:
        raise VaultUnavailable("The keyring is locked: unlock it.")

    old = await house.keys.plain()
    monkeypatch.setattr(house.vault, "set", full)
    with pytest.raises(VaultUnavailable):
        await secrets(house).rotate(FIRST_KEY)
    assert house.opens(old)
    assert (await secrets(house).reveal(FIRST_KEY))["key"] == old


async def test_a_ledger_that_takes_nothing_leaves_the_old_secret(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> Any:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(LedgerError("The key is revoked: make a new one."))
        return future

    old = await house.keys.plain()
    with monkeypatch.context() as patch:
        patch.setattr(house.ledger, "rotate_secret", refused)
        with pytest.raises(LedgerError):
            await secrets(house).rotate(FIRST_KEY)
    assert house.opens(old)
    assert (await secrets(house).reveal(FIRST_KEY))["key"] == old
    new = (await secrets(house).rotate(FIRST_KEY))["key"]
    assert (await secrets(house).reveal(FIRST_KEY))["key"] == new


async def test_an_address_gets_another_path_and_the_key_keeps_its_secret(house: House) -> None:
    made = await house.keys.create("phone", None)
    address = await house.keys.create_address("phone")

    def by_path(path: str) -> str | None:
        try:
            headers = {"Authorization": f"{SCHEME} {path.removeprefix('/k/')}"}
            return house.access.identify(headers, "127.0.0.1").key
        except Refusal:
            return None

    first = await secrets(house).rotate(address["id"], 60)
    assert by_path(address["path"]) == by_path(first["path"]) == made["id"]
    second = await secrets(house).rotate(address["id"])
    assert [by_path(one["path"]) for one in (address, first, second)] == [None, None, made["id"]]
    assert house.opens(made["key"])
    with pytest.raises(LookupError, match="kept nowhere"):
        await secrets(house).reveal(address["id"])


async def test_an_operators_key_opens_as_the_operators_and_is_kept_nowhere(house: House) -> None:
    made = await house.keys.create("my laptop", None, role=Role.OPERATOR)
    found = house.who(made["key"])
    assert (found.role, found.key, found.scope) == (Role.OPERATOR, made["id"], None)
    assert made["role"] == house.of("my laptop")["role"] == "operator"
    assert await house.vault.get(kept_name(made["id"])) is None
    assert await house.keys.plain() != made["key"]
    with pytest.raises(LookupError, match="kept nowhere"):
        await secrets(house).reveal("my laptop")
    with pytest.raises(Refusal) as refused:
        house.access.identify({"x-api-key": made["key"]}, "203.0.113.7")
    assert refused.value.code == "operator_is_local"
    new = (await secrets(house).rotate("my laptop"))["key"]
    assert await house.vault.get(kept_name(made["id"])) is None
    assert house.who(new).role is Role.OPERATOR
    await house.keys.revoke("my laptop")
    assert not house.opens(new)
    assert (await house.ledger.verify()).verdict == "OK"


async def test_the_operators_key_is_never_the_one_to_copy(house: House) -> None:
    await house.keys.create("mine", None, role=Role.OPERATOR)
    await house.keys.revoke(FIRST_KEY)
    with pytest.raises(LookupError, match="no key to copy"):
        await house.keys.plain()


async def test_nobody_unknown_is_rotated_or_shown(house: House) -> None:
    for verb in (secrets(house).rotate, secrets(house).reveal):
        with pytest.raises(LookupError, match="No active key is called 'nobody'"):
            await verb("nobody")


@pytest.mark.parametrize(
    "wrong",
    [
        "x",
        {},
        [1],
        [{"sha256": "0" * 64}],
        [{"sha256": "0" * 63, "until": 1}],
        [{"sha256": "G" * 64, "until": 1}],
        [{"sha256": "0" * 64, "until": True}],
        [{"sha256": "0" * 64, "until": 0}],
        [{"sha256": "0" * 64, "until": 1, "more": 1}],
        [{"sha256": "0" * 64, "until": 1}] * 9,
    ],
    ids=str,
)
def test_what_cannot_be_a_former_secret_is_refused(wrong: object) -> None:
    with pytest.raises(FormerError, match="former must be a list"):
        former_of(wrong)


async def test_a_key_whose_former_secrets_cannot_be_read_opens_nothing(house: House) -> None:
    made = await house.keys.create("laptop", None)
    await house.ledger.limit_key(made["id"], '{"former":[{"sha256":"x","until":1}]}')
    house.keys.refresh()
    assert not house.opens(made["key"])
