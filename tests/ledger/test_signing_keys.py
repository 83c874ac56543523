"""A log's signing key passes from one to the next, and each is good for its own range of sizes only."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.ledger.checkpoint import Signer
from app.ledger.errors import CheckpointError, UnsignedCheckpoint
from app.ledger.ids import uuid7
from app.ledger.records import decode, encode
from app.ledger.signing_keys import SigningKeys, passed_on

LOG = "gw_test/c_1"
FIRST, SECOND, THIRD = (Signer(bytes([number]) * 32, "gw_test") for number in (1, 2, 3))
STRANGER = Signer(bytes(32), "gw_test")
ROOT = bytes(32)


def note(signer: Signer, size: int) -> str:
    return signer.sign_checkpoint(LOG, size, ROOT)


def rotation(seq: int, old: Signer, new: Signer, log: str = LOG):
    return passed_on(uuid7(1, 0), 5, log, seq, old, new)


@pytest.fixture
def keys() -> SigningKeys:
    """A log whose record 7 passes the key from FIRST to SECOND, and record 20 to THIRD."""
    keys = SigningKeys(LOG, FIRST.verifier)
    keys.follow(7, rotation(7, FIRST, SECOND))
    keys.follow(20, rotation(20, SECOND, THIRD))
    return keys


@pytest.mark.parametrize(
    ("size", "signers"),
    [
        (1, (FIRST, SECOND, THIRD)),
        (7, (FIRST, SECOND, THIRD)),
        (8, (SECOND, THIRD)),
        (20, (SECOND, THIRD)),
        (21, (THIRD,)),
        (10**9, (THIRD,)),
    ],
)
def test_each_key_signs_up_to_the_record_that_passes_it_on(keys, size, signers):
    assert keys.at(size).text == signers[0].vkey
    for signer in (FIRST, SECOND, THIRD):
        if signer in signers:
            assert keys.verify(note(signer, size)).size == size
        else:
            with pytest.raises(CheckpointError, match="passed on before"):
                keys.verify(note(signer, size))


@pytest.mark.parametrize(
    "spoil", [lambda text: text + "\n", lambda text: "é" + text[1:], lambda text: text[:-4]]
)
@pytest.mark.parametrize("field", ["old_signature", "new_signature"])
def test_a_signature_is_plain_base64_of_the_whole_of_it(field, spoil):
    draft = rotation(7, FIRST, SECOND)
    with pytest.raises(CheckpointError):
        SigningKeys(LOG, FIRST.verifier).follow(7, replace(draft, **{field: spoil(getattr(draft, field))}))


def test_keys_are_known_again_as_they_were(keys):
    for ranges in (keys.ranges, keys.ranges[:1]):
        again = SigningKeys.known(LOG, ranges)
        assert (again.ranges, again.newest, again.log) == (tuple(ranges), ranges[-1][1], LOG)


def test_a_stolen_old_key_signs_nothing_beyond_its_range(keys):
    with pytest.raises(CheckpointError, match="passed on before"):
        keys.verify(note(FIRST, 8))
    keys.verify(note(FIRST, 7))


def test_a_stranger_signs_nothing(keys):
    with pytest.raises(UnsignedCheckpoint):
        keys.verify(note(STRANGER, 30))
    forged = note(THIRD, 30).replace("\n30\n", "\n31\n")
    with pytest.raises(CheckpointError):
        keys.verify(forged)


def test_a_note_with_both_signatures_is_held_to_the_key_of_its_size(keys):
    both = note(SECOND, 8) + note(FIRST, 8).rpartition("\n\n")[2]
    assert keys.verify(both).size == 8
    broken = note(FIRST, 8) + note(SECOND, 9).rpartition("\n\n")[2]
    with pytest.raises(CheckpointError):
        keys.verify(broken)


def test_the_record_is_signed_by_both_for_its_log_and_its_place(keys):
    good = rotation(30, THIRD, FIRST)
    other = rotation(30, THIRD, STRANGER)
    bad = [
        rotation(31, THIRD, FIRST),
        rotation(30, THIRD, FIRST, "gw_test/c_2"),
        rotation(30, SECOND, FIRST),
        rotation(30, THIRD, THIRD),
        rotation(30, THIRD, Signer(bytes([9]) * 32, "another")),
        replace(good, old_signature=other.old_signature),
        replace(good, new_signature=other.new_signature),
        replace(good, old_signature=""),
        replace(good, new_signature="ä"),
        replace(good, new_vkey=other.new_vkey),
        replace(good, new_vkey="nonsense"),
    ]
    for draft in bad:
        with pytest.raises(CheckpointError):
            keys.follow(30, draft)
    assert keys.newest is keys.at(30)
    keys.follow(30, good)
    assert [first for first, _ in keys.ranges] == [0, 8, 21, 31]
    assert keys.verify(note(FIRST, 31)).size == 31


def test_it_is_a_record_like_any_other():
    draft = rotation(7, FIRST, SECOND)
    record = decode(encode(draft, LOG, 7, 100))
    assert (record.draft, record.seq, record.cum_pico) == (draft, 7, 100)
    keys = SigningKeys(LOG, FIRST.verifier)
    keys.follow(record.seq, record.draft)
    assert keys.newest.text == SECOND.vkey
