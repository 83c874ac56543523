"""Which key signs a log's checkpoints, from which size on: a key passes to the next by a record that both have signed.

Rule 1: pure; whoever reads a log from its first record hands over what the records say, in their order.
Rule 2: an old key is good up to the size at which it was passed on: what it signs beyond is a forgery, however good the
signature. Of what was before its own time a newer key may speak, for it has signed the tree that holds it.

The record number s that passes the key on is itself the first that the new key covers: checkpoints of up to s records
are signed with the old key, those of more than s with the new one.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence

from app.ledger.checkpoint import Checkpoint, Signatures, Signer, VerifierKey, parse_checkpoint, verify_parsed
from app.ledger.drafts import RotationDraft
from app.ledger.errors import CheckpointError

_PURPOSE = "mortdecai-gateway/rotation/v1"


def statement(log: str, seq: int, old_vkey: str, new_vkey: str) -> bytes:
    """What both keys sign: that record `seq` of `log` passes its checkpoints from the one to the other."""
    return f"{_PURPOSE}\n{log}\n{seq}\n{old_vkey}\n{new_vkey}\n".encode()


def passed_on(record_id: str, t0_us: int, log: str, seq: int, old: Signer, new: Signer) -> RotationDraft:
    """The record by which `old` hands `log` to `new`, in the place `seq`."""
    text = statement(log, seq, old.vkey, new.vkey)
    return RotationDraft(record_id, t0_us, old.vkey, new.vkey, _text(old.sign(text)), _text(new.sign(text)))


def _text(signature: bytes) -> str:
    return b2a_base64(signature, newline=False).decode("ascii")


def _bytes(signature: str) -> bytes:
    try:
        return a2b_base64(signature.encode("ascii"), strict_mode=True)
    except (Base64Error, UnicodeEncodeError):
        raise CheckpointError("a signature of the key's passing on is not base64") from None


class SigningKeys:
    """The keys of one log so far. Begin with the key that is known, or that the log's first record names."""

    __slots__ = ("_ranges", "log")

    def __init__(self, log: str, first: VerifierKey) -> None:
        self.log = log
        self._ranges: list[tuple[int, VerifierKey]] = [(0, first)]

    @classmethod
    def known(cls, log: str, ranges: Sequence[tuple[int, VerifierKey]]) -> SigningKeys:
        """As they were when `ranges` was asked for; there is at least one."""
        keys = cls(log, ranges[0][1])
        keys._ranges = list(ranges)
        return keys

    @property
    def ranges(self) -> Sequence[tuple[int, VerifierKey]]:
        """(first size that it signs, key), oldest first."""
        return tuple(self._ranges)

    @property
    def newest(self) -> VerifierKey:
        """Who signs from now on."""
        return self._ranges[-1][1]

    def at(self, size: int) -> VerifierKey:
        """Who signs the checkpoint over `size` records."""
        return next(key for first, key in reversed(self._ranges) if first <= size)

    def follow(self, seq: int, draft: RotationDraft) -> None:
        """Record `seq` of the log passes the key on. CheckpointError where it does not rightly do so."""
        old = self.newest
        if draft.old_vkey != old.text:
            raise CheckpointError(f"record {seq} of {self.log} passes on a key that does not sign there")
        new = VerifierKey.parse(draft.new_vkey)
        if new.name != old.name or new.key_id == old.key_id:
            raise CheckpointError(
                f"record {seq} of {self.log} passes the key on to another name, or to itself"
            )
        text = statement(self.log, seq, draft.old_vkey, draft.new_vkey)
        old.check(_bytes(draft.old_signature), text)
        new.check(_bytes(draft.new_signature), text)
        self._ranges.append((seq + 1, new))

    def verify(self, note: str) -> Checkpoint:
        """The claim of a checkpoint that a key good for its size has signed; UnsignedCheckpoint, CheckpointError.

        Only keys of records that were handed over are known: read the log up to the note's size first.
        """
        return self.verify_parsed(note, *parse_checkpoint(note))

    def verify_parsed(self, note: str, claim: Checkpoint, signatures: Signatures) -> Checkpoint:
        """The same of a note that was parsed to `claim` and `signatures` before."""
        ids = {item[:2] for item in signatures}
        since = sum(first <= claim.size for first, _ in self._ranges) - 1
        for _, key in self._ranges[since:]:
            if (key.name, key.key_id) in ids:
                return verify_parsed(note, claim, signatures, key, self.log)
        for _, key in self._ranges[:since]:
            if (key.name, key.key_id) in ids:
                raise CheckpointError(
                    f"the checkpoint of {claim.origin} over {claim.size} records is signed with a key that was passed"
                    " on before"
                )
        # Nobody known has signed it: said in the words of the other checkpoints.
        return verify_parsed(note, claim, signatures, self.newest, self.log)
