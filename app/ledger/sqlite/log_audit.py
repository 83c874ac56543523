"""One log while it is read again: what its records say, what the file says of it, and the first thing that is wrong.

Rule: the first finding stands; whatever is wrong after it follows from it or can only be told once it is mended.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from app.ledger.checkpoint import Checkpoint, VerifierKey, parse_checkpoint, verify_checkpoint
from app.ledger.drafts import Draft, GenesisDraft, KeyDraft, RotationDraft
from app.ledger.errors import OUTLIVED, WAYS_OUT, CheckpointError, UnsignedCheckpoint
from app.ledger.findings import Finding, LogReport, Verdict
from app.ledger.heads import LogHead
from app.ledger.merkle import Frontier
from app.ledger.records import Record
from app.ledger.signing_keys import SigningKeys
from app.ledger.sqlite.skim import Stint

NEVER = 2**63


class Expected(NamedTuple):
    """The root over the first `size` records, as a checkpoint has it: `note`, "" where it is known to be true."""

    size: int
    root: bytes
    note: str


class Reached(NamedTuple):
    """Where a log's tree is after some records: `kept` of what is vouched for is still to come."""

    frontier: Frontier
    proven: int
    kept: int
    keys: SigningKeys | None


class LogAudit:
    """`head` is recomputed from the records, `stored` is what the file says."""

    __slots__ = (
        "access",
        "finding",
        "frontier",
        "head",
        "kept",
        "keys",
        "name",
        "next_kept",
        "owner",
        "proven",
        "stored",
    )

    def __init__(self, stored: LogHead) -> None:
        self.stored = stored
        self.name = stored.name
        self.head = LogHead(stored.k, stored.name, Frontier())
        self.frontier = self.head.frontier
        self.keys: SigningKeys | None = None
        self.access: list[KeyDraft] = []
        """What was said of access keys."""
        self.owner: str | None = None
        """The client's name, as the first record has it."""
        self.kept: list[Expected] = []
        """What is vouched for and still to come, the largest first."""
        self.next_kept = NEVER
        self.proven = 0
        """Records below this number are under a hash that was found right."""
        self.finding: Finding | None = None

    def blame(self, verdict: Verdict, seq: int | None, sentence: str) -> None:
        """Keep the first finding."""
        if self.finding is None:
            self.finding = Finding(verdict, self.name, seq, sentence)

    def expect(self, claim: Checkpoint, note: str = "") -> None:
        """Compare with `claim` once so many records were read. It is trusted, but where a `note` is given: that is the
        checkpoint that makes it, by an earlier key, of which the records up to there tell."""
        if claim.size:
            self.kept.append(Expected(claim.size, claim.root, note))
            self.kept.sort(key=lambda kept: -kept.size)
            self.next_kept = self.kept[-1].size

    def expect_kept(self, verifier: VerifierKey, note: str, size: int) -> None:
        """Compare with the checkpoint `note` kept at `size` records."""
        what = f"the checkpoint kept at {size} records"
        try:
            claim, signatures = parse_checkpoint(note)
            mine = any(item[:2] == (verifier.name, verifier.key_id) for item in signatures)
        except CheckpointError:
            mine = True  # which says what is wrong with it
        if mine:
            vouched = self.vouched(verifier, note, what)
            if vouched is None:
                return
            claim, note = vouched, ""
        if claim.size == size:
            self.expect(claim, note)
        else:
            self.blame(Verdict.TAMPERED, None, f"In {self.name} {what} is of {claim.size}.")

    def _believes(self, expected: Expected, keys: SigningKeys | None) -> bool:
        """Whether an earlier key of the log's, one good for it, has signed what is expected."""
        try:
            return not expected.note or (keys is not None and bool(keys.verify(expected.note)))
        except CheckpointError:
            return False

    def begins(self, record: Record) -> SigningKeys | None:
        """The log's first signing key, where this is its first record."""
        try:
            if record.seq == 0 and isinstance(record.draft, GenesisDraft):
                return SigningKeys(self.name, VerifierKey.parse(record.draft.vkey))
        except CheckpointError:
            return None  # what is signed now has to be signed by the key that is known, whatever stands there
        return None

    def _hear(self, draft: Draft) -> None:
        """What a record says of who is who."""
        if isinstance(draft, KeyDraft):
            self.access.append(draft)
        elif isinstance(draft, GenesisDraft):
            self.owner = draft.client

    def note(self, record: Record) -> bool:
        """What a record says of the log itself; False where it must not say so."""
        self.keys = self.begins(record) or self.keys
        self._hear(record.draft)
        if isinstance(record.draft, RotationDraft):
            try:
                if self.keys is None:
                    raise CheckpointError("the log's first record names no key")
                self.keys.follow(record.seq, record.draft)
            except CheckpointError as error:
                sentence = (
                    f"Record {record.seq} of {self.name} does not rightly pass its signing key on: {error}."
                )
                self.blame(Verdict.TAMPERED, record.seq, sentence)
        return self.finding is None

    def vouched(self, verifier: VerifierKey, note: str, what: str) -> Checkpoint | None:
        """The claim of a checkpoint whose signature holds; otherwise the log is blamed."""
        try:
            return verify_checkpoint(note, verifier, self.name)
        except UnsignedCheckpoint as error:
            self.blame(Verdict.UNVERIFIABLE, None, f"Nothing vouches for {self.name}: {error} ({what}).")
        except CheckpointError as error:
            self.blame(Verdict.TAMPERED, None, f"In {self.name} {what} is forged or broken: {error}.")
        return None

    def _by_another(self, verifier: VerifierKey, note: str) -> bool:
        """Whether another key of the log's than the newest has signed."""
        with suppress(CheckpointError):
            return (
                self.keys is not None
                and self.keys.newest.text != verifier.text
                and bool(self.keys.verify(note))
            )
        return False

    def suspects(self, end: int) -> str:
        """Words for the records that nothing vouches for, up to `end` (exclusive)."""
        if end - self.proven == 1:
            return f"record {self.proven} of {self.name}"
        return f"one of the records {self.proven} to {end - 1} of {self.name}"

    def step(self, stint: Stint, stored_tile: Callable[[int, int, int], object]) -> Reached | None:
        """What the log's tree is after `stint`; None where a hash kept on the way is another. Changes nothing."""
        frontier, proven, kept, keys = self.frontier.copy(), self.proven, len(self.kept), self.keys
        next_kept = self.next_kept
        for record in stint.notable:
            if isinstance(record.draft, RotationDraft):
                return None
            keys = self.begins(record) or keys
        for leaf in stint.leaves:
            for level, index, node in frontier.append(leaf):
                if stored_tile(self.head.k, level, index) != node:
                    return None
                proven = (index + 1) << level
            if frontier.size == next_kept:
                root = frontier.root()
                while kept and self.kept[kept - 1].size == frontier.size:
                    if self.kept[kept - 1].root != root or not self._believes(self.kept[kept - 1], keys):
                        return None
                    kept -= 1
                proven, next_kept = frontier.size, self.kept[kept - 1].size if kept else NEVER
        return Reached(frontier, proven, kept, keys)

    def take(self, stint: Stint, step: Reached) -> None:
        """Go on from there."""
        for record in stint.notable:
            self._hear(record.draft)
        head, sums = self.head, stint.sums
        head.frontier = self.frontier = step.frontier
        self.proven, self.keys = step.proven, step.keys
        del self.kept[step.kept :]
        self.next_kept = self.kept[-1].size if self.kept else NEVER
        head.cum = sums.cum
        head.requests += sums.requests
        head.tok_in += sums.tok_in
        head.tok_out += sums.tok_out
        head.dur_us += sums.dur_us
        head.e_uj += sums.e_uj
        head.terms = sums.terms or head.terms

    def check_kept(self) -> None:
        """The records so far against what is vouched for of just so many."""
        while self.kept and self.kept[-1].size == self.frontier.size:
            claim = self.kept.pop()
            if not self._believes(claim, self.keys):
                what = f"The checkpoint kept at {claim.size} records of {self.name}"
                self.blame(
                    Verdict.UNVERIFIABLE, None, f"{what} carries no signature of a key that was good for it."
                )
            elif claim.root != self.frontier.root():
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
        remembered = max((kept.size for kept in self.kept if not kept.note), default=0)
        if remembered > size and self._by_another(verifier, stored.checkpoint):
            gone = f"Of {remembered} signed records of {self.name} those from {size} on are gone"
            self.blame(Verdict.ROLLBACK, size, f"{gone}, and the others are {OUTLIVED}.")
            return
        claim = self.vouched(verifier, stored.checkpoint, "the newest checkpoint")
        if claim is None:
            return
        for kept in self.kept:
            if not self._believes(kept, self.keys):
                what = f"the checkpoint kept at {kept.size} records is signed by no key of the log's"
                self.blame(Verdict.UNVERIFIABLE, None, f"Nothing vouches for the end of {self.name}: {what}.")
                return
        signed = max([claim.size, *(kept.size for kept in self.kept)])
        if signed > size:
            self.blame(
                Verdict.ROLLBACK,
                size,
                f"Of {signed} signed records of {self.name} those from {size} on are gone: {WAYS_OUT}.",
            )
        elif claim.size < size:
            self.blame(Verdict.TAMPERED, claim.size, f"Record {claim.size} of {self.name} was never signed.")
        elif claim.root != self.frontier.root():
            changed = f"The records of {self.name} are not those that were signed: {self.suspects(size)} was changed."
            self.blame(Verdict.TAMPERED, min(self.proven, size - 1), changed)
        elif stored.frontier.size != size or stored.frontier.peaks != self.frontier.peaks:
            self.blame(Verdict.TAMPERED, None, f"The stored state of {self.name} is not that of its records.")
        elif self.keys is not None and self.keys.newest.text != verifier.text:
            self.blame(
                Verdict.TAMPERED,
                None,
                f"The records of {self.name} name another signing key than the one it has.",
            )
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
            "" if self.keys is None else self.keys.newest.text,
        )
