"""An older copy of everything was put back: the receiver has our newest records, and we fetch them before we serve."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import apsw
import pytest
from aiohttp import web

from app.face import ReceiptState
from app.gateway.assembly import running
from app.ledger.cosignature import Cosigner
from app.ledger.invitation import Invitation
from app.power.sensors.base import NullSensor
from app.settings.folders import Folders
from app.settings.store import SettingsStore
from app.simulator import Simulator, SimulatorEngine
from app.vault.memory import MemoryVault
from tests.gateway.conftest import House
from tests.gateway.delivery.conftest import SECRET, Copy, until
from tests.gateway.delivery.strange import Receiver, receiver
from tests.gateway.delivery.test_callback import ask, receipts, reconciled


class Garage:
    """One gateway's folders and vault, which a test puts back to what they were."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.vault = MemoryVault()
        self.kept = home.with_name("kept")

    @contextlib.asynccontextmanager
    async def open(self, simulator: Simulator, **settings: Any) -> AsyncIterator[House]:
        folders = Folders.for_profile("default", self.home)
        given = {"port": 0, "vault": "memory", "private_receivers": True, **settings}
        store = SettingsStore.load(cli=given, env={}, file=folders.settings_file)
        engine = SimulatorEngine(simulator.url)
        async with (
            running(store, folders, self.vault, engine, NullSensor(), contribute=True) as gateway,
            aiohttp.ClientSession(gateway.address) as session,
        ):
            key = await gateway.keys.plain()
            yield House(gateway, simulator, session, key, gateway.identity.operator_token)

    def keep(self) -> None:
        """Make a copy of the folders."""
        shutil.copytree(self.home, self.kept, dirs_exist_ok=True)

    async def put_back(self) -> None:
        """The copy in place of the folders; the vault remembers nothing of what came after."""
        shutil.rmtree(self.home)
        shutil.copytree(self.kept, self.home)
        number = 0
        while await self.vault.delete(f"ledger-newest-{number}"):
            number += 1


@pytest.fixture
def garage(tmp_path: Path) -> Garage:
    return Garage(tmp_path / "gateway")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    made = Simulator(speed=500.0, parallel=4)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def strange() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        made.answer = Copy()
        yield made


def line(strange: Receiver) -> str:
    return Invitation(strange.url, SECRET, Cosigner(bytes(32), "client.example").vkey).line


async def enrol(house: House, strange: Receiver) -> None:
    body = {"client": "First client", "line": line(strange)}
    async with house.post("/admin/receivers", body, key=house.operator) as reply:
        assert reply.status == 200, await reply.text()
    await until(lambda: receipts(house).state is ReceiptState.ACKNOWLEDGED)


async def lost(garage: Garage, simulator: Simulator, strange: Receiver) -> dict[str, Any]:
    """What `/reconcile` said last, before an older copy was put back."""
    async with garage.open(simulator) as house:
        await ask(house, 2)
        await enrol(house, strange)
    garage.keep()
    async with garage.open(simulator) as house:
        await ask(house, 3)
        async with house.post("/admin/keys", {"label": "late"}, key=house.operator) as reply:
            assert reply.status == 201
        await until(lambda: receipts(house).acked == receipts(house).size)
        said = await reconciled(house)
        assert (said["status"], len(await house.usage())) == ("OK", 5)
    await garage.put_back()
    return said


