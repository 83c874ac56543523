"""The power fails: whatever a disk makes of what it was not told to keep, nothing that was acknowledged is lost.

Everything follows from a seed. A ledger is written to, the power is cut somewhere, and what a disk may have kept is
put into a folder of its own, opened, compared with all that was acknowledged before, and written to again. `make test`
tries some seeds, `make soak` two thousand (some ten minutes).
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest

from app.ledger.checkpoint import Checkpoint
from app.ledger.delivery import DeliveryRow, DeliveryWay, Standing
from app.ledger.drafts import GenesisDraft, UsageDraft
from app.ledger.errors import LedgerError
from app.ledger.heads import Receipt
from app.ledger.holds import HoldRow
from app.ledger.ids import id_bytes, uuid7
from app.ledger.merkle import Frontier, leaf_hash
from app.ledger.parties import Client, Key
from app.ledger.records import decode
from app.ledger.sqlite.audit import audit
from app.ledger.sqlite.deliveries import PutDelivery
from app.ledger.sqlite.journal import Journal
from app.ledger.sqlite.membership import CreateClient, CreateKey, RevokeKey
from app.ledger.sqlite.schema import APPLICATION_ID, LEDGER_FILE, MIGRATIONS
from app.ledger.sqlite.transaction import Append, DropHold, PutHold, RenewHold, Write
from tests.ledger.sqlite.conftest import SIGNER, START_US
from tests.ledger.sqlite.power_cut import Recorder, Trace

SEEDS = 2000 if "SOAK" in os.environ else 12
LIVES = 3
"""So often a ledger of one seed loses its power."""
CUTS = 6
"""Of each life so many ends are looked at; the next life goes on from the last of them."""
NOBODY: Any = None


@dataclass
class Story:
    """What was acknowledged, each with the number of events behind which it was."""

    clients: dict[str, int] = field(default_factory=dict)
    """log → when"""
    records: dict[str, tuple[int, str, int]] = field(default_factory=dict)
    """id → when, log, seq"""
    held: dict[str, tuple[int, str]] = field(default_factory=dict)
    """request → when, log; it stays here when it is settled, for then its record has its id"""
    dropping: dict[str, int] = field(default_factory=dict)
    """request → when it was asked for to end without a record"""
    dropped: dict[str, int] = field(default_factory=dict)
    roots: dict[tuple[str, int], tuple[int, bytes]] = field(default_factory=dict)
    """log, size → when, root; each was signed and may have been handed out"""
    revoked: dict[str, int] = field(default_factory=dict)

    def until(self, cut: int) -> Story:
        """What had been acknowledged when the power failed, as what goes before the next life."""
        return Story(
            {log: -1 for log, when in self.clients.items() if when <= cut},
            {id: (-1, *place) for id, (when, *place) in self.records.items() if when <= cut},
            {id: (-1, log) for id, (when, log) in self.held.items() if when <= cut},
            {id: -1 for id, when in self.dropping.items() if when <= cut},
            {id: -1 for id, when in self.dropped.items() if when <= cut},
            {at: (-1, root) for at, (when, root) in self.roots.items() if when <= cut},
            {id: -1 for id, when in self.revoked.items() if when <= cut},
        )

    def newest(self) -> tuple[Checkpoint, ...]:
        """What the vault would remember."""
        sizes: dict[str, int] = {}
        for log, size in self.roots:
            sizes[log] = max(size, sizes.get(log, 0))
        return tuple(Checkpoint(log, size, self.roots[log, size][1]) for log, size in sizes.items())


class Life:
    """One run of the ledger's writer on a disk that is recorded, from the first write to an orderly end."""

    def __init__(self, folder: Path, story: Story, dice: random.Random, *, lies: bool = False) -> None:
        self._path = folder / LEDGER_FILE
        self._story = story
        self._dice = dice
        self._recorder = Recorder(folder, lies=lies)
        self._now_us = START_US + dice.randrange(10**12)
        self._used: set[str] = set()
        """Requests that the commit in hand speaks of already."""

    @property
    def trace(self) -> Trace:
        return self._recorder.trace

    def run(self, steps: int) -> None:
        try:
            journal = Journal(self._path, SIGNER, self._recorder.name, self._story.newest())
            try:
                journal.recover()
                for _ in range(steps):
                    self._step(journal)
            finally:
                journal.close()
        finally:
            self._recorder.unregister()

    def _step(self, journal: Journal) -> None:
        dice, story = self._dice, self._story
        if dice.random() < 0.15:
            journal.checkpoint_wal(truncate=dice.random() < 0.3)
            return
        self._used.clear()
        operations = [self._operation(journal) for _ in range(dice.choice((1, 1, 2, 5, 40)))]
        for operation in operations:
            if isinstance(operation, DropHold):
                story.dropping[operation.request_id] = len(self.trace.events)
        done = journal.commit(operations)
        now = len(self.trace.events)
        for operation, outcome in done.outcomes:
            if isinstance(outcome, Exception):
                raise outcome
            match operation:
                case CreateClient():
                    story.clients[operation.client.log] = now
                case Append():
                    assert isinstance(outcome, Receipt)
                    story.records[operation.draft.id] = now, outcome.log, outcome.seq
                case PutHold():
                    story.held[operation.row.request_id] = now, operation.row.log
                case DropHold():
                    story.dropped[operation.request_id] = now
                case RevokeKey():
                    story.revoked[operation.key_id] = now
        for log, head in done.heads.items():
            story.roots[log, head.size] = now, head.frontier.root()

    def _new_id(self) -> str:
        self._now_us += self._dice.randrange(1, 2_000_000)
        return uuid7(self._now_us, self._dice.getrandbits(62))

    def _draft(self, id: str) -> UsageDraft:
        return a_draft(id, self._now_us, self._dice)

    def _operation(self, journal: Journal) -> Write:
        dice, clients = self._dice, journal.parties.clients
        kinds = ("append", "hold", "renew", "settle", "drop", "delivery", "party")
        (kind,) = dice.choices(kinds, (6, 3, 2, 3, 1, 1, 1))
        if not clients or (kind == "party" and dice.random() < 0.3):
            name = f"c_{dice.getrandbits(48):012x}"
            client = Client(name, name, f"gw_test/{name}", self._now_us)
            return CreateClient(
                client, GenesisDraft(self._new_id(), self._now_us, "gw_test", name, SIGNER.vkey), NOBODY
            )
        log = (client := dice.choice(clients)).log
        if kind == "party":
            return self._key(journal, client)
        if kind == "delivery":
            return PutDelivery(
                DeliveryRow(log, DeliveryWay.SEED, "", "", Standing(dice.randrange(99))), NOBODY
            )
        if kind == "hold":
            id, now = self._new_id(), self._now_us
            return PutHold(HoldRow(id, log, "k", "m", "/api/chat", "t", now, 9, now), NOBODY)
        held = self._story.held
        running = [one for one in held if one in journal.held and one not in self._used]
        if kind == "append" or not running:
            return Append(log, self._draft(self._new_id()), None, NOBODY)
        self._used.add(request := dice.choice(running))
        if kind == "renew":
            return RenewHold(request, 9, self._now_us, 5, 6, NOBODY)
        if kind == "drop":
            return DropHold(request, NOBODY)
        return Append(held[request][1], self._draft(request), request, NOBODY)

    def _key(self, journal: Journal, client: Client) -> Write:
        dice = self._dice
        open_keys = [key.id for key in journal.parties.keys if key.revoked_us is None]
        if open_keys and dice.random() < 0.5:
            return RevokeKey(dice.choice(open_keys), self._now_us, self._new_id(), NOBODY)
        name, sha256 = f"k_{dice.getrandbits(48):012x}", dice.randbytes(32)
        key = Key(name, sha256, "a key", "client", client.id, self._now_us, None, "{}")
        return CreateKey(key, self._new_id(), NOBODY)


