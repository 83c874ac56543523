"""What every test of the ledger's storage needs: a clock, drafts, and ledgers that are closed at the end."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from app.ledger.checkpoint import Signer
from app.ledger.holds import HoldRow
from app.ledger.records import UsageDraft, uuid7
from app.ledger.sqlite.store import Ledger
from tests.ledger.sqlite.disks import Disk

SIGNER = Signer(bytes(range(32)), "gw_test")
START_US = 1_763_650_000_000_000

Opening = Callable[..., Awaitable[Ledger]]


class Clock:
    """Wall time that a test moves by hand."""

    def __init__(self) -> None:
        self.us = START_US

    def __call__(self) -> int:
        return self.us


class Drafts:
    """Usage drafts with fresh ids, one second after another."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def __call__(self, **changes: Any) -> UsageDraft:
        number = next(self._numbers)
        t0 = START_US + number * 1_000_000
        draft = UsageDraft(
            id=uuid7(t0, number),
            t0=t0,
            t1=t0 + 400_000,
            dur_us=400_000,
            req=None,
            key="k_laptop",
            model="llama3.1:8b",
            model_digest=None,
            endpoint="/api/chat",
            tok_in=26,
            tok_out=298,
            tok_src="engine",
            outcome="complete",
            e_uj=1000 + number,
            e_src="nvml",
            tariff="t_1",
            cost=100 + number,
        )
        return dataclasses.replace(draft, **changes)

    def hold(self, log: str, **changes: Any) -> HoldRow:
        """A hold for a request of its own."""
        draft = self()
        row = HoldRow(
            draft.id,
            log,
            draft.key,
            draft.model,
            draft.endpoint,
            draft.tariff,
            draft.t0,
            5_000,
            draft.t0,
            0,
            0,
        )
        return dataclasses.replace(row, **changes)


@pytest.fixture
def signer() -> Signer:
    return SIGNER


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def drafts() -> Drafts:
    return Drafts()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
async def opening(path: Path, clock: Clock) -> AsyncIterator[Opening]:
    """Opens the ledger at `path`, with other arguments where given; all are closed at the end."""
    opened = []

    async def open_ledger(**changes: Any) -> Ledger:
        arguments = {"path": path, "signer": SIGNER, "gateway_id": "gw_test", "clock_us": clock, **changes}
        ledger = await Ledger.open(arguments.pop("path"), **arguments)
        opened.append(ledger)
        return ledger

    yield open_ledger
    for ledger in opened:
        await ledger.close()


@pytest.fixture
async def ledger(opening: Opening) -> Ledger:
    return await opening()


@pytest.fixture
async def log(ledger: Ledger) -> str:
    """The log of a first client."""
    return (await ledger.create_client("Anna")).log


@pytest.fixture
def rows(path: Path) -> Callable[..., list[tuple[Any, ...]]]:
    """Runs a statement on the file through a connection of its own, as a stranger would."""

    def run(sql: str, *bindings: Any) -> list[tuple[Any, ...]]:
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(2000)
        try:
            return connection.execute(sql, bindings).fetchall()
        finally:
            connection.close()

    return run


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk of which a test says when it refuses; its name is the vfs."""
    disk = Disk()
    yield disk
    disk.error = None
    disk.unregister()
