"""Whoever changes the file is found out, and the first bad record is named."""

from __future__ import annotations

import asyncio
import json

import pytest

from app.ledger.canonical import canonical
from app.ledger.checkpoint import Checkpoint, Signer, verify_checkpoint
from app.ledger.errors import LedgerClosed
from app.ledger.findings import Verdict
from app.ledger.merkle import Frontier, leaf_hash
from app.ledger.records import (
    HeartbeatDraft,
    LaborDraft,
    ModelDraft,
    TariffDraft,
    UptimeDraft,
    decode,
    searchable,
)
from app.ledger.sqlite import audit as audit_module
from app.ledger.sqlite.audit import audit
from app.ledger.sqlite.schema import KEPT_EVERY, SPAN_RECORDS

COUNT = 700
STRANGER = Signer(bytes(32), "gw_test")


@pytest.fixture
async def anna(ledger, drafts):
    """The log of Anna, of COUNT records in all (seq 0 to COUNT - 1), interleaved with a smaller one of Ben's."""
    anna, ben = [(await ledger.create_client(name)).log for name in ("Anna", "Ben")]
    for at in range(0, COUNT - 1, 100):
        part = [ledger.append(anna, drafts()) for _ in range(min(100, COUNT - 1 - at))]
        await asyncio.gather(*part, ledger.append(ben, drafts()))
    return anna


@pytest.fixture
def k(rows, anna):
    """Anna's log's number."""
    return rows("SELECT k FROM log WHERE name = ?", anna)[0][0]


def body_of(rows, k, seq):
    return rows("SELECT body FROM record WHERE log = ? AND seq = ?", k, seq)[0][0]


def edited(body, **changes):
    return canonical({**json.loads(body), **changes})


async def finding(ledger, log):
    report = await ledger.verify()
    (found,) = [found for found in report.findings if found.log == log]
    assert len(report.findings) == 1, report.findings
    assert report.sentence == found.sentence
    assert report.verdict == found.verdict != "OK"
    return found


async def test_an_untouched_ledger_is_in_order(ledger, anna):
    report = await ledger.verify()
    assert (report.verdict, report.findings, report.logs) == (Verdict.OK, (), 2)
    assert report.records == COUNT + 8
    assert report.recomputed == report.counters == ledger.totals()
    assert str(report.records) in report.sentence


async def test_a_ledger_begun_at_the_epoch_itself_is_in_order(opening, clock, drafts, rows):
    """As on a machine whose clock has lost its battery."""
    clock.us = 0
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    await asyncio.gather(*[ledger.append(log, drafts(t0=0)) for _ in range(SPAN_RECORDS)])
    assert (await ledger.verify()).verdict == "OK"
    assert rows("SELECT t0_min, t0_max FROM span") == [(0, 0)]


async def test_an_empty_ledger_is_in_order(ledger):
    report = await ledger.verify()
    assert (report.verdict, report.records, report.logs) == ("OK", 0, 0)


async def test_every_kind_of_record_is_in_order(ledger, anna, drafts):
    draft = drafts()
    for odd in (
        drafts(model='ä\\"\n', req="\x7f", e_src="plug_1", t0=9 * 10**15, cost=-(10**18)),
        draft,
        UptimeDraft(ledger.new_id(), 1, 2, 1, 70, "model", "t_1", 5),
        LaborDraft(ledger.new_id(), 1, 2, 1, "new fan", 7),
        TariffDraft(ledger.new_id(), 1, "t_1", "EUR", "x" * 5000, "dedicated", 1, 2, 3),
        ModelDraft(ledger.new_id(), 1, "k_1", "m:1", None, "https://hf.co/m.gguf", "ab" * 32, "updated", ""),
        HeartbeatDraft(ledger.new_id(), 1),
    ):
        await ledger.append(anna, odd)
    report = await ledger.verify()
    assert report.verdict == "OK", report.sentence


async def test_the_audit_leaves_what_comes_meanwhile_to_the_next_one(ledger, anna, drafts):
    running = [ledger.append(anna, drafts()) for _ in range(3000)]
    report = await ledger.verify()
    assert report.verdict == "OK", report.sentence
    await asyncio.gather(*running)
    assert (await ledger.verify()).records == COUNT + 8 + 3000


