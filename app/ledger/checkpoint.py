"""Signed checkpoints: «this log has so many records and this root», in C2SP's formats.

Rule 1: pure; the key comes in as 32 bytes and never goes out.
Rule 2: a verifier believes nothing in a note before its signature is checked.

Formats: c2sp.org/signed-note and c2sp.org/tlog-checkpoint, with Ed25519 (signature type 0x01). A checkpoint is

    <origin>\\n<size>\\n<base64 root>\\n\\n— <key name> <base64(key id ‖ signature)>\\n

where the key id is the first four bytes of SHA-256(key name ‖ 0x0A ‖ 0x01 ‖ public key), and a verifier key is
`<key name>+<key id in hex>+<base64(0x01 ‖ public key)>`.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.ledger.errors import CheckpointError, UnsignedCheckpoint
from app.ledger.merkle import HASH_B

ED25519 = b"\x01"
MAX_SIGNATURES = 64
"""The specification asks verifiers to bound the number, at sixteen or more."""

Signatures = tuple[tuple[str, bytes, bytes], ...]
"""(key name, key id, signature) each."""
_control = re.compile(r"[\x00-\x09\x0b-\x1f]").search
_unnameable = re.compile(r"[\s+\x00-\x1f]").search


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The size and the root (32 bytes) that a log's owner vouches for."""

    origin: str
    size: int
    root: bytes


def b64(data: bytes) -> str:
    """`data` in standard base64."""
    return b2a_base64(data, newline=False).decode("ascii")


def unb64(text: str, what: str) -> bytes:
    """The bytes of standard base64 in its one canonical form; CheckpointError, which calls it `what`, otherwise."""
    try:
        data = a2b_base64(text.encode("ascii"), strict_mode=True)
    except (Base64Error, UnicodeEncodeError):
        raise CheckpointError(f"the {what} is not base64") from None
    if b64(data) != text:
        raise CheckpointError(f"the {what} is not base64 in its one canonical form")
    return data


def _key_id(name: str, kind: bytes, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + kind + public).digest()[:4]


def _require_name(name: str) -> None:
    if not name or _unnameable(name):
        raise CheckpointError(
            f"«{name}» cannot name a key or a log: it is empty, or holds a space or a plus sign"
        )


class VerifierKey:
    """A public key and its name, as whoever verifies holds it."""

    __slots__ = ("_public", "key_id", "name", "text")
    KIND: ClassVar[bytes] = ED25519
    """The type of its signatures; key ids of one key differ by it."""

    def __init__(self, name: str, public: bytes) -> None:
        _require_name(name)
        self.name = name
        self.key_id = _key_id(name, self.KIND, public)
        self._public = Ed25519PublicKey.from_public_bytes(public)
        self.text = f"{name}+{self.key_id.hex()}+{b64(self.KIND + public)}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From the signed-note text form; CheckpointError where its parts do not belong together."""
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise CheckpointError("a verifier key has a name, an id and a key with plus signs between them")
        name, key_id, encoded = parts
        data = unb64(encoded, "verifier key")
        if data[:1] != cls.KIND or len(data) != 33:
            raise CheckpointError(f"the verifier key is not an Ed25519 key of type {cls.KIND[0]}")
        key = cls(name, data[1:])
        if key.key_id.hex() != key_id:
            raise CheckpointError("the verifier key's id is not that of its name and key")
        return key

    def check(self, signature: bytes, text: bytes) -> None:
        """CheckpointError unless `signature` (64 bytes) is this key's over `text`."""
        try:
            self._public.verify(signature, text)
        except InvalidSignature:
            raise CheckpointError(f"the signature of {self.name} does not belong to this text") from None


