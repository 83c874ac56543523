"""Signed notes and checkpoints in C2SP's formats."""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.checkpoint import (
    Checkpoint,
    Signer,
    VerifierKey,
    parse_checkpoint,
    verify_checkpoint,
    verify_note,
)
from app.ledger.errors import CheckpointError, UnsignedCheckpoint

SIGNER = Signer(bytes(range(32)), "gw_test")
ORIGIN = "gw_test/c_1"
ROOT = sha256(b"root").digest()
NOTE = SIGNER.sign_checkpoint(ORIGIN, 42, ROOT)
SIGNER_PUBLIC = b64decode(SIGNER.vkey.split("+", 2)[2])[1:]

# The key and the signature that the documentation of Go's golang.org/x/mod/sumdb/note shows.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
GO_SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="


def test_keys_and_signatures_of_another_implementation_are_understood():
    key = VerifierKey.parse(GO_VKEY)
    assert (key.name, key.key_id.hex(), key.text) == ("PeterNeumann", "c74f20a3", GO_VKEY)
    signature = b64decode(GO_SIGNATURE)
    assert signature[:4] == key.key_id
    key.check(signature[4:], GO_TEXT.encode())
    with pytest.raises(CheckpointError):
        key.check(signature[4:], GO_TEXT.replace("don't", "do").encode())


def test_a_checkpoint_has_the_lines_of_the_specification():
    lines = NOTE.split("\n")
    assert lines[:4] == [ORIGIN, "42", b64encode(ROOT).decode(), ""]
    assert lines[4].startswith("— gw_test ")
    assert lines[5:] == [""]
    signature = b64decode(lines[4].removeprefix("— gw_test "))
    public = b64decode(SIGNER.vkey.split("+", 2)[2])[1:]
    assert signature[:4] == sha256(b"gw_test\n\x01" + public).digest()[:4]
    SIGNER.verifier.check(signature[4:], f"{ORIGIN}\n42\n{b64encode(ROOT).decode()}\n".encode())


def test_a_checkpoint_is_verified_with_the_text_of_the_key_alone():
    assert verify_checkpoint(NOTE, VerifierKey.parse(SIGNER.vkey), ORIGIN) == Checkpoint(ORIGIN, 42, ROOT)


def test_any_note_is_verified_and_says_by_which_of_several_keys():
    other = Signer(b"o" * 32, "other")
    text = "anything\nat all\n"
    note = SIGNER.sign_note(text)
    for keys in ([SIGNER.verifier], [other.verifier, SIGNER.verifier], [SIGNER.verifier, other.verifier]):
        assert verify_note(note, keys) == (text, SIGNER.verifier)
    for keys in ([], [other.verifier], [Signer(b"x" * 32, "gw_test").verifier]):
        with pytest.raises(UnsignedCheckpoint, match="carries no signature of"):
            verify_note(note, keys)
    with pytest.raises(CheckpointError, match="does not belong to this text"):
        verify_note(note.replace("anything", "something"), [other.verifier, SIGNER.verifier])
    # Of two signatures of one key both must hold.
    twice = note + "— gw_test " + SIGNER.sign_note("else\n").rpartition(" ")[2]
    with pytest.raises(CheckpointError, match="does not belong to this text"):
        verify_note(twice, [SIGNER.verifier])


def test_the_signer_never_shows_its_secret():
    assert repr(SIGNER) == f"Signer({SIGNER.vkey})"


def test_every_flipped_bit_of_a_checkpoint_is_found():
    data = NOTE.encode()
    for at in range(len(data)):
        for bit in range(8):
            changed = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            try:
                note = changed.decode()
            except UnicodeDecodeError:
                continue
            with pytest.raises(CheckpointError):
                verify_checkpoint(note, SIGNER.verifier, ORIGIN)


def test_a_checkpoint_of_another_log_is_refused():
    with pytest.raises(CheckpointError, match="not of"):
        verify_checkpoint(NOTE, SIGNER.verifier, "gw_test/c_2")


def test_a_checkpoint_signed_by_somebody_else_counts_as_unsigned():
    stranger = Signer(bytes(32), "gw_test")
    with pytest.raises(UnsignedCheckpoint):
        verify_checkpoint(stranger.sign_checkpoint(ORIGIN, 42, ROOT), SIGNER.verifier, ORIGIN)


