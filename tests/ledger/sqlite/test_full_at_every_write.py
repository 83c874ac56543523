"""The disk is full from the n-th write on, whichever that is: opening with a migration and a recovery, records, holds,
keys, delivery marks, the moving of the write-ahead log, a copy, the end.

Nothing acknowledged is lost, what runs is settled from the reserve, new work is refused in one sentence, and all heals
once there is room. `make test` tries some of the writes, `make soak` every one.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest

from app.ledger.delivery import DeliveryRow, DeliveryWay, Standing
from app.ledger.errors import LedgerError, LedgerFault
from app.ledger.holds import HoldRow
from app.ledger.sqlite import durable, store, writer
from app.ledger.sqlite.audit import audit
from app.ledger.sqlite.copies import copy, replace
from app.ledger.sqlite.durable import durable as durably
from app.ledger.sqlite.schema import LEDGER_FILE, MIGRATIONS
from app.ledger.sqlite.store import Ledger
from tests.ledger.sqlite.conftest import SIGNER, START_US, Clock, Drafts
from tests.ledger.sqlite.disks import Disk, Filling
from tests.ledger.sqlite.test_power_cut import Story, look

SOAK = "SOAK" in os.environ
SOME = 12
"""So many of the writes are tried in `make test`, in each way."""
PATIENCE_S = 20.0
FULL = "is full: free some space"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other quickly, and the write-ahead log is moved again and again."""
    monkeypatch.setattr(writer, "RETRY_S", (0.001, 0.002))
    monkeypatch.setattr(writer, "COMPANY_S", 0.001)
    monkeypatch.setattr(writer, "WAL_PAGES", 30)
    monkeypatch.setattr(durable, "FAULT_PATIENCE_S", 0.001)
    monkeypatch.setattr(store, "CLOSE_GRACE_S", PATIENCE_S)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    """What is told when the reserve asks how much is free."""
    room = Room()
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda _: room)
    return room


class Room:
    free = 1 << 40


@dataclass
class Run:
    """One life of a ledger on a disk that fills up."""

    folder: Path
    disk: Disk
    room: Room
    story: Story = field(default_factory=Story)
    dice: random.Random = field(default_factory=lambda: random.Random(9))
    refused: int = 0

    @property
    def path(self) -> Path:
        return self.folder / LEDGER_FILE

    async def open(self) -> Ledger:
        """Open it; where even that finds no room, it is said in a sentence, and then there is room."""
        for _ in range(Filling.PATIENCE + 1):
            try:
                return await Ledger.open(
                    self.path, signer=SIGNER, gateway_id="gw_test", clock_us=Clock(), vfs=self.disk.name
                )
            except LedgerError as error:
                self.said(error, FULL)
        raise AssertionError("it never opened")

    def said(self, refusal: object, what: str) -> None:
        """Somebody was refused, in one sentence."""
        assert what in str(refusal)
        assert "\n" not in str(refusal)
        self.refused += 1

    async def new_work(self, ledger: Ledger, drafts: Drafts, log: str) -> list[HoldRow]:
        """What a gateway takes on where no fault stands; the holds that it leads to."""
        if ledger.fault is not None:
            self.said(ledger.fault, FULL)
            return []
        running = [drafts.hold(log) for _ in range(3)]
        for row in running:
            await ledger.hold(row)
            self.story.held[row.request_id] = 0, log
        return running

    async def settle(self, ledger: Ledger, drafts: Drafts, running: list[HoldRow]) -> None:
        """What is under way ends: with a record, or without one."""
        for row in running:
            await ledger.renew(row.request_id, 9, row.t0_us + 1, e_uj=5, cost_pico=6)
        *settled, dropped = running
        for row in settled:
            receipt = await ledger.append(row.log, drafts(id=row.request_id), release=row.request_id)
            self.story.records[row.request_id] = 0, row.log, receipt.seq
        self.story.dropping[dropped.request_id] = 0
        await ledger.release(dropped.request_id)
        self.story.dropped[dropped.request_id] = 0

    async def records(self, ledger: Ledger, drafts: Drafts, log: str, count: int) -> None:
        batch = [drafts() for _ in range(count)]
        receipts = await asyncio.gather(*[ledger.append(log, draft) for draft in batch])
        for draft, receipt in zip(batch, receipts, strict=True):
            self.story.records[draft.id] = 0, log, receipt.seq

    async def party(self, ledger: Ledger, name: str) -> None:
        """A client with a key that is revoked. Whoever asks for them is not kept waiting."""
        making = ledger.create_client(name)
        try:
            client = await durably(ledger, making)
        except LedgerFault as error:
            self.said(error, FULL)
            client = await making
        self.story.clients[client.log] = 0
        key = await ledger.create_key(label=name, sha256=self.dice.randbytes(32), client=client.id)
        await ledger.revoke_key(key.id)
        self.story.revoked[key.id] = 0

    def copied(self, name: str) -> None:
        """A copy is whole and sound, or is not there and says why."""
        target = self.folder / name
        try:
            copy(self.path, target, _require_sound, vfs=self.disk.name)
        except LedgerError as error:
            self.said(error, "could not be written (")
            assert not [file for file in os.listdir(self.folder) if file.startswith(name)]
        else:
            _require_sound(target)

    async def live(self) -> None:
        """A busy life, at whose end there is room again."""
        ledger = await self.open()
        try:
            drafts = Drafts()
            for _ in range(100):
                drafts()  # ids that the life before has not used
            log = ledger.clients()[0].log
            running = await self.new_work(ledger, drafts, log)
            await self.party(ledger, "Ben")
            if running:
                await self.settle(ledger, drafts, running)
            await self.records(ledger, drafts, log, 40)
            for acked in (1, 2):
                await ledger.keep_delivery(DeliveryRow(log, DeliveryWay.SEED, "", "", Standing(acked)))
            self.copied("copy.db")
            await self.records(ledger, drafts, log, 1)
            self.note_roots(ledger)
            await self.heal(ledger)
            running = await self.new_work(ledger, drafts, log)
            assert running, ledger.fault
            await self.settle(ledger, drafts, running)
            self.note_roots(ledger)
        finally:
            await ledger.close()

    async def heal(self, ledger: Ledger) -> None:
        self.room.free = Room.free
        self.disk.error = None
        async with asyncio.timeout(PATIENCE_S):
            while ledger.fault is not None:
                await asyncio.sleep(0.001)
        assert self.path.with_name(self.path.name + ".reserve").stat().st_size == writer.RESERVE_B

    def note_roots(self, ledger: Ledger) -> None:
        for claim in ledger.newest():
            self.story.roots[claim.origin, claim.size] = 0, claim.root


