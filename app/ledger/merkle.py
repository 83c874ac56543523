"""RFC 6962 Merkle trees: hashes, a growing frontier, and proofs with their verification.

Rule 1: pure; no record format, no storage. Stored hashes come in through a `NodeGetter`.
Rule 2: whoever verifies trusts only the root it was given; anything malformed is a `ProofError`.

Hashing and proofs are those of RFC 6962 section 2.1; the iterative verifiers follow RFC 9162 sections 2.1.3.2
and 2.1.4.2. A node is named by (level, index): it covers the leaves [index << level, (index + 1) << level).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

HASH_B = 32
EMPTY_ROOT = sha256(b"").digest()
TILE_LEVELS = 8
"""Perfect subtrees are kept every so many levels: at 8, 16, 24 and so on."""

NodeGetter = Callable[[int, int], bytes]
"""(level, index) -> the hash of that perfect subtree."""
Tile = tuple[int, int, bytes]
"""(level, index, hash) of a perfect subtree that was just completed."""


class ProofError(Exception):
    """The proof does not show what it claims."""


def leaf_hash(body: bytes) -> bytes:
    """SHA-256(0x00 ‖ body), 32 bytes."""
    return sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right), 32 bytes."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: one hash for every one-bit of the size, the largest subtree first.

    It is all that appending and the root need: 32 bytes for each doubling of the tree.
    """

    __slots__ = ("peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)
        if size < 0 or len(self.peaks) != size.bit_count() or any(len(peak) != HASH_B for peak in self.peaks):
            raise ValueError(f"a frontier of {size} leaves has {size.bit_count()} hashes of {HASH_B} bytes")

    def copy(self) -> Frontier:
        """An independent frontier of the same tree."""
        twin = Frontier.__new__(Frontier)
        twin.size = self.size
        twin.peaks = self.peaks.copy()
        return twin

    def append(self, leaf: bytes) -> tuple[Tile, ...]:
        """Add one leaf hash; returns the tiles (subtrees of 256, 65536, … leaves) that it completed."""
        index, peaks, level = self.size, self.peaks, 0
        tiles: tuple[Tile, ...] = ()
        self.size = index + 1
        while index & 1:
            leaf = sha256(b"\x01" + peaks.pop() + leaf).digest()
            index >>= 1
            level += 1
            if not level % TILE_LEVELS:
                tiles += ((level, index, leaf),)
        peaks.append(leaf)
        return tiles

    def root(self) -> bytes:
        """The root over all leaves so far."""
        peaks = self.peaks
        if not peaks:
            return EMPTY_ROOT
        root = peaks[-1]
        for peak in peaks[-2::-1]:
            root = sha256(b"\x01" + peak + root).digest()
        return root

    def to_bytes(self) -> bytes:
        """Size as 8 bytes, big-endian, then the hashes."""
        return self.size.to_bytes(8, "big") + b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, data: bytes) -> Frontier:
        """The inverse of `to_bytes`; raises ValueError on anything else."""
        if len(data) < 8 or len(data) % HASH_B != 8:
            raise ValueError("a stored frontier is 8 bytes and then whole hashes")
        size = int.from_bytes(data[:8], "big")
        return cls(size, (data[at : at + HASH_B] for at in range(8, len(data), HASH_B)))


def root_from_leaves(leaves: Iterable[bytes]) -> bytes:
    """The root over the given leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def _split(size: int) -> int:
    """The largest power of two below `size` (which is at least 2): where RFC 6962 divides a tree."""
    return 1 << (size - 1).bit_length() - 1


def _span_hash(node: NodeGetter, begin: int, end: int) -> bytes:
    """MTH(D[begin:end]) where that span is a node of the RFC's division, perfect or at the right edge."""
    peaks = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        peaks.append(node(level, begin >> level))
        begin += 1 << level
    root = peaks.pop()
    while peaks:
        root = node_hash(peaks.pop(), root)
    return root


