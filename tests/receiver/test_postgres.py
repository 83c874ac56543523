"""What is PostgreSQL's alone: it goes away and comes back, serves several receivers, and parts records by months."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from app.receiver.assembly import store_of
from app.receiver.audit import audit_copy
from app.receiver.errors import ReceiverError, StoreAway, StoreFault
from app.receiver.intake import Accepted
from app.receiver.postgres.schema import MIGRATIONS, month_of
from app.receiver.postgres.store import PostgresCopy
from app.receiver.settings import ReceiverSettings
from tests.real.postgres_server import PostgresServer
from tests.receiver.asking import Desk
from tests.receiver.sending import SendingLog, usage
from tests.receiver.stores import NOW_S, Counter, enrolment


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that the test may stop."""
    server = PostgresServer("fsync=off")
    try:
        server.start()
        yield server
    finally:
        server.close()


async def test_a_database_that_goes_away_and_comes_back_loses_nothing_that_was_cosigned(
    own_server: PostgresServer, desk: Desk
) -> None:
    url = own_server.database()
    async with desk.open(database=url) as asked:
        secret = await asked.enrol("garage")
        gateway = SendingLog(records=3)
        assert (await asked.push(secret, gateway.push())).status == 200
        assert (await asked.get("/health")).json["store"] == "PostgreSQL"
        for how in (signal.SIGQUIT, signal.SIGINT, signal.SIGQUIT):
            old = len(gateway.bodies)
            gateway.append(usage())
            own_server.stop(how)
            for _ in range(2):
                reply = await asked.push(secret, gateway.push(old))
                assert (reply.status, reply.code, reply.headers["Retry-After"]) == (503, "store_away", "5")
            health = await asked.get("/health")
            assert (health.status, health.json["accepting"]) == (503, False)
            assert "no answer" in health.json["reason"]
            reply = await asked.get("/ledger/entries", secret)
            assert (reply.status, reply.code) == (503, "store_away")
            own_server.start()
            assert (await asked.push(secret, gateway.push(old))).status == 200
            assert (await asked.get("/health")).status == 200
        assert (await asked.get("/ledger/entries", secret)).text.encode().splitlines() == gateway.bodies
        assert (await asked.get("/reconcile", secret)).json["status"] == "OK"


async def test_traffic_flows_on_over_crashes_of_the_database_and_every_record_is_there_once(
    own_server: PostgresServer, desk: Desk
) -> None:
    url = own_server.database()
    async with desk.open(database=url) as asked:
        gateways = [(await asked.enrol(f"g{number}"), SendingLog(number + 1)) for number in range(6)]
        for secret, log in gateways:
            assert (await asked.push(secret, log.push())).status == 200

        over, accepted, refused = asyncio.Event(), 0, 0

        async def run(secret: str, log: SendingLog) -> None:
            nonlocal accepted, refused
            old = 1
            while not over.is_set() or len(log.bodies) > old:
                if len(log.bodies) == old:
                    log.append(usage())
                reply = await asked.push(secret, log.push(old))
                if reply.status == 200:
                    old, accepted = len(log.bodies), accepted + 1
                else:
                    assert reply.status == 503, reply.text
                    refused += 1
                    await asyncio.sleep(0.02)

        async def crash() -> None:
            for _ in range(3):
                async with asyncio.timeout(20):
                    enough = accepted + 20
                    while accepted < enough:
                        await asyncio.sleep(0.001)
                await asyncio.to_thread(own_server.stop, signal.SIGQUIT)
                await asyncio.to_thread(own_server.start)
            over.set()

        await asyncio.gather(crash(), *(run(*each) for each in gateways))
        assert refused > 0, "no crash hit anything"
        state = (await asked.get("/reconcile", asked.owner)).json
        sent = sum(len(log.bodies) for _, log in gateways)
        assert (state["status"], state["ledger_entries"]) == ("OK", sent)
        for secret, log in gateways:
            assert (await asked.get("/ledger/entries", secret)).text.encode().splitlines() == log.bodies
    store = PostgresCopy(url, lambda: NOW_S)
    try:
        for found in store.logs(None):
            assert audit_copy(store, found.log).sentence == ""
    finally:
        store.close()


