"""Is every record still what was signed? Reads the whole ledger again and names the first bad record of each log.

Rule 1: it trusts the verifier key and nothing that is stored; a body is re-hashed, never its stored hash believed.
Rule 2: it only reads, in short transactions, so that it can run beside the writer; what is appended meanwhile is left
to the next audit.

Checked for every record: canonical form and schema, log, seq, running total, leaf hash, and that the columns it is
listed by say what its body says. For every log: the stored tree hashes, every kept checkpoint and the newest one with
their signatures, the number of records, and the counters. A missing signature is never in order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw

from app.ledger import usage
from app.ledger.checkpoint import Checkpoint, VerifierKey
from app.ledger.errors import LedgerClosed, LedgerError, RecordError
from app.ledger.findings import AuditReport, Finding, Verdict, worst
from app.ledger.heads import LogHead, add_totals
from app.ledger.ids import id_bytes
from app.ledger.merkle import Frontier
from app.ledger.records import decode, searchable
from app.ledger.sqlite.log_audit import NEVER, LogAudit
from app.ledger.sqlite.rough import RECORD, rough_rows
from app.ledger.sqlite.schema import SPAN_RECORDS, explain, open_reader
from app.ledger.sqlite.stated import Stated

PROGRESS_EVERY = 8 * SPAN_RECORDS


class _Audit(Stated):
    """One run over one file."""

    def __init__(
        self, connection: apsw.Connection, path: Path, verifier: VerifierKey, remembered: Sequence[Checkpoint]
    ) -> None:
        super().__init__(connection, path, verifier, remembered)
        self.records = 0
        self.readable = True

    def stretch(self, after: int) -> int:
        """Check up to SPAN_RECORDS records with n > `after`; returns the last n, or `after` where there are none."""
        first = last = after
        count, t0_min, t0_max = 0, NEVER, -1
        logs, scan = self.logs, usage.scan
        try:
            for row in self._connection.execute(
                "SELECT n, log, seq, t0, id, find, leaf, body FROM record WHERE n > ? AND n <= ? ORDER BY n LIMIT ?",
                (after, self.end, SPAN_RECORDS),
            ):
                last, k, seq, t0, id_blob, find, leaf, body = row
                count += 1
                if not (
                    k.__class__ is seq.__class__ is t0.__class__ is int
                    and id_blob.__class__ is leaf.__class__ is body.__class__ is bytes
                    and find.__class__ is str
                ):
                    self._blame_damaged(last - 1)
                    continue
                if t0 < t0_min:
                    t0_min = t0
                if t0 > t0_max:
                    t0_max = t0
                log = logs.get(k)
                if log is None:
                    self.blame_file(
                        Verdict.TAMPERED, f"The record number {last} of the file belongs to no log."
                    )
                    logs[k] = log = LogAudit(LogHead(k, "", Frontier()))
                    log.blame(Verdict.TAMPERED, None, "")
                if log.finding is not None:
                    continue
                head, frontier = log.head, log.frontier
                match = scan(body.decode("latin-1"))
                if match is not None:
                    (
                        cost, cum, dur_us, e_uj, endpoint, record_id, key, name, model, outcome, own_seq, own_t0,
                        tok_in, tok_out,
                    ) = match.groups()  # fmt: skip
                    running = head.cum + int(cost)
                    if (
                        seq == frontier.size == int(own_seq)
                        and name == log.name
                        and int(cum) == running
                        and leaf == sha256(b"\x00" + body).digest()
                        and int(own_t0) == t0
                        and id_blob.hex() == record_id.replace("-", "")
                        and find == f"{key}\n{model}\n{endpoint}\n{outcome}\nusage".lower()
                    ):
                        head.cum = running
                        head.requests += 1
                        head.dur_us += int(dur_us)
                        head.e_uj += int(e_uj)
                        if tok_in is not None:
                            head.tok_in += int(tok_in)
                        if tok_out is not None:
                            head.tok_out += int(tok_out)
                    else:
                        match = None
                if match is None and not self._check_slowly(log, row):
                    continue
                tiles = frontier.append(leaf)
                if tiles:
                    self._check_tiles(log, tiles)
                if frontier.size == log.next_kept:
                    log.check_kept()
        except UnicodeDecodeError:
            # SQLite gives a text as it lies; that of the row after the last one is none.
            last = self._blame_damaged(last)
            count += 1
        except apsw.Error as error:
            self._cannot_read(error)
        self.records += count
        if count == SPAN_RECORDS and last - first == count and not first % SPAN_RECORDS:
            self._check_span(first // SPAN_RECORDS, [t0_min, t0_max])
        return last

    def _check_slowly(self, log: LogAudit, row: tuple[Any, ...]) -> bool:
        """All kinds of records, with a sentence for everything that may be wrong."""
        _, _, seq, t0, id_blob, find, leaf, body = row
        place, expected = f"record {seq} of {log.name}", log.frontier.size
        try:
            record = decode(body)
        except RecordError as error:
            log.blame(Verdict.TAMPERED, seq, f"The body of {place} was changed: {error}.")
            return False
        draft = record.draft
        head = log.head
        sentence = ""
        if seq != expected:
            sentence, seq = f"Record {expected} of {log.name} is missing or out of its place.", expected
        elif record.seq != seq or record.log != log.name:
            sentence = f"In the place of {place} stands record {record.seq} of {record.log}."
        elif leaf != sha256(b"\x00" + body).digest():
            sentence = f"The body of {place} is not the one that was hashed: it was changed."
        elif record.cum_pico != head.cum + draft.cost:
            sentence = f"The running total of {place} does not follow from the one before."
        elif t0 != draft.t0 or id_blob != id_bytes(draft.id) or find != searchable(draft):
            sentence = f"The columns that list {place} say something else than its body."
        if sentence:
            log.blame(Verdict.TAMPERED, seq, sentence)
            return False
        head.cum = record.cum_pico
        head.count(draft)
        return True

    def _stored_tile(self, k: int, level: int, index: int) -> object:
        try:
            return self._connection.execute(
                "SELECT hash FROM tile WHERE log = ? AND level = ? AND i = ?", (k, level, index)
            ).get
        except (apsw.Error, UnicodeDecodeError):
            return None

    def _blame_damaged(self, after: int) -> int:
        """Blame the log of the first record with n > `after`, which is damaged; returns its n."""
        for row, odd in rough_rows(
            self._connection, "record", RECORD, "WHERE n > ? ORDER BY n LIMIT 1", after
        ):
            n, seq, log = row["n"], row["seq"], self.logs.get(row["log"])
            if log is None or not log.name:
                self.blame_file(
                    Verdict.TAMPERED, f"The record number {n} of the file is damaged: its {odd} is lost."
                )
            else:
                # Where its place is what was lost, it is the one that would have come now.
                seq = log.frontier.size if seq is None else seq
                log.blame(Verdict.TAMPERED, seq, f"Record {seq} of {log.name} is damaged: its {odd} is lost.")
            return int(n)
        return after

    def _cannot_read(self, error: apsw.Error) -> None:
        self.readable = False
        if not (isinstance(error, apsw.SQLError) and self.findings):
            self.blame_file(Verdict.UNVERIFIABLE, explain(error, self._path))
            for log in self.logs.values():
                log.unreadable()

    def _check_tiles(self, log: LogAudit, tiles: tuple[tuple[int, int, bytes], ...]) -> None:
        for level, index, node in tiles:
            stored = self._stored_tile(log.head.k, level, index)
            begin, end = index << level, (index + 1) << level
            if stored != node:
                log.proven = max(log.proven, begin)
                log.blame(
                    Verdict.TAMPERED,
                    log.proven,
                    f"The stored hash over the records {begin} to {end - 1} of {log.name} is not theirs:"
                    f" it was changed, or {log.suspects(end)} was.",
                )
            elif level == tiles[-1][0]:
                log.proven = end

    def _check_span(self, block: int, times: list[int]) -> None:
        stored = self.spans.get(block)
        if stored != times:
            self.blame_file(
                Verdict.TAMPERED,
                f"The times kept for the records number {block * SPAN_RECORDS + 1} to {(block + 1) * SPAN_RECORDS}"
                " of the file are not theirs; lists of a period may lack some.",
            )

    def finish(self) -> None:
        """What can be said of a log only at its end."""
        for log in self.logs.values():
            log.finish(self.verifier)
            if log.finding is not None and log.name:
                self.findings.append(log.finding)


def audit(
    path: Path,
    verifier: VerifierKey,
    *,
    remembered: Sequence[Checkpoint] = (),
    progress: Callable[[int, int], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
    vfs: str | None = None,
) -> AuditReport:
    """Read the ledger at `path` again. `remembered` are checkpoints that are known from elsewhere and trusted: the file
    must hold at least what they say. `progress` is called with (records read, records in all).

    A file that cannot be read is a finding like any other. Raises LedgerClosed once `stopped()` is true.
    """
    began = time.monotonic()
    try:
        connection = open_reader(path, vfs)
    except (LedgerError, UnicodeDecodeError) as error:
        findings = [Finding(Verdict.UNVERIFIABLE, "", None, str(error))]
        for claim in remembered:
            sentence = f"The {claim.size} signed records of {claim.origin} are gone with it."
            findings.append(Finding(Verdict.ROLLBACK, claim.origin, 0, sentence))
        none = add_totals(())
        return AuditReport(worst(findings), tuple(findings), 0, 0, none, none, time.monotonic() - began, ())
    try:
        run = _Audit(connection, path, verifier, remembered)
        at, told = 0, 0
        while run.readable:
            if stopped():
                raise LedgerClosed("The audit was stopped because the ledger closes.")
            last = run.stretch(at)
            if last == at:
                break
            at = last
            if progress is not None and run.records - told >= PROGRESS_EVERY:
                told = run.records
                progress(told, max(run.end, told))
        run.finish()
        if progress is not None:
            progress(run.records, run.records)
    finally:
        connection.close()
    found = tuple(run.findings)
    real = [log for log in run.logs.values() if log.name]
    return AuditReport(
        worst(found),
        found,
        len(real),
        run.records,
        add_totals(log.head for log in real),
        add_totals(log.stored for log in real),
        time.monotonic() - began,
        tuple(log.report() for log in real),
    )