def a_draft(id: str, t0: int, dice: random.Random) -> UsageDraft:
    return UsageDraft(
        id, t0, t0 + 5, 5, None, "k", "m" * dice.randrange(1, 200), None, "/api/chat", 1, dice.randrange(9999),
        "engine", "complete", 100, "nvml", "t", dice.randrange(9999),
    )  # fmt: skip


def lay(files: dict[str, bytes], folder: Path) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def look(folder: Path, story: Story) -> None:
    """Open what the power cut left, and compare it with all that was acknowledged before."""
    path, disk = folder / LEDGER_FILE, Recorder(folder)
    try:
        journal = Journal(path, SIGNER, disk.name, story.newest())
        try:
            recovered = {draft.id for draft in journal.recover()}
            if journal.parties.clients:
                draft = a_draft(uuid7(START_US, 1), START_US, random.Random(1))
                journal.commit([Append(journal.parties.clients[0].log, draft, None, None)])
            compare(path, journal, story, recovered)
        finally:
            journal.close()
    finally:
        disk.unregister()
    report = audit(path, SIGNER.verifier, remembered=story.newest())
    assert report.verdict == "OK", report.sentence


def compare(path: Path, journal: Journal, story: Story, recovered: set[str]) -> None:
    reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    rows = reader.execute(
        "SELECT n, name, seq, id, body FROM record JOIN log ON log.k = record.log ORDER BY n"
    ).fetchall()
    reader.close()
    assert [n for n, *_ in rows] == list(range(1, len(rows) + 1)), "no gap in the file"
    trees: dict[str, Frontier] = {}
    places: dict[bytes, tuple[str, int]] = {}
    for _, log, seq, id, body in rows:
        tree = trees.setdefault(log, Frontier())
        assert seq == tree.size, "no gap in a log"
        assert places.setdefault(id, (log, seq)) == (log, seq), "nothing twice"
        assert decode(body).seq == seq
        tree.append(leaf_hash(body))
        if (log, tree.size) in story.roots:
            assert story.roots[log, tree.size][1] == tree.root(), "what was signed stays so"
    for log, size in story.roots:
        assert trees[log].size >= size
    for id, (_, log, seq) in story.records.items():
        assert places.get(id_bytes(id)) == (log, seq), "an acknowledged record is where it was"
        assert id not in recovered
    for id, (_, log) in story.held.items():
        if id not in story.dropping:
            assert places[id_bytes(id)][0] == log, "what was held has a record"
    for id in story.dropped:
        assert id_bytes(id) not in places
    assert not journal.held
    assert story.clients.keys() <= {client.log for client in journal.parties.clients}
    revoked = {key.id for key in journal.parties.keys if key.revoked_us is not None}
    assert story.revoked.keys() <= revoked


