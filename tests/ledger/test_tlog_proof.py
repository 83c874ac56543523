"""Proof files in C2SP's form: they stand alone, and a single changed bit is refused."""

from __future__ import annotations

import dataclasses
from base64 import b64encode

import pytest

from app.ledger.checkpoint import Signer, VerifierKey
from app.ledger.errors import BadProof
from app.ledger.merkle import inclusion_proof, leaf_hash, root_from_leaves, tree_root
from app.ledger.proofs import Inclusion
from app.ledger.records import HeartbeatDraft, TariffDraft, encode, uuid7
from app.ledger.tlog_proof import LONGEST_B, check_proof, write_proof

LOG = "gw/c_1"
SIGNER = Signer(bytes(range(32)), "gw")
OTHER = Signer(bytes(32), "gw")
T0 = 1_763_650_000_000_000
BODIES = [encode(HeartbeatDraft(uuid7(T0, seq), T0), LOG, seq, 0) for seq in range(21)]
LEAVES = [leaf_hash(body) for body in BODIES]


def found(seq: int, size: int, bodies: list[bytes] = BODIES, signer: Signer = SIGNER) -> Inclusion:
    leaves = [leaf_hash(body) for body in bodies]

    def node(level: int, index: int) -> bytes:
        return root_from_leaves(leaves[index << level : (index + 1) << level])

    note = signer.sign_checkpoint(LOG, size, tree_root(node, size))
    return Inclusion(LOG, seq, size, bodies[seq], tuple(inclusion_proof(node, seq, size)), note)


def test_a_proof_file_has_the_lines_of_the_specification():
    proof = found(2, 3)
    assert write_proof(proof).split("\n") == [
        "c2sp.org/tlog-proof@v1",
        "extra " + b64encode(BODIES[2]).decode(),
        "index 2",
        b64encode(proof.proof[0]).decode(),
        "",
        "gw/c_1",
        "3",
        b64encode(root_from_leaves(LEAVES[:3])).decode(),
        "",
        *proof.checkpoint.split("\n")[-2:],
    ]


@pytest.mark.parametrize(("seq", "size"), [(0, 1), (0, 2), (1, 2), (6, 7), (12, 21), (20, 21)])
def test_a_proof_file_proves_its_record_to_whoever_trusts_the_key(seq, size):
    proven = check_proof(write_proof(found(seq, size)), [VerifierKey.parse(SIGNER.vkey)])
    assert (proven.leaf, proven.seq, proven.claim.size, proven.claim.origin) == (BODIES[seq], seq, size, LOG)
    assert proven.record is not None
    assert proven.record.seq == seq


def test_one_of_several_trusted_keys_is_enough_and_none_of_them_is_not():
    text = write_proof(found(6, 7))
    assert check_proof(text, [OTHER.verifier, SIGNER.verifier]).key is SIGNER.verifier
    for keys in ([OTHER.verifier], []):
        with pytest.raises(BadProof, match=r"no signature|no key"):
            check_proof(text, keys)


def test_a_proof_from_another_log_is_refused_where_one_is_named():
    text = write_proof(found(6, 7))
    assert check_proof(text, [SIGNER.verifier], LOG).seq == 6
    with pytest.raises(BadProof, match="of the log gw/c_1"):
        check_proof(text, [SIGNER.verifier], "gw/c_2")


@pytest.mark.parametrize(("seq", "size"), [(0, 1), (2, 3), (5, 7)])
def test_every_flipped_bit_of_a_proof_file_is_found(seq, size):
    data = write_proof(found(seq, size)).encode()
    for at in range(len(data)):
        for bit in range(8):
            bad = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            try:
                text = bad.decode()
            except UnicodeDecodeError:
                continue
            with pytest.raises(BadProof):
                check_proof(text, [SIGNER.verifier])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: "c2sp.org/tlog-proof@v1",
        lambda text: text.replace("@v1", "@v2"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("extra ", "index 1\nextra "),
        lambda text: "\n".join(line for line in text.split("\n") if not line.startswith("extra")),
        lambda text: "\n".join(line for line in text.split("\n") if not line.startswith("index")),
        lambda text: text.replace("index 5", "index 05"),
        lambda text: text.replace("index 5", "index ⁵"),
        lambda text: text.replace("index 5", "index " + "9" * 5000),
        lambda text: text.replace("index 5", "index 5\n" + "\n".join([b64encode(bytes(32)).decode()] * 99)),
        lambda text: text.replace("index 5\n", "index 5\nAAAA\n"),
        lambda text: text.partition("\n\n")[0] + "\n\n",
        lambda text: text.rstrip("\n"),
        lambda text: text + "\n",
        lambda text: text + "— gw AAAA\n",
    ],
)
def test_a_malformed_file_is_refused_in_one_sentence(spoil):
    text = write_proof(found(5, 7))
    assert spoil(text) != text
    with pytest.raises(BadProof) as refused:
        check_proof(spoil(text), [SIGNER.verifier])
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)


def test_a_log_that_contradicts_its_own_records_is_found():
    bodies = [BODIES[1], BODIES[0], BODIES[2]]
    with pytest.raises(BadProof, match="contradicts itself"):
        check_proof(write_proof(found(0, 3, bodies)), [SIGNER.verifier])


def test_a_record_of_a_form_that_is_unknown_here_is_proven_all_the_same():
    bodies = [BODIES[0], b'{"v":2}', BODIES[2]]
    proven = check_proof(write_proof(found(1, 3, bodies)), [SIGNER.verifier])
    assert (proven.leaf, proven.record) == (b'{"v":2}', None)


def test_the_longest_record_fits_into_a_proof_file():
    draft = TariffDraft(uuid7(T0, 1), T0, "t", "EUR", "\x01" * 2**20, "marginal", 0, 0, 0)
    proof = dataclasses.replace(found(0, 1), body=encode(draft, LOG, 0, 0))
    assert len(write_proof(proof).encode()) < LONGEST_B
