"""The power fails under the ledger as a gateway has it: many tasks on the loop, one thread that commits in groups.

How it is cut, and what is looked at afterwards, is test_power_cut.py's; here what is acknowledged is what a task has
waited for. Threads go as they like, so a seed gives the load and the cuts, and not each commit. `make soak` tries
three hundred seeds.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from app.ledger.delivery import DeliveryRow, DeliveryWay, Standing
from app.ledger.errors import LedgerError
from app.ledger.ids import uuid7
from app.ledger.sqlite import writer
from app.ledger.sqlite.schema import LEDGER_FILE
from app.ledger.sqlite.store import Ledger
from tests.ledger.sqlite.conftest import SIGNER, START_US, Clock, Drafts
from tests.ledger.sqlite.power_cut import Recorder
from tests.ledger.sqlite.test_power_cut import Story, lay, look

SEEDS = 300 if "SOAK" in os.environ else 3
LIVES, CUTS, TASKS, STEPS = 2, 6, 6, 12


@pytest.fixture(autouse=True)
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The write-ahead log is moved into the file again and again."""
    monkeypatch.setattr(writer, "WAL_PAGES", 60)
    monkeypatch.setattr(writer, "QUIET_PAGES", 10)
    monkeypatch.setattr(writer, "COMPANY_S", 0.002)


class Life:
    """One run of a ledger on a disk that is recorded."""

    def __init__(self, folder: Path, story: Story, dice: random.Random, number: int, *, lies: bool) -> None:
        self._path = folder / LEDGER_FILE
        self._story = story
        self._dice = dice
        self._drafts = Drafts()
        self._number = number
        self.recorder = Recorder(folder, lies=lies)

    @property
    def now(self) -> int:
        """So much has been written; what is acknowledged now was durable behind it, or before."""
        return len(self.recorder.trace.events)

    async def run(self) -> None:
        ledger = await Ledger.open(
            self._path,
            signer=SIGNER,
            gateway_id="gw_test",
            clock_us=Clock(),
            remembered=self._story.newest(),
            vfs=self.recorder.name,
        )
        try:
            if not ledger.clients():
                await self._client(ledger, "Anna")
            await asyncio.gather(*[self._task(ledger) for _ in range(TASKS)])
        finally:
            await ledger.close()
            self.recorder.unregister()

    async def _task(self, ledger: Ledger) -> None:
        for _ in range(STEPS):
            match self._dice.choice(("record", "record", "held", "held", "dropped", "party", "delivery")):
                case "record":
                    await self._record(ledger, self._id())
                case "held":
                    await self._record(ledger, await self._hold(ledger), held=True)
                case "dropped":
                    request = await self._hold(ledger)
                    self._story.dropping[request] = self.now
                    await ledger.release(request)
                    self._story.dropped[request] = self.now
                case "party":
                    await self._client(ledger, f"client {self._dice.getrandbits(48)}")
                case "delivery":
                    standing = Standing(self._dice.randrange(99))
                    await ledger.keep_delivery(
                        DeliveryRow(self._log(ledger), DeliveryWay.SEED, "", "", standing)
                    )
            for claim in ledger.newest():
                self._story.roots.setdefault((claim.origin, claim.size), (self.now, claim.root))

    def _id(self) -> str:
        return uuid7(START_US + self._number, self._dice.getrandbits(62))

    def _log(self, ledger: Ledger) -> str:
        return self._dice.choice(ledger.clients()).log

    async def _hold(self, ledger: Ledger) -> str:
        row = self._drafts.hold(self._log(ledger), request_id=self._id())
        await ledger.hold(row)
        self._story.held[row.request_id] = self.now, row.log
        if self._dice.random() < 0.5:
            await ledger.renew(row.request_id, 9, row.t0_us + 1, e_uj=5, cost_pico=6)
        return row.request_id

    async def _record(self, ledger: Ledger, id: str, *, held: bool = False) -> None:
        log = self._story.held[id][1] if held else self._log(ledger)
        receipt = await ledger.append(log, self._drafts(id=id), release=id if held else None)
        self._story.records[id] = self.now, log, receipt.seq

    async def _client(self, ledger: Ledger, name: str) -> None:
        client = await ledger.create_client(name)
        self._story.clients[client.log] = self.now
        key = await ledger.create_key(label=name, sha256=self._dice.randbytes(32), client=client.id)
        await ledger.revoke_key(key.id)
        self._story.revoked[key.id] = self.now


async def lose_power(home: Path, seed: int, *, lies: bool = False) -> None:
    dice = random.Random(seed)
    folder, story = lay({}, home / "begin"), Story()
    for number in range(LIVES):
        life = Life(folder, story, dice, number, lies=lies)
        await life.run()
        assert len(story.records) > TASKS
        trace, ends = life.recorder.trace, life.now + 1
        for at in range(CUTS):
            cut = dice.randrange(ends) if at else ends - 1
            files, left = trace.cut(cut, dice), story.until(cut)
            try:
                await asyncio.to_thread(look, lay(files, home / f"look{number}-{at}"), left)
            except (AssertionError, LedgerError) as error:
                where = f"seed {seed}, life {number}, power cut behind event {cut} of {ends - 1}"
                raise AssertionError(f"{where}: {error}") from error
        folder, story = lay(files, home / f"life{number}"), left


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_what_any_task_has_waited_for_is_there_after_every_power_cut(tmp_path: Path, seed: int) -> None:
    await lose_power(tmp_path, seed)


async def test_a_disk_that_lies_about_its_syncs_is_seen_to_lose_records(tmp_path: Path) -> None:
    """Which shows that the test above would see it."""
    with pytest.raises(AssertionError, match="power cut"):
        await lose_power(tmp_path, 1, lies=True)
