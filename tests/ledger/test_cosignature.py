"""Cosignatures in C2SP's format."""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

import pytest

from app.ledger.checkpoint import Signer, VerifierKey
from app.ledger.cosignature import Cosigner, CosignerKey, find_cosignature
from app.ledger.errors import CheckpointError, UnsignedCheckpoint

GATEWAY = Signer(bytes(range(32)), "gw_test")
RECEIVER = Cosigner(bytes(range(32, 64)), "receiver.example/r1")
NOTE = GATEWAY.sign_checkpoint("gw_test/c_1", 42, sha256(b"root").digest())
AT_S = 1_779_573_024
LINE = RECEIVER.cosign(NOTE, AT_S)

# A checkpoint of a Certificate Transparency log in operation, cosigned by four public witnesses.
PUBLISHED = json.loads((Path(__file__).parent / "data" / "cosigned_checkpoint.json").read_text())


@pytest.mark.parametrize("vkey", PUBLISHED["witnesses"])
def test_cosignatures_of_public_witnesses_are_understood(vkey: str):
    key = CosignerKey.parse(vkey)
    assert key.text == vkey
    found = find_cosignature(PUBLISHED["note"], PUBLISHED["cosignatures"], key)
    assert (found.at_s, found.checkpoint.size) == (AT_S, 1_432_088_532)
    assert found.line.startswith(f"— {key.name} ")
    assert found.line in PUBLISHED["cosignatures"]
    with pytest.raises(CheckpointError):
        find_cosignature(
            PUBLISHED["note"].replace("1432088532", "1432088533"), PUBLISHED["cosignatures"], key
        )


def test_a_cosignature_has_the_bytes_of_the_specification():
    name, payload = LINE.removeprefix("— ").removesuffix("\n").split(" ")
    public = b64decode(RECEIVER.vkey.split("+", 2)[2])
    data = b64decode(payload)
    assert (name, public[:1]) == (RECEIVER.name, b"\x04")
    assert data[:4] == sha256(b"receiver.example/r1\n\x04" + public[1:]).digest()[:4]
    assert data[4:12] == AT_S.to_bytes(8, "big")
    text = NOTE.partition("\n\n")[0] + "\n"
    RECEIVER.verifier.check(data[12:], f"cosignature/v1\ntime {AT_S}\n{text}".encode())


def test_a_cosignature_is_verified_with_the_text_of_the_key_alone():
    found = find_cosignature(NOTE, LINE, CosignerKey.parse(RECEIVER.vkey))
    assert (found.checkpoint.origin, found.checkpoint.size, found.at_s) == ("gw_test/c_1", 42, AT_S)


def test_the_newest_of_several_cosignatures_counts():
    older = RECEIVER.cosign(NOTE, AT_S - 5)
    assert find_cosignature(NOTE, LINE + older, RECEIVER.verifier).line == LINE


def test_the_same_key_is_another_one_as_a_log_and_as_a_cosigner():
    log = Signer(bytes(range(32, 64)), RECEIVER.name)
    assert log.verifier.key_id != RECEIVER.verifier.key_id
    with pytest.raises(CheckpointError):
        CosignerKey.parse(log.vkey)
    with pytest.raises(CheckpointError):
        VerifierKey.parse(RECEIVER.vkey)


def test_every_flipped_bit_of_a_cosignature_is_found():
    data = LINE.encode()
    for at in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            with pytest.raises(CheckpointError):
                find_cosignature(NOTE, flipped.decode("utf-8", "replace"), RECEIVER.verifier)


@pytest.mark.parametrize(
    "note",
    [
        GATEWAY.sign_checkpoint("gw_test/c_1", 41, sha256(b"root").digest()),
        GATEWAY.sign_checkpoint("gw_test/c_2", 42, sha256(b"root").digest()),
        GATEWAY.sign_checkpoint("gw_test/c_1", 42, sha256(b"other").digest()),
    ],
    ids=["yesterday's size", "another log", "another root"],
)
def test_a_cosignature_of_another_checkpoint_does_not_count(note: str):
    with pytest.raises(CheckpointError):
        find_cosignature(note, LINE, RECEIVER.verifier)


@pytest.mark.parametrize(
    "lines", ["", "garbage\n", LINE.rstrip("\n"), "\n" + LINE, LINE * 65, "— x AAAA\n", "— x\n"]
)
def test_lines_that_are_no_signature_lines_are_refused(lines: str):
    with pytest.raises(CheckpointError):
        find_cosignature(NOTE, lines, RECEIVER.verifier)


def test_lines_of_others_alone_are_no_cosignature():
    other = Cosigner(bytes(32), "other").cosign(NOTE, AT_S)
    with pytest.raises(UnsignedCheckpoint):
        find_cosignature(NOTE, other, RECEIVER.verifier)
    assert find_cosignature(NOTE, other + LINE, RECEIVER.verifier).line == LINE


def test_what_is_no_time_is_not_signed():
    for at_s in (-1, 2**63):
        with pytest.raises(ValueError):
            RECEIVER.cosign(NOTE, at_s)


@pytest.mark.parametrize("at_s", [0, 1, 2**63 - 1])
def test_the_first_and_the_last_moment_are_times(at_s: int):
    assert find_cosignature(NOTE, RECEIVER.cosign(NOTE, at_s), RECEIVER.verifier).at_s == at_s


def test_the_cosigner_never_shows_its_secret():
    assert repr(RECEIVER) == f"Cosigner({RECEIVER.vkey})"
