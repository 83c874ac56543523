"""Whatever is damaged in the file is said, with the first bad record where there is one, and never a crash."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import apsw
import pytest

from app.ledger.errors import LedgerCorrupt, LedgerTampered
from app.ledger.sqlite.audit import audit
from app.ledger.sqlite.reader import Reader
from app.ledger.sqlite.rough import CLIENT, HOLD, KEPT, KEY, LOG, RECORD, SPAN
from app.ledger.sqlite.schema import SPAN_RECORDS

TABLES = {
    "record": RECORD,
    "log": LOG,
    "kept": KEPT,
    "span": SPAN,
    "client": CLIENT,
    "key": KEY,
    "hold": HOLD,
}
NO_TEXT = "CAST(x'ff41' AS TEXT)"
DAMAGES = ("NULL", "1.5", "7", "x'00'", "'text'", NO_TEXT)
VIEWS = ("client", "key", "hold")
"""Of these only the form is checked: what they say stands in the records."""


@pytest.fixture
async def anna(ledger, drafts):
    """A log of more than a span of records, with a key and a hold."""
    client = await ledger.create_client("Anna")
    await ledger.create_key(label="laptop", sha256=bytes(32), client=client.id)
    await ledger.hold(drafts.hold(client.log))
    await asyncio.gather(*[ledger.append(client.log, drafts()) for _ in range(SPAN_RECORDS)])
    await ledger.close()
    return client.log


def damage(path, sql, *bindings):
    """Run a statement as somebody who does not mind what the tables forbid, and leave no trace of that."""
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA writable_schema = ON")
    before = connection.execute("SELECT rowid, sql FROM sqlite_schema").fetchall()
    connection.execute(
        "UPDATE sqlite_schema SET sql = replace(replace(replace(sql, ' NOT NULL', ''), ') STRICT, ', ') '),"
        " ') STRICT', ')') WHERE type = 'table'"
    )
    connection.execute("PRAGMA writable_schema = RESET")
    connection.close()
    connection = apsw.Connection(str(path))
    connection.execute(sql, bindings)
    connection.execute("PRAGMA writable_schema = ON")
    for rowid, text in before:
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE rowid = ?", (text, rowid))
    connection.close()


async def test_a_file_that_nobody_damaged_is_in_order(anna, path, signer):
    damage(path, "UPDATE record SET seq = seq")
    assert audit(path, signer.verifier).verdict == "OK"


def what_it_holds(path, table, column):
    connection = apsw.Connection(str(path))
    try:
        return connection.execute(f"SELECT typeof({column}), CAST({column} AS BLOB) FROM {table}").fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("table", TABLES)
async def test_every_column_may_hold_anything_and_it_is_found(anna, path, signer, table):
    whole, types, tried = path.read_bytes(), TABLES[table], 0
    for column, value in itertools.product(types, DAMAGES):
        path.write_bytes(whole)
        before = what_it_holds(path, table, column)
        where = " WHERE n = 12" if table == "record" else ""
        with contextlib.suppress(apsw.ConstraintError, apsw.MismatchError):  # what no row can hold at all
            damage(path, f"UPDATE {table} SET {column} = {value}{where}")
        after = what_it_holds(path, table, column)
        if after == before or (table in VIEWS and all(whole_of(types[column], *held) for held in after)):
            continue
        report = audit(path, signer.verifier)
        assert report.verdict in ("TAMPERED", "ROLLBACK", "UNVERIFIABLE"), (column, value)
        assert report.sentence
        if table == "record" and column not in ("n", "log", "seq"):
            assert [found.seq for found in report.findings if found.log == anna] == [11], (column, value)
        tried += 1
    assert tried >= len(types)


def whole_of(allowed, kind, data):
    if kind == "text":
        with contextlib.suppress(UnicodeDecodeError):
            data.decode()
            return kind in allowed
        return False
    return kind in allowed


@pytest.mark.parametrize("column", ["leaf", "id", "body"])
async def test_a_truncated_blob_is_found_and_named(anna, path, signer, column):
    damage(path, f"UPDATE record SET {column} = substr({column}, 1, 7) WHERE seq = 11")
    report = audit(path, signer.verifier)
    assert [(found.verdict, found.seq) for found in report.findings] == [("TAMPERED", 11)]


@pytest.mark.parametrize("damages", ["t0 = NULL", f"find = {NO_TEXT}", "body = NULL", "id = NULL"])
async def test_the_first_of_many_damaged_records_is_the_one_that_is_named(anna, path, signer, damages):
    damage(path, f"UPDATE record SET {damages} WHERE seq IN (13, 500, 501, 502, 900)")
    report = audit(path, signer.verifier)
    assert [(found.verdict, found.seq) for found in report.findings] == [("TAMPERED", 13)]
    assert report.records == SPAN_RECORDS + 2  # the others were read all the same


@pytest.mark.parametrize("table", TABLES)
async def test_a_table_that_is_missing_is_named(anna, path, signer, table):
    damage(path, f"DROP TABLE {table}")
    report = audit(path, signer.verifier)
    assert report.verdict in ("TAMPERED", "ROLLBACK")
    assert any(f"table {table} " in found.sentence for found in report.findings)
    assert all("disk" not in found.sentence for found in report.findings)
    if table == "record":
        assert [found.seq for found in report.findings if found.log == anna] == [0]


@pytest.mark.parametrize("index", ["record_place", "record_id"])
async def test_an_index_that_is_missing_is_named(anna, path, signer, index):
    damage(path, f"DROP INDEX {index}")
    report = audit(path, signer.verifier)
    assert [found.verdict for found in report.findings] == ["TAMPERED"]
    assert index in report.sentence


async def test_a_trigger_and_a_changed_table_are_named(anna, path, signer):
    damage(path, "CREATE TRIGGER sly AFTER INSERT ON record BEGIN DELETE FROM hold; END")
    connection = apsw.Connection(str(path))
    connection.execute("ALTER TABLE client ADD COLUMN more TEXT")
    connection.close()
    sentences = [found.sentence for found in audit(path, signer.verifier).findings]
    assert any("sly" in sentence for sentence in sentences)
    assert any("client" in sentence for sentence in sentences)


async def test_a_span_that_is_missing_hides_records_from_a_period(anna, path, signer):
    damage(path, "DELETE FROM span")
    assert audit(path, signer.verifier).verdict == "TAMPERED"


async def test_a_changed_version_is_a_finding(anna, path, signer):
    damage(path, "PRAGMA user_version = 0")
    assert audit(path, signer.verifier).verdict == "TAMPERED"
    damage(path, "PRAGMA user_version = 99")
    assert audit(path, signer.verifier).verdict == "UNVERIFIABLE"


# The rest of the store says it in a sentence too.


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("log", "frontier = NULL"),
        ("log", "checkpoint = NULL"),
        ("log", "size = NULL"),
        ("log", f"name = {NO_TEXT}"),
        ("client", f"name = {NO_TEXT}"),
        ("key", "limits = NULL, label = NULL"),
        ("hold", f"model = {NO_TEXT}"),
        ("hold", "amount = NULL, t0 = NULL"),
    ],
)
async def test_a_ledger_with_a_damaged_row_does_not_open_and_says_why(anna, path, opening, table, change):
    damage(path, f"UPDATE {table} SET {change}")
    with pytest.raises((LedgerCorrupt, LedgerTampered), match="verif"):
        await opening()


@pytest.mark.parametrize(
    "change",
    ["body = NULL", f"body = {NO_TEXT}", "id = NULL", "id = x'00'", "t0 = NULL", f"find = {NO_TEXT}"],
)
async def test_a_damaged_record_is_listed_as_unreadable_and_is_not_handed_out(anna, path, opening, change):
    damage(path, f"UPDATE record SET {change} WHERE seq = 11")
    ledger = await opening()
    page = await ledger.page(None, 500, log=anna, search="")
    while page.next is not None and all(row.seq != 11 for row in page.rows):
        page = await ledger.page(page.next, 500, log=anna)
    (row,) = [row for row in page.rows if row.seq == 11]
    if "body" in change:
        assert row.kind == "unreadable"
        with pytest.raises(LedgerCorrupt, match="11"):
            await ledger.entries(anna, 11, 1)
        with pytest.raises(LedgerCorrupt, match="11"):
            await ledger.inclusion(anna, 11)
    assert (await ledger.verify()).verdict == "TAMPERED"


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM record WHERE seq = 11",
        "UPDATE record SET body = NULL WHERE seq = 11",
        "UPDATE record SET leaf = NULL WHERE seq = 11",
        f"UPDATE record SET body = {NO_TEXT} WHERE seq = 11",
        "UPDATE record SET body = CAST(replace(body, '26', '27') AS BLOB) WHERE seq = 11",
        "UPDATE record SET body = CAST(body || char(10) || body AS BLOB) WHERE seq = 11",
        "UPDATE record SET body = x'' WHERE seq >= 11",
        "UPDATE record SET leaf = zeroblob(32) WHERE seq >= 11",
    ],
)
async def test_many_records_at_once_end_before_the_one_that_is_damaged(anna, path, signer, change):
    with contextlib.closing(Reader(path, signer)) as reader:
        whole = reader.entries(anna, 2, 40)
    assert len(whole) == 40
    damage(path, change)
    with contextlib.closing(Reader(path, signer)) as reader:
        assert reader.entries(anna, 2, 40) == whole[:9]
        assert reader.entries(anna, 9, 2) == whole[7:9]
