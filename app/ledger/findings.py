"""What an audit says: a verdict, and the first thing wrong in each log.

Rule: data only; `audit.py` finds, the faces tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from app.ledger.heads import Totals, add_up


class Verdict(StrEnum):
    """What an audit says, from good to bad."""

    OK = "OK"
    LAGGING = "LAGGING"
    """A receiver has not acknowledged what it should have by now, or contests it."""
    UNVERIFIABLE = "UNVERIFIABLE"
    """Something that would prove it is missing: a signature, or a readable file."""
    ROLLBACK = "ROLLBACK"
    """Records that were signed are gone from the end."""
    FORK = "FORK"
    """Two histories of one log are signed by the same key."""
    TAMPERED = "TAMPERED"
    """Something is not what was signed."""


GRAVITY = list(Verdict)


@dataclass(frozen=True, slots=True)
class Finding:
    """The first thing wrong in a log. `seq` is the first bad record, where a record can be named; `log` is "" where
    the finding concerns the file as a whole."""

    verdict: Verdict
    log: str
    seq: int | None
    sentence: str


@dataclass(frozen=True, slots=True)
class LogReport:
    """One log as it was read: `valid` of its `size` records, counted from the first, are as they were signed; `root` is
    the tree's over those that could be read, `checkpoint` the newest signed note as it is stored, `vkey` the key that
    these records say to be its signer's, "" where they say none."""

    log: str
    size: int
    valid: int
    root: bytes
    checkpoint: str
    recomputed: Totals
    counters: Totals
    vkey: str = ""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was read and found. `recomputed` are the sums over the records, `counters` those the gateway kept."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    logs: int
    records: int
    recomputed: Totals
    counters: Totals
    seconds: float
    by_log: tuple[LogReport, ...]

    @property
    def valid(self) -> int:
        """Records that are as they were signed."""
        return sum(report.valid for report in self.by_log)

    def of(self, log: str | None) -> AuditReport:
        """The part of the report that concerns one log, for the client whose log it is; None is the whole report.

        A finding about the file as a whole concerns every log.
        """
        if log is None:
            return self
        own = tuple(report for report in self.by_log if report.log == log)
        findings = tuple(finding for finding in self.findings if finding.log in (log, ""))
        return replace(
            self,
            verdict=worst(findings),
            findings=findings,
            logs=len(own),
            records=sum(report.size for report in own),
            recomputed=add_up(report.recomputed for report in own),
            counters=add_up(report.counters for report in own),
            by_log=own,
        )

    @property
    def sentence(self) -> str:
        """The verdict for people."""
        if self.verdict is Verdict.OK:
            return f"All {self.records} records are exactly as they were signed."
        more = f" ({len(self.findings)} findings in all.)" if len(self.findings) > 1 else ""
        gravest = max(self.findings, key=lambda finding: GRAVITY.index(finding.verdict))
        return gravest.sentence + more


def worst(findings: Iterable[Finding]) -> Verdict:
    """The gravest verdict of them; OK where there is none."""
    return max((finding.verdict for finding in findings), key=GRAVITY.index, default=Verdict.OK)
