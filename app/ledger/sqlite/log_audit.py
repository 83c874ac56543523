"""One log while it is read again: what its records say, what the file says of it, and the first thing that is wrong.

Rule: the first finding stands; whatever is wrong after it follows from it or can only be told once it is mended.
"""

from __future__ import annotations

from app.ledger.checkpoint import Checkpoint, VerifierKey, verify_checkpoint
from app.ledger.errors import CheckpointError, UnsignedCheckpoint
from app.ledger.findings import Finding, LogReport, Verdict
from app.ledger.heads import LogHead
from app.ledger.merkle import Frontier

NEVER = 2**63


class LogAudit:
    """`head` is recomputed from the records, `stored` is what the file says."""

    __slots__ = ("finding", "frontier", "head", "kept", "name", "next_kept", "proven", "stored")

    def __init__(self, stored: LogHead) -> None:
        self.stored = stored
        self.name = stored.name
        self.head = LogHead(stored.k, stored.name, Frontier())
        self.frontier = self.head.frontier
        self.kept: list[Checkpoint] = []
        """What is vouched for and still to come, the largest first."""
        self.next_kept = NEVER
        self.proven = 0
        """Records below this number are under a hash that was found right."""
        self.finding: Finding | None = None

    def blame(self, verdict: Verdict, seq: int | None, sentence: str) -> None:
        """Keep the first finding."""
        if self.finding is None:
            self.finding = Finding(verdict, self.name, seq, sentence)

    def expect(self, claim: Checkpoint) -> None:
        """Compare with `claim`, which is trusted, once so many records were read."""
        if claim.size:
            self.kept.append(claim)
            self.kept.sort(key=lambda kept: -kept.size)
            self.next_kept = self.kept[-1].size

    def vouched(self, verifier: VerifierKey, note: str, what: str) -> Checkpoint | None:
        """The claim of a checkpoint whose signature holds; otherwise the log is blamed."""
        try:
            return verify_checkpoint(note, verifier, self.name)
        except UnsignedCheckpoint as error:
            self.blame(Verdict.UNVERIFIABLE, None, f"Nothing vouches for {self.name}: {error} ({what}).")
        except CheckpointError as error:
            self.blame(Verdict.TAMPERED, None, f"In {self.name} {what} is forged or broken: {error}.")
        return None

    def suspects(self, end: int) -> str:
        """Words for the records that nothing vouches for, up to `end` (exclusive)."""
        if end - self.proven == 1:
            return f"record {self.proven} of {self.name}"
        return f"one of the records {self.proven} to {end - 1} of {self.name}"

    def check_kept(self) -> None:
        """The records so far against what is vouched for of just so many."""
        while self.kept and self.kept[-1].size == self.frontier.size:
            claim = self.kept.pop()
            if claim.root != self.frontier.root():
                self.blame(
                    Verdict.TAMPERED,
                    min(self.proven, claim.size - 1),
                    f"The first {claim.size} records of {self.name} are not those that were signed:"
                    f" {self.suspects(claim.size)} was changed.",
                )
            else:
                self.proven = max(self.proven, claim.size)
        self.next_kept = self.kept[-1].size if self.kept else NEVER

    def unreadable(self) -> None:
        """The file gave no further record of it."""
        seq = self.frontier.size
        if seq < self.stored.frontier.size:
            self.blame(
                Verdict.UNVERIFIABLE,
                seq,
                f"Record {seq} of {self.name} cannot be read, nor what follows it: the file is damaged there;"
                " put back a good copy of it.",
            )

    def finish(self, verifier: VerifierKey) -> None:
        """What can be said only once all was read."""
        if self.finding is not None:
            return
        size, stored, head = self.frontier.size, self.stored, self.head
        claim = self.vouched(verifier, stored.checkpoint, "the newest checkpoint")
        if claim is None:
            return
        signed = max([claim.size, *(kept.size for kept in self.kept)])
        if signed > size:
            self.blame(
                Verdict.ROLLBACK,
                size,
                f"Of {signed} signed records of {self.name} those from {size} on are gone: put back the newest copy"
                " of the ledger, or accept the loss with `mortdecai-gateway ledger accept-rollback`.",
            )
        elif claim.size < size:
            self.blame(Verdict.TAMPERED, claim.size, f"Record {claim.size} of {self.name} was never signed.")
        elif claim.root != self.frontier.root():
            changed = f"The records of {self.name} are not those that were signed: {self.suspects(size)} was changed."
            self.blame(Verdict.TAMPERED, min(self.proven, size - 1), changed)
        elif stored.frontier.size != size or stored.frontier.peaks != self.frontier.peaks:
            self.blame(Verdict.TAMPERED, None, f"The stored state of {self.name} is not that of its records.")
        elif stored.totals() != head.totals() or stored.terms != head.terms:
            self.blame(
                Verdict.TAMPERED, None, f"The counters of {self.name} are not the sums over its records."
            )

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
