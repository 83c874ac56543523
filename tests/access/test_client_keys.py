"""Keys that are made, found, shown and revoked: against a real ledger and a vault in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.access.client_keys import FIRST_CLIENT, FIRST_KEY, ClientKeys
from app.access.identify import Access
from app.access.kept import kept_name
from app.access.limits import Limits
from app.access.principals import Principal, Role, key_digest
from app.access.refusals import Refusal
from app.ledger.checkpoint import Signer
from app.ledger.sqlite.store import Ledger
from app.vault.base import VaultUnavailable
from app.vault.memory import MemoryVault

NOW_US = 1_763_650_000_000_000
TOKEN = "mg_the operator's token"


class House:
    """A gateway's keys, and the door they open."""

    def __init__(self, path: Path, vault: MemoryVault) -> None:
        self.path = path
        self.vault = vault
        self.now_us = NOW_US
        self.ended: list[str] = []

    async def enter(self) -> None:
        """Open the ledger and load the keys, as a start does."""
        self.ledger = await Ledger.open(
            self.path, signer=Signer(bytes(32), "gw"), gateway_id="gw", clock_us=lambda: self.now_us
        )
        self.access = Access(lambda: 0, remote_admin=lambda: False, wall_us=lambda: self.now_us)
        self.keys = ClientKeys(self.ledger, self.vault, self.access, TOKEN)
        self.keys.revoked.connect(self.ended.append)
        await self.keys.load()

    async def again(self) -> None:
        """A restart."""
        await self.ledger.close()
        await self.enter()

    def who(self, plain: str) -> Principal:
        return self.access.identify({"x-api-key": plain}, "127.0.0.1")

    def opens(self, plain: str) -> bool:
        try:
            self.who(plain)
        except Refusal:
            return False
        return True

    def of(self, name: str) -> Any:
        return next(key for key in self.keys.all() if name in (key["id"], key["label"]))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path / "ledger.db", MemoryVault())
    await made.enter()
    yield made
    await made.ledger.close()


async def test_the_first_start_makes_one_client_and_one_key_and_the_next_ones_make_none(house: House) -> None:
    plain = await house.keys.plain()
    assert house.who(plain).client == FIRST_CLIENT
    for _ in range(2):
        await house.again()
        assert [(key["label"], key["client"]) for key in house.keys.all()] == [(FIRST_KEY, FIRST_CLIENT)]
        assert await house.keys.plain() == plain
    assert house.keys.first_log() == house.who(plain).log


async def test_a_vault_that_lost_every_key_gives_a_new_one_to_copy_and_the_old_one_goes_on(
    house: House,
) -> None:
    old = await house.keys.plain()
    await house.vault.delete(kept_name(house.of(FIRST_KEY)["id"]))
    await house.again()
    new = await house.keys.plain()
    assert new != old
    assert house.opens(new)
    assert house.opens(old)
    assert len(house.keys.all()) == 2


async def test_a_key_that_is_still_known_is_found_behind_one_that_is_not(house: House) -> None:
    made = await house.keys.create("second", None)
    await house.vault.delete(kept_name(house.of(FIRST_KEY)["id"]))
    await house.again()
    assert await house.keys.plain() == made["key"]
    assert len(house.keys.all()) == 2


async def test_a_new_key_opens_at_once_is_kept_in_the_vault_and_told_once(house: House) -> None:
    limits = Limits(max_output_tokens=7)
    made = await house.keys.create("laptop", "Ben", limits)
    assert made == {
        "id": made["id"],
        "label": "laptop",
        "client": "Ben",
        "key": made["key"],
        "limits": {"max_output_tokens": 7},
    }
    assert await house.vault.get(kept_name(made["id"])) == made["key"]
    found = house.who(made["key"])
    assert (found.key, found.label, found.client, found.limits) == (made["id"], "laptop", "Ben", limits)
    assert found.role is Role.CLIENT
    assert found.log != house.keys.first_log()
    assert await house.keys.plain() != made["key"], "the one to copy stays the one that was shown before"


async def test_a_key_is_made_for_the_client_of_that_name_or_for_the_first(house: House) -> None:
    one, two = await house.keys.create("a", "Ben"), await house.keys.create("b", "Ben")
    assert house.who(one["key"]).log == house.who(two["key"]).log
    three = await house.keys.create("c", None)
    assert house.who(three["key"]).client == FIRST_CLIENT
    assert (await house.keys.create("d", FIRST_CLIENT))["client"] == FIRST_CLIENT


async def test_two_keys_at_once_for_a_client_that_nobody_knew_are_keys_of_one_client(house: House) -> None:
    made = await asyncio.gather(*[house.keys.create(label, "Ben") for label in "abc"])
    assert len({house.who(one["key"]).log for one in made}) == 1
    assert [client.name for client in house.ledger.clients()] == [FIRST_CLIENT, "Ben"]


async def test_keys_are_listed_without_their_secret_and_with_seconds(house: House) -> None:
    made = await house.keys.create("laptop", "Ben", Limits(max_output_tokens=7))
    house.now_us += 5_000_000
    await house.keys.revoke("laptop")
    assert house.of("laptop") == {
        "id": made["id"],
        "label": "laptop",
        "role": "client",
        "client": "Ben",
        "created": NOW_US / 1e6,
        "revoked": NOW_US / 1e6 + 5,
        "old_secret_until": None,
        "limits": {"max_output_tokens": 7},
    }
    assert house.of(FIRST_KEY)["revoked"] is None
    assert made["key"] not in str(house.keys.all())