async def test_progress_is_told_on_the_loop(ledger, anna, monkeypatch):
    monkeypatch.setattr(audit_module, "PROGRESS_EVERY", 100)
    told = []
    await ledger.verify(lambda done, total: told.append((done, total)))
    await asyncio.sleep(0)
    assert told[-1] == (COUNT + 8, COUNT + 8)
    assert told == sorted(told)


# One record is changed.


@pytest.mark.parametrize("seq", [0, 1, 255, 256, 511, 640, COUNT - 1])
async def test_an_edited_body_is_found_and_named(ledger, anna, rows, k, seq):
    change = {"client": "Eve"} if seq == 0 else {"tariff": "t_2"}
    rows(
        "UPDATE record SET body = ? WHERE log = ? AND seq = ?",
        edited(body_of(rows, k, seq), **change),
        k,
        seq,
    )
    found = await finding(ledger, anna)
    assert (found.verdict, found.seq) == ("TAMPERED", seq)


@pytest.mark.parametrize("seq", [1, 300, 690])
async def test_every_bit_of_a_record_counts(ledger, anna, rows, k, seq):
    body = body_of(rows, k, seq)
    for at in range(0, len(body), 37):
        changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        rows("UPDATE record SET body = ? WHERE log = ? AND seq = ?", changed, k, seq)
        assert (await finding(ledger, anna)).seq == seq


