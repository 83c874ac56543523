"""The Merkle tree against RFC 6962's published vectors, against a naive tree, and with every bit flipped."""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_from_leaves,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

VECTORS = json.loads((Path(__file__).parent / "data" / "merkle_vectors.json").read_text())
LEAVES = [leaf_hash(str(number).encode()) for number in range(600)]


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962 writes it down."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(naive_root(leaves[:k]), naive_root(leaves[k:]))


def nodes(level: int, index: int) -> bytes:
    return naive_root(LEAVES[index << level : (index + 1) << level])


def flipped(data: bytes) -> list[bytes]:
    """`data` with each of its bits flipped."""
    return [
        data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
        for at in range(len(data))
        for bit in range(8)
    ]


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: case["case"])
def test_published_inclusion_vectors_are_judged_as_published(case):
    proof = [b64decode(item) for item in case["proof"]]
    arguments = (
        b64decode(case["leafHash"]),
        case["leafIdx"],
        case["treeSize"],
        proof,
        b64decode(case["root"]),
    )
    if case["wantErr"]:
        with pytest.raises(ProofError):
            verify_inclusion(*arguments)
    else:
        verify_inclusion(*arguments)


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda case: case["case"])
def test_published_consistency_vectors_are_judged_as_published(case):
    proof = [b64decode(item) for item in case["proof"]]
    arguments = (case["size1"], case["size2"], proof, b64decode(case["root1"]), b64decode(case["root2"]))
    if case["wantErr"]:
        with pytest.raises(ProofError):
            verify_consistency(*arguments)
    else:
        verify_consistency(*arguments)


def test_all_published_vectors_are_here():
    assert (len(VECTORS["inclusion"]), len(VECTORS["consistency"])) == (98, 98)


def test_hashes_are_those_of_rfc_6962():
    assert leaf_hash(b"") == sha256(b"\x00").digest()
    assert node_hash(b"l" * 32, b"r" * 32) == sha256(b"\x01" + b"l" * 32 + b"r" * 32).digest()
    assert EMPTY_ROOT == sha256(b"").digest() == Frontier().root() == tree_root(nodes, 0)


def test_the_frontier_has_the_root_of_the_naive_tree_at_every_size():
    frontier = Frontier()
    for size in range(1, 300):
        frontier.append(LEAVES[size - 1])
        expected = naive_root(LEAVES[:size])
        assert frontier.root() == expected == tree_root(nodes, size)
        again = Frontier.from_bytes(frontier.to_bytes())
        assert (again.size, again.peaks) == (size, frontier.peaks)
    assert root_from_leaves(LEAVES[:299]) == frontier.root()


def test_a_frontier_reports_each_tile_when_it_is_complete():
    frontier = Frontier()
    reported = [(size, tile) for size in range(600) for tile in frontier.append(LEAVES[size])]
    assert reported == [(255, (8, 0, nodes(8, 0))), (511, (8, 1, nodes(8, 1)))]


def test_a_frontier_reports_tiles_of_two_levels_at_65536_leaves():
    frontier = Frontier()
    tiles = [tile for _ in range(65536) for tile in frontier.append(LEAVES[0])]
    assert [tile[:2] for tile in tiles[-2:]] == [(8, 255), (16, 0)]
    assert tiles[-1][2] == frontier.root()


@pytest.mark.parametrize("data", [b"", bytes(7), (1).to_bytes(8, "big"), (2).to_bytes(8, "big") + bytes(33)])
def test_a_malformed_frontier_is_refused(data):
    with pytest.raises(ValueError, match="frontier"):
        Frontier.from_bytes(data)


def test_copies_of_a_frontier_grow_apart():
    one = Frontier()
    one.append(LEAVES[0])
    two = one.copy()
    two.append(LEAVES[1])
    assert one.root() == LEAVES[0]
    assert two.root() == node_hash(LEAVES[0], LEAVES[1])


def test_every_leaf_of_every_small_tree_can_be_proven_and_only_in_its_place():
    for size in range(1, 34):
        root = naive_root(LEAVES[:size])
        for index in range(size):
            proof = inclusion_proof(nodes, index, size)
            verify_inclusion(LEAVES[index], index, size, proof, root)
            for other in range(-1, size + 2):
                if other != index:
                    with pytest.raises(ProofError):
                        verify_inclusion(LEAVES[index], other, size, proof, root)