async def test_a_lost_tail_is_fetched_proven_and_put_back_before_anything_new_is_recorded(
    garage: Garage, simulator: Simulator, strange: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    before = await lost(garage, simulator, strange)
    async with garage.open(simulator) as house:
        await until(lambda: house.gateway.snapshot().blocker is None)
        assert len(await house.usage()) == 5
        await ask(house)
        await until(lambda: receipts(house).state is ReceiptState.ACKNOWLEDGED)
        after = await reconciled(house)
        assert after["status"] == "OK"
        assert after["ledger_entries"] == before["ledger_entries"] + 1
        money = house.gateway.snapshot().money
        assert str(money.spent_pico) == after["ledger_total_cost_pico"]
        assert [key["label"] for key in house.gateway.keys.all()][-1] == "late"
    assert "our newest ones are lost" in caplog.text
    assert "were lost, and are back" in caplog.text


async def test_new_prices_are_recorded_behind_the_lost_tail_and_not_in_its_place(
    garage: Garage, simulator: Simulator, strange: Receiver
) -> None:
    before = await lost(garage, simulator, strange)
    async with garage.open(simulator, electricity_rate="0.5") as house:
        await until(lambda: house.gateway.snapshot().blocker is None)
        await ask(house)
        await until(lambda: receipts(house).state is ReceiptState.ACKNOWLEDGED)
        after = await reconciled(house)
        assert (after["status"], after["ledger_entries"]) == ("OK", before["ledger_entries"] + 2)
        newest = (await house.gateway.ledger.page(None, 2)).rows
        assert [row.kind for row in newest] == ["usage", "tariff"]


async def shows(strange: Receiver, change: str) -> None:
    """The receiver shows something else than what it was given."""
    copy = strange.answer
    assert isinstance(copy, Copy)
    honest = list(copy.leaves)
    asked: list[str] = []

    async def answer(request: web.Request, body: bytes) -> web.StreamResponse:
        if request.path == "/ledger/checkpoint" and change == "another signature":
            other = type(copy.cosigner)(bytes(31) + b"x", "x")
            return web.Response(text=copy.note.rsplit("\n\n", 1)[0] + "\n\n" + other.cosign(copy.note, 1))
        if request.path == "/ledger/entries":
            match change:
                case "no such records":
                    return web.Response(text="")
                case "half a record":
                    return web.Response(body=honest[-1][:40])
                case "changed records":
                    changed = [json.dumps(json.loads(leaf) | {"cost": "0"}).encode() for leaf in honest]
                    begin, limit = int(request.query["from"]), int(request.query["limit"])
                    return web.Response(
                        body=b"".join(leaf + b"\n" for leaf in changed[begin : begin + limit])
                    )
                case "an error":
                    return web.Response(status=500)
                case "others the second time":
                    asked.append(request.path_qs)
                    if len(asked) > 1:
                        return web.Response(body=b"".join(leaf + b" \n" for leaf in honest[-3:]))
        return await copy(request, body)

    strange.answer = answer


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("another signature", "does not show our signature over them"),
        ("changed records", "do not lead from our"),
        ("no such records", "does not show the records that it says it has"),
        ("half a record", "does not show the records that it says it has"),
        ("an error", "cannot be fetched back now"),
        ("others the second time", "shows other records than a moment ago"),
    ],
)
async def test_what_is_not_proven_to_be_ours_is_not_put_back_and_serving_goes_on(
    garage: Garage, simulator: Simulator, strange: Receiver, change: str, words: str
) -> None:
    await lost(garage, simulator, strange)
    await shows(strange, change)
    async with garage.open(simulator) as house:
        await until(lambda: words in receipts(house).sentence)
        assert receipts(house).state is ReceiptState.DISPUTED
        await until(lambda: house.gateway.snapshot().blocker is None, 20)  # it is asked twice
        assert len(await house.usage()) == 2
        said = await reconciled(house, house.operator)
        assert said["status"] == "LAGGING"
        assert words in said["findings"][0]


def held_up(strange: Receiver) -> asyncio.Event:
    """The receiver shows no records until the event is set."""
    copy = strange.answer
    go_on = asyncio.Event()

    async def slowly(request: web.Request, body: bytes) -> web.StreamResponse:
        if request.path == "/ledger/entries":
            await go_on.wait()
        return await copy(request, body)

    strange.answer = slowly
    return go_on


