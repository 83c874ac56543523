"""An index of a receiver's database that does not lead to all that is held: every record reads well, and one that no
index leads to would be taken a second time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import apsw
import psycopg
import pytest

from app.receiver.errors import IndicesUnchecked
from app.receiver.postgres.store import PostgresCopy
from app.receiver.sqlite.schema import RECEIVER_FILE
from app.receiver.sqlite.store import SqliteCopy
from app.receiver.store import CopyStore
from tests.real.postgres_server import PostgresServer
from tests.receiver.sending import SendingLog
from tests.receiver.stores import NOW_S, Counter, enrolment
from tests.receiver.test_command import Run, Started, environment, run, start

__all__ = ["environment", "run", "start"]


def filled(store: CopyStore) -> None:
    store.enrol(enrolment("garage"))
    Counter(store, enrolment("garage")).take(SendingLog(records=9).push())


def mislead(file: Path) -> None:
    """Change what a record is found by, as if its index were not there."""
    connection = apsw.Connection(str(file))
    connection.execute("PRAGMA writable_schema = ON")
    index = "type = 'index' AND name = 'record_id'"
    kept = connection.execute(f"SELECT * FROM sqlite_schema WHERE {index}").get
    connection.execute(f"DELETE FROM sqlite_schema WHERE {index}")
    connection.execute("PRAGMA writable_schema = RESET")
    connection.execute("UPDATE record SET id = randomblob(16) WHERE seq = 2")
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", kept)
    connection.close()


def test_the_indices_of_a_file_are_compared_with_what_is_held(tmp_path: Path) -> None:
    file = tmp_path / RECEIVER_FILE
    store = SqliteCopy(file)
    filled(store)
    assert store.wrong_index() is None
    store.close()
    mislead(file)
    store = SqliteCopy(file)
    assert "record_id" in str(store.wrong_index())
    store.close()


def test_verify_says_so_in_a_line_and_what_to_do(
    start: Callable[..., Started], run: Run, tmp_path: Path
) -> None:
    started = start()
    secret = json.loads(run("enrol", "garage", "--json").stdout)["secret"]
    gateway = SendingLog(records=9)
    assert started.ask("/ledger", secret, gateway.push())[0] == 200
    assert run("verify").returncode == 0
    mislead(tmp_path / "data" / "default" / "receiver" / RECEIVER_FILE)
    told = run("verify", "garage")
    assert told.returncode == 1
    order, *_, line = [said for said in told.stdout.splitlines() if not said.startswith("NOTE: ")]
    assert order == f"OK: {gateway.log}: all 10 records are as they were signed."
    assert line.startswith("UNVERIFIABLE: An index of the copy is damaged (")
    assert "put back a good copy of its file" in line


def test_postgresql_says_it_where_its_extension_is_there(postgres_server: PostgresServer) -> None:
    url = postgres_server.database()
    store = PostgresCopy(url, lambda: NOW_S)
    filled(store)
    with pytest.raises(IndicesUnchecked, match="CREATE EXTENSION amcheck"):
        store.wrong_index()
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("CREATE EXTENSION amcheck")
        assert store.wrong_index() is None
        ready = (
            "UPDATE pg_index SET indisready = %s WHERE indexrelid IN (SELECT oid FROM pg_class"
            " WHERE relkind = 'i' AND relname LIKE 'record_%%log_id_idx')"
        )
        assert owner.execute(ready, (False,)).rowcount > 0
        owner.execute("UPDATE mortdecai.record SET id = decode(md5(id::text), 'hex') WHERE seq = 2")
        owner.execute(ready, (True,))
    assert "lacks matching index tuple" in str(store.wrong_index())
    store.close()


def test_a_user_who_may_not_ask_is_told_so(postgres_server: PostgresServer) -> None:
    url = postgres_server.database()
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("CREATE EXTENSION amcheck")
        owner.execute("CREATE ROLE plain LOGIN")
        owner.execute(f"GRANT CREATE ON DATABASE {owner.info.dbname} TO plain")  # type: ignore[arg-type]
    store = PostgresCopy(url.replace("postgresql://mortdecai@", "postgresql://plain@"), lambda: NOW_S)
    filled(store)
    with pytest.raises(IndicesUnchecked, match="may not ask for it"):
        store.wrong_index()
    store.close()
