"""What both sides' comparing commands share: a copy that was handed over, and telling what came of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.commands.common import CommandError
from app.ledger.copies import LeavesCopy, leaves_of
from app.ledger.evidence import SUFFIX
from app.ledger.findings import Verdict

PROVING = frozenset({Verdict.FORK, Verdict.TAMPERED, Verdict.ROLLBACK})
"""Verdicts that come with something to show to others."""


def given_copy(options: argparse.Namespace) -> LeavesCopy | None:
    """The other side's copy, where it was handed over as two files."""
    if options.leaves is None and options.checkpoint is None:
        return None
    if options.leaves is None or options.checkpoint is None:
        raise CommandError("A copy that was handed over is two files: name both, --leaves and --checkpoint.")
    leaves, note = (_bytes(name) for name in (options.leaves, options.checkpoint))
    try:
        return LeavesCopy(leaves_of(leaves), note.decode())
    except UnicodeDecodeError:
        raise CommandError(f"{options.checkpoint} is not text, so it is no checkpoint.") from None


def told(verdict: str, sentence: str, log: str, evidence: str, out: str | None) -> int:
    """Say what came of it, and write the evidence where there is any. The exit status."""
    print(f"{verdict}: {sentence}")
    if verdict in PROVING:
        name = out or log.replace("/", "-") + SUFFIX
        try:
            Path(name).write_text(evidence)
        except OSError as error:
            raise CommandError(f"{name} cannot be written: {error.strerror}.") from None
        print(f"{name} holds the evidence, for anybody who has the gateway's public key:")
        print(f"  mortdecai-gateway ledger check-proof {name} --vkey KEY")
    return 0 if verdict == Verdict.OK else 1


def _bytes(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}.") from None
