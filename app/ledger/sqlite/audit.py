"""Is every record still what was signed? Reads the whole ledger again and names the first bad record of each log.

Rule 1: it trusts the verifier key and nothing that is stored; a body is re-hashed, never its stored hash believed.
Rule 2: it only reads, in short transactions, so that it can run beside the writer; what is appended meanwhile is left
to the next audit.

Checked for every record: canonical form and schema, log, seq, running total, leaf hash, and that the columns it is
listed by say what its body says. For every log: the stored tree hashes, every kept checkpoint and the newest one with
their signatures, the number of records, and the counters. A missing signature is never in order. Where all is, SQLite
is asked at the end whether its indices lead to all of it, which is one transaction of a second for a million records.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw

from app.ledger.checkpoint import Checkpoint, VerifierKey
from app.ledger.errors import WAYS_OUT, LedgerClosed, LedgerError, RecordError
from app.ledger.findings import AuditReport, Finding, Verdict, worst
from app.ledger.heads import LogHead, add_totals
from app.ledger.ids import id_bytes
from app.ledger.merkle import Frontier
from app.ledger.parties import Key, RecordedKeys
from app.ledger.records import decode, searchable
from app.ledger.sqlite.cores import Skims, helpers_for
from app.ledger.sqlite.log_audit import NEVER, LogAudit
from app.ledger.sqlite.rough import RECORD, rough_rows
from app.ledger.sqlite.schema import SPAN_RECORDS, explain, open_reader
from app.ledger.sqlite.skim import ROWS, Skim, skim
from app.ledger.sqlite.soundness import wrong_index
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
        self._misplaced: tuple[Any, ...] | None = None
        """The first row that has not the next number, behind the number that it should have."""

    def stretch(self, after: int, upto: int, found: Skim | None) -> int:
        """Check the records with `after` < n <= `upto`, of which helpers may have `found` the plain ones; returns the n
        after which the next stretch begins."""
        skimmed = found or skim(self._connection, after, upto)
        if skimmed is not None and self._fits(skimmed):
            self.records += upto - after
            count, times = upto - after, [skimmed.t0_min, skimmed.t0_max]
        else:
            count, times = self._read_slowly(after, upto)
            if not count and self.readable:
                return self._next_after(upto)
        if count == SPAN_RECORDS == upto - after:
            self._check_span(after // SPAN_RECORDS, times)
        return upto

    def _next_after(self, upto: int) -> int:
        """Where to go on after a stretch that is not there at all: before the stretch of the next record."""
        try:
            n = self._connection.execute("SELECT min(n) FROM record WHERE n > ?", (upto,)).get
        except apsw.Error as error:
            self._cannot_read(error)
            return upto
        return self.end if n is None else (n - 1) // SPAN_RECORDS * SPAN_RECORDS

    def _fits(self, skimmed: Skim) -> bool:
        """Whether the stints go on where their logs were and lead to the hashes that are kept. Only then they count."""
        grown = []
        for k, stint in skimmed.stints.items():
            log = self.logs.get(k)
            if log is None:
                return False
            if log.finding is not None:
                continue
            if not (
                stint.first == log.frontier.size
                and stint.before == log.head.cum
                and stint.sums.name == log.name
            ):
                return False
            grown.append((log, stint))
        steps = [log.step(stint, self._stored_tile) for log, stint in grown]
        if any(step is None for step in steps):
            return False
        for (log, stint), step in zip(grown, steps, strict=True):
            assert step is not None
            log.take(stint, step)
        return True

    def _read_slowly(self, after: int, upto: int) -> tuple[int, list[int]]:
        """One record after the other; returns how many there are, and their earliest and latest beginning."""
        last, count, t0_min, t0_max = after, 0, NEVER, -1
        while last < upto and self.readable:
            try:
                for row in self._connection.execute(ROWS, (last, upto)):
                    last, _, _, t0, *_ = row
                    count += 1
                    if last != after + count and self._misplaced is None:
                        self._misplaced = (after + count, *row)
                    if t0.__class__ is int:
                        t0_min, t0_max = min(t0, t0_min), max(t0, t0_max)
                    self._check(row)
                last = upto
            except UnicodeDecodeError:
                # SQLite gives a text as it lies; that of the row after the last one is none.
                last = self._blame_damaged(last)
                count += 1
            except apsw.Error as error:
                self._cannot_read(error)
        self.records += count
        return count, [t0_min, t0_max]

    def _check(self, row: tuple[Any, ...]) -> None:
        n, k, seq, t0, id_blob, find, leaf, body = row
        if not (
            k.__class__ is seq.__class__ is t0.__class__ is int
            and id_blob.__class__ is leaf.__class__ is body.__class__ is bytes
            and find.__class__ is str
        ):
            self._blame_damaged(n - 1)
            return
        log = self.logs.get(k)
        if log is None:
            self.blame_file(Verdict.TAMPERED, f"The record number {n} of the file belongs to no log.")
            self.logs[k] = log = LogAudit(LogHead(k, "", Frontier()))
            log.blame(Verdict.TAMPERED, None, "")
        if log.finding is not None or not self._check_slowly(log, row):
            return
        tiles = log.frontier.append(leaf)
        if tiles:
            self._check_tiles(log, tiles)
        if log.frontier.size == log.next_kept:
            log.check_kept()

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
        return log.note(record)

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
        if self._misplaced is not None and not self.findings:
            # Where a row is missing all that follow are out of place; but then its log has been blamed.
            place, n, k, seq, *_ = self._misplaced
            name = self.logs[k].name
            self.blame_file(
                Verdict.TAMPERED,
                f"Record {seq} of {name} has the number {n} in the file and not {place}: nobody finds it there.",
                name,
                seq,
            )
        if self.keys is not None:
            self._check_keys(self.keys)

    def check_indices(self, stopped: Callable[[], bool]) -> None:
        """Whether what is in order is found, too."""
        if not self.findings and (wrong := wrong_index(self._connection, stopped)) is not None:
            self.blame_file(
                Verdict.UNVERIFIABLE,
                f"Every record in {self._path} is as it was signed, but an index is damaged ({wrong}), so not each is"
                " found: put back a good copy with `mortdecai-gateway ledger restore FILE`.",
            )

    def _check_keys(self, stated: list[Key]) -> None:
        """Clients and keys against what the records of good logs say."""
        good = {log.name: log for log in self.logs.values() if log.finding is None}
        recorded = RecordedKeys()
        sure: dict[str | None, str] = {}
        for client in self.clients:
            log = good.get(client.log)
            if log is None:
                continue
            sure[client.id] = client.log
            if client is self.clients[0]:
                sure[None] = ""
            for draft in log.access:
                recorded.follow(draft, client.id)
            if log.owner not in (None, client.name):
                sentence = (
                    f"The client of {client.log} was recorded as {log.owner}, and is called {client.name}."
                )
                self.blame_file(Verdict.TAMPERED, sentence, client.log)
        for owner, sentence in recorded.differences(stated, sure):
            self.blame_file(Verdict.TAMPERED, sentence, sure[owner])


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
            sentence = f"The {claim.size} signed records of {claim.origin} are gone with it: {WAYS_OUT}."
            findings.append(Finding(Verdict.ROLLBACK, claim.origin, 0, sentence))
        none = add_totals(())
        return AuditReport(worst(findings), tuple(findings), 0, 0, none, none, time.monotonic() - began, ())
    try:
        run = _Audit(connection, path, verifier, remembered)
        at, told = 0, 0
        with Skims(path, run.end, 0 if vfs else helpers_for(run.end)) as skims:
            while run.readable and at < run.end:
                _go_on(stopped)
                at = run.stretch(at, min(at + SPAN_RECORDS, run.end), skims.next(at))
                if progress is not None and run.records - told >= PROGRESS_EVERY:
                    told = run.records
                    progress(told, max(run.end, told))
        run.finish()
        run.check_indices(stopped)
        _go_on(stopped)  # what was not looked at to the end is not in order
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


def _go_on(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise LedgerClosed("The audit was stopped because the ledger closes.")
