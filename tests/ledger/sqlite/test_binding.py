"""Keys are what the signed records say: what somebody writes into the tables opens nothing, and the audit names it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from app.ledger.canonical import canonical
from app.ledger.drafts import KeyDraft
from app.ledger.errors import LedgerTampered
from app.ledger.ids import id_bytes
from app.ledger.merkle import leaf_hash
from app.ledger.records import encode, searchable
from app.ledger.sqlite import membership
from app.ledger.sqlite.audit import audit
from app.ledger.sqlite.schema import SPAN_RECORDS

MINE, THEIRS, OPERATORS, OLD = (bytes([number]) * 32 for number in range(1, 5))
ANNA = "(SELECT id FROM client WHERE name = 'Anna')"


@pytest.fixture
async def keys(opening, drafts):
    """Anna's key, an operator's, a revoked one of Ben's and one of his, in a ledger that is closed."""
    ledger = await opening()
    anna, ben = [await ledger.create_client(name) for name in ("Anna", "Ben")]
    await asyncio.gather(*[ledger.append(anna.log, drafts()) for _ in range(300)])
    await ledger.create_key(label="laptop", sha256=MINE, client=anna.id, limits='{"models":["a:b"]}')
    await ledger.create_key(label="me", sha256=OPERATORS, client=None, role="operator")
    old = await ledger.create_key(label="old", sha256=OLD, client=ben.id)
    await ledger.create_key(label="phone", sha256=THEIRS, client=ben.id)
    await ledger.revoke_key(old.id)
    await asyncio.gather(*[ledger.append(anna.log, drafts()) for _ in range(SPAN_RECORDS)])
    await ledger.close()
    return {key.label: key for key in ledger.keys()}


def insert_key(rows, role, client):
    rows(
        "INSERT INTO key (id, sha256, label, role, client, created, limits)"
        f" VALUES ('k_eve', ?, 'eve', ?, {client}, 5, '{{}}')",
        b"e" * 32,
        role,
    )


@pytest.mark.parametrize(("role", "client"), [("client", ANNA), ("operator", "NULL")])
async def test_a_key_inserted_by_hand_opens_nothing_and_is_named(
    keys, opening, path, signer, rows, caplog, role, client
):
    insert_key(rows, role, client)
    (found,) = audit(path, signer.verifier).findings
    assert found.verdict == "TAMPERED"
    assert "k_eve (eve): it opens nothing" in found.sentence
    ledger = await opening()
    assert {key.label: key for key in ledger.keys()} == keys
    assert "k_eve" in caplog.text


@pytest.mark.parametrize("place", ["after the end", "in the place of another"])
async def test_a_record_inserted_with_it_is_not_believed_either(keys, opening, path, signer, rows, place):
    insert_key(rows, "operator", "NULL")
    (k, name, size, cum) = rows("SELECT k, name, size, cum FROM log WHERE k = 1")[0]
    n = rows("SELECT max(n) FROM record")[0][0] + 1
    seq = size if place == "after the end" else 17
    record_id = "019a9c3e-7b1c-7f00-8a12-0123456789ab"
    draft = KeyDraft(record_id, 5, "k_eve", "eve", "operator", "created", (b"e" * 32).hex(), "{}")
    body = encode(draft, name, seq, cum)
    rows("DELETE FROM record WHERE log = ? AND seq = ?", k, seq)
    values = (n, k, seq, 5, id_bytes(record_id), searchable(draft), leaf_hash(body), body)
    rows(
        "INSERT INTO record (n, log, seq, t0, id, find, leaf, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *values
    )
    assert audit(path, signer.verifier).verdict == "TAMPERED"
    with pytest.raises(LedgerTampered):
        await opening()


@pytest.mark.parametrize(
    ("statement", "label"),
    [
        ("UPDATE key SET revoked = NULL WHERE label = 'old'", "old"),
        ("UPDATE key SET limits = '{}' WHERE label = 'laptop'", "laptop"),
        ("UPDATE key SET role = 'operator', client = NULL WHERE label = 'laptop'", "laptop"),
        (f"UPDATE key SET client = {ANNA} WHERE label = 'phone'", "phone"),
        ("UPDATE key SET sha256 = zeroblob(32) WHERE label = 'phone'", "phone"),
        ("UPDATE key SET label = 'mine' WHERE label = 'me'", "mine"),
        ("UPDATE key SET id = 'k_0' WHERE label = 'laptop'", "laptop"),
        ("DELETE FROM key WHERE label = 'phone'", "phone"),
    ],
)
async def test_a_changed_row_changes_nothing_and_is_named(
    keys, opening, path, signer, rows, caplog, statement, label
):
    rows(statement)
    findings = audit(path, signer.verifier).findings
    assert findings
    for found in findings:
        assert found.verdict == "TAMPERED"
        assert f"({label})" in found.sentence
    ledger = await opening()
    assert {key.label: key for key in ledger.keys()} == keys
    assert label in caplog.text


async def test_a_record_of_a_key_that_was_changed_keeps_the_ledger_shut(keys, opening, path, signer, rows):
    seq, body = rows("SELECT seq, body FROM record WHERE find LIKE '%laptop%' AND find NOT LIKE '%usage'")[0]
    lie = canonical({**json.loads(body), "key_sha256": "ee" * 32})
    rows("UPDATE record SET body = ?, leaf = ? WHERE log = 1 AND seq = ?", lie, leaf_hash(lie), seq)
    assert audit(path, signer.verifier).verdict == "TAMPERED"
    with pytest.raises(LedgerTampered, match=f"Record {seq} "):
        await opening()


async def test_keys_stay_with_the_log_that_tells_of_them_though_clients_were_exchanged(
    keys, opening, path, signer, rows
):
    (anna, ben) = [row[0] for row in rows("SELECT log FROM client ORDER BY name")]
    for log, name in (("x", "Anna"), (anna, "Ben"), (ben, "Anna")):
        rows("UPDATE client SET log = ? WHERE name = ?", log, name)
    assert audit(path, signer.verifier).verdict == "TAMPERED"
    ledger = await opening()
    owners = {client.id: client for client in ledger.clients()}
    logs = {key.label: owners[key.client].log for key in ledger.keys() if key.client}
    assert logs == {"laptop": anna, "old": ben, "phone": ben}


async def test_a_client_under_another_name_is_named(keys, path, signer, rows):
    rows("UPDATE client SET name = 'Eve' WHERE name = 'Anna'")
    (found,) = audit(path, signer.verifier).findings
    assert (found.verdict, "recorded as Anna" in found.sentence) == ("TAMPERED", True)


async def test_keys_whose_limits_were_not_recorded_in_their_time_are_in_order(
    opening, path, signer, monkeypatch, caplog
):
    monkeypatch.setattr(membership, "KeyDraft", lambda *said: KeyDraft(*said[:7]))
    ledger = await opening()
    client = await ledger.create_client("Anna")
    key = await ledger.create_key(label="laptop", sha256=MINE, client=client.id, limits='{"models":["a:b"]}')
    await ledger.revoke_key(key.id)
    await ledger.close()
    assert audit(path, signer.verifier).verdict == "OK"
    ledger = await opening()
    assert ledger.keys() == (replace(key, revoked_us=ledger.keys()[0].revoked_us),)
    assert caplog.text == ""


async def test_keys_are_found_by_an_index_and_not_by_reading_everything(keys, rows):
    plan = rows(
        "EXPLAIN QUERY PLAN SELECT seq, body FROM record WHERE log = 1 AND substr(find, -4) = char(10) || 'key'"
        " ORDER BY seq"
    )
    assert "USING INDEX record_key" in plan[0][-1]
