"""Every bit of 64 records as they lie in SQLite's file, and of their log's row with its newest checkpoint.

A flip in what a record holds is found at that record. One in what SQLite needs to find it may hide the record, or the
rest of a page: then it is found that something is wrong, and nothing before it is blamed. `make test` tries some of
them, `make soak` all (some 300,000 bits in half an hour).
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import apsw
import pytest

from app.ledger.findings import AuditReport
from app.ledger.sqlite.audit import audit
from tests.ledger.sqlite.cells import cell, cells
from tests.ledger.sqlite.conftest import SIGNER, Drafts, Opening
from tests.ledger.sqlite.test_every_bit import RECORDS, others

pytestmark = pytest.mark.soak
ALL = "SOAK" in os.environ
SOME = int(os.environ.get("FLIPS", "400"))
T = TypeVar("T")
LOG = (
    "k",
    "name",
    "size",
    "cum",
    "requests",
    "tok_in",
    "tok_out",
    "dur_us",
    "e_uj",
    "terms",
    "checkpoint",
    "frontier",
)
RECORD = ("n", "log", "seq", "t0", "id", "find", "leaf", "body")
READ = f"SELECT {', '.join(RECORD)} FROM record ORDER BY n"


@dataclass
class Raw:
    """A ledger's file as bytes."""

    path: Path

    def __post_init__(self) -> None:
        self.data = self.path.read_bytes()
        self._cells = list(cells(self.data))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def place(self, number: int | None, row: tuple[Any, ...]) -> list[int]:
        """Where the cell of a row begins, each of its columns, and the end."""
        (place,) = self.places(number, row)
        return place

    def places(self, number: int | None, row: tuple[Any, ...]) -> list[list[int]]:
        """The same of every cell that is alike: entries of two indices may be (they have no number)."""
        lies, begins = cell(number, row)
        alike = [at for at in self._cells if self.data[at : at + len(lies)] == lies]
        return [[at, *[at + begin for begin in begins]] for at in alike]

    @contextmanager
    def changed(self, *bits: int) -> Iterator[None]:
        """Meanwhile these bits of the file are the other way round."""
        with self.path.open("rb+") as file:
            for bit in bits:
                file.seek(bit // 8)
                file.write(bytes([self.data[bit // 8] ^ 1 << bit % 8]))
        yield
        with self.path.open("rb+") as file:
            for bit in bits:
                file.seek(bit // 8)
                file.write(self.data[bit // 8 : bit // 8 + 1])

    def flipped(self, *bits: int) -> AuditReport:
        """What the audit says then."""
        with self.changed(*bits):
            return audit(self.path, SIGNER.verifier)


def some(flips: list[T]) -> list[T]:
    return flips if ALL or len(flips) <= SOME else random.Random(6962).sample(flips, SOME)


def bits(begin: int, end: int) -> Iterator[int]:
    return iter(range(8 * begin, 8 * end))


@pytest.fixture
async def small(opening: Opening, path: Path) -> Raw:
    """One log, that an audit reads in a moment."""
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    drafts = Drafts()
    kinds = others(ledger)
    for draft in [*kinds, *[drafts() for _ in range(RECORDS - 1 - len(kinds))]]:
        await ledger.append(log, draft)
    await ledger.close()
    return Raw(path)


async def test_any_bit_of_what_a_record_holds_is_found_at_that_record(small: Raw) -> None:
    flips = []
    for number, *row in small.rows(READ):
        places = small.place(number, (None, *row))[1:]
        flips += [(bit, row[1]) for bit in bits(places[RECORD.index("t0")], places[-1])]
    for bit, seq in some(flips):
        report = small.flipped(bit)
        assert report.verdict == "TAMPERED"
        assert [finding.seq for finding in report.findings] == [seq]
    assert audit(small.path, SIGNER.verifier).verdict == "OK"


async def test_any_bit_of_where_a_record_stands_is_found_unless_nothing_that_is_read_is_different(
    small: Raw,
) -> None:
    rows = small.rows(READ)
    flips = []
    for number, *row in rows:
        begin, *places = small.place(number, (None, *row))
        flips += [(bit, row[1], bit // 8 >= places[1]) for bit in bits(begin, places[RECORD.index("t0")])]
    harmless = 0
    for bit, seq, in_place in some(flips):
        report = small.flipped(bit)
        if report.verdict == "OK":
            with small.changed(bit):
                assert small.rows(READ) == rows
            harmless += 1
        elif in_place:
            assert [finding.seq for finding in report.findings] == [seq]
    assert harmless <= len(rows), "of the eight bits of a type that nobody reads one changes nothing"
    assert audit(small.path, SIGNER.verifier).verdict == "OK"


async def test_any_bit_of_a_logs_row_with_its_newest_checkpoint_is_found(small: Raw) -> None:
    ((k, *row),) = small.rows(f"SELECT {', '.join(LOG)} FROM log")
    (name,) = {name for (name,) in small.rows("SELECT name FROM log")}
    places = small.place(k, (None, *row))[1:]
    for bit in some(list(bits(places[1], places[-1]))):
        report = small.flipped(bit)
        assert report.verdict != "OK"
        if bit // 8 >= places[2]:
            assert {finding.log for finding in report.findings} <= {name, ""}
    assert audit(small.path, SIGNER.verifier).verdict == "OK"


async def test_any_bit_of_what_a_record_is_found_by_is_found_unless_it_leads_there_all_the_same(
    small: Raw,
) -> None:
    rows = small.rows(READ)

    def found() -> list[tuple[Any, ...]]:
        """What a look-up of each record by its place, and of each by its id, leads to."""
        by_place = "SELECT other.n FROM json_each(?) CROSS JOIN record AS other ON other.log = 1 AND other.seq = value"
        by_id = "SELECT other.n FROM json_each(?) CROSS JOIN record AS other ON other.id = unhex(value)"
        connection = apsw.Connection(str(small.path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            places = connection.execute(by_place, (json.dumps([seq for _, _, seq, *_ in rows]),)).fetchall()
            ids = connection.execute(by_id, (json.dumps([id.hex() for *_, id, _, _, _ in rows]),)).fetchall()
            return [*places, *ids]
        finally:
            connection.close()

    before = found()
    assert before == 2 * [(n,) for n, *_ in rows]
    flips: list[int] = []
    for n, log, seq, _, id, *_ in rows:
        for entry in ((log, seq, n), (id, n)):
            places = small.places(None, entry)
            assert places
            for begin, *_, end in places:
                flips += bits(begin, end)
    for bit in some(flips):
        report = small.flipped(bit)
        if report.verdict == "OK":
            with small.changed(bit):
                assert found() == before
        else:
            assert report.verdict == "UNVERIFIABLE"
    assert audit(small.path, SIGNER.verifier).verdict == "OK"