def _require_sound(path: Path) -> None:
    report = audit(path, SIGNER.verifier)
    assert report.verdict == "OK", report.sentence


@pytest.fixture
async def before(tmp_path: Path) -> tuple[Path, Story]:
    """A ledger of an older version, with records and with requests that a crash cut off."""
    folder, story, drafts = tmp_path / "before", Story(), Drafts()
    folder.mkdir()
    ledger = await Ledger.open(
        folder / LEDGER_FILE, signer=SIGNER, gateway_id="gw_test", clock_us=lambda: START_US
    )
    log = (await ledger.create_client("Anna")).log
    story.clients[log] = 0
    for draft in [drafts() for _ in range(5)]:
        story.records[draft.id] = 0, log, (await ledger.append(log, draft)).seq
    for row in [drafts.hold(log) for _ in range(2)]:
        await ledger.hold(row)
        story.held[row.request_id] = 0, log
    await ledger.close()
    connection = apsw.Connection(str(folder / LEDGER_FILE))
    connection.execute("DROP INDEX record_spent")
    connection.pragma("user_version", len(MIGRATIONS) - 1)
    connection.close()
    return folder, story


@pytest.fixture
def lives(before: tuple[Path, Story], tmp_path: Path, room: Room) -> Iterator[Any]:
    """Make a life that goes on from before, on a disk of its own, of which the n-th write finds it full."""
    folder, story = before
    disk, number = Disk(), iter(range(1 << 20))

    def life(nth: int, *, spared: bool) -> Run:
        home = tmp_path / str(next(number))
        shutil.copytree(folder, home)
        run = Run(home, disk, room, deepcopy(story))
        room.free = Room.free
        disk.error = apsw.FullError
        disk.refuses = Filling(nth, run.path.with_name(run.path.name + ".reserve"), spared=spared)
        return run

    yield life
    disk.error = None
    disk.unregister()


async def count_writes(lives: Any) -> int:
    run = lives(1 << 62, spared=True)
    await run.live()
    assert run.refused == 0
    return int(run.disk.refuses.asked)


@pytest.mark.soak
@pytest.mark.parametrize("spared", [True, False], ids=["the reserve is enough", "it is not"])
async def test_a_disk_that_is_full_from_any_write_on_loses_nothing_and_heals(
    lives: Any, room: Room, spared: bool
) -> None:
    writes = await count_writes(lives)
    assert writes > 100
    tried = range(1, writes + 1) if SOAK else random.Random(writes).sample(range(1, writes + 1), SOME)
    refused = 0
    for nth in tried:
        run = lives(nth, spared=spared)
        filling, room.free = run.disk.refuses, 0
        try:
            await run.live()
            look(run.folder, run.story)
        except (AssertionError, LedgerError, TimeoutError) as error:
            raise AssertionError(f"write {nth} of {writes}: {error!r}") from error
        assert filling.met or nth > writes * 3 // 4
        refused += run.refused
        shutil.rmtree(run.folder)
    assert refused > 0, "somebody was told"


@pytest.mark.soak
async def test_a_disk_that_is_full_from_any_write_on_has_a_ledger_replaced_or_left_as_it_was(
    before: tuple[Path, Story], lives: Any
) -> None:
    copied = before[0].parent / "copied.db"
    copy(before[0] / LEDGER_FILE, copied, _require_sound)
    run = lives(1 << 62, spared=False)
    assert replace(run.path, copied, run.folder / "aside.db", _require_sound, run.disk.name)
    writes, refused = run.disk.refuses.asked, 0
    assert writes > 5
    for nth in range(1, writes + 1):
        run = lives(nth, spared=False)
        was = run.path.read_bytes()
        try:
            replace(run.path, copied, run.folder / "aside.db", _require_sound, run.disk.name)
        except LedgerError as error:
            run.said(error, "full")
            assert run.path.read_bytes() == was
            assert not (run.folder / "aside.db").exists()
            run.disk.error = None
            assert replace(run.path, copied, run.folder / "aside.db", _require_sound, run.disk.name)
        run.disk.error = None
        assert not [name for name in os.listdir(run.folder) if "restoring" in name]
        # What did not fit into the old file is kept beside it.
        _require_sound(run.folder / "aside.db")
        look(run.folder, run.story)
        refused += run.refused
    assert refused >= writes // 2
