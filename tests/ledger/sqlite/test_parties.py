"""Clients and keys: the tables, and the records that go with them."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import pytest

from app.ledger.checkpoint import VerifierKey, verify_checkpoint
from app.ledger.errors import LedgerError
from app.ledger.records import decode

HASH = sha256(b"mg_secret").digest()


async def test_a_client_begins_a_log_with_a_genesis_record(ledger, signer, clock):
    client = await ledger.create_client("  Anna  ")
    assert (client.name, client.created_us) == ("Anna", clock.us)
    assert ledger.clients() == (client,)
    (body,) = await ledger.entries(client.log, 0, 9)
    genesis = decode(body).draft
    assert (genesis.kind, genesis.gateway, genesis.client) == ("genesis", "gw_test", "Anna")
    claim = verify_checkpoint(
        await ledger.checkpoint(client.log), VerifierKey.parse(genesis.vkey), client.log
    )
    assert (claim.size, genesis.vkey) == (1, signer.vkey)


async def test_a_name_is_taken_once_even_within_one_batch(ledger):
    outcomes = await asyncio.gather(
        *[ledger.create_client(name) for name in ("Anna", "Ben", "Anna")], return_exceptions=True
    )
    assert isinstance(outcomes[2], LedgerError)
    with pytest.raises(LedgerError, match="choose another name"):
        await ledger.create_client("Ben")
    assert [client.name for client in ledger.clients()] == ["Anna", "Ben"]


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * 257, "\ud800"])
async def test_names_that_are_no_names_are_refused(ledger, name):
    with pytest.raises(LedgerError, match="printable"):
        await ledger.create_client(name)
    assert ledger.clients() == ()


async def test_a_key_is_recorded_when_it_comes_and_when_it_goes(ledger, clock):
    client = await ledger.create_client("Anna")
    key = await ledger.create_key(label="laptop", sha256=HASH, client=client.id)
    assert (key.label, key.sha256, key.role, key.client, key.revoked_us) == (
        "laptop",
        HASH,
        "client",
        client.id,
        None,
    )
    clock.us += 5
    revoked = await ledger.revoke_key(key.id)
    assert (revoked.id, revoked.revoked_us) == (key.id, clock.us)
    assert ledger.keys() == (revoked,)
    drafts = [decode(body).draft for body in await ledger.entries(client.log, 1, 9)]
    assert [(draft.kind, draft.action, draft.key, draft.key_sha256) for draft in drafts] == [
        ("key", "created", key.id, HASH.hex()),
        ("key", "revoked", key.id, HASH.hex()),
    ]


async def test_revoking_again_changes_nothing(ledger, clock):
    client = await ledger.create_client("Anna")
    key = await ledger.create_key(label="laptop", sha256=HASH, client=client.id)
    first = await ledger.revoke_key(key.id)
    clock.us += 5
    assert await ledger.revoke_key(key.id) == first
    assert len(await ledger.entries(client.log, 0, 9)) == 3


async def test_an_operators_key_is_recorded_in_the_log_of_the_first_client(ledger):
    first, _ = await ledger.create_client("Anna"), await ledger.create_client("Ben")
    key = await ledger.create_key(label="me", sha256=HASH, client=None, role="operator")
    assert (await ledger.revoke_key(key.id)).revoked_us is not None
    drafts = [decode(body).draft for body in await ledger.entries(first.log, 1, 9)]
    assert [(draft.role, draft.action, draft.key) for draft in drafts] == [
        ("operator", "created", key.id),
        ("operator", "revoked", key.id),
    ]


async def test_an_operators_key_waits_for_a_first_client(ledger):
    with pytest.raises(LedgerError, match="no client yet"):
        await ledger.create_key(label="me", sha256=HASH, client=None, role="operator")
    assert ledger.keys() == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"client": "c_nobody"},
        {"client": None},
        {"role": "operator"},
        {"role": "king"},
        {"sha256": b"short"},
        {"sha256": "x" * 32},
        {"label": "\t"},
    ],
    ids=str,
)
async def test_a_key_that_cannot_be_is_refused_and_nothing_of_it_stays(ledger, wrong):
    client = await ledger.create_client("Anna")
    arguments = {"label": "laptop", "sha256": HASH, "client": client.id, "role": "client", **wrong}
    with pytest.raises(LedgerError):
        await ledger.create_key(**arguments)
    assert ledger.keys() == ()
    assert len(await ledger.entries(client.log, 0, 9)) == 1


async def test_the_same_key_is_created_once(ledger):
    client = await ledger.create_client("Anna")
    await ledger.create_key(label="one", sha256=HASH, client=client.id)
    with pytest.raises(LedgerError, match="already"):
        await ledger.create_key(label="two", sha256=HASH, client=client.id)


async def test_revoking_an_unknown_key_is_an_error(ledger):
    with pytest.raises(LedgerError, match="no key"):
        await ledger.revoke_key("k_nobody")


async def test_parties_are_there_again_after_reopening(opening):
    ledger = await opening()
    client = await ledger.create_client("Anna")
    for number in range(3):
        await ledger.create_key(
            label=f"key {number}", sha256=sha256(bytes([number])).digest(), client=client.id
        )
    await ledger.revoke_key(ledger.keys()[1].id)
    before = ledger.clients(), {key.id: key for key in ledger.keys()}
    await ledger.close()
    ledger = await opening()
    assert (ledger.clients(), {key.id: key for key in ledger.keys()}) == before


async def test_another_secret_for_a_key_is_one_record_with_its_limits(ledger, clock):
    client = await ledger.create_client("Anna")
    key = await ledger.create_key(label="laptop", sha256=HASH, client=client.id, limits='{"concurrent":2}')
    other, limits = sha256(b"mg_other").digest(), '{"concurrent":2,"former":[]}'
    rotated = await ledger.rotate_secret(key.id, other, limits)
    assert (rotated.id, rotated.label, rotated.sha256, rotated.limits) == (key.id, "laptop", other, limits)
    assert ledger.keys() == (rotated,)
    (body,) = await ledger.entries(client.log, 2, 9)
    draft = decode(body).draft
    assert (draft.action, draft.key, draft.key_sha256, draft.limits) == (
        "rotated",
        key.id,
        other.hex(),
        limits,
    )
    assert (await ledger.verify()).verdict == "OK"


async def test_a_rotated_key_is_after_a_restart_what_its_records_say(ledger, opening):
    client = await ledger.create_client("Anna")
    key = await ledger.create_key(label="laptop", sha256=HASH, client=client.id)
    rotated = await ledger.rotate_secret(key.id, sha256(b"mg_other").digest(), "{}")
    await ledger.close()
    again = await opening()
    assert again.keys() == (rotated,)
    assert (await again.verify()).verdict == "OK"


async def test_no_secret_is_given_to_a_revoked_key_or_twice(ledger):
    client = await ledger.create_client("Anna")
    one = await ledger.create_key(label="one", sha256=HASH, client=client.id)
    other = await ledger.create_key(label="two", sha256=sha256(b"two").digest(), client=client.id)
    with pytest.raises(LedgerError, match="already"):
        await ledger.rotate_secret(one.id, other.sha256, "{}")
    with pytest.raises(LedgerError, match="32 bytes"):
        await ledger.rotate_secret(one.id, b"short", "{}")
    await ledger.revoke_key(one.id)
    with pytest.raises(LedgerError, match="revoked"):
        await ledger.rotate_secret(one.id, sha256(b"three").digest(), "{}")
    assert len(await ledger.entries(client.log, 0, 9)) == 4
