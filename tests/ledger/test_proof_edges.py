"""Proofs, frontiers, keys and notes at the very edge of what is allowed: one too long, one too short, just right."""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256

import pytest

from app.ledger.checkpoint import (
    MAX_SIGNATURES,
    Checkpoint,
    Signer,
    VerifierKey,
    parse_checkpoint,
    verify_checkpoint,
)
from app.ledger.errors import CheckpointError
from app.ledger.merkle import (
    Frontier,
    ProofError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_from_leaves,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(bytes([number])) for number in range(40)]
EXTRA = sha256(b"extra").digest()
SIGNER = Signer(bytes(range(32)), "gw_test")
ROOT = sha256(b"root").digest()
NOTE = SIGNER.sign_checkpoint("log", 42, ROOT)
SIGNATURE = NOTE.split("\n")[4]


def nodes(level: int, index: int) -> bytes:
    return root_from_leaves(LEAVES[index << level : (index + 1) << level])


# Whoever makes up a proof makes up a root that fits it; its length alone gives it away.


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 21])
def test_an_inclusion_proof_that_is_longer_than_its_tree_is_refused_though_its_root_fits(size: int) -> None:
    for index in range(size):
        proof = inclusion_proof(nodes, index, size)
        root = root_from_leaves(LEAVES[:size])
        verify_inclusion(LEAVES[index], index, size, proof, root)
        for grown in (node_hash(EXTRA, root), node_hash(root, EXTRA)):
            with pytest.raises(ProofError, match="too long"):
                verify_inclusion(LEAVES[index], index, size, [*proof, EXTRA], grown)


@pytest.mark.parametrize("size", [2, 3, 7, 8, 21])
def test_an_inclusion_proof_that_is_shorter_than_its_tree_is_refused_though_its_root_fits(size: int) -> None:
    for index in range(size):
        with pytest.raises(ProofError, match="too short"):
            verify_inclusion(LEAVES[index], index, size, [], LEAVES[index])
    with pytest.raises(ProofError, match="too short"):
        verify_inclusion(LEAVES[0], 0, 4, [LEAVES[1]], root_from_leaves(LEAVES[:2]))


@pytest.mark.parametrize(("size1", "size2"), [(1, 2), (2, 3), (4, 7), (6, 7), (7, 8), (5, 21)])
def test_a_consistency_proof_of_another_length_is_refused_though_its_roots_fit(
    size1: int, size2: int
) -> None:
    proof = consistency_proof(nodes, size1, size2)
    root1, root2 = root_from_leaves(LEAVES[:size1]), root_from_leaves(LEAVES[:size2])
    verify_consistency(size1, size2, proof, root1, root2)
    for first in (root1, node_hash(EXTRA, root1)):
        for second in (node_hash(EXTRA, root2), node_hash(root2, EXTRA)):
            with pytest.raises(ProofError, match="too long"):
                verify_consistency(size1, size2, [*proof, EXTRA], first, second)
    with pytest.raises(ProofError, match="too short"):
        verify_consistency(1, 4, [LEAVES[1]], LEAVES[0], root_from_leaves(LEAVES[:2]))


def test_trees_of_equal_size_are_equal_and_need_no_proof() -> None:
    verify_consistency(3, 3, [], ROOT, ROOT)
    with pytest.raises(ProofError, match="need no proof"):
        verify_consistency(3, 3, [EXTRA], ROOT, ROOT)
    with pytest.raises(ProofError, match="different roots"):
        verify_consistency(3, 3, [], ROOT, EXTRA)


@pytest.mark.parametrize(("size1", "size2"), [(0, 0), (0, 3), (4, 3), (-1, 3)])
def test_nothing_is_proven_of_an_impossible_growth(size1: int, size2: int) -> None:
    with pytest.raises(ProofError, match="nothing is proven"):
        verify_consistency(size1, size2, [EXTRA], ROOT, ROOT)
    with pytest.raises(ProofError, match="empty"):
        verify_consistency(1, 2, [], ROOT, ROOT)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_every_hash_of_a_proof_has_its_length(length: int) -> None:
    odd = bytes(length)
    for leaf, proof, root in (
        (odd, [EXTRA], ROOT),
        (ROOT, [odd], ROOT),
        (ROOT, [EXTRA, odd], ROOT),
        (ROOT, [EXTRA], odd),
    ):
        with pytest.raises(ProofError, match="32 bytes"):
            verify_inclusion(leaf, 0, 2, proof, root)
    for root1, proof, root2 in ((odd, [EXTRA], ROOT), (ROOT, [odd], ROOT), (ROOT, [EXTRA], odd)):
        with pytest.raises(ProofError, match="32 bytes"):
            verify_consistency(1, 2, proof, root1, root2)


# Frontiers.


@pytest.mark.parametrize("length", [0, 31, 33, 64])
@pytest.mark.parametrize("at", [0, 1])
def test_every_peak_of_a_frontier_has_its_length(at: int, length: int) -> None:
    peaks = [EXTRA, ROOT]
    assert Frontier(3, peaks).peaks == peaks
    peaks[at] = bytes(length)
    with pytest.raises(ValueError, match="frontier of 3 leaves has 2 hashes"):
        Frontier(3, peaks)


@pytest.mark.parametrize(("size", "count"), [(-1, 1), (-3, 2), (0, 1), (1, 0), (1, 2), (3, 1), (4, 3)])
def test_a_frontier_has_as_many_peaks_as_its_size_has_ones(size: int, count: int) -> None:
    with pytest.raises(ValueError, match="frontier"):
        Frontier(size, [EXTRA] * count)


