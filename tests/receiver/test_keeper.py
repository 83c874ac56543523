"""Commits of many submissions: together where they can be, apart where one is to blame, bounded in all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from app.ledger.cosignature import Cosigner
from app.receiver import keeper as keeping
from app.receiver.commits import Cosigned, Sent, commit
from app.receiver.counts import Counts
from app.receiver.errors import ReceiverError, StoreAway, StoreFull
from app.receiver.intake import Elsewhere, Rejected
from app.receiver.keeper import Keeper
from app.receiver.sqlite.schema import RECEIVER_FILE
from app.receiver.sqlite.store import SqliteCopy
from app.receiver.store import LogName
from app.receiver.submission import MalformedSubmission
from tests.receiver.asking import Desk
from tests.receiver.sending import SendingLog, usage
from tests.receiver.stores import NOW_S, Counter, enrolment

COSIGNER = Cosigner(bytes(range(32)), "receiver.example/r1")
GATEWAY = enrolment("garage")


def test_each_submission_of_a_batch_has_its_own_outcome(counter: Counter) -> None:
    one, two, broken = SendingLog(1, records=3), SendingLog(2, records=3), SendingLog(3, records=3)
    broken.bodies[2] = b"{}"
    works = [
        Sent(GATEWAY, one.push(0, 2)),
        Sent(GATEWAY, broken.push()),
        Sent(GATEWAY, b"nonsense"),
        Sent(GATEWAY, one.push(2)),
        Sent(GATEWAY, two.push()),
        Sent(GATEWAY, one.push(0)),
        Sent(GATEWAY, one.push(3, 4)),
    ]
    found = commit(counter.store, COSIGNER, works, NOW_S)
    assert [type(each) for each in found] == [
        Cosigned, Rejected, MalformedSubmission, Cosigned, Cosigned, Cosigned, Cosigned,
    ]  # fmt: skip
    sizes = [(each.size, each.fresh) for each in found if isinstance(each, Cosigned)]
    assert sizes == [(2, 2), (4, 2), (4, 4), (4, 0), (4, 0)]


def test_a_batch_with_one_that_meets_a_fault_of_ours_keeps_all_the_others(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.receiver import taking

    logs = [SendingLog(number, records=2) for number in range(1, 5)]
    real = taking.decide

    def decide(sent: Any, *arguments: Any, **named: Any) -> Any:
        if sent.submission.claim.origin == logs[1].log:
            raise ZeroDivisionError
        return real(sent, *arguments, **named)

    monkeypatch.setattr(taking, "decide", decide)
    found = commit(counter.store, COSIGNER, [Sent(GATEWAY, log.push()) for log in logs], NOW_S)
    assert [isinstance(each, Cosigned) for each in found] == [True, False, True, True]
    assert isinstance(found[1], ReceiverError)
    assert len(counter.store.logs(None)) == 3


class SlowCopy(SqliteCopy):
    """A store whose transactions wait until a test lets them go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.go = threading.Event()
        self.begun = threading.Event()
        self.batches: list[int] = []

    @contextmanager
    def work(self, asked: Mapping[LogName, Sequence[bytes]]) -> Iterator[Any]:
        self.begun.set()
        assert self.go.wait(20)
        self.batches.append(len(asked))
        with super().work(asked) as work:
            yield work


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[tuple[Keeper, SlowCopy]]:
    opened: list[SlowCopy] = []

    def open_it() -> SlowCopy:
        opened.append(SlowCopy(tmp_path / RECEIVER_FILE))
        return opened[-1]

    keeper = await Keeper.open(open_it, COSIGNER, lambda: NOW_S, Counts())
    await keeper.write(lambda store: store.enrol(GATEWAY))
    yield keeper, opened[0]
    opened[0].go.set()
    await keeper.close()


async def put_all(keeper: Keeper, logs: Sequence[SendingLog]) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(keeper.put(Sent(GATEWAY, log.push()))) for log in logs]
    await asyncio.sleep(0)
    return tasks


async def test_what_comes_while_a_commit_is_under_way_is_committed_together(
    slow: tuple[Keeper, SlowCopy],
) -> None:
    keeper, store = slow
    first = await put_all(keeper, [SendingLog(1)])
    await asyncio.to_thread(store.begun.wait, 20)
    rest = await put_all(keeper, [SendingLog(number) for number in range(2, 42)])
    assert keeper.waiting == 40
    store.go.set()
    outcomes = await asyncio.gather(*first, *rest)
    assert all(isinstance(outcome, Cosigned) for outcome in outcomes)
    assert store.batches == [1, 40]


