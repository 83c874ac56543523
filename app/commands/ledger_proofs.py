"""`ledger vkey`, `ledger prove`, `ledger check-proof`: one record, shown to whoever trusts the public key alone.

Rule: `check-proof` needs no profile, no vault and no network, so it works on any machine.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from app.commands.common import CommandError, Ground, ground
from app.commands.ledger_source import ledger_source
from app.ledger.checkpoint import VerifierKey
from app.ledger.cosignature import CosignerKey, find_cosignature
from app.ledger.errors import BadProof, CheckpointError, UnsignedCheckpoint
from app.ledger.evidence import Weighed, is_evidence, weigh
from app.ledger.tlog_proof import LONGEST_B, SUFFIX, Proven, check_proof, write_proof

K = TypeVar("K", bound=VerifierKey)
STANDARD = "-"
"""As a file's name: standard input or output."""


def vkey(options: argparse.Namespace) -> int:
    """`ledger vkey`: the key by which others check this gateway's checkpoints."""

    async def show(base: Ground) -> None:
        async with ledger_source(base) as source:
            print(source.vkey)

    asyncio.run(show(ground(options)))
    return 0


def prove(options: argparse.Namespace) -> int:
    """`ledger prove SEQ`: writes the proof file."""
    return asyncio.run(_prove(ground(options), options))


async def _prove(base: Ground, options: argparse.Namespace) -> int:
    async with ledger_source(base) as source:
        log = source.named(options.log)
        found = await source.inclusion(log, options.seq, options.size, cosigned=options.cosigned)
        key = source.vkey
    text = write_proof(found)
    if options.out == STANDARD:
        sys.stdout.write(text)
        return 0
    name = options.out or f"{log.replace('/', '-')}-{found.seq}{SUFFIX}"
    try:
        Path(name).write_bytes(text.encode())
    except OSError as error:
        raise CommandError(f"{name} cannot be written: {error.strerror}.") from None
    print(f"{name} proves that record {found.seq} is among the first {found.size} of {log}. To check it:")
    print(f"  mortdecai-gateway ledger check-proof {name} --vkey '{key}'")
    if options.cosigned:
        print(
            "With --cosigner and the key that the client's `receiver enrol` printed, it shows that it cosigned it too."
        )
    return 0


def check(options: argparse.Namespace) -> int:
    """`ledger check-proof FILE`; the exit status is 0 where it proves its record, 1 where it does not."""
    keys = [_parsed(VerifierKey, "--vkey", text) for text in options.vkey]
    cosigners = [_parsed(CosignerKey, "--cosigner", text) for text in options.cosigner]
    try:
        text = _text(options.file)
        if is_evidence(text):
            return _weighed(weigh(text, keys, cosigners))
        proven = check_proof(text, keys, options.log)
        held = [_held(proven, cosigner) for cosigner in cosigners]
    except BadProof as error:
        print(f"NOT PROVEN: {error}")
        return 1
    claim = proven.claim
    print(
        f"OK: record {proven.seq} is among the first {claim.size} of {claim.origin}, signed by {proven.key.name}."
    )
    for line in held:
        print(line)
    if proven.record is None:
        print("This version does not know the record's form; it says:")
    print(proven.leaf.decode(errors="replace"))
    return 0


def _weighed(found: Weighed) -> int:
    print("PROVEN:" if found.proven else "NOT PROVEN:", found.sentences[0])
    for sentence in found.sentences[1:]:
        print(f"  {sentence}")
    return 0 if found.proven else 1


def _held(proven: Proven, cosigner: CosignerKey) -> str:
    try:
        found = find_cosignature(proven.note, proven.note.rpartition("\n\n")[2], cosigner)
    except UnsignedCheckpoint:
        raise BadProof(f"{cosigner.name} has not cosigned this checkpoint.") from None
    except CheckpointError as error:
        raise BadProof(f"The proof does not hold: {error}.") from None
    at = datetime.fromtimestamp(found.at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{cosigner.name} has cosigned it at {at}."


def _parsed(kind: type[K], option: str, text: str) -> K:
    try:
        return kind.parse(text.strip())
    except CheckpointError as error:
        raise CommandError(f"{option} {text[:80]!r} is no key: {error}.") from None


def _text(name: str) -> str:
    """What the file holds. CommandError where it cannot be read, BadProof where it is no proof of any kind."""
    try:
        if name == STANDARD:
            data = sys.stdin.buffer.read(LONGEST_B + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(LONGEST_B + 1)
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}.") from None
    if len(data) > LONGEST_B:
        raise BadProof(f"{name} is larger than any proof.")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadProof(f"{name} is not text, so it is no proof.") from None