def tree_root(node: NodeGetter, size: int) -> bytes:
    """The root of the first `size` leaves, from stored nodes."""
    return _span_hash(node, 0, size) if size else EMPTY_ROOT


def siblings(index: int, size: int) -> list[tuple[int, int]]:
    """Which leaves [begin, end) each hash of `inclusion_proof(…, index, size)` is over, in its order. ValueError unless
    0 <= index < size."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    spans: list[tuple[int, int]] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((begin, middle))
            begin = middle
    spans.reverse()
    return spans


def inclusion_proof(node: NodeGetter, index: int, size: int) -> list[bytes]:
    """PATH(index, D[size]) of RFC 6962, the leaf's sibling first. ValueError unless 0 <= index < size."""
    return [_span_hash(node, begin, end) for begin, end in siblings(index, size)]


def consistency_proof(node: NodeGetter, size1: int, size2: int) -> list[bytes]:
    """PROOF(size1, D[size2]) of RFC 6962; empty where the sizes are equal. ValueError unless 0 < size1 <= size2."""
    if not 0 < size1 <= size2:
        raise ValueError(f"no consistency proof leads from {size1} to {size2} leaves")
    proof: list[bytes] = []
    begin, end, whole = 0, size2, True
    while size1 != end:
        middle = begin + _split(end - begin)
        if size1 <= middle:
            proof.append(_span_hash(node, middle, end))
            end = middle
        else:
            proof.append(_span_hash(node, begin, middle))
            begin, whole = middle, False
    if not whole:
        proof.append(_span_hash(node, begin, end))
    proof.reverse()
    return proof


def _require_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(item) != HASH_B for item in hashes):
        raise ProofError(f"every hash of a proof has {HASH_B} bytes")


def implied_root(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root of the tree of `size` leaves to which `proof` leads from `leaf` (a leaf hash), its number `index`;
    ProofError where it leads nowhere."""
    if not 0 <= index < size:
        raise ProofError(f"a tree of {size} leaves has no leaf {index}")
    _require_hashes((leaf, *proof))
    position, last, computed = index, size - 1, leaf
    for step in proof:
        if not last:
            raise ProofError("the proof is too long")
        if position & 1 or position == last:
            computed = node_hash(step, computed)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, step)
        position >>= 1
        last >>= 1
    if last:
        raise ProofError("the proof is too short")
    return computed


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` (a leaf hash) is number `index` of the tree of `size` leaves with `root`, or ProofError."""
    _require_hashes((root,))
    if implied_root(leaf, index, size, proof) != root:
        raise ProofError("the proof leads to another root")


def verify_consistency(size1: int, size2: int, proof: Sequence[bytes], root1: bytes, root2: bytes) -> None:
    """Check that the tree of `size2` leaves with `root2` only appended to that of `size1` with `root1`.

    Raises ProofError otherwise, and always for `size1` 0: every tree is consistent with the empty one.
    """
    if not 0 < size1 <= size2:
        raise ProofError(f"nothing is proven of a growth from {size1} to {size2} leaves")
    if size1 == size2:
        if proof:
            raise ProofError("trees of equal size need no proof")
        if root1 != root2:
            raise ProofError("trees of equal size have different roots")
        return
    if not proof:
        raise ProofError("the proof is empty")
    _require_hashes((root1, root2, *proof))
    path = list(proof)
    if not size1 & (size1 - 1):
        path.insert(0, root1)  # a perfect first tree is its own first node
    position, last = size1 - 1, size2 - 1
    while position & 1:
        position >>= 1
        last >>= 1
    first = second = path[0]
    for step in path[1:]:
        if not last:
            raise ProofError("the proof is too long")
        if position & 1 or position == last:
            first = node_hash(step, first)
            second = node_hash(step, second)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            second = node_hash(second, step)
        position >>= 1
        last >>= 1
    if last:
        raise ProofError("the proof is too short")
    if first != root1:
        raise ProofError("the proof leads to another first root")
    if second != root2:
        raise ProofError("the proof leads to another second root")