async def test_more_than_there_is_room_for_is_told_to_come_again(
    slow: tuple[Keeper, SlowCopy], monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, store = slow
    monkeypatch.setattr(keeping, "WAITING", 3)
    tasks = await put_all(keeper, [SendingLog(1)])
    await asyncio.to_thread(store.begun.wait, 20)
    tasks += await put_all(keeper, [SendingLog(number) for number in range(2, 5)])
    with pytest.raises(StoreAway, match="send it again"):
        await keeper.put(Sent(GATEWAY, SendingLog(9).push()))
    monkeypatch.setattr(keeping, "WAITING", 99)
    monkeypatch.setattr(keeping, "WAITING_B", 5000)
    with pytest.raises(StoreAway, match="send it again"):
        await keeper.put(Sent(GATEWAY, SendingLog(9, records=20).push()))
    store.go.set()
    assert all(isinstance(outcome, Cosigned) for outcome in await asyncio.gather(*tasks))


async def test_closing_keeps_what_waits_and_takes_no_more(slow: tuple[Keeper, SlowCopy]) -> None:
    keeper, store = slow
    tasks = await put_all(keeper, [SendingLog(number) for number in range(1, 6)])
    await asyncio.to_thread(store.begun.wait, 20)
    closing = asyncio.create_task(keeper.close())
    await asyncio.sleep(0)
    with pytest.raises(StoreAway, match="stopping"):
        await keeper.put(Sent(GATEWAY, SendingLog(9).push()))
    store.go.set()
    assert all(isinstance(outcome, Cosigned) for outcome in await asyncio.gather(*tasks))
    await closing
    with pytest.raises(StoreAway, match="stopping"):
        await keeper.read(lambda found: found.enrolments())


async def test_whoever_stops_waiting_takes_nothing_back(slow: tuple[Keeper, SlowCopy]) -> None:
    keeper, store = slow
    (task,) = await put_all(keeper, [SendingLog(1)])
    await asyncio.to_thread(store.begun.wait, 20)
    task.cancel()
    store.go.set()
    assert await keeper.put(Sent(GATEWAY, SendingLog(2).push()))
    assert len(await keeper.read(lambda found: found.logs(None))) == 2


async def test_a_full_disk_is_507_and_what_was_refused_is_taken_when_there_is_room(desk: Desk) -> None:
    async with desk.open() as asked:
        secret = await asked.enrol("garage")
        gateway = SendingLog(records=3)
        assert (await asked.push(secret, gateway.push())).status == 200
        pages = await asked.receiver.keeper.write(
            lambda store: store._connection.pragma("max_page_count", store._connection.pragma("page_count"))  # type: ignore[attr-defined]
        )
        for _ in range(200):
            gateway.append(usage())
        reply = await asked.push(secret, gateway.push(4))
        assert (reply.status, reply.code, reply.headers["Retry-After"]) == (507, "store_full", "60")
        assert (await asked.get("/health")).json["reason"].endswith("gateways send again.")
        assert (await asked.get("/ledger/entries", secret)).status == 200
        await asked.receiver.keeper.write(
            lambda store: store._connection.pragma("max_page_count", 1_000_000)  # type: ignore[attr-defined]
        )
        assert pages
        assert (await asked.push(secret, gateway.push(4))).status == 200
        assert (await asked.get("/health")).status == 200
        state = (await asked.get("/reconcile", secret)).json
        assert (state["status"], state["ledger_entries"]) == ("OK", 204)


async def test_a_file_that_another_program_has_locked_is_503_until_it_lets_go(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.receiver.sqlite.schema.BUSY_MS", 50)
    async with desk.open() as asked:
        secret = await asked.enrol("garage")
        gateway = SendingLog(records=3)
        other = apsw.Connection(str(desk.folders.data / RECEIVER_FILE))
        other.execute("BEGIN IMMEDIATE")
        reply = await asked.push(secret, gateway.push())
        assert (reply.status, reply.code) == (503, "store_away")
        other.execute("ROLLBACK")
        other.close()
        assert (await asked.push(secret, gateway.push())).status == 200


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / RECEIVER_FILE
    with apsw.Connection(str(path)) as other:
        other.execute("CREATE TABLE t (x)")
    with pytest.raises(ReceiverError, match="another program"):
        SqliteCopy(path)
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(ReceiverError, match="damaged"):
        SqliteCopy(path)
    with pytest.raises(ReceiverError, match=r"cannot be written|failed"):
        SqliteCopy(tmp_path / "no" / "such" / RECEIVER_FILE)


def test_a_file_of_the_future_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / RECEIVER_FILE
    SqliteCopy(path).close()
    with apsw.Connection(str(path)) as other:
        other.pragma("user_version", 99)
    with pytest.raises(ReceiverError, match="newer version"):
        SqliteCopy(path)


def test_what_cannot_be_kept_is_counted_as_what_it_was() -> None:
    counts = Counts()
    counts.committed([StoreFull("x."), ReceiverError("y."), Elsewhere(3), Rejected("fork", "z.")], 0.3)
    text = counts.text([])
    for line in (
        'pushes_total{outcome="store_fault"} 1',
        'pushes_total{outcome="mistake"} 1',
        'pushes_total{outcome="elsewhere"} 1',
        'pushes_total{outcome="fork"} 1',
        'commit_seconds_bucket{le="0.2"} 0',
        'commit_seconds_bucket{le="0.5"} 1',
        'commit_seconds_bucket{le="+Inf"} 1',
    ):
        assert f"mortdecai_receiver_{line}\n" in text