async def test_two_receivers_over_one_database_keep_one_copy(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url = postgres_server.database()
    one, two = Desk(tmp_path / "one"), Desk(tmp_path / "two")
    async with one.open(database=url) as first, two.open(database=url) as second:
        gateways = [(await first.enrol(f"g{number}"), SendingLog(number + 1)) for number in range(8)]

        async def run(secret: str, log: SendingLog) -> None:
            for _ in range(10):
                log.append(usage())
                # The same to both at once: one of them begins or continues the log, the other one repeats it.
                replies = await asyncio.gather(*(each.push(secret, log.push()) for each in (first, second)))
                assert [reply.status for reply in replies] == [200, 200], [reply.text for reply in replies]

        await asyncio.gather(*(run(*each) for each in gateways))
        for each in (first, second):
            state = (await each.get("/reconcile", each.owner)).json
            assert (state["status"], state["ledger_entries"]) == ("OK", 8 * 11)


def test_records_lie_in_the_month_in_which_they_came_and_are_read_over_all_of_them(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.database()
    months = [(2025, 11), (2025, 12), (2026, 1), (2026, 2)]
    gateway, at_s = SendingLog(), NOW_S
    store = PostgresCopy(url, lambda: at_s)
    try:
        store.enrol(enrolment("garage"))
        counter = Counter(store, enrolment("garage"))
        for number, month in enumerate(months):
            assert month_of(at_s) == month
            counter.now_s = at_s
            gateway.append(usage())
            assert isinstance(counter.take(gateway.push(number and number + 1)), Accepted)
            at_s += 31 * 86_400
        (found,) = store.logs(None)
        assert list(store.bodies(found.log, 0, 99)) == gateway.bodies
        assert list(store.newest("e_garage", None, 3)) == gateway.bodies[:-4:-1]
        gateway.append(usage())
        counter.now_s = at_s
        # The next month's table is there a day before it begins.
        last_day = 1_772_323_200 - 3600
        at_s = last_day
        assert isinstance(counter.take(gateway.push(5)), Accepted)
        with psycopg.connect(url) as connection:
            rows = connection.execute(
                "SELECT c.relname, (SELECT count(*) FROM mortdecai.record WHERE tableoid = c.oid) FROM pg_inherits i"
                " JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'mortdecai.record'::regclass ORDER BY 1"
            ).fetchall()
        assert [name for name, _ in rows] == [
            "record_2025_11", "record_2025_12", "record_2026_01", "record_2026_02", "record_2026_03",
        ]  # fmt: skip
        assert [count for _, count in rows] == [2, 1, 1, 1, 1]
    finally:
        store.close()


def test_a_database_that_cannot_be_used_is_one_sentence_without_its_password(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    good = postgres_server.url()
    for url, words in (
        ("postgresql://me:hunter2@/x?host=" + str(tmp_path), "no answer"),
        ("postgresql://me:hunter2@127.0.0.1:1/x", "no answer"),
        ("postgresql://me:hunter2@[nonsense", "cannot be read"),
        (good.replace("/postgres?", "/nowhere?"), "No such database"),
        (good.replace("mortdecai@", "nobody:hunter2@"), "No such database, user or password"),
    ):
        with pytest.raises(StoreFault, match=words) as fault:
            PostgresCopy(url, lambda: NOW_S)
        assert "hunter2" not in str(fault.value)
        assert str(fault.value).endswith(".")
        assert isinstance(fault.value, ReceiverError)


def test_without_the_library_it_is_said_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "app.receiver.postgres.store", None)
    with pytest.raises(ReceiverError, match="pip install"):
        store_of(ReceiverSettings(database="postgresql:///x"), tmp_path)
    assert store_of(ReceiverSettings(), tmp_path)


def test_a_database_of_the_future_is_left_alone(postgres_server: PostgresServer) -> None:
    url = postgres_server.database()
    PostgresCopy(url, lambda: NOW_S).close()
    PostgresCopy(url, lambda: NOW_S).close()
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("SELECT version FROM mortdecai.version").fetchall() == [(len(MIGRATIONS),)]
        connection.execute("UPDATE mortdecai.version SET version = 99")
    with pytest.raises(StoreFault, match="newer version"):
        PostgresCopy(url, lambda: NOW_S)


def test_a_full_disk_and_a_standby_are_told_apart_from_a_server_that_is_gone(
    postgres_server: PostgresServer,
) -> None:
    from app.receiver.errors import StoreFull
    from app.receiver.postgres.connection import PostgresConnection

    database = PostgresConnection(postgres_server.url())
    assert isinstance(database.told(psycopg.errors.DiskFull()), StoreFull)
    assert "standby" in str(database.told(psycopg.errors.ReadOnlySqlTransaction()))
    assert isinstance(database.told(psycopg.errors.AdminShutdown()), StoreAway)