def test_signatures_of_unknown_keys_are_ignored_beside_a_known_one():
    other = Signer(bytes(32), "witness").sign_checkpoint(ORIGIN, 42, ROOT)
    both = NOTE + other.rpartition("\n\n")[2]
    assert verify_checkpoint(both, SIGNER.verifier, ORIGIN).size == 42
    assert len(parse_checkpoint(both)[1]) == 2


def test_extension_lines_are_passed_over_and_signed():
    text = f"{ORIGIN}\n42\n{b64encode(ROOT).decode()}\nextra\n"
    claim, _ = parse_checkpoint(text + NOTE[NOTE.index("\n— ") :])
    assert claim == Checkpoint(ORIGIN, 42, ROOT)
    with pytest.raises(CheckpointError, match="signature"):
        verify_checkpoint(text + NOTE[NOTE.index("\n— ") :], SIGNER.verifier)


GOOD_ROOT = b64encode(ROOT).decode()
SIGNATURE = NOTE.split("\n")[4]


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        f"{ORIGIN}\n42\n{GOOD_ROOT}\n{SIGNATURE}\n",
        f"{ORIGIN}\n42\n{GOOD_ROOT}\n\n",
        f"{ORIGIN}\n42\n{GOOD_ROOT}\n\n{SIGNATURE}",
        f"{ORIGIN}\n42\n\n{SIGNATURE}\n",
        f"\n42\n{GOOD_ROOT}\n\n{SIGNATURE}\n",
        f"{ORIGIN}\n042\n{GOOD_ROOT}\n\n{SIGNATURE}\n",
        f"{ORIGIN}\n-1\n{GOOD_ROOT}\n\n{SIGNATURE}\n",
        f"{ORIGIN}\n٤\n{GOOD_ROOT}\n\n{SIGNATURE}\n",
        f"{ORIGIN}\n{'9' * 30}\n{GOOD_ROOT}\n\n{SIGNATURE}\n",
        f"{ORIGIN}\n42\n{GOOD_ROOT[:-4]}\n\n{SIGNATURE}\n",
        f"{ORIGIN}\n42\n{GOOD_ROOT.replace('=', '')}\n\n{SIGNATURE}\n",
        f"{ORIGIN}\n42\n{GOOD_ROOT}\n\n{SIGNATURE.replace('—', '-')}\n",
        f"{ORIGIN}\n42\n{GOOD_ROOT}\n\n— gw_test AAAA\n",
        f"{ORIGIN}\n42\n{GOOD_ROOT}\n\n— gw+test {SIGNATURE.split(' ')[2]}\n",
        f"{ORIGIN}\n42\n{GOOD_ROOT}\n\n" + f"{SIGNATURE}\n" * 65,
        f"{ORIGIN}\r\n42\n{GOOD_ROOT}\n\n{SIGNATURE}\n",
    ],
)
def test_malformed_notes_are_refused(note):
    with pytest.raises(CheckpointError):
        parse_checkpoint(note)


@given(st.text(max_size=200))
def test_no_text_at_all_makes_the_parser_fail_otherwise(text):
    for note in (text, NOTE.replace(GOOD_ROOT, text), NOTE.replace(SIGNATURE, text)):
        if note != NOTE:
            with pytest.raises(CheckpointError):
                verify_checkpoint(note, SIGNER.verifier, ORIGIN)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\tb"])
def test_names_that_a_note_cannot_carry_are_refused(name):
    with pytest.raises(CheckpointError):
        Signer(bytes(32), name)


@pytest.mark.parametrize(
    "text",
    ["", "a+b", "gw_test+00000000+" + SIGNER.vkey.split("+", 2)[2], "gw_test+zz+!!", "gw_test+c74f20a3+AgAA"],
)
def test_malformed_verifier_keys_are_refused(text):
    with pytest.raises(CheckpointError):
        VerifierKey.parse(text)


