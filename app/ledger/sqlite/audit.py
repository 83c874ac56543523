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
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw

from app.ledger import usage
from app.ledger.checkpoint import Checkpoint, VerifierKey, verify_checkpoint
from app.ledger.errors import CheckpointError, LedgerClosed, LedgerError, RecordError, UnsignedCheckpoint
from app.ledger.findings import AuditReport, Finding, LogReport, Verdict, worst
from app.ledger.heads import LogHead, add_totals
from app.ledger.ids import id_bytes
from app.ledger.merkle import Frontier
from app.ledger.records import decode, searchable
from app.ledger.sqlite.schema import SPAN_RECORDS, explain, open_reader

PROGRESS_EVERY = 8 * SPAN_RECORDS
_NEVER = 2**63


class _LogAudit:
    """One log while it is read again: `head` is recomputed from the records, `stored` is what the file says."""

    __slots__ = ("finding", "frontier", "head", "kept", "name", "next_kept", "proven", "stored")

    def __init__(self, stored: LogHead, kept: list[Checkpoint]) -> None:
        self.stored = stored
        self.name = stored.name
        self.head = LogHead(stored.k, stored.name, Frontier())
        self.frontier = self.head.frontier
        self.kept = kept
        """Validly signed checkpoints still to come, the largest first."""
        self.next_kept = kept[-1].size if kept else _NEVER
        self.proven = 0
        """Records below this number are under a hash that was found right."""
        self.finding: Finding | None = None

    def blame(self, verdict: Verdict, seq: int | None, sentence: str) -> None:
        """Keep the first finding."""
        if self.finding is None:
            self.finding = Finding(verdict, self.name, seq, sentence)

    def report(self) -> LogReport:
        """This log's part of the report."""
        bad = None if self.finding is None else self.finding.seq
        return LogReport(
            self.name,
            max(self.stored.frontier.size, self.frontier.size),
            self.frontier.size if bad is None else min(bad, self.frontier.size),
            self.frontier.root(),
            self.stored.checkpoint,
            self.head.totals(),
            self.stored.totals(),
        )

    def suspects(self, end: int) -> str:
        """Words for the records that nothing vouches for, up to `end` (exclusive)."""
        if end - self.proven == 1:
            return f"record {self.proven} of {self.name}"
        return f"one of the records {self.proven} to {end - 1} of {self.name}"


