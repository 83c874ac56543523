"""`ledger backup`, `restore` and `rotate-key`: what keeps a ledger in good hands.

Rule: a copy is verified, every record and signature of it, before it is called a backup or takes the ledger's place.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from app.access.identity import Identity
from app.commands.books import open_books, shut
from app.commands.common import CommandError, Ground, ground
from app.commands.progress import Shown
from app.commands.trace import leave_trace
from app.engine.host import Progress
from app.gateway.newest import Newest
from app.ledger.checkpoint import Checkpoint, VerifierKey
from app.ledger.errors import CheckpointError
from app.ledger.findings import AuditReport, Verdict
from app.ledger.sqlite.audit import audit
from app.ledger.sqlite.copies import copy, replace, root_at
from app.ledger.sqlite.schema import LEDGER_FILE


def backup(options: argparse.Namespace) -> int:
    """`ledger backup FILE`."""
    return asyncio.run(_backup(ground(options), Path(options.file)))


def restore(options: argparse.Namespace) -> int:
    """`ledger restore FILE`."""
    return asyncio.run(_restore(_at_rest(options), Path(options.file)))


def rotate_key(options: argparse.Namespace) -> int:
    """`ledger rotate-key`."""
    return asyncio.run(_rotate_key(_at_rest(options)))


def _at_rest(options: argparse.Namespace) -> Ground:
    base = ground(options)
    if base.running_url() is not None:
        raise CommandError(f"The gateway of this profile runs: stop it before `ledger {options.action}`.")
    return base


async def _backup(base: Ground, file: Path) -> int:
    if base.store.current.vault == "memory":
        raise CommandError(
            "A ledger whose key is in the memory vault ends with its gateway: there is nothing to keep."
        )
    path = base.folders.data / LEDGER_FILE
    vault = await base.vault()
    # What is remembered before the copy begins is in it.
    claims = (await Newest.load(vault)).claims
    identity = await Identity.load(vault)
    check = _Check(identity.signer.verifier, claims)
    await _with_bar("Copying the ledger", lambda tell: copy(path, file, check, tell), "pages")
    size = file.stat().st_size / 1e6
    print(f"{file}: {check.records} records, {size:.1f} MB, all exactly as they were signed.")
    return 0


async def _restore(base: Ground, file: Path) -> int:
    if not file.is_file():
        raise CommandError(f"There is no file {file}: name the one that `ledger backup` wrote.")
    async with shut(base) as profile:
        claims = profile.newest.claims
        check = _Check(profile.signer.verifier, older_than=claims)
        aside = _free(profile.path)
        moved = await asyncio.to_thread(replace, profile.path, file, aside, check)
    leave_trace(base, "ledger restore")
    print(f"The ledger holds {check.records} records now, all exactly as they were signed.")
    if moved:
        print(f"What was in its place is {aside}.")
    lost = sum(max(0, claim.size - check.sizes.get(claim.origin, 0)) for claim in claims)
    if lost:
        print(
            f"It is an older copy and lacks the newest {lost} records that this profile has signed: the gateway starts"
            " with it after `mortdecai-gateway ledger refill`, which fetches them from the clients' receivers"
            + (
                ", and only so, for it is from before the signing key passed on."
                if check.outlived
                else ", or after `mortdecai-gateway ledger accept-rollback`, which says so in the logs that lost them."
            )
        )
    return 0


async def _rotate_key(base: Ground) -> int:
    async with open_books(base) as (ledger, identity, vault):
        before = ledger.vkey
        await identity.rotate(vault, ledger)
        leave_trace(base, "ledger rotate-key")
        logs = len(ledger.newest())
        print(
            f"The ledger ({logs} logs) is signed with a new key from now on; each log says so in a record that both"
        )
        print("keys have signed. What the old key signs after it is worth nothing.")
        print(f"  old: {before}")
        print(f"  new: {ledger.vkey}")
        print(
            "What copies from before lack can come from a client's receiver alone: make a new one with"
            " `mortdecai-gateway ledger backup FILE`."
        )
    return 0


class _Check:
    """Raises CommandError unless a copy is exactly as it was signed, and holds all of `remembered`, or as much of
    `older_than` as it is long."""

    def __init__(
        self,
        verifier: VerifierKey,
        remembered: Sequence[Checkpoint] = (),
        *,
        older_than: Sequence[Checkpoint] = (),
    ) -> None:
        self._verifier = verifier
        self._claims = remembered
        self._older_than = older_than
        self.outlived = False
        """The copy is signed with the key of before, and has to be proven by what today's has signed."""
        self.records = 0
        self.sizes: dict[str, int] = {}

    def __call__(self, copied: Path) -> None:
        report: AuditReport = audit(copied, self._verifier, remembered=self._claims)
        if (before := self._key_of_before(report)) is not None:
            self.outlived, report = True, audit(copied, before)
        if report.verdict is not Verdict.OK:
            raise CommandError(f"Nothing was changed, for this copy is {report.verdict}: {report.sentence}")
        self.records = report.records
        self.sizes = {log.log: log.size for log in report.by_log}
        for claim in self._older_than:
            root = root_at(copied, claim.origin, claim.size)
            if root not in (None, claim.root):
                raise CommandError(
                    f"Nothing was changed, for this copy is another history: its first {claim.size} records of"
                    f" {claim.origin} are not those that this profile has signed."
                )

    def _key_of_before(self, report: AuditReport) -> VerifierKey | None:
        """The key that all of a copy says to be signed with, where that is not today's and today's has signed more of
        every log: that will tell whether the copy is ours."""
        newest = {claim.origin: claim.size for claim in self._older_than}
        keys = {log.vkey for log in report.by_log}
        if len(keys) != 1 or any(log.size >= newest.get(log.log, 0) for log in report.by_log):
            return None
        try:
            key = VerifierKey.parse(keys.pop())
        except CheckpointError:
            return None
        return key if key.name == self._verifier.name and key.key_id != self._verifier.key_id else None


def _free(path: Path) -> Path:
    """A name beside `path` that nothing has."""
    names = (path.with_name(f"{path.name}.before-restore-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


async def _with_bar(what: str, work: Callable[[Callable[[int, int], None]], None], counted: str) -> None:
    shown = Shown()

    def tell(done: int, total: int) -> None:
        if done < total:
            shown.tell(Progress(what, done, total, counted=counted))

    try:
        await asyncio.to_thread(work, tell)
    finally:
        shown.end()
