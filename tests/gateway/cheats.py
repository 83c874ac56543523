"""What two honest sides had, and what a cheat makes of it: he has one side's files and keys, and tools of his own."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

import apsw

from app.ledger.checkpoint import Signer
from app.ledger.drafts import Draft, UsageDraft
from app.ledger.ids import uuid7
from app.ledger.merkle import Frontier, leaf_hash
from app.ledger.records import decode, encode
from tests.gateway.processes import run

VAULT = ("--vault", "file")
WEEK_US = 7 * 24 * 3_600_000_000
THIEF_SEED = bytes(range(32))


@dataclasses.dataclass
class Deal:
    """Both homes after requests were served, delivered and cosigned, while nothing runs. `early` is the note that the
    client cosigned before the requests, `note` the newest one, both with the two signatures."""

    home: Path
    client: Path
    vkey: str
    cosigner: str
    secret: str
    log: str
    leaves: list[bytes]
    note: str
    early: str

    def copied(self, to: Path) -> Deal:
        """The same in folders of their own, to be changed."""
        homes = {"home": to / "home", "client": to / "client"}
        for name, folder in homes.items():
            shutil.copytree(getattr(self, name), folder)
        return dataclasses.replace(self, **homes)

    @property
    def signer(self) -> Signer:
        """Who has the gateway's vault can sign in its name."""
        vault = json.loads(next(self.home.rglob("vault.json")).read_bytes())
        return Signer(bytes.fromhex(vault["secrets"]["ledger-signing-key"]), self.vkey.partition("+")[0])

    @property
    def drafts(self) -> list[Draft]:
        """What the records say, but for their places and totals."""
        return [decode(leaf).draft for leaf in self.leaves]

    def write(self, drafts: Sequence[Draft]) -> list[bytes]:
        """Leaves of another history, with places and totals that fit."""
        bodies, cum = [], 0
        for seq, draft in enumerate(drafts):
            cum += draft.cost
            bodies.append(encode(draft, self.log, seq, cum))
        return bodies

    def sign(self, leaves: Sequence[bytes], signer: Signer | None = None) -> str:
        """A checkpoint over `leaves`, in the gateway's name."""
        return (signer or self.signer).sign_checkpoint(self.log, len(leaves), root_of(leaves))

    def ledger(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A `ledger` command on the gateway's side."""
        return run(self.home, "ledger", *words, *VAULT)

    def receiver(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A `receiver` command on the client's side."""
        return run(self.client, "receiver", *words, *VAULT)

    def push(self, url: str, body: bytes) -> int:
        """Send records to the receiver, as the gateway does; the status of the answer."""
        asked = urllib.request.Request(
            url + "/ledger", data=body, headers={"Authorization": f"Bearer {self.secret}"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=30) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code


Cheat = Callable[[Deal], tuple[list[bytes], str]]
"""Makes the leaves and the checkpoint that the other side is shown."""


def hand_over(leaves: Sequence[bytes], note: str) -> tuple[str, ...]:
    """Write both as files here; the options that name them."""
    Path("leaves").write_bytes(b"".join(leaf + b"\n" for leaf in leaves))
    Path("note").write_text(note)
    return ("--leaves", os.path.abspath("leaves"), "--checkpoint", os.path.abspath("note"))


def root_of(leaves: Sequence[bytes]) -> bytes:
    tree = Frontier()
    for leaf in leaves:
        tree.append(leaf_hash(leaf))
    return tree.root()


def rewritten(change: Callable[[list[Draft]], None]) -> Cheat:
    """The whole history anew with a change in it, every total and the signature made to fit."""

    def cheat(deal: Deal) -> tuple[list[bytes], str]:
        drafts = deal.drafts
        change(drafts)
        leaves = deal.write(drafts)
        return leaves, deal.sign(leaves)

    return cheat


def usage_at(drafts: Sequence[Draft], seq: int) -> UsageDraft:
    draft = drafts[seq]
    assert isinstance(draft, UsageDraft)
    return draft


def another(drafts: Sequence[Draft], **changes: object) -> UsageDraft:
    """A request that there never was."""
    last = usage_at(drafts, -1)
    return dataclasses.replace(last, **{"id": uuid7(last.t1 + 5, 5), **changes})


def change_file(home: Path, name: str, *statements: str) -> None:
    """What somebody does to a side's file with a database browser."""
    with apsw.Connection(str(next(home.rglob(name)))) as file:
        for statement in statements:
            file.execute(statement)