@pytest.mark.parametrize("length", [0, 1, 7, 9, 39, 41, 71, 73])
def test_a_stored_frontier_is_its_size_and_whole_hashes(length: int) -> None:
    with pytest.raises(ValueError, match="frontier"):
        Frontier.from_bytes(bytes(length))
    assert Frontier.from_bytes(bytes(8)).size == 0
    assert Frontier.from_bytes((1).to_bytes(8, "big") + EXTRA).peaks == [EXTRA]
    assert Frontier.from_bytes((3).to_bytes(8, "big") + EXTRA + ROOT).peaks == [EXTRA, ROOT]


# Keys.


def vkey(public: bytes, kind: bytes = b"\x01", name: str = "gw_test") -> str:
    """A verifier key whose id fits, whatever its length."""
    key_id = sha256(name.encode() + b"\n" + kind + public).digest()[:4].hex()
    return f"{name}+{key_id}+{b64encode(kind + public).decode()}"


PUBLIC = SIGNER.verifier.text.split("+", 2)


def public_bytes() -> bytes:
    return b64decode(PUBLIC[2])[1:]


def test_a_key_of_the_right_length_is_read() -> None:
    assert VerifierKey.parse(vkey(public_bytes())).text == SIGNER.vkey


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_a_verifier_key_of_another_length_is_refused_in_our_own_words(length: int) -> None:
    public = (public_bytes() * 3)[:length]
    with pytest.raises(CheckpointError, match="not an Ed25519 key"):
        VerifierKey.parse(vkey(public))


def test_a_verifier_key_of_another_kind_is_refused() -> None:
    with pytest.raises(CheckpointError, match="not an Ed25519 key"):
        VerifierKey.parse(vkey(public_bytes(), b"\x04"))


def test_a_verifier_key_whose_id_is_anothers_is_refused() -> None:
    name, _, encoded = PUBLIC
    with pytest.raises(CheckpointError, match="id is not that"):
        VerifierKey.parse(f"{name}+00000000+{encoded}")
    with pytest.raises(CheckpointError, match="id is not that"):
        VerifierKey.parse(f"other+{PUBLIC[1]}+{encoded}")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_signing_key_of_another_length_signs_nothing(length: int) -> None:
    with pytest.raises(ValueError):
        Signer(bytes(length), "gw_test")


def test_a_signer_says_under_which_name_it_signs() -> None:
    assert SIGNER.name == SIGNER.verifier.name == "gw_test"


# Notes.


def with_signatures(*lines: str) -> str:
    return NOTE.rpartition("\n\n")[0] + "\n\n" + "".join(f"{line}\n" for line in lines)


def test_as_many_signatures_as_are_allowed_are_read_and_not_one_more() -> None:
    assert len(parse_checkpoint(with_signatures(*[SIGNATURE] * MAX_SIGNATURES))[1]) == MAX_SIGNATURES == 64
    with pytest.raises(CheckpointError, match="not a signed note"):
        parse_checkpoint(with_signatures(*[SIGNATURE] * (MAX_SIGNATURES + 1)))


def test_every_signature_under_our_name_must_hold() -> None:
    forged = SIGNER.sign_checkpoint("log", 43, ROOT).split("\n")[4]
    assert verify_checkpoint(with_signatures(SIGNATURE, SIGNATURE), SIGNER.verifier, "log").size == 42
    for lines in ((SIGNATURE, forged), (forged, SIGNATURE)):
        with pytest.raises(CheckpointError, match="does not belong"):
            verify_checkpoint(with_signatures(*lines), SIGNER.verifier, "log")


@pytest.mark.parametrize("length", [0, 1, 4])
def test_a_signature_has_more_than_its_keys_id(length: int) -> None:
    with pytest.raises(CheckpointError, match="too short"):
        parse_checkpoint(with_signatures(f"— gw_test {b64encode(bytes(length)).decode()}"))
    found = parse_checkpoint(with_signatures(f"— gw_test {b64encode(b'abcde').decode()}"))[1]
    assert found == (("gw_test", b"abcd", b"e"),)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_root_has_its_length(length: int) -> None:
    note = f"log\n1\n{b64encode(bytes(length)).decode()}\n\n{SIGNATURE}\n"
    with pytest.raises(CheckpointError):
        parse_checkpoint(note)


@pytest.mark.parametrize(
    ("size", "fits"), [("0", True), ("9" * 19, True), ("1" + "0" * 19, False), ("00", False), ("+1", False)]
)
def test_a_size_is_a_plain_number_of_at_most_nineteen_digits(size: str, fits: bool) -> None:
    note = f"log\n{size}\n{b64encode(ROOT).decode()}\n\n{SIGNATURE}\n"
    if fits:
        assert parse_checkpoint(note)[0] == Checkpoint("log", int(size), ROOT)
    else:
        with pytest.raises(CheckpointError, match="plain number"):
            parse_checkpoint(note)


@pytest.mark.parametrize("char", ["\x00", "\x1f", "\t", "\r"])
def test_a_control_character_anywhere_makes_it_no_note(char: str) -> None:
    with pytest.raises(CheckpointError):
        parse_checkpoint(f"lo{char}g\n1\n{b64encode(ROOT).decode()}\n\n{SIGNATURE}\n")
    assert parse_checkpoint(f"lo g\n1\n{b64encode(ROOT).decode()}\n\n{SIGNATURE}\n")[0].origin == "lo g"