async def test_while_the_tail_is_fetched_nothing_is_served(
    garage: Garage, simulator: Simulator, strange: Receiver
) -> None:
    await lost(garage, simulator, strange)
    go_on = held_up(strange)
    async with garage.open(simulator) as house:
        blocker = house.gateway.snapshot().blocker
        assert blocker is not None
        assert blocker.code == "tail_lost"
        async with house.post("/api/chat", {"model": "qwen2.5:3b", "messages": []}) as reply:
            assert reply.status == 503
        assert (await reconciled(house))["status"] == "ROLLBACK"
        go_on.set()
        await until(lambda: house.gateway.snapshot().blocker is None)
        assert len(await house.usage()) == 5


async def test_who_serves_on_with_the_older_copy_forks_and_hears_it_with_proof(
    garage: Garage, simulator: Simulator, strange: Receiver
) -> None:
    await lost(garage, simulator, strange)
    copy = strange.answer
    strange.says(503)
    async with garage.open(simulator) as house:
        await ask(house, 7)
        strange.answer = copy
        for courier in house.gateway.deliveries._couriers.values():
            courier.hurry()
        await until(lambda: receipts(house).trouble == "fork")
        said = await reconciled(house)
        assert said["status"] == "FORK"
        assert "another history of our first" in said["findings"][0]
        await ask(house)


async def test_what_is_kept_of_a_receiver_and_cannot_be_read_is_said_and_serving_goes_on(
    garage: Garage, simulator: Simulator, strange: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    async with garage.open(simulator) as house:
        await enrol(house, strange)
    (file,) = garage.home.rglob("ledger.sqlite3")
    with apsw.Connection(str(file)) as connection:
        connection.execute("UPDATE delivery SET vkey = 'nonsense' WHERE way = 'ledger'")
        assert connection.changes() == 1
    async with garage.open(simulator) as house:
        assert "is not delivered, for what is kept of its receiver is damaged" in caplog.text
        assert house.gateway.snapshot().receipts == ()
        await ask(house)
        # The client's line, pasted once more, is all that it takes.
        await enrol(house, strange)


async def test_a_fetch_that_breaks_off_half_way_has_brought_nothing_back_yet_and_nothing_is_signed(
    garage: Garage, simulator: Simulator, strange: Receiver
) -> None:
    await lost(garage, simulator, strange)
    copy = strange.answer
    assert isinstance(copy, Copy)
    whole = list(copy.leaves)
    broken, go_on = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request, body: bytes) -> web.StreamResponse:
        if request.path == "/ledger/entries" and not go_on.is_set():
            broken.set()
            return web.Response(status=500)
        if broken.is_set() and request.method == "POST" and not go_on.is_set():
            return web.Response(status=503)
        return await copy(request, body)

    strange.answer = answer
    # Other prices: a record of them is due.
    async with garage.open(simulator, electricity_rate="0.5") as house:
        ledger = house.gateway.ledger
        (had,) = [head.size for head in ledger.newest()]
        assert had < len(whole)
        await asyncio.wait_for(broken.wait(), 5)
        await until(lambda: "cannot be fetched back now" in receipts(house).sentence)
        assert [head.size for head in ledger.newest()] == [had]
        blocker = house.gateway.snapshot().blocker
        assert blocker is not None
        assert blocker.code == "tail_lost"
        go_on.set()
        for courier in house.gateway.deliveries._couriers.values():
            courier.hurry()
        await until(lambda: house.gateway.snapshot().blocker is None)
        await until(lambda: receipts(house).state is ReceiptState.ACKNOWLEDGED)
        assert copy.leaves[: len(whole)] == whole
        assert (await reconciled(house))["status"] == "OK"
        newest = (await ledger.page(None, 1)).rows
        assert [row.kind for row in newest] == ["tariff"]