def test_a_note_carries_sixty_four_signatures_and_no_more():
    text = f"{ORIGIN}\n42\n{GOOD_ROOT}\n\n"
    assert len(parse_checkpoint(text + f"{SIGNATURE}\n" * 64)[1]) == 64
    assert verify_checkpoint(text + f"{SIGNATURE}\n" * 64, SIGNER.verifier).size == 42
    with pytest.raises(CheckpointError, match="signed note"):
        parse_checkpoint(text + f"{SIGNATURE}\n" * 65)


def test_every_signature_under_the_own_key_must_hold_not_just_one():
    name, encoded = SIGNATURE.split(" ")[1:]
    broken = bytearray(b64decode(encoded))
    broken[-1] ^= 1
    note = NOTE + f"— {name} {b64encode(broken).decode()}\n"
    with pytest.raises(CheckpointError, match="does not belong"):
        verify_checkpoint(note, SIGNER.verifier, ORIGIN)


@pytest.mark.parametrize("size", [0, 1, 10**18, 10**19 - 1])
def test_a_size_has_nineteen_digits_at_most(size):
    assert verify_checkpoint(SIGNER.sign_checkpoint(ORIGIN, size, ROOT), SIGNER.verifier).size == size
    with pytest.raises(CheckpointError, match="plain number"):
        parse_checkpoint(SIGNER.sign_checkpoint(ORIGIN, 10**19, ROOT))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_root_has_thirty_two_bytes(length):
    with pytest.raises(CheckpointError, match=r"root has not 32 bytes|not origin, size and root"):
        parse_checkpoint(SIGNER.sign_checkpoint(ORIGIN, 42, bytes(length)))


@pytest.mark.parametrize("length", [0, 3, 4])
def test_a_signature_is_longer_than_the_id_of_its_key(length):
    text = f"{ORIGIN}\n42\n{GOOD_ROOT}\n\n— witness "
    with pytest.raises(CheckpointError):
        parse_checkpoint(text + b64encode(bytes(length)).decode() + "\n")
    assert parse_checkpoint(text + b64encode(bytes(5)).decode() + "\n")[1] == (
        ("witness", bytes(4), bytes(1)),
    )


@pytest.mark.parametrize("length", [31, 33])
def test_a_verifier_key_of_a_wrong_length_is_refused(length):
    public = bytes(length)
    key_id = sha256(b"gw_test\n\x01" + public).hexdigest()[:8]
    text = f"gw_test+{key_id}+{b64encode(bytes([1]) + public).decode()}"
    with pytest.raises(CheckpointError, match="Ed25519"):
        VerifierKey.parse(text)


def test_a_verifier_key_of_another_kind_or_with_another_id_is_refused():
    public = b64decode(SIGNER.vkey.split("+", 2)[2])[1:]
    with pytest.raises(CheckpointError, match="Ed25519"):
        VerifierKey.parse(f"gw_test+00000000+{b64encode(bytes([2]) + public).decode()}")
    with pytest.raises(CheckpointError, match="id"):
        VerifierKey.parse(SIGNER.vkey.replace("gw_test", "gw_else"))


@pytest.mark.parametrize("name", ["a\x1fb", "a\x00", "\x01"])
def test_a_name_holds_no_control_character(name):
    with pytest.raises(CheckpointError, match="cannot name"):
        VerifierKey(name, bytes(32))


def test_a_note_with_a_control_character_anywhere_is_refused():
    with pytest.raises(CheckpointError, match="control"):
        parse_checkpoint(NOTE.replace(ORIGIN, ORIGIN + "\x1f"))
    assert parse_checkpoint(NOTE.replace(ORIGIN, ORIGIN + " x"))[0].origin == ORIGIN + " x"


def test_whose_log_it_is_is_asked_only_of_those_who_know():
    assert verify_checkpoint(NOTE, SIGNER.verifier).origin == ORIGIN


def test_a_name_is_what_holds_no_space_no_plus_sign_and_no_control_character():
    public = bytes(range(32))
    for code in (*range(0x3100), 0xFEFF, 0x1F600):
        char = chr(code)
        named = not (char == "+" or char.isspace() or code < 0x20)
        if named:
            assert VerifierKey(f"a{char}b", SIGNER_PUBLIC).name == f"a{char}b"
        else:
            with pytest.raises(CheckpointError):
                VerifierKey(f"a{char}b", public)
    with pytest.raises(CheckpointError):
        VerifierKey("", public)
