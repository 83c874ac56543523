"""Where do two trees over the same number of records differ first? Found in as many questions as the tree is high.

Rule 1: pure; whoever asks the two sides is elsewhere. Rule 2: no answer is believed by itself: all that one side shows
has to lead to one root, so it cannot show one tree to one question and another tree to the next.

Every inclusion proof of RFC 6962 holds the hashes of subtrees that together cover all records. The leftmost one that is
not the same on both sides holds the first difference, and is as high as one question less.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.ledger.merkle import ProofError, implied_root, leaf_hash, siblings


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """What one side shows of a record: its bytes, the path in the tree that was asked for, the checkpoint `note` under
    which it stands, and where that is over more records than the tree, the consistency proof `growth` between them."""

    leaf: bytes
    path: tuple[bytes, ...]
    note: str
    growth: tuple[bytes, ...] = ()


class Descent:
    """Ask both sides for the record `seq` in their trees over `size` records and tell what they show, until it is None;
    then `first` is the first record that is not the same, None where all are."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.seq: int | None = 0 if size else None
        self.first: int | None = None
        self.roots: tuple[bytes, bytes] | None = None
        """Ours and theirs over `size` records, as far as what they show goes."""
        self._begin, self._end = 0, size

    def told(self, ours: ShownRecord, theirs: ShownRecord) -> None:
        """What was shown of the record `seq`. Raises ProofError where a side shows no tree, or two."""
        seq = self.seq
        assert seq is not None
        self._commit(seq, ours, theirs)
        self.seq = None
        if ours.leaf != theirs.leaf:
            self.first = seq
            return
        for mine, other, (begin, end) in zip(ours.path, theirs.path, siblings(seq, self.size), strict=True):
            if self._begin <= begin and end <= self._end and mine != other:
                self._begin, self._end = begin, end
                if end - begin == 1:
                    self.first = begin
                else:
                    self.seq = begin
                return

    def _commit(self, seq: int, ours: ShownRecord, theirs: ShownRecord) -> None:
        roots = _root(seq, self.size, ours), _root(seq, self.size, theirs)
        if self.roots is None:
            self.roots = roots
        elif roots != self.roots:
            whose = "we show" if roots[0] != self.roots[0] else "the other side shows"
            raise ProofError(f"{whose} record {seq} in another tree than the records before")


def _root(seq: int, size: int, shown: ShownRecord) -> bytes:
    return implied_root(leaf_hash(shown.leaf), seq, size, shown.path)