async def test_while_the_tail_is_missing_nothing_is_signed_whoever_asks(
    garage: Garage, simulator: Simulator, strange: Receiver
) -> None:
    await lost(garage, simulator, strange)
    copy = strange.answer
    assert isinstance(copy, Copy)
    whole = list(copy.leaves)
    go_on = held_up(strange)
    async with garage.open(simulator) as house:
        ledger = house.gateway.ledger
        (had,) = [head.size for head in ledger.newest()]
        first = house.gateway.keys.all()[0]["id"]
        for method, path, body in (
            ("POST", "/admin/keys", {"label": "another"}),
            ("POST", "/admin/keys", {"label": "another", "client": "Another client"}),
            ("DELETE", "/admin/keys", {"key": first}),
        ):
            url = f"{house.gateway.address}{path}"
            headers = {"Authorization": f"Bearer {house.operator}"}
            async with house.session.request(method, url, json=body, headers=headers) as reply:
                said = await reply.text()
                assert (reply.status, reply.headers.get("Retry-After")) == (503, "30"), said
                assert "fetched back" in said
        assert house.gateway.keys.all()[0]["revoked"] is None
        # Revoked it is all the same, as far as the door goes, and it is not what is copied.
        with pytest.raises(LookupError, match="create one"):
            await house.gateway.keys.plain()
        async with house.session.get("/api/tags", headers={"Authorization": f"Bearer {house.key}"}) as reply:
            assert reply.status == 401
        async with house.post("/config", {"electricity_rate": 0.7}, key=house.operator) as reply:
            assert reply.status == 200, await reply.text()
        assert [head.size for head in ledger.newest()] == [had]
        go_on.set()
        await until(lambda: len(copy.leaves) == len(whole) + 2)
        assert copy.leaves[: len(whole)] == whole
        kinds = [json.loads(leaf)["kind"] for leaf in copy.leaves[len(whole) :]]
        assert sorted(kinds) == ["key", "tariff"]
        assert house.gateway.keys.all()[0]["revoked"] is not None
        assert (await reconciled(house, house.operator))["status"] == "OK"


async def test_a_receiver_that_has_shown_our_signature_and_falls_silent_is_waited_for(
    garage: Garage, simulator: Simulator, strange: Receiver
) -> None:
    await lost(garage, simulator, strange)
    copy = strange.answer
    assert isinstance(copy, Copy)
    whole = list(copy.leaves)
    asked: list[str] = []

    async def once(request: web.Request, body: bytes) -> web.StreamResponse:
        asked.append(request.path)
        return await copy(request, body) if len(asked) == 1 else web.Response(status=503)

    strange.answer = once
    async with garage.open(simulator, electricity_rate="0.5") as house:
        await until(lambda: receipts(house).sentence)
        blocker = house.gateway.snapshot().blocker
        assert blocker is not None
        assert blocker.code == "tail_lost"
        assert house.gateway.ledger.newest()[0].size < len(whole)
        strange.answer = copy
        for courier in house.gateway.deliveries._couriers.values():
            courier.hurry()
        await until(lambda: house.gateway.snapshot().blocker is None)
        await until(lambda: len(copy.leaves) == len(whole) + 1)
        assert copy.leaves[: len(whole)] == whole


async def test_a_receiver_that_was_put_back_itself_has_nothing_more_and_is_not_waited_for(
    garage: Garage, simulator: Simulator, strange: Receiver
) -> None:
    await lost(garage, simulator, strange)
    copy = strange.answer
    assert isinstance(copy, Copy)
    silent: list[str] = []

    async def put_back_after_the_first_word(request: web.Request, body: bytes) -> web.StreamResponse:
        if silent:
            return web.Response(status=503)
        answer = await copy(request, body)
        if len(copy.leaves) > 6:
            copy.leaves = copy.leaves[:5]
            silent.append(request.path)
        return answer

    strange.answer = put_back_after_the_first_word
    async with garage.open(simulator, electricity_rate="0.5") as house:
        # It falls silent after its first word, and speaks once nobody listens for that any more.
        assert house.gateway.snapshot().blocker is not None
        silent.clear()
        for courier in house.gateway.deliveries._couriers.values():
            courier.hurry()
        await until(lambda: house.gateway.snapshot().blocker is None)
        await until(lambda: json.loads(copy.leaves[-1])["kind"] == "tariff")
        assert len(copy.leaves) == 6