def test_every_growth_of_every_small_tree_can_be_proven_and_no_other():
    for size2 in range(1, 34):
        root2 = naive_root(LEAVES[:size2])
        for size1 in range(1, size2 + 1):
            root1 = naive_root(LEAVES[:size1])
            proof = consistency_proof(nodes, size1, size2)
            verify_consistency(size1, size2, proof, root1, root2)
            with pytest.raises(ProofError):
                verify_consistency(size1, size2, proof, LEAVES[40], root2)
            with pytest.raises(ProofError):
                verify_consistency(size1, size2, [*proof, LEAVES[0]], root1, root2)


@given(size=st.integers(1, 600), data=st.data())
def test_proofs_hold_in_larger_trees(size, data):
    index = data.draw(st.integers(0, size - 1))
    size1 = data.draw(st.integers(1, size))
    root = naive_root(LEAVES[:size])
    verify_inclusion(LEAVES[index], index, size, inclusion_proof(nodes, index, size), root)
    verify_consistency(size1, size, consistency_proof(nodes, size1, size), naive_root(LEAVES[:size1]), root)


@pytest.mark.parametrize(("index", "size"), [(0, 2), (3, 7), (6, 7), (12, 21)])
def test_one_flipped_bit_anywhere_breaks_an_inclusion_proof(index, size):
    root, proof = naive_root(LEAVES[:size]), inclusion_proof(nodes, index, size)
    for bad in flipped(LEAVES[index]):
        with pytest.raises(ProofError):
            verify_inclusion(bad, index, size, proof, root)
    for bad in flipped(root):
        with pytest.raises(ProofError):
            verify_inclusion(LEAVES[index], index, size, proof, bad)
    for at, step in enumerate(proof):
        for bad in flipped(step):
            with pytest.raises(ProofError):
                verify_inclusion(LEAVES[index], index, size, [*proof[:at], bad, *proof[at + 1 :]], root)


@pytest.mark.parametrize(("size1", "size2"), [(1, 2), (4, 7), (6, 7), (5, 21)])
def test_one_flipped_bit_anywhere_breaks_a_consistency_proof(size1, size2):
    root1, root2 = naive_root(LEAVES[:size1]), naive_root(LEAVES[:size2])
    proof = consistency_proof(nodes, size1, size2)
    for bad in flipped(root1):
        with pytest.raises(ProofError):
            verify_consistency(size1, size2, proof, bad, root2)
    for bad in flipped(root2):
        with pytest.raises(ProofError):
            verify_consistency(size1, size2, proof, root1, bad)
    for at, step in enumerate(proof):
        for bad in flipped(step):
            with pytest.raises(ProofError):
                verify_consistency(size1, size2, [*proof[:at], bad, *proof[at + 1 :]], root1, root2)


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_no_proof_is_made_for_a_leaf_that_does_not_exist(index, size):
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(nodes, index, size)


@pytest.mark.parametrize(("size1", "size2"), [(0, 3), (4, 3), (-1, 3)])
def test_no_consistency_proof_is_made_between_impossible_sizes(size1, size2):
    with pytest.raises(ValueError, match="no consistency proof"):
        consistency_proof(nodes, size1, size2)


def test_hashes_of_another_length_are_refused():
    with pytest.raises(ProofError):
        verify_inclusion(b"short", 0, 1, [], b"short")


def test_a_proof_that_is_longer_or_shorter_than_its_tree_is_refused_whatever_it_leads_to():
    for size in range(1, 34):
        for index in range(size):
            proof = inclusion_proof(nodes, index, size)
            root = naive_root(LEAVES[:size])
            for extra in (LEAVES[0], root):
                with pytest.raises(ProofError, match="too long"):
                    verify_inclusion(LEAVES[index], index, size, [*proof, extra], root)
            if proof:
                with pytest.raises(ProofError, match="too short"):
                    verify_inclusion(LEAVES[index], index, size, proof[:-1], root)


