"""Cosignatures: «I hold this log as far as this checkpoint, and have seen no longer one», by whoever keeps the copy.

Rule 1: pure; the key and the time come in. Rule 2: who cosigns has made durable what it cosigns; that is the
caller's to see to.

Format: c2sp.org/tlog-cosignature with Ed25519 (signature type 0x04). A cosignature is a line under a checkpoint,

    — <key name> base64(key id ‖ time as 8 bytes, big-endian ‖ signature)

and what is signed is `cosignature/v1\n`, `time <seconds since the epoch>\n` and the checkpoint's text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.ledger.checkpoint import Checkpoint, VerifierKey, b64, parse_checkpoint
from app.ledger.errors import CheckpointError, UnsignedCheckpoint

TIME_MAX = 2**63 - 1
_TIME_B, _SIGNATURE_B = 8, 64


class CosignerKey(VerifierKey):
    """The public half of a receiver's key, as a gateway holds it; its text form has the type 0x04 in it."""

    __slots__ = ()
    KIND: ClassVar[bytes] = b"\x04"


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A cosignature that holds: what it is over, when it was made (seconds since the epoch), and its line."""

    checkpoint: Checkpoint
    at_s: int
    line: str


class Cosigner:
    """A receiver's signing key: 32 secret bytes, used for nothing else, and the public name it signs under."""

    __slots__ = ("_private", "name", "verifier")

    def __init__(self, seed32: bytes, name: str) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed32)
        self.name = name
        self.verifier = CosignerKey(name, self._private.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"Cosigner({self.verifier.text})"

    @property
    def vkey(self) -> str:
        """The public half, in the signed-note text form."""
        return self.verifier.text

    def cosign(self, note: str, at_s: int) -> str:
        """The signature line, newline included, over the checkpoint in the signed note `note` at `at_s` (s since the
        epoch). ValueError where that is no time."""
        signature = self._private.sign(_signed(_text_of(note), at_s))
        return f"— {self.name} {b64(self.verifier.key_id + at_s.to_bytes(_TIME_B, 'big') + signature)}\n"


def find_cosignature(note: str, lines: str, key: CosignerKey) -> Cosignature:
    """The newest cosignature of `key` among signature `lines` over the checkpoint in the signed note `note`.

    Lines of other keys are passed over, as the specification asks. Raises UnsignedCheckpoint where `key` has none,
    CheckpointError where one is malformed or signs something else.
    """
    text = _text_of(note)
    claim, signatures = parse_checkpoint(f"{text}\n{lines}")
    found: list[tuple[int, int]] = []
    for number, (name, key_id, payload) in enumerate(signatures):
        if (name, key_id) != (key.name, key.key_id):
            continue
        if len(payload) != _TIME_B + _SIGNATURE_B:
            raise CheckpointError(f"the cosignature of {key.name} has not {_TIME_B + _SIGNATURE_B} bytes")
        at_s = int.from_bytes(payload[:_TIME_B], "big")
        if at_s > TIME_MAX:
            raise CheckpointError(f"the time of the cosignature of {key.name} is none")
        key.check(payload[_TIME_B:], _signed(text, at_s))
        found.append((at_s, number))
    if not found:
        raise UnsignedCheckpoint(f"the checkpoint of {claim.origin} carries no cosignature of {key.name}")
    at_s, number = max(found)
    return Cosignature(claim, at_s, lines.split("\n")[number] + "\n")


def _text_of(note: str) -> str:
    """The note without its signatures, final newline included."""
    return note.rpartition("\n\n")[0] + "\n"


def _signed(text: str, at_s: int) -> bytes:
    if not 0 <= at_s <= TIME_MAX:
        raise ValueError(f"a cosignature is made from 0 to 2**63 - 1 seconds after 1970, not at {at_s}")
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()