def an_older_version(folder: Path, version: int) -> None:
    """An empty ledger as that version made it."""
    connection = apsw.Connection(str(folder / LEDGER_FILE))
    for script in MIGRATIONS[:version]:
        connection.execute(script)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


def lose_power_again_and_again(home: Path, seed: int, *, lies: bool = False) -> None:
    dice = random.Random(seed)
    folder, story = lay({}, home / "begin"), Story()
    if version := dice.randrange(len(MIGRATIONS)):
        an_older_version(folder, version)
    for number in range(LIVES):
        life = Life(folder, story, dice, lies=lies)
        life.run(steps=dice.randrange(3, 25))
        trace, ends = life.trace, len(life.trace.events) + 1
        for at in range(CUTS):
            cut = dice.randrange(ends) if at else ends - 1
            files, left = trace.cut(cut, dice), story.until(cut)
            try:
                look(lay(files, home / f"look{number}-{at}"), left)
            except (AssertionError, LedgerError) as error:
                where = f"seed {seed}, life {number}, power cut behind event {cut} of {ends - 1}"
                raise AssertionError(f"{where}: {error}") from error
        folder, story = lay(files, home / f"life{number}"), left


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(SEEDS))
def test_after_every_power_cut_all_that_was_acknowledged_is_there_once_and_as_it_was_signed(
    tmp_path: Path, seed: int
) -> None:
    lose_power_again_and_again(tmp_path, seed)


def test_a_disk_that_lies_about_its_syncs_is_seen_to_lose_records(tmp_path: Path) -> None:
    """Which shows that the test above would see it."""
    for seed in range(5):
        with pytest.raises(AssertionError, match="power cut"):
            lose_power_again_and_again(lay({}, tmp_path / str(seed)), seed, lies=True)