def test_a_longer_proof_is_refused_even_where_its_root_was_made_to_fit():
    """Whoever makes the proof may make the root too; the length alone must stop him."""
    leaf, sibling = LEAVES[0], LEAVES[1]
    with pytest.raises(ProofError, match="too long"):
        verify_inclusion(leaf, 0, 1, [sibling], node_hash(leaf, sibling))
    with pytest.raises(ProofError, match="too long"):
        verify_inclusion(leaf, 0, 1, [sibling], node_hash(sibling, leaf))
    with pytest.raises(ProofError, match="too long"):
        verify_inclusion(leaf, 1, 2, [sibling, sibling], node_hash(sibling, node_hash(sibling, leaf)))


def test_a_growth_is_proven_by_no_more_and_no_fewer_hashes_than_it_takes():
    for size2 in range(2, 34):
        root2 = naive_root(LEAVES[:size2])
        for size1 in range(1, size2):
            root1 = naive_root(LEAVES[:size1])
            proof = consistency_proof(nodes, size1, size2)
            with pytest.raises(ProofError, match="too long"):
                verify_consistency(size1, size2, [*proof, LEAVES[0]], root1, root2)
            with pytest.raises(ProofError, match=r"too short|empty"):
                verify_consistency(size1, size2, proof[:-1], root1, root2)
            with pytest.raises(ProofError, match="empty"):
                verify_consistency(size1, size2, [], root1, root2)
            with pytest.raises(ProofError, match=r"another first root|another second root"):
                verify_consistency(size1, size2, proof, LEAVES[40], root2)
            with pytest.raises(ProofError, match="another second root"):
                verify_consistency(size1, size2, proof, root1, LEAVES[40])


def test_trees_of_one_size_are_the_same_tree_and_need_no_proof():
    root = naive_root(LEAVES[:5])
    verify_consistency(5, 5, [], root, root)
    with pytest.raises(ProofError, match="need no proof"):
        verify_consistency(5, 5, [LEAVES[0]], root, root)
    with pytest.raises(ProofError, match="different roots"):
        verify_consistency(5, 5, [], root, LEAVES[0])


@pytest.mark.parametrize(("size1", "size2"), [(0, 5), (-1, 5), (6, 5)])
def test_nothing_is_proven_of_a_growth_that_is_none(size1, size2):
    with pytest.raises(ProofError, match="nothing is proven"):
        verify_consistency(size1, size2, [LEAVES[0]], LEAVES[0], LEAVES[1])


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_hash_of_a_wrong_length_is_refused_wherever_it_stands(length):
    odd, root, proof = bytes(length), naive_root(LEAVES[:4]), inclusion_proof(nodes, 1, 4)
    for leaf, path, top in (
        (odd, proof, root),
        (LEAVES[1], [odd, proof[1]], root),
        (LEAVES[1], [proof[0], odd], root),
        (LEAVES[1], proof, odd),
    ):
        with pytest.raises(ProofError, match="32 bytes"):
            verify_inclusion(leaf, 1, 4, path, top)
    growth = consistency_proof(nodes, 3, 4)
    root1 = naive_root(LEAVES[:3])
    for path, first, second in (
        (growth, odd, root),
        (growth, root1, odd),
        ([odd, *growth[1:]], root1, root),
        ([*growth[:-1], odd], root1, root),
    ):
        with pytest.raises(ProofError, match="32 bytes"):
            verify_consistency(3, 4, path, first, second)


@pytest.mark.parametrize(
    ("size", "peaks"),
    [
        (-1, [bytes(32)]),
        (0, [bytes(32)]),
        (1, []),
        (1, [bytes(31)]),
        (1, [bytes(33)]),
        (2, [bytes(32), bytes(32)]),
        (3, [bytes(32)]),
        (3, [bytes(32), bytes(31)]),
        (3, [bytes(31), bytes(32)]),
    ],
)
def test_a_frontier_has_a_whole_hash_for_every_one_bit_of_its_size(size, peaks):
    with pytest.raises(ValueError, match="frontier"):
        Frontier(size, peaks)


def test_a_stored_frontier_says_its_size_in_eight_bytes_before_its_hashes():
    frontier = Frontier(3, [LEAVES[0], LEAVES[1]])
    assert frontier.to_bytes() == bytes([0, 0, 0, 0, 0, 0, 0, 3]) + LEAVES[0] + LEAVES[1]
    assert Frontier.from_bytes(bytes(8)).root() == EMPTY_ROOT
