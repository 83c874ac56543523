"""Every store there is, for the tests that hold for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.receiver.postgres.store import PostgresCopy
from app.receiver.sqlite.schema import RECEIVER_FILE
from app.receiver.sqlite.store import SqliteCopy
from app.receiver.store import CopyStore
from tests.receiver.asking import Desk
from tests.receiver.stores import NOW_S, Counter, enrolment

OpenStore = Callable[[], CopyStore]


@pytest.fixture(params=["sqlite", "postgres"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens one more connection to the test's own store; all are closed at its end."""
    opened: list[CopyStore] = []

    url = ""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_server").database()

    def open_it() -> CopyStore:
        opened.append(PostgresCopy(url, lambda: NOW_S) if url else SqliteCopy(tmp_path / RECEIVER_FILE))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def counter(open_store: OpenStore) -> Counter:
    """The desk of a receiver with one enrolled gateway."""
    store = open_store()
    gateway = enrolment("garage")
    store.enrol(gateway)
    return Counter(store, gateway)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A receiver that a test starts, stops and asks over HTTP."""
    return Desk(tmp_path)
