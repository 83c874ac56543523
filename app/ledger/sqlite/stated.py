"""What a ledger's file says of itself: its layout, the state of each log, the checkpoints it kept, clients and keys.

Rule 1: nothing here is believed; the audit compares it with the records. Rule 2: whatever is damaged or missing is a
finding, and the rest is read all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import apsw

from app.ledger.checkpoint import Checkpoint, VerifierKey
from app.ledger.errors import WAYS_OUT
from app.ledger.findings import Finding, Verdict
from app.ledger.heads import LogHead
from app.ledger.merkle import Frontier
from app.ledger.parties import Client, Key
from app.ledger.sqlite.log_audit import LogAudit
from app.ledger.sqlite.rough import CLIENT, HOLD, KEPT, KEY, LOG, SPAN, TEXT, rough_rows
from app.ledger.sqlite.schema import LIMITS_SINCE, MIGRATIONS, layout, stored_layout


class Stated:
    """Reads the small tables of the ledger at `path`; what is wrong with them is among `findings`."""

    def __init__(
        self, connection: apsw.Connection, path: Path, verifier: VerifierKey, remembered: Sequence[Checkpoint]
    ) -> None:
        self._connection = connection
        self._path = path
        self.verifier = verifier
        self.findings: list[Finding] = []
        self.end = 0
        """The n of its last record."""
        self.logs: dict[int, LogAudit] = {}
        self.spans: dict[int, list[int]] = {}
        self.clients: list[Client] = []
        self.keys: list[Key] | None = []
        """None where a row of theirs is damaged, which is said then."""
        self._version = 0
        connection.execute("BEGIN")  # one moment of the ledger; all that it names is append-only
        try:
            for part in (
                self._check_layout,
                self._find_end,
                self._load_spans,
                self._load_heads,
                self._load_kept,
                self._check_parties,
            ):
                try:
                    part()
                except (apsw.Error, UnicodeDecodeError) as error:
                    # What is missing was named by the first part already.
                    if not (isinstance(error, apsw.SQLError) and self.findings):
                        self.blame_file(Verdict.UNVERIFIABLE, f"{path} is damaged ({error}).")
            self._expect_remembered(remembered)
        finally:
            connection.execute("ROLLBACK")

    def blame_file(self, verdict: Verdict, sentence: str, log: str = "", seq: int | None = None) -> None:
        self.findings.append(Finding(verdict, log, seq, sentence))

    def _check_layout(self) -> None:
        version = int(self._connection.execute("SELECT user_version FROM pragma_user_version").get)
        if not 0 < version <= len(MIGRATIONS):
            self.blame_file(Verdict.TAMPERED, f"The version of {self._path} was changed to {version}.")
            version = len(MIGRATIONS)
        self._version = version
        wanted, found = layout(version), stored_layout(self._connection)
        for name, (kind, sql) in wanted.items():
            if name not in found:
                self.blame_file(Verdict.TAMPERED, f"The {kind} {name} of {self._path} is missing.")
            elif found[name] != (kind, sql):
                self.blame_file(Verdict.TAMPERED, f"The {kind} {name} of {self._path} was changed.")
        for name, (kind, _) in found.items():
            if kind == "trigger":
                self.blame_file(
                    Verdict.TAMPERED,
                    f"A trigger {name} was put into {self._path}: it changes what is written.",
                )

    def _find_end(self) -> None:
        self.end = self._connection.execute("SELECT coalesce(max(n), 0) FROM record").get

    def _load_spans(self) -> None:
        for row, odd in rough_rows(self._connection, "span", SPAN):
            if odd:
                self.blame_file(
                    Verdict.TAMPERED,
                    f"The times kept for the stretch {row['block']} of the file are damaged: {odd} is lost.",
                )
            self.spans[row["block"]] = [row["t0_min"], row["t0_max"]]

    def _load_heads(self) -> None:
        for row, odd in rough_rows(self._connection, "log", LOG):
            name = row["name"] or ""
            try:
                frontier = Frontier.from_bytes(row["frontier"] or b"")
            except ValueError:
                frontier = Frontier()
            head = LogHead(row["k"], name, frontier)
            for figure in ("cum", "requests", "tok_in", "tok_out", "dur_us", "e_uj"):
                setattr(head, figure, row[figure] or 0)
            head.terms, head.checkpoint = row["terms"] or "", row["checkpoint"] or ""
            log = self.logs[row["k"]] = LogAudit(head)
            if odd:
                sentence = f"The stored state of the log {name or row['k']} is damaged: its {odd} is lost."
                if name:
                    log.blame(Verdict.TAMPERED, None, sentence)
                else:
                    self.blame_file(Verdict.TAMPERED, sentence)
                    log.blame(Verdict.TAMPERED, None, "")
            elif frontier.size != row["size"]:
                self.blame_file(
                    Verdict.TAMPERED, f"The stored state of the log {name} contradicts itself.", name
                )

    def _load_kept(self) -> None:
        for row, odd in rough_rows(self._connection, "kept", KEPT):
            k, size, note = row["log"], row["size"], row["checkpoint"]
            log = self.logs.get(k)
            if log is None:
                self.blame_file(Verdict.TAMPERED, f"A kept checkpoint of {size} records belongs to no log.")
            elif odd:
                log.blame(
                    Verdict.TAMPERED, None, f"A kept checkpoint of {log.name} is damaged: its {odd} is lost."
                )
            else:
                log.expect_kept(self.verifier, note, size)

    def _check_parties(self) -> None:
        names = {log.name for log in self.logs.values()}
        limits = {"limits": TEXT} if self._version >= LIMITS_SINCE else {}
        for table, types in (("client", CLIENT), ("key", {**KEY, **limits}), ("hold", HOLD)):
            for row, odd in rough_rows(self._connection, table, types):
                if odd:
                    self.blame_file(
                        Verdict.TAMPERED, f"A row of the table {table} is damaged: its {odd} is lost."
                    )
                    if table != "hold":
                        self.keys = None
                elif table == "key" and self.keys is not None:
                    self.keys.append(Key(*row.values()))
                elif table == "client":
                    self.clients.append(Client(*row.values()))
                    if row["log"] not in names:
                        self._gone(row["log"], f" of the client {row['name']}")

    def _gone(self, name: str, whose: str = "") -> None:
        self.blame_file(Verdict.ROLLBACK, f"The whole log {name}{whose} is gone: {WAYS_OUT}.", name, 0)

    def _expect_remembered(self, remembered: Sequence[Checkpoint]) -> None:
        by_name = {log.name: log for log in self.logs.values()}
        named = {finding.log for finding in self.findings}
        for claim in remembered:
            if (log := by_name.get(claim.origin)) is not None:
                log.expect(claim)
            elif claim.origin not in named:
                self._gone(claim.origin)
