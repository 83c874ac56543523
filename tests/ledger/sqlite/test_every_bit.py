"""Every bit of 64 records and of their 64 checkpoints counts: whichever flips, the audit names the right record.

The flips are spread over many equal logs in one file, since an audit finds one thing in each. `make test` tries some of
them, evenly spread; `make soak` tries them all (some 250,000 bits of records in eight minutes, and 80,000 of
checkpoints in ten seconds).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from app.ledger.checkpoint import verify_checkpoint
from app.ledger.errors import CheckpointError
from app.ledger.records import (
    AdjustDraft,
    HeartbeatDraft,
    LaborDraft,
    ModelDraft,
    TariffDraft,
    UptimeDraft,
    decode,
)
from app.ledger.sqlite.audit import audit
from app.ledger.sqlite.store import Ledger
from tests.ledger.sqlite.conftest import SIGNER, Drafts

pytestmark = pytest.mark.soak
RECORDS, LOGS = 64, 96
ALL = "SOAK" in os.environ
SOME = 960
"""Flips of each kind in `make test`: ten audits of a flip in each log."""


def others(ledger: Ledger) -> list[object]:
    new = ledger.new_id
    return [
        UptimeDraft(new(), 1, 2, 1, 70, "model", "t_1", 5),
        LaborDraft(new(), 1, 2, 1, "new fan", 7),
        AdjustDraft(new(), 1, None, "agreed by mail", -3),
        TariffDraft(new(), 1, "t_1", "EUR", '[[null,null,"300000000000"]]', "marginal", 1, 2, 3),
        ModelDraft(new(), 1, "k_1", "m:ä", None, "https://hf.co/m.gguf", "ab" * 32, "updated", ""),
        HeartbeatDraft(new(), 1),
    ]


@pytest.fixture
async def file(opening, path: Path) -> Path:
    """LOGS logs of RECORDS records each, most of them of usage."""
    ledger = await opening()
    drafts = Drafts()
    for at in range(LOGS):
        log = (await ledger.create_client(f"client {at}")).log
        rest = [
            *others(ledger),
            *[drafts(model="qwen2.5:3b" if n % 2 else "ä\\") for n in range(RECORDS - 7)],
        ]
        for appended in [ledger.append(log, draft) for draft in rest]:
            await appended
    await ledger.close()
    return path


def flips(lengths: list[int]) -> Iterator[tuple[int, int, int]]:
    """(which, byte, bit) over all bits of things of these lengths in bytes: all of them, or SOME evenly spread."""
    total = 8 * sum(lengths)
    step = 1 if ALL else max(1, total // SOME)
    which, before = 0, 0
    for at in range(0, total, step):
        while at - before >= 8 * lengths[which]:
            before += 8 * lengths[which]
            which += 1
        yield which, (at - before) // 8, (at - before) % 8


def flipped(data: bytes, at: int, bit: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def batches(connection: apsw.Connection, lengths: list[int]) -> Iterator[list[tuple[int, int, int, int]]]:
    """The flips, one in each of up to LOGS logs at a time, as (log, which, byte, bit)."""
    waiting = flips(lengths)
    logs = [k for (k,) in connection.execute("SELECT k FROM log ORDER BY k")]
    while batch := [(k, *flip) for k, flip in zip(logs, waiting, strict=False)]:
        yield batch


async def test_any_bit_of_any_record_is_found_and_the_record_is_named(file: Path) -> None:
    connection = apsw.Connection(str(file))
    bodies = {
        (k, seq): body for k, seq, body in connection.execute("SELECT log, seq, body FROM record").fetchall()
    }
    names = dict(connection.execute("SELECT k, name FROM log").fetchall())
    assert len({decode(body).draft.kind for body in bodies.values()}) == 8
    shortest = [min(len(bodies[k, seq]) for k in names) for seq in range(RECORDS)]
    tried = 0
    for batch in batches(connection, shortest):
        with connection:
            connection.executemany(
                "UPDATE record SET body = ? WHERE log = ? AND seq = ?",
                [(flipped(bodies[k, seq], at, bit), k, seq) for k, seq, at, bit in batch],
            )
        report = audit(file, SIGNER.verifier)
        assert report.verdict == "TAMPERED"
        assert {finding.log: finding.seq for finding in report.findings} == {
            names[k]: seq for k, seq, _, _ in batch
        }
        assert len(report.findings) == len(batch)
        with connection:
            connection.executemany(
                "UPDATE record SET body = ? WHERE log = ? AND seq = ?",
                [(bodies[k, seq], k, seq) for k, seq, _, _ in batch],
            )
        tried += len(batch)
    assert tried >= min(SOME, 8 * sum(shortest))
    assert audit(file, SIGNER.verifier).verdict == "OK"
    connection.close()


async def test_any_bit_of_a_newest_checkpoint_is_found_in_its_log(file: Path) -> None:
    connection = apsw.Connection(str(file))
    notes = dict(connection.execute("SELECT k, checkpoint FROM log").fetchall())
    names = dict(connection.execute("SELECT k, name FROM log").fetchall())
    shortest = [min(len(note.encode()) for note in notes.values())]
    for batch in batches(connection, shortest):
        with connection:
            connection.executemany(
                "UPDATE log SET checkpoint = CAST(? AS TEXT) WHERE k = ?",
                [(flipped(notes[k].encode(), at, bit), k) for k, _, at, bit in batch],
            )
        report = audit(file, SIGNER.verifier)
        assert report.verdict in ("TAMPERED", "UNVERIFIABLE")
        assert {finding.log for finding in report.findings} == {names[k] for k, *_ in batch}
        with connection:
            connection.executemany(
                "UPDATE log SET checkpoint = ? WHERE k = ?", [(notes[k], k) for k, *_ in batch]
            )
    connection.close()


def test_any_bit_of_sixty_four_checkpoints_is_found() -> None:
    notes = [
        SIGNER.sign_checkpoint("gw_test/c_1", size, bytes([size]) * 32).encode()
        for size in range(1, RECORDS + 1)
    ]
    for which, at, bit in flips([len(note) for note in notes]):
        try:
            text = flipped(notes[which], at, bit).decode()
        except UnicodeDecodeError:
            continue  # nobody takes it for a text
        with pytest.raises(CheckpointError):
            verify_checkpoint(text, SIGNER.verifier)