@pytest.mark.parametrize("seq", [1, 256, 690])
async def test_a_body_edited_together_with_its_stored_hash_is_found_within_its_tile(
    ledger, anna, rows, k, seq
):
    body = edited(body_of(rows, k, seq), tariff="t_2")
    rows("UPDATE record SET body = ?, leaf = ? WHERE log = ? AND seq = ?", body, leaf_hash(body), k, seq)
    found = await finding(ledger, anna)
    assert found.verdict == "TAMPERED"
    assert found.seq == max(1, seq // 256 * 256)  # the first checkpoint, of one record, vouches for record 0
    assert str(found.seq) in found.sentence


async def test_a_history_rewritten_from_the_first_lie_on_is_found_for_it_cannot_be_signed(
    ledger, anna, rows, k, signer
):
    lie, frontier, cum = 300, Frontier(), 0
    rows("DELETE FROM tile WHERE log = ?", k)
    for seq in range(COUNT):
        body = body_of(rows, k, seq)
        record = decode(body)
        cost = 1 if seq == lie else record.draft.cost
        cum += cost
        if seq >= lie:
            body = edited(body, cost=str(cost), cum=str(cum))
        for level, index, node in frontier.append(leaf_hash(body)):
            rows("INSERT INTO tile VALUES (?, ?, ?, ?)", k, level, index, node)
        rows("UPDATE record SET body = ?, leaf = ? WHERE log = ? AND seq = ?", body, leaf_hash(body), k, seq)
    rows("UPDATE log SET cum = ?, frontier = ? WHERE k = ?", cum, frontier.to_bytes(), k)
    found = await finding(ledger, anna)
    assert found.verdict == "TAMPERED"
    assert "not those that were signed" in found.sentence
    note = STRANGER.sign_checkpoint(anna, COUNT, frontier.root())
    rows("UPDATE log SET checkpoint = ? WHERE k = ?", note, k)
    again = await finding(ledger, anna)
    assert again.verdict == "TAMPERED", "the running ledger remembers what it signed itself"


@pytest.mark.parametrize("column", ["t0 = t0 + 1", "id = zeroblob(16)", "find = 'x'"])
@pytest.mark.parametrize("seq", [0, 5])
async def test_a_record_listed_as_something_else_is_found(ledger, anna, rows, k, column, seq):
    rows(f"UPDATE record SET {column} WHERE log = ? AND seq = ?", k, seq)
    found = await finding(ledger, anna)
    assert (found.verdict, found.seq) == ("TAMPERED", seq)
    assert "list" in found.sentence


async def test_a_changed_leaf_hash_is_found(ledger, anna, rows, k):
    rows("UPDATE record SET leaf = zeroblob(32) WHERE log = ? AND seq = 77", k)
    assert (await finding(ledger, anna)).seq == 77


# Records go, come, or change places.


@pytest.mark.parametrize("seq", [0, 1, 256, 500])
async def test_a_dropped_record_is_missed(ledger, anna, rows, k, seq):
    rows("DELETE FROM record WHERE log = ? AND seq = ?", k, seq)
    found = await finding(ledger, anna)
    assert (found.verdict, found.seq) == ("TAMPERED", seq)


async def test_a_dropped_record_is_missed_though_the_others_close_ranks(ledger, anna, rows, k):
    rows("DELETE FROM record WHERE log = ? AND seq = 500", k)
    for seq in range(501, COUNT):
        rows("UPDATE record SET seq = ? WHERE log = ? AND seq = ?", seq - 1, k, seq)
    found = await finding(ledger, anna)
    assert (found.verdict, found.seq) == ("TAMPERED", 500)


@pytest.mark.parametrize("gone", [1, 60, 300, COUNT])
async def test_records_gone_from_the_end_are_a_rollback(ledger, anna, rows, k, gone):
    rows("DELETE FROM record WHERE log = ? AND seq >= ?", k, COUNT - gone)
    found = await finding(ledger, anna)
    assert (found.verdict, found.seq) == ("ROLLBACK", COUNT - gone)


async def test_a_whole_log_that_is_gone_is_a_rollback(ledger, anna, rows, k):
    for table in ("record", "tile", "kept"):
        rows(f"DELETE FROM {table} WHERE log = ?", k)
    rows("DELETE FROM log WHERE k = ?", k)
    found = await finding(ledger, anna)
    assert (found.verdict, found.seq) == ("ROLLBACK", 0)
    assert "Anna" in found.sentence


async def test_records_of_no_log_are_found(ledger, anna, rows, k):
    rows("DELETE FROM log WHERE k = ?", k)
    report = await ledger.verify()
    assert report.verdict == "TAMPERED"
    assert "belongs to no log" in report.sentence


async def test_swapped_bodies_are_found(ledger, anna, rows, k):
    one, two = body_of(rows, k, 40), body_of(rows, k, 50)
    for seq, body in ((40, two), (50, one)):
        rows("UPDATE record SET body = ?, leaf = ? WHERE log = ? AND seq = ?", body, leaf_hash(body), k, seq)
    assert (await finding(ledger, anna)).seq == 40


async def test_rows_that_changed_places_are_found(ledger, anna, rows, k):
    (one,), (two,) = rows("SELECT n FROM record WHERE log = ? AND seq IN (40, 50) ORDER BY n", k)
    for old, new in ((one, 10**6), (two, one), (10**6, two)):
        rows("UPDATE record SET n = ? WHERE n = ?", new, old)
    assert (await finding(ledger, anna)).seq == 40


def forge(rows, k, seq, n, **changes):
    """Put a record that looks right into the log after its last one."""
    last = body_of(rows, k, seq - 1)
    body = edited(last, seq=seq, cum=str(int(json.loads(last)["cum"]) + 5), cost="5", **changes)
    draft = decode(body).draft
    rows(
        "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        n, k, seq, draft.t0, bytes.fromhex(draft.id.replace("-", "")), searchable(draft), leaf_hash(body), body,
    )  # fmt: skip


async def test_an_invented_record_at_the_end_was_never_signed(ledger, anna, rows, k):
    forge(rows, k, COUNT, 10**6, id=ledger.new_id())
    found = await finding(ledger, anna)
    assert (found.verdict, found.seq) == ("TAMPERED", COUNT)
    assert "never signed" in found.sentence


async def test_an_invented_record_between_others_is_found(ledger, anna, rows, k):
    rows("UPDATE record SET seq = 9999 WHERE log = ? AND seq = 600", k)
    forge(rows, k, 600, 10**6, id=ledger.new_id())
    assert (await finding(ledger, anna)).seq == 600


async def test_a_record_of_another_log_is_found(ledger, anna, rows, k):
    (other,) = rows("SELECT body FROM record WHERE log <> ? AND seq = 3", k)
    rows("UPDATE record SET body = ?, leaf = ? WHERE log = ? AND seq = 3", other[0], leaf_hash(other[0]), k)
    assert (await finding(ledger, anna)).seq == 3


# Checkpoints, tree hashes, counters.


async def test_a_checkpoint_of_another_log_is_found(ledger, anna, rows, k):
    rows("UPDATE log SET checkpoint = (SELECT checkpoint FROM log WHERE k <> ?) WHERE k = ?", k, k)
    found = await finding(ledger, anna)
    assert found.verdict == "TAMPERED"
    assert "not of" in found.sentence


async def test_an_older_checkpoint_is_found(ledger, anna, rows, k, drafts):
    older = await ledger.checkpoint(anna)
    await ledger.append(anna, drafts())
    rows("UPDATE log SET checkpoint = ? WHERE k = ?", older, k)
    found = await finding(ledger, anna)
    assert (found.verdict, found.seq) == ("TAMPERED", COUNT)


@pytest.mark.parametrize("note", ["", "nonsense", "\n\n", "a\n1\nb\n\n— c d\n"])
async def test_a_broken_checkpoint_is_never_in_order(ledger, anna, rows, k, note):
    rows("UPDATE log SET checkpoint = ? WHERE k = ?", note, k)
    assert (await finding(ledger, anna)).verdict == "TAMPERED"


async def test_a_missing_or_foreign_signature_is_never_in_order(ledger, anna, rows, k, signer):
    claim = verify_checkpoint(await ledger.checkpoint(anna), signer.verifier)
    rows("UPDATE log SET checkpoint = ? WHERE k = ?", STRANGER.sign_checkpoint(*_parts(claim)), k)
    assert (await finding(ledger, anna)).verdict == "UNVERIFIABLE"


def _parts(claim):
    return claim.origin, claim.size, claim.root


@pytest.mark.parametrize("statement", ["UPDATE tile SET hash = zeroblob(32)", "DELETE FROM tile"])
async def test_a_changed_or_missing_tree_hash_is_found(ledger, anna, rows, k, statement):
    rows(f"{statement} WHERE log = ? AND i = 1", k)
    found = await finding(ledger, anna)
    assert (found.verdict, found.seq) == ("TAMPERED", 256)


@pytest.mark.parametrize("column", ["cum", "requests", "tok_in", "tok_out", "dur_us", "e_uj"])
async def test_changed_counters_are_found(ledger, anna, rows, k, column):
    rows(f"UPDATE log SET {column} = {column} + 1 WHERE k = ?", k)
    found = await finding(ledger, anna)
    assert found.verdict == "TAMPERED"
    assert "counters" in found.sentence
    report = await ledger.verify()
    assert report.recomputed == ledger.totals() != report.counters


async def test_a_changed_frontier_or_size_is_found(ledger, anna, rows, k):
    rows("UPDATE log SET frontier = ? WHERE k = ?", Frontier(1, [bytes(32)]).to_bytes(), k)
    report = await ledger.verify()
    assert report.verdict == "TAMPERED"
    rows("UPDATE log SET frontier = zeroblob(9) WHERE k = ?", k)
    assert (await ledger.verify()).verdict == "TAMPERED"


async def test_kept_checkpoints_vouch_for_what_they_saw(ledger, anna, rows, k, drafts, signer):
    await asyncio.gather(*[ledger.append(anna, drafts()) for _ in range(KEPT_EVERY)])
    (first, _), (second, note) = rows("SELECT size, checkpoint FROM kept WHERE log = ? ORDER BY size", k)
    assert first == 1
    assert second >= KEPT_EVERY
    assert verify_checkpoint(note, signer.verifier, anna).size == second
    assert (await ledger.verify()).verdict == "OK"

    forged = signer.sign_checkpoint(anna, second, bytes(32))
    rows("UPDATE kept SET checkpoint = ? WHERE log = ? AND size = ?", forged, k, second)
    assert "not those that were signed" in (await finding(ledger, anna)).sentence
    rows(
        "UPDATE kept SET checkpoint = ? WHERE log = ? AND size = ?",
        STRANGER.sign_checkpoint(anna, second, bytes(32)),
        k,
        second,
    )
    assert (await finding(ledger, anna)).verdict == "UNVERIFIABLE"
    rows("UPDATE kept SET checkpoint = ? WHERE log = ? AND size = ?", note, k, 1)
    assert (await finding(ledger, anna)).verdict in ("TAMPERED", "UNVERIFIABLE")


async def test_a_newest_checkpoint_older_than_a_kept_one_is_a_rollback(ledger, anna, rows, k, drafts, signer):
    (count,) = rows("SELECT size FROM log WHERE k = ?", k)[0]
    frontier = rows("SELECT frontier FROM log WHERE k = ?", k)[0][0]
    note, counters = (
        await ledger.checkpoint(anna),
        rows("SELECT cum, requests, tok_in, tok_out, dur_us, e_uj FROM log WHERE k = ?", k)[0],
    )
    await asyncio.gather(*[ledger.append(anna, drafts()) for _ in range(KEPT_EVERY)])
    await ledger.append(anna, drafts())
    rows("DELETE FROM record WHERE log = ? AND seq >= ?", k, count)
    rows("DELETE FROM tile WHERE log = ? AND (i + 1) * 256 > ?", k, count)
    rows(
        "UPDATE log SET size = ?, frontier = ?, checkpoint = ?, cum = ?, requests = ?, tok_in = ?, tok_out = ?,"
        " dur_us = ?, e_uj = ? WHERE k = ?",
        count, frontier, note, *counters, k,
    )  # fmt: skip
    found = await finding(ledger, anna)
    assert (found.verdict, found.seq) == ("ROLLBACK", count)


async def test_changed_times_that_would_hide_records_from_a_period_are_found(ledger, anna, drafts, rows):
    await asyncio.gather(*[ledger.append(anna, drafts()) for _ in range(SPAN_RECORDS)])
    rows("UPDATE span SET t0_max = t0_max - 1")
    report = await ledger.verify()
    assert (report.verdict, report.findings[0].log) == ("TAMPERED", "")


async def test_two_bad_logs_are_two_findings(ledger, anna, rows, k):
    rows("DELETE FROM record WHERE seq = 2")
    report = await ledger.verify()
    assert [found.seq for found in report.findings] == [2, 2]
    assert "2 findings" in report.sentence


# Around the audit.


async def test_a_closed_ledgers_file_is_audited_with_the_public_key_alone(ledger, anna, path, signer):
    await ledger.close()
    assert audit(path, signer.verifier).verdict == "OK"
    assert audit(path, STRANGER.verifier).verdict == "UNVERIFIABLE"


async def test_closing_stops_a_running_audit(ledger, anna, drafts, monkeypatch):
    monkeypatch.setattr(audit_module, "PROGRESS_EVERY", 1)
    await asyncio.gather(*[ledger.append(anna, drafts()) for _ in range(5000)])
    begun = asyncio.Event()
    running = asyncio.ensure_future(ledger.verify(lambda *_: begun.set()))
    await begun.wait()
    await ledger.close()
    with pytest.raises(LedgerClosed):
        await running


@pytest.mark.parametrize("content", [None, b"", b"x" * 5000])
def test_a_file_that_is_no_ledger_is_unverifiable_and_lost_where_one_is_remembered(tmp_path, signer, content):
    path = tmp_path / "ledger.db"
    if content is not None:
        path.write_bytes(content)
    report = audit(path, signer.verifier)
    assert (report.verdict, report.records) == ("UNVERIFIABLE", 0)
    report = audit(path, signer.verifier, remembered=[Checkpoint("gw_test/c_1", 5, bytes(32))])
    assert (report.verdict, report.findings[-1].seq) == ("ROLLBACK", 0)
    assert "gw_test/c_1" in report.sentence


async def test_a_damaged_page_is_unverifiable_and_not_a_crash(ledger, anna, path, signer, rows):
    await ledger.close()
    (page,) = rows("SELECT pageno FROM dbstat WHERE name = 'record' AND pagetype = 'leaf' LIMIT 1 OFFSET 20")[
        0
    ]
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(data)
    report = audit(path, signer.verifier)
    assert "UNVERIFIABLE" in [finding.verdict for finding in report.findings]
    assert "damaged" in report.findings[0].sentence
    bad = [found.seq for found in report.findings if found.log == anna]
    assert 0 < bad[0] < COUNT


async def test_an_audit_that_is_stopped_while_the_indices_are_looked_at_calls_nothing_in_order(
    ledger, log, drafts, path, signer
):
    await ledger.append(log, drafts())
    told = iter([False])
    with pytest.raises(LedgerClosed):
        audit(path, signer.verifier, stopped=lambda: next(told, True))
