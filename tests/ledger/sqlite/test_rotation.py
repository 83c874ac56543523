"""The signing key passes on: all logs in one commit, and what the old key signs afterwards is worth nothing."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace

import apsw
import pytest

from app.ledger.checkpoint import Signer, UnsignedCheckpoint, parse_checkpoint, verify_checkpoint
from app.ledger.errors import LedgerError, LedgerRollback, LedgerTampered
from app.ledger.merkle import Frontier, leaf_hash, root_from_leaves
from app.ledger.records import RotationDraft, decode
from app.ledger.signing_keys import SigningKeys
from app.ledger.sqlite import rotation
from app.ledger.sqlite.audit import audit
from app.ledger.sqlite.rotation import signed_by
from app.ledger.sqlite.schema import KEPT_EVERY
from app.receiver.submission import LEAVES_MAX

NEW = Signer(bytes([7]) * 32, "gw_test")
NEWER = Signer(bytes([8]) * 32, "gw_test")


@pytest.fixture
async def rotated(opening, drafts, signer):
    """Anna's log and Ben's, whose key has passed on from `signer` to NEW, in a ledger that is open."""
    ledger = await opening()
    anna, ben = [(await ledger.create_client(name)).log for name in ("Anna", "Ben")]
    await asyncio.gather(*[ledger.append(anna, drafts()) for _ in range(9)])
    await ledger.rotate(NEW)
    await asyncio.gather(*[ledger.append(anna, drafts()) for _ in range(9)])
    return ledger, anna, ben


async def leaves(ledger, log):
    found = []
    while part := await ledger.entries(log, len(found), 1024):
        found += part
    return found


async def test_every_log_holds_a_record_signed_by_both_and_is_signed_with_the_new_key(rotated, signer):
    ledger, anna, ben = rotated
    assert ledger.vkey == NEW.vkey
    for log in (anna, ben):
        bodies = await leaves(ledger, log)
        note = await ledger.checkpoint(log)
        claim = verify_checkpoint(note, NEW.verifier, log)
        assert claim.root == root_from_leaves(map(leaf_hash, bodies))
        with pytest.raises(UnsignedCheckpoint):
            verify_checkpoint(note, signer.verifier, log)
        keys = SigningKeys(log, signer.verifier)
        rotations = [record for record in map(decode, bodies) if isinstance(record.draft, RotationDraft)]
        assert len(rotations) == 1
        keys.follow(rotations[0].seq, rotations[0].draft)
        assert keys.verify(note) == claim


async def test_a_log_that_begins_later_names_the_new_key(rotated):
    ledger, _, _ = rotated
    log = (await ledger.create_client("Cleo")).log
    (genesis, *_) = await leaves(ledger, log)
    assert decode(genesis).draft.vkey == NEW.vkey
    assert (await ledger.verify()).verdict == "OK"


async def test_the_audit_follows_the_key_and_knows_the_newest_only(rotated, path, signer):
    ledger, _, _ = rotated
    report = await ledger.verify()
    assert report.verdict == "OK", report.sentence
    await ledger.close()
    assert audit(path, NEW.verifier).verdict == "OK"
    assert audit(path, signer.verifier).verdict == "UNVERIFIABLE"


async def test_with_the_old_key_alone_the_ledger_does_not_open(rotated, opening, signer):
    ledger, _, _ = rotated
    await ledger.close()
    with pytest.raises(LedgerTampered, match="signed with another key"):
        await opening()
    ledger = await opening(signer=NEW)
    await ledger.rotate(NEWER)
    assert (await ledger.verify()).verdict == "OK"
    assert (await ledger.checkpoint(ledger.clients()[0].log)) != ""
    await ledger.close()
    assert (await opening(signer=NEWER)).vkey == NEWER.vkey


async def test_an_older_copy_by_the_key_of_before_is_called_one_where_more_is_remembered(
    opening, drafts, signer, path, tmp_path
):
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    await ledger.append(log, drafts())
    await ledger.close()
    shutil.copyfile(path, tmp_path / "older")
    ledger = await opening()
    await ledger.rotate(NEW)
    await ledger.append(log, drafts())
    newest = ledger.newest()
    await ledger.close()
    shutil.copyfile(tmp_path / "older", path)
    for claims, error in ((newest, LedgerRollback), ((), LedgerTampered)):
        with pytest.raises(error, match="another key") as raised:
            await opening(signer=NEW, remembered=claims)
        assert str(raised.value).startswith("ROLLBACK: ") == bool(claims)
    report = audit(path, NEW.verifier, remembered=newest)
    assert [(found.verdict, found.log, found.seq) for found in report.findings] == [("ROLLBACK", log, 2)]
    assert "before the signing key passed on" in report.sentence
    assert audit(path, NEW.verifier).verdict == "UNVERIFIABLE"


async def test_the_key_passes_only_to_another_one_of_the_same_name(opening, signer):
    ledger = await opening()
    await ledger.create_client("Anna")
    for other in (signer, Signer(bytes(32), "another")):
        with pytest.raises(LedgerError, match="another one"):
            await ledger.rotate(other)
    assert ledger.vkey == signer.vkey
    assert ledger.totals().requests == 0
    assert [claim.size for claim in ledger.newest()] == [1]


async def test_kept_checkpoints_of_the_old_key_still_vouch_and_a_forged_one_does_not(
    opening, drafts, signer, path, rows
):
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    await asyncio.gather(*[ledger.append(log, drafts()) for _ in range(KEPT_EVERY + 50)])
    await ledger.rotate(NEW)
    await asyncio.gather(*[ledger.append(log, drafts()) for _ in range(KEPT_EVERY)])
    assert (await ledger.verify()).verdict == "OK"
    await ledger.close()
    notes = dict(rows("SELECT size, checkpoint FROM kept"))
    by_old = max(
        size for size, note in notes.items() if signer.verifier.key_id == parse_checkpoint(note)[1][0][1]
    )
    assert by_old >= KEPT_EVERY
    claim = parse_checkpoint(notes[by_old])[0]
    other = signer.sign_checkpoint(log, by_old, bytes(32))
    rows("UPDATE kept SET checkpoint = ? WHERE size = ?", other, by_old)
    assert audit(path, NEW.verifier).verdict == "TAMPERED"
    stranger = Signer(bytes(32), "gw_test").sign_checkpoint(log, by_old, claim.root)
    rows("UPDATE kept SET checkpoint = ? WHERE size = ?", stranger, by_old)
    assert audit(path, NEW.verifier).verdict == "UNVERIFIABLE"


async def test_a_stolen_old_key_signs_nothing_beyond_its_range(rotated, path, signer, rows):
    ledger, anna, _ = rotated
    await ledger.close()
    root = parse_checkpoint(rows("SELECT checkpoint FROM log WHERE name = ?", anna)[0][0])[0].root
    size = rows("SELECT size FROM log WHERE name = ?", anna)[0][0]
    rows(
        "INSERT INTO kept (log, size, checkpoint) VALUES (1, ?, ?)",
        size,
        signer.sign_checkpoint(anna, size, root),
    )
    (found,) = audit(path, NEW.verifier).findings
    assert found.verdict != "OK"
    assert "good for it" in found.sentence


@pytest.mark.parametrize("change", ["signature", "key"])
async def test_a_passing_on_that_both_did_not_sign_is_named(
    opening, path, signer, drafts, monkeypatch, change
):
    def half(old_sign):
        def passed_on(*arguments):
            draft = old_sign(*arguments)
            if change == "signature":
                return replace(draft, old_signature=draft.new_signature)
            return replace(draft, old_vkey=NEWER.vkey)

        return passed_on

    from app.ledger.sqlite import rotation

    monkeypatch.setattr(rotation, "passed_on", half(rotation.passed_on))
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    await ledger.append(log, drafts())
    await ledger.rotate(NEW)
    report = await ledger.verify()
    (found,) = report.findings
    assert (found.verdict, found.seq) == ("TAMPERED", 2)
    assert "does not rightly pass" in found.sentence


async def test_which_key_signed_last_is_told_by_the_file(rotated, path, signer, tmp_path):
    ledger, _, _ = rotated
    await ledger.close()
    assert signed_by(path, signer, NEW) is NEW
    assert signed_by(path, signer, NEWER) is signer
    assert signed_by(tmp_path / "none.db", signer, NEW) is signer
    (tmp_path / "odd.db").write_bytes(b"no database at all" * 100)
    assert signed_by(tmp_path / "odd.db", signer, NEW) is signer
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE log SET checkpoint = ''")
    connection.close()
    assert signed_by(path, signer, NEW) is signer


@pytest.mark.parametrize("part", [256, 300, 1024])
async def test_whoever_reads_a_log_in_parts_knows_the_key_of_each(opening, path, drafts, signer, part):
    assert rotation.SIGNED_EVERY <= part <= LEAVES_MAX
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    for new, count in ((NEW, 700), (NEWER, 300), (None, 20)):
        await asyncio.gather(*[ledger.append(log, drafts()) for _ in range(count)])
        if new is not None:
            await ledger.rotate(new)
    size = ledger.totals(log).requests + 3
    keys, known, frontier = SigningKeys(log, signer.verifier), 0, Frontier()
    while known < size:
        upto = min(known + part, size)
        note = await ledger.checkpoint_for(log, known, upto)
        reached = parse_checkpoint(note)[0].size
        assert known < reached <= upto
        bodies = []
        while len(bodies) < reached - known:
            bodies += await ledger.entries(log, known + len(bodies), reached - known - len(bodies))
        for record in map(decode, bodies):
            frontier.append(leaf_hash(bodies[record.seq - known]))
            if isinstance(record.draft, RotationDraft):
                keys.follow(record.seq, record.draft)
        assert keys.verify(note).root == frontier.root()
        known = reached
    assert audit(path, NEWER.verifier).verdict == "OK"