class _Audit:
    """One run over one file."""

    def __init__(self, connection: apsw.Connection, verifier: VerifierKey) -> None:
        self._connection = connection
        self._verifier = verifier
        self.findings: list[Finding] = []
        self.records = 0
        connection.execute("BEGIN")  # one moment of the ledger; all that it names is append-only
        try:
            self.end = connection.execute("SELECT coalesce(max(n), 0) FROM record").get
            self._spans = {
                block: times for block, *times in connection.execute("SELECT block, t0_min, t0_max FROM span")
            }
            self.logs = {k: _LogAudit(head, []) for k, head in self._stored_heads()}
            self._load_kept()
            self._require_logs_of_clients()
        finally:
            connection.execute("ROLLBACK")

    def _stored_heads(self) -> list[tuple[int, LogHead]]:
        heads = []
        for (
            k,
            name,
            size,
            cum,
            requests,
            tok_in,
            tok_out,
            dur_us,
            e_uj,
            terms,
            note,
            frontier,
        ) in self._connection.execute(
            "SELECT k, name, size, cum, requests, tok_in, tok_out, dur_us, e_uj, terms, checkpoint, frontier FROM log"
        ):
            try:
                head = LogHead(k, name, Frontier.from_bytes(frontier))
            except ValueError:
                head = LogHead(k, name, Frontier())
            if head.frontier.size != size:
                self._blame_file(
                    Verdict.TAMPERED, f"The stored state of the log {name} contradicts itself.", name
                )
            head.cum, head.requests, head.tok_in, head.tok_out = cum, requests, tok_in, tok_out
            head.dur_us, head.e_uj, head.terms, head.checkpoint = dur_us, e_uj, terms, note
            heads.append((k, head))
        return heads

    def _blame_file(self, verdict: Verdict, sentence: str, log: str = "", seq: int | None = None) -> None:
        self.findings.append(Finding(verdict, log, seq, sentence))

    def _load_kept(self) -> None:
        for k, size, note in self._connection.execute(
            "SELECT log, size, checkpoint FROM kept ORDER BY size DESC"
        ):
            log = self.logs.get(k)
            if log is None:
                self._blame_file(Verdict.TAMPERED, f"A kept checkpoint of {size} records belongs to no log.")
                continue
            claim = self._vouched(log, note, f"the checkpoint kept at {size} records")
            if claim is None:
                continue
            if claim.size != size:
                log.blame(
                    Verdict.TAMPERED,
                    None,
                    f"The checkpoint kept at {size} records of {log.name} is of {claim.size}.",
                )
            else:
                log.kept.append(claim)
                log.next_kept = size

    def _vouched(self, log: _LogAudit, note: str, what: str) -> Checkpoint | None:
        """The claim of a checkpoint whose signature holds; otherwise the log is blamed."""
        try:
            return verify_checkpoint(note, self._verifier, log.name)
        except UnsignedCheckpoint as error:
            log.blame(Verdict.UNVERIFIABLE, None, f"Nothing vouches for {log.name}: {error} ({what}).")
        except CheckpointError as error:
            log.blame(Verdict.TAMPERED, None, f"In {log.name} {what} is forged or broken: {error}.")
        return None

    def _require_logs_of_clients(self) -> None:
        names = {log.name for log in self.logs.values()}
        for client, name in self._connection.execute("SELECT name, log FROM client"):
            if name not in names:
                self._blame_file(
                    Verdict.ROLLBACK, f"The whole log {name} of the client {client} is gone.", name, 0
                )

    def stretch(self, after: int) -> int:
        """Check up to SPAN_RECORDS records with n > `after`; returns the last n, or `after` where there are none."""
        first = last = after
        count, t0_min, t0_max = 0, _NEVER, -1
        logs, scan = self.logs, usage.scan
        for row in self._connection.execute(
            "SELECT n, log, seq, t0, id, find, leaf, body FROM record WHERE n > ? AND n <= ? ORDER BY n LIMIT ?",
            (after, self.end, SPAN_RECORDS),
        ):
            last, k, seq, t0, id_blob, find, leaf, body = row
            count += 1
            if t0 < t0_min:
                t0_min = t0
            if t0 > t0_max:
                t0_max = t0
            log = logs.get(k)
            if log is None:
                self._blame_file(Verdict.TAMPERED, f"The record number {last} of the file belongs to no log.")
                logs[k] = log = _LogAudit(LogHead(k, "", Frontier()), [])
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
                self._check_kept(log)
        self.records += count
        if count == SPAN_RECORDS and last - first == count and not first % SPAN_RECORDS:
            self._check_span(first // SPAN_RECORDS, [t0_min, t0_max])
        return last

    def _check_slowly(self, log: _LogAudit, row: tuple[Any, ...]) -> bool:
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

    def _check_tiles(self, log: _LogAudit, tiles: tuple[tuple[int, int, bytes], ...]) -> None:
        for level, index, node in tiles:
            stored = self._connection.execute(
                "SELECT hash FROM tile WHERE log = ? AND level = ? AND i = ?", (log.head.k, level, index)
            ).get
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

    def _check_kept(self, log: _LogAudit) -> None:
        kept = log.kept.pop()
        log.next_kept = log.kept[-1].size if log.kept else _NEVER
        if kept.root != log.frontier.root():
            log.blame(
                Verdict.TAMPERED,
                min(log.proven, kept.size - 1),
                f"The first {kept.size} records of {log.name} are not those that were signed.",
            )
        else:
            log.proven = max(log.proven, kept.size)

    def _check_span(self, block: int, times: list[int]) -> None:
        stored = self._spans.get(block)
        if stored is not None and stored != times:
            self._blame_file(
                Verdict.TAMPERED,
                f"The times kept for the records number {block * SPAN_RECORDS + 1} to {(block + 1) * SPAN_RECORDS}"
                " of the file are not theirs; lists of a period may lack some.",
            )

    def finish(self) -> None:
        """What can be said of a log only at its end."""
        for log in self.logs.values():
            if log.finding is None:
                self._finish(log)
            if log.finding is not None and log.name:
                self.findings.append(log.finding)

    def _finish(self, log: _LogAudit) -> None:
        size, stored, head = log.frontier.size, log.stored, log.head
        claim = self._vouched(log, stored.checkpoint, "the newest checkpoint")
        if claim is None:
            return
        signed = max([claim.size, *(kept.size for kept in log.kept)])
        if signed > size:
            gone = f"Of {signed} signed records of {log.name} those from {size} on are gone."
            log.blame(Verdict.ROLLBACK, size, gone)
        elif claim.size < size:
            log.blame(Verdict.TAMPERED, claim.size, f"Record {claim.size} of {log.name} was never signed.")
        elif claim.root != log.frontier.root():
            changed = (
                f"The records of {log.name} are not those that were signed: {log.suspects(size)} was changed."
            )
            log.blame(Verdict.TAMPERED, min(log.proven, size - 1), changed)
        elif stored.frontier.size != size or stored.frontier.peaks != log.frontier.peaks:
            log.blame(Verdict.TAMPERED, None, f"The stored state of {log.name} is not that of its records.")
        elif stored.totals() != head.totals() or stored.terms != head.terms:
            log.blame(
                Verdict.TAMPERED, None, f"The counters of {log.name} are not the sums over its records."
            )


def audit(
    path: Path,
    verifier: VerifierKey,
    *,
    progress: Callable[[int, int], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
    vfs: str | None = None,
) -> AuditReport:
    """Read the ledger at `path` again. `progress` is called with (records read, records in all).

    Raises LedgerError where the file cannot be read as a ledger at all, LedgerClosed once `stopped()` is true.
    """
    began = time.monotonic()
    connection = open_reader(path, vfs)
    try:
        run = _Audit(connection, verifier)
        at, told = 0, 0
        while True:
            if stopped():
                raise LedgerClosed("The audit was stopped because the ledger closes.")
            try:
                last = run.stretch(at)
            except apsw.Error as error:
                run.findings.append(Finding(Verdict.UNVERIFIABLE, "", None, explain(error, path)))
                break
            if last == at:
                break
            at = last
            if progress is not None and run.records - told >= PROGRESS_EVERY:
                told = run.records
                progress(told, max(run.end, told))
        run.finish()
        if progress is not None:
            progress(run.records, run.records)
    except apsw.Error as error:
        raise LedgerError(explain(error, path)) from error
    finally:
        connection.close()
    findings = tuple(run.findings)
    real = [log for log in run.logs.values() if log.name]
    return AuditReport(
        worst(findings),
        findings,
        len(real),
        run.records,
        add_totals(log.head for log in real),
        add_totals(log.stored for log in real),
        time.monotonic() - began,
        tuple(log.report() for log in real),
    )
