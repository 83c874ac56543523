"""What a gateway counts with outlives it, and an older copy of it is not taken for the newest."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import apsw
import pytest

from app.gateway import newest as newest_module
from app.gateway.assembly import running
from app.gateway.newest import Newest
from app.ledger.checkpoint import Checkpoint, Signer
from app.ledger.drafts import HeartbeatDraft
from app.ledger.errors import LedgerRollback
from app.ledger.holds import HoldRow
from app.ledger.ids import new_id
from app.ledger.sqlite.store import Ledger
from app.power.sensors.base import NullSensor
from app.settings.folders import Folders
from app.settings.store import SettingsStore
from app.simulator import Simulator, SimulatorEngine
from app.vault.base import VaultUnavailable
from app.vault.memory import MemoryVault

NOW_US = 1_763_650_000_000_000


@pytest.fixture
async def start(tmp_path):
    """`async with start() as gateway`: one profile and one vault, however often it is started."""
    vault, folders = MemoryVault(), Folders.for_profile("default", tmp_path)
    async with AsyncExitStack() as stack:
        simulator = Simulator(speed=500)
        await simulator.start()
        stack.push_async_callback(simulator.stop)

        @asynccontextmanager
        async def begin():
            store = SettingsStore.load(cli={"port": 0, "vault": "memory"}, env={}, file=folders.settings_file)
            engine = SimulatorEngine(simulator.url)
            async with running(store, folders, vault, engine, NullSensor(), contribute=True) as gateway:
                yield gateway

        yield begin


async def test_what_a_crash_cut_off_is_told_by_its_id_and_by_nothing_that_a_client_chose(start, caplog):
    async with start() as gateway:
        log = gateway.ledger.clients()[0].log
        row = HoldRow(
            new_id(NOW_US), log, "k_secret", "a/model:x", "/api/chat", "t_1", NOW_US, 5, NOW_US, 7, 9
        )
        await gateway.ledger.hold(row)
    async with start() as gateway:
        assert [draft.id for draft in gateway.ledger.recovered] == [row.request_id]
    (told,) = [record.getMessage() for record in caplog.records if "cut off" in record.getMessage()]
    assert row.request_id in told
    assert not any(word in told for word in ("k_secret", "a/model", "/api/chat", "UsageDraft"))


# The ledger's file, and what the vault remembers of it.


def ledger_file(tmp_path):
    (file,) = tmp_path.rglob("ledger.sqlite3")
    return file


async def test_an_older_copy_of_the_ledger_is_not_served_from(start, tmp_path):
    async with start() as gateway:
        log = gateway.ledger.clients()[0].log
    older = ledger_file(tmp_path).read_bytes()
    async with start() as gateway:
        await gateway.ledger.append(log, HeartbeatDraft(new_id(NOW_US), NOW_US))
    newer = ledger_file(tmp_path).read_bytes()
    ledger_file(tmp_path).write_bytes(older)
    with pytest.raises(LedgerRollback, match="accept-rollback"):
        async with start():
            pass
    ledger_file(tmp_path).write_bytes(newer)
    async with start() as gateway:
        assert (await gateway.ledger.verify()).verdict == "OK"


async def test_a_ledger_that_is_gone_is_not_begun_afresh_without_a_word(start, tmp_path):
    async with start():
        pass
    ledger_file(tmp_path).unlink()
    with pytest.raises(LedgerRollback, match="gone"):
        async with start():
            pass
    assert not list(tmp_path.rglob("ledger.sqlite3"))


async def test_reconcile_says_what_is_damaged_and_what_is_gone(start, tmp_path):
    async with start() as gateway, aiohttp.ClientSession(gateway.address) as session:

        async def reconcile():
            headers = {"Authorization": f"Bearer {gateway.identity.operator_token}"}
            async with session.get("/reconcile", headers=headers) as answer:
                assert answer.status == 200
                return await answer.json()

        file = ledger_file(tmp_path)
        assert (await reconcile())["status"] == "OK"
        connection = apsw.Connection(str(file))
        connection.execute("UPDATE record SET find = CAST(x'ff' AS TEXT) WHERE seq = 1")
        connection.close()
        answer = await reconcile()
        assert answer["status"] == "TAMPERED"
        assert "Record 1 of" in answer["findings"][0]
        for companion in file.parent.glob("ledger.sqlite3*"):
            companion.unlink()
        answer = await reconcile()
        assert (answer["status"], answer["ledger_entries"]) == ("ROLLBACK", 0)


async def test_a_hash_that_does_not_hold_is_counted_and_its_transaction_named(start, tmp_path):
    async with start() as gateway, aiohttp.ClientSession(gateway.address) as session:
        bearer = {"Authorization": f"Bearer {await gateway.keys.plain()}"}

        async def told(path):
            async with session.get(path, headers=bearer) as answer:
                assert answer.status == 200
                return await answer.json()

        question = {"model": "qwen2.5:3b", "messages": [], "stream": False}
        for _ in range(3):
            async with session.post("/api/chat", json=question, headers=bearer) as answer:
                assert answer.status == 200
        before = (await told("/reconcile"))["hash_verification"]
        assert (before["valid"], before["invalid"]) == (before["total"], 0)
        second = (await told("/ledger"))["transactions"][1]
        log = gateway.ledger.clients()[0].log
        body = (await gateway.ledger.entries(log, second["seq"], 1))[0]
        cheaper = body.replace(b'"dur_us":', b'"dur_us":1')
        connection = apsw.Connection(str(ledger_file(tmp_path)))
        connection.execute("UPDATE record SET body = ? WHERE body = ?", (cheaper, body))
        assert connection.changes() == 1
        connection.close()
        answer = await told("/reconcile")
        assert answer["status"] == "TAMPERED"
        # What follows the first bad record is counted as nothing: its place in the log hangs on that record.
        counted = {**before, "valid": second["seq"], "invalid": before["total"] - second["seq"]}
        assert answer["hash_verification"] == counted
        (said,) = answer["findings"]
        assert (
            said
            == f"The body of record {second['seq']} of {log} is not the one that was hashed: it was changed."
        )


# When it is remembered.


class SlowVault(MemoryVault):
    """Counts what is written, and refuses while it is told to."""

    def __init__(self):
        super().__init__()
        self.written = []
        self.locked = False

    async def set(self, key, secret):
        if self.locked:
            raise VaultUnavailable("The keyring is locked: unlock it.")
        self.written.append(key)
        await super().set(key, secret)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(newest_module, "EVERY_S", 0.05)


@pytest.fixture
async def ledger(tmp_path):
    signer = Signer(bytes(range(32)), "gw")
    ledger = await Ledger.open(tmp_path / "l.db", signer=signer, gateway_id="g", clock_us=lambda: NOW_US)
    yield ledger
    await ledger.close()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def remembered(vault):
    return (await Newest.load(vault)).claims


async def test_many_commits_are_remembered_at_once_and_a_moment_later(ledger, quick):
    vault = SlowVault()
    newest = await Newest.load(vault)
    assert newest.claims == ()
    newest.follow(ledger)
    log = (await ledger.create_client("Anna")).log
    for _ in range(30):
        await ledger.append(log, HeartbeatDraft(ledger.new_id(), NOW_US))
    await until(lambda: newest.claims == ledger.newest())
    assert len(vault.written) < 15
    assert await remembered(vault) == ledger.newest()
    await newest.close()


async def test_closing_remembers_what_was_committed_last(ledger):
    vault = SlowVault()
    newest = await Newest.load(vault)
    newest.follow(ledger)
    await asyncio.gather(*[ledger.create_client(f"c{number}") for number in range(20)])
    await ledger.close()
    await newest.close()
    assert len(await remembered(vault)) == 20
    assert await remembered(vault) == ledger.newest()


async def test_a_locked_vault_holds_nothing_up_and_is_told_once(ledger, quick, caplog):
    vault = SlowVault()
    newest = await Newest.load(vault)
    newest.follow(ledger)
    vault.locked = True
    log = (await ledger.create_client("Anna")).log
    await until(lambda: "not remembered" in caplog.text)
    for _ in range(3):
        await ledger.append(log, HeartbeatDraft(ledger.new_id(), NOW_US))
        await asyncio.sleep(0.06)
    assert caplog.text.count("not remembered") == 1
    assert await remembered(vault) == ()
    vault.locked = False
    await ledger.append(log, HeartbeatDraft(ledger.new_id(), NOW_US))
    await until(lambda: newest.claims == ledger.newest())
    await newest.close()


async def test_what_is_replaced_leaves_nothing_behind(ledger):
    vault = SlowVault()
    newest = await Newest.load(vault)
    many = [Checkpoint(f"g/{number}", number, bytes(32)) for number in range(20)]
    await newest.replace(many)
    assert await remembered(vault) == tuple(many)
    await newest.replace(many[:3])
    assert await remembered(vault) == tuple(many[:3])
    assert len(newest.names) == 1
    await newest.replace([])
    assert await remembered(vault) == ()


async def test_a_memory_that_is_illegible_is_said_and_not_taken_for_none():
    vault = SlowVault()
    await vault.set(newest_module.text_name(0), "nonsense")
    with pytest.raises(LedgerRollback, match="accept-rollback"):
        _ = (await Newest.load(vault)).claims
