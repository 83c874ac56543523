"""A large ledger is read by several processes, and the report is the one that one alone would make."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys

import apsw
import pytest

from app.ledger.canonical import canonical
from app.ledger.sqlite import audit as audit_module
from app.ledger.sqlite import cores
from app.ledger.sqlite.audit import audit
from app.ledger.sqlite.cores import STRETCHES_AT_ONCE, Skims, helpers_for
from app.ledger.sqlite.schema import SPAN_RECORDS
from app.ledger.sqlite.store import Ledger
from tests.ledger.sqlite.conftest import SIGNER, Clock, Drafts

COUNT = 2 * STRETCHES_AT_ONCE * SPAN_RECORDS + 700


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A closed ledger of more records than two helpers are asked for at first."""
    path = tmp_path_factory.mktemp("made") / "ledger.db"

    async def make():
        drafts = Drafts()
        ledger = await Ledger.open(path, signer=SIGNER, gateway_id="gw_test", clock_us=Clock())
        anna, ben = [(await ledger.create_client(name)).log for name in ("Anna", "Ben")]
        for _ in range(0, COUNT, 1000):
            part = [ledger.append(anna, drafts()) for _ in range(999)]
            await asyncio.gather(*part, ledger.append(ben, drafts()))
        await ledger.close()

    asyncio.run(make())
    return path


@pytest.fixture
def anna(made, path):
    """A copy of it to spoil."""
    shutil.copyfile(made, path)


@pytest.fixture
def many(monkeypatch):
    """Helpers are worth starting for these few records."""
    monkeypatch.setattr(cores, "WORTH_RECORDS", 1)
    monkeypatch.setattr(cores, "cores", lambda: 2)
    assert helpers_for(COUNT) == 2


def comparable(report):
    return report.verdict, report.findings, report.records, report.recomputed, report.counters, report.by_log


def change(path, sql, *bindings):
    connection = apsw.Connection(str(path))
    connection.execute(sql, bindings)
    connection.close()


def both(path, signer, monkeypatch):
    """The reports of helpers and of one alone."""
    together = audit(path, signer.verifier)
    monkeypatch.setattr(cores, "cores", lambda: 1)
    return comparable(together), comparable(audit(path, signer.verifier))


async def test_helpers_look_at_everything_and_the_audit_at_nothing_again(
    anna, path, signer, many, monkeypatch
):
    def again(*_):
        raise AssertionError("helpers were asked for this")

    monkeypatch.setattr(audit_module, "skim", again)
    assert audit(path, signer.verifier).verdict == "OK"


async def test_helpers_and_one_alone_say_the_same_of_a_good_ledger(anna, path, signer, many, monkeypatch):
    together, alone = both(path, signer, monkeypatch)
    assert together == alone
    assert together[0] == "OK"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE record SET leaf = zeroblob(32) WHERE n = 9000",
        "UPDATE record SET id = NULL WHERE n IN (3, 9000)",
        "DELETE FROM record WHERE n BETWEEN 5000 AND 9000",
        "DELETE FROM record WHERE n = 9000",
        "DELETE FROM record WHERE n > 9000",
        "UPDATE record SET n = n + 1000000000000 WHERE n > 9000",
        "UPDATE record SET log = 9 WHERE n = 9000",
        "UPDATE tile SET hash = zeroblob(32) WHERE level = 8 AND i = 40",
        "UPDATE span SET t0_min = 0 WHERE block = 9",
        "UPDATE kept SET checkpoint = (SELECT checkpoint FROM log WHERE k = 1) WHERE size > 4000 AND log = 1",
        "UPDATE log SET cum = cum + 1",
        "DROP TABLE record",
    ],
)
async def test_helpers_and_one_alone_name_the_same_first_bad_record(
    anna, path, signer, many, monkeypatch, statement
):
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA writable_schema = ON")
    sql = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'record'").get
    loose = sql.replace("INTEGER NOT NULL", "INTEGER").replace("BLOB NOT NULL", "BLOB")
    if "NULL" in statement:
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'record'", (loose,))
    connection.close()
    change(path, statement)
    if "NULL" in statement:
        connection = apsw.Connection(str(path))
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'record'", (sql,))
        connection.close()
    together, alone = both(path, signer, monkeypatch)
    assert together == alone
    assert together[0] != "OK"


async def test_a_helper_that_says_yes_to_a_lie_does_not_exist_for_it_reads_the_bodies_too(
    anna, path, signer, many
):
    connection = apsw.Connection(str(path))
    body = connection.execute("SELECT body FROM record WHERE n = 9000").get
    lie = canonical({**json.loads(body), "tariff": "t_2"})
    connection.execute("UPDATE record SET body = ? WHERE n = 9000", (lie,))
    connection.close()
    (found,) = audit(path, signer.verifier).findings
    assert (found.verdict, found.seq) == ("TAMPERED", json.loads(body)["seq"])


@pytest.mark.parametrize("fault", ["gone", "killed", "garbage"])
async def test_where_helpers_fail_the_audit_goes_on_alone(anna, path, signer, many, monkeypatch, fault):
    real, started = subprocess.Popen, []

    def popen(command, **options):
        if fault == "gone":
            raise FileNotFoundError(command[0])
        if fault == "garbage":
            command = [sys.executable, "-c", "import sys; sys.stdout.write('x' * 1_000_000)"]
        started.append(real(command, **options))
        if fault == "killed":
            started[-1].send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        return started[-1]

    monkeypatch.setattr(cores.subprocess, "Popen", popen)
    report = audit(path, signer.verifier)
    assert report.verdict == "OK", report.sentence
    assert len(started) == (0 if fault == "gone" else 2)
    assert all(process.poll() is not None for process in started)


async def test_no_helper_outlives_its_audit(anna, path):
    with Skims(path, COUNT, 2) as skims:
        assert skims.next(0) is not None
        processes = [helper._process for helper in skims._helpers]
        assert [process.poll() for process in processes] == [None, None]
    assert all(process.poll() is not None for process in processes)


async def test_a_helper_ends_when_nobody_asks_any_more(anna, path):
    with Skims(path, COUNT, 1) as skims:
        (helper,) = skims._helpers
        while skims._waiting:
            skims._hear()
        helper._process.stdin.close()
        assert await asyncio.to_thread(helper._process.wait, 20) == 0


def test_small_ledgers_single_cores_and_frozen_programs_have_no_helpers(monkeypatch):
    monkeypatch.setattr(cores, "cores", lambda: 16)
    assert helpers_for(cores.WORTH_RECORDS) == cores.HELPERS_MAX
    assert helpers_for(cores.WORTH_RECORDS - 1) == 0
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert helpers_for(10**9) == 0
    monkeypatch.undo()
    monkeypatch.setattr(cores, "cores", lambda: 1)
    assert helpers_for(10**9) == 0