@pytest.mark.parametrize("by", ["id", "label"])
async def test_a_revoked_key_opens_nothing_from_that_moment_and_is_told_to_whoever_serves_it(
    house: House, by: str
) -> None:
    made = await house.keys.create("laptop", None)
    revoking = asyncio.ensure_future(house.keys.revoke(made[by]))
    await asyncio.sleep(0)
    assert not house.opens(made["key"]), "though the disk has not taken it yet"
    assert house.ended == [made["id"]]
    assert await revoking == {"id": made["id"], "label": "laptop", "revoked": True}
    assert await house.vault.get(kept_name(made["id"])) is None
    await house.again()
    assert not house.opens(made["key"])
    assert house.opens(await house.keys.plain())


async def test_a_key_that_nobody_waited_for_until_it_was_made_is_revoked_for_nobody_has_seen_it(
    house: House,
) -> None:
    making = asyncio.ensure_future(house.keys.create("unseen", None))
    await asyncio.sleep(0)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    seen = await house.keys.create("seen", None)
    await house.keys.revoke(seen["id"])  # whatever was asked before this is durable by now
    assert house.of("unseen")["revoked"] is not None
    await house.again()
    assert house.of("unseen")["revoked"] is not None
    assert house.of(FIRST_KEY)["revoked"] is None


async def test_a_key_that_is_not_there_or_not_alone_is_not_revoked(house: House) -> None:
    one, two = await house.keys.create("twin", None), await house.keys.create("twin", None)
    with pytest.raises(LookupError, match="No active key is called 'nobody'"):
        await house.keys.revoke("nobody")
    with pytest.raises(LookupError, match="2 keys are called 'twin'"):
        await house.keys.revoke("twin")
    assert house.opens(one["key"])
    assert house.opens(two["key"])
    await house.keys.revoke(one["id"])
    assert house.opens(two["key"])
    await house.keys.revoke("twin")
    assert not house.opens(two["key"])
    with pytest.raises(LookupError):
        await house.keys.revoke("twin")


async def test_when_the_key_to_copy_is_revoked_another_one_takes_its_place(house: House) -> None:
    first = await house.keys.plain()
    second = await house.keys.create("second", None)
    third = await house.keys.create("third", None)
    await house.keys.revoke("third")
    assert await house.keys.plain() == first
    await house.keys.revoke(FIRST_KEY)
    assert await house.keys.plain() == second["key"]
    assert not house.opens(third["key"])


async def test_a_key_whose_limits_this_version_cannot_read_does_not_work_and_the_others_do(
    house: House,
) -> None:
    plain = "mg_from the future"
    await house.ledger.create_key(
        label="future",
        sha256=key_digest(plain),
        client=house.ledger.clients()[0].id,
        limits='{"hours":"9-17"}',
    )
    other = await house.keys.create("laptop", None)
    assert not house.opens(plain)
    assert house.opens(other["key"])


async def test_the_operators_token_is_nobodys_key(house: House) -> None:
    found = house.who(TOKEN)
    assert (found.key, found.role, found.scope) == ("operator", Role.OPERATOR, None)
    assert found.log == house.keys.first_log()
    assert "operator" not in [key["id"] for key in house.keys.all()]


async def test_an_operators_key_without_a_client_counts_for_the_first(house: House) -> None:
    plain = "mg_second operator"
    await house.ledger.create_key(label="ops", sha256=key_digest(plain), client=None, role="operator")
    await house.again()
    assert (house.who(plain).role, house.who(plain).log) == (Role.OPERATOR, house.keys.first_log())
    assert house.of("ops")["client"] == ""


class FullVault(MemoryVault):
    """A vault that takes nothing more."""

    async def set(self, name: str, value: str) -> None:
        raise VaultUnavailable("The vault is full: make room in it.")


async def test_a_key_that_the_vault_does_not_take_is_revoked_for_nobody_has_seen_it(house: House) -> None:
    house.keys = ClientKeys(house.ledger, FullVault(), house.access, TOKEN)
    with pytest.raises(VaultUnavailable):
        await house.keys.create("unseen", None)
    await asyncio.sleep(0)  # the revocation is asked for in the next turn of the loop
    await house.ledger.create_client("Somebody")  # queued behind it
    assert house.of("unseen")["revoked"] is not None
    assert await house.keys.revoke("first key"), "the others are what they were"


async def test_an_address_opens_as_its_key_with_its_limits_and_ends_with_it_over_restarts(
    house: House,
) -> None:
    made = await house.keys.create("laptop", "Ben", Limits(max_output_tokens=7))
    address = await house.keys.create_address("laptop")
    secret = address["path"].removeprefix("/k/")

    def by_address() -> Principal | None:
        try:
            return house.access.identify({"Authorization": f"Address {secret}"}, "127.0.0.1")
        except Refusal:
            return None

    for _ in range(2):
        found = by_address()
        assert found is not None
        key = house.who(made["key"])
        assert (found.key, found.log, found.limits) == (key.key, key.log, key.limits)
        assert (found.address, key.address) == (address["id"], "")
        house.access.require(found)
        await house.again()
    assert secret not in str(house.keys.all())
    await house.keys.revoke("laptop")
    assert by_address() is None
    assert house.ended[-2:] == [made["id"], address["id"]]
    await house.again()
    assert house.of(address["id"])["revoked"] is not None


async def test_an_address_row_whose_key_is_not_there_opens_nothing(house: House) -> None:
    await house.ledger.create_key(
        label="odd",
        sha256=key_digest("ma_x"),
        client=house.ledger.clients()[0].id,
        limits='{"address_of":"k_0"}',
    )
    house.keys.refresh()
    with pytest.raises(Refusal):
        house.access.identify({"Authorization": "Address ma_x"}, "127.0.0.1")
    assert not house.opens("ma_x")