class Signer:
    """The gateway's signing key: 32 secret bytes and the public name they sign under."""

    __slots__ = ("_prefix", "_private", "_stamp", "name", "verifier")

    def __init__(self, seed32: bytes, name: str) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed32)
        self.name = name
        self.verifier = VerifierKey(name, self._private.public_key().public_bytes_raw())
        self._stamp = self.verifier.key_id
        self._prefix = f"\n— {name} "

    def __repr__(self) -> str:
        return f"Signer({self.verifier.text})"

    @property
    def vkey(self) -> str:
        """The public half, in the signed-note text form."""
        return self.verifier.text

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of the signature over `data`."""
        return self._private.sign(data)

    def sign_note(self, text: str) -> str:
        """The signed note over `text`, whose lines all end; what its first line says keeps it from being mistaken."""
        return f"{text}{self._prefix}{b64(self._stamp + self._private.sign(text.encode()))}\n"

    def sign_checkpoint(self, origin: str, size: int, root: bytes) -> str:
        """The signed note over `origin`, `size` and `root` (32 bytes). `origin` is trusted to be one line."""
        return self.sign_note(f"{origin}\n{size}\n{b64(root)}\n")


def verify_note(note: str, keys: Sequence[VerifierKey]) -> tuple[str, VerifierKey]:
    """The text of any signed note, and the first of `keys` whose signature on it holds. Raises UnsignedCheckpoint where
    none of them has signed, CheckpointError for everything else."""
    text, signatures = _parse_note(note)
    for key in keys:
        own = [item[2] for item in signatures if item[:2] == (key.name, key.key_id)]
        for signature in own:
            key.check(signature, (text + "\n").encode())
        if own:
            return text + "\n", key
    raise UnsignedCheckpoint(
        "it carries no signature of " + (", ".join(key.name for key in keys) or "anybody")
    )


def _parse_note(note: str) -> tuple[str, Signatures]:
    """The text without its last line's end, and the signatures."""
    text, separator, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not separator or lines.pop() or not 0 < len(lines) <= MAX_SIGNATURES:
        raise CheckpointError("the checkpoint is not a signed note")
    if _control(note):
        raise CheckpointError("the checkpoint holds control characters")
    return text, tuple(map(_parse_signature, lines))


def parse_checkpoint(note: str) -> tuple[Checkpoint, Signatures]:
    """The claim and its signatures, none of them checked; CheckpointError."""
    text, signatures = _parse_note(note)
    fields = text.split("\n")
    if len(fields) < 3 or "" in fields:
        raise CheckpointError("the checkpoint's text is not origin, size and root")
    origin, size, root = fields[:3]
    if not (size.isascii() and size.isdigit() and len(size) < 20 and str(int(size)) == size):
        raise CheckpointError("the checkpoint's size is not a plain number")
    root_hash = unb64(root, "root")
    if len(root_hash) != HASH_B:
        raise CheckpointError(f"the checkpoint's root has not {HASH_B} bytes")
    return Checkpoint(origin, int(size), root_hash), signatures


def _parse_signature(line: str) -> tuple[str, bytes, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "—":
        raise CheckpointError("a signature line of the checkpoint is malformed")
    _require_name(parts[1])
    data = unb64(parts[2], "signature")
    if len(data) < 5:
        raise CheckpointError("a signature of the checkpoint is too short")
    return parts[1], data[:4], data[4:]


def verify_checkpoint(note: str, verifier: VerifierKey, origin: str | None = None) -> Checkpoint:
    """The claim of `note`, once a signature of `verifier` on it holds and, where given, `origin` is its own.

    Raises UnsignedCheckpoint where that key has not signed at all, CheckpointError for everything else.
    """
    return verify_parsed(note, *parse_checkpoint(note), verifier, origin)


def verify_parsed(
    note: str, claim: Checkpoint, signatures: Signatures, verifier: VerifierKey, origin: str | None = None
) -> Checkpoint:
    """The same of a note that was parsed to `claim` and `signatures` before."""
    own = [item[2] for item in signatures if item[:2] == (verifier.name, verifier.key_id)]
    if not own:
        raise UnsignedCheckpoint(f"the checkpoint of {claim.origin} carries no signature of {verifier.name}")
    text = (note.rpartition("\n\n")[0] + "\n").encode()
    for signature in own:
        verifier.check(signature, text)
    if origin is not None and claim.origin != origin:
        raise CheckpointError(f"the checkpoint is of the log {claim.origin}, not of {origin}")
    return claim
