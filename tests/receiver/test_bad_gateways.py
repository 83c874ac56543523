"""What is not a log's continuation: a sentence to the gateway, in `/reconcile` and in the log, and nothing is lost.

Others are served meanwhile, and the log is taken when it comes as it was signed.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

import pytest

from app.ledger.drafts import UsageDraft
from app.ledger.records import decode, encode
from app.receiver.assembly import now_s
from app.receiver.enrolling import remove
from app.receiver.submission import LEAVES_MAX, write_submission
from tests.receiver.asking import Asked, Desk, Reply
from tests.receiver.sending import SendingLog
from tests.receiver.test_intake import changed, forked


@pytest.fixture
async def asked(desk: Desk) -> AsyncIterator[Asked]:
    async with desk.open() as receiver:
        yield receiver


Spoil = Callable[[SendingLog], bytes]


def swapped(log: SendingLog) -> bytes:
    log.bodies[7], log.bodies[8] = log.bodies[8], log.bodies[7]
    return log.push(6)


def twice(log: SendingLog) -> bytes:
    log.bodies.insert(7, log.bodies[6])
    return log.push(6)


def another_schema(log: SendingLog) -> bytes:
    log.bodies[7] = b'{"hello":"world","prompt":"my secret diary"}'
    return log.push(6)


def another_log(log: SendingLog) -> bytes:
    changed(log, 7, log="gw_1/other")
    return log.push(6)


def another_total(log: SendingLog) -> bytes:
    note = log.note()
    changed(log, 7, cum="12345")
    return log.push(6, note=note)


@dataclass(frozen=True)
class Case:
    """What comes, and what is said of it."""

    spoil: Spoil
    status: int
    code: str
    words: str


NOT_BORNE_OUT = "signed a checkpoint of gw_1/c_1 that the records it sent do not bear out"
CASES = {
    "out of order": Case(swapped, 422, "out_of_order", "Record 8 came where number 7 belongs."),
    "twice": Case(twice, 422, "out_of_order", "Record 6 came where number 7 belongs."),
    "of another schema": Case(another_schema, 422, "bad_record", "Record 7 is none that is understood here"),
    "of another log": Case(another_log, 422, "other_log", "Record 7 is of the log gw_1/other, not of gw_1/c_1."),
    "of another total": Case(another_total, 422, "wrong_total", NOT_BORNE_OUT),
    "a changed byte": Case(
        lambda log: log.push(6).replace(b"llama3.1:8b", b"llama3.1:9b", 1), 422, "other_root",
        NOT_BORNE_OUT,
    ),
    "a changed byte of what is held": Case(
        lambda log: log.push(5).replace(b"llama3.1:8b", b"llama3.1:9b", 1), 422, "other_record",
        NOT_BORNE_OUT,
    ),
    "without a signature": Case(
        lambda log: log.push(6).rpartition(b"\xe2\x80\x94")[0] + SendingLog(2).push(0).rpartition(b"\n\n")[2],
        422, "unsigned", "not signed as it must be",
    ),
    "10 MB long": Case(
        lambda log: write_submission(6, (b"x" * (10 << 20),), log.note()), 413, "body_too_large", "at most 4 MB",
    ),
    "too many": Case(
        lambda log: write_submission(6, (b"{}",) * (LEAVES_MAX + 1), log.note()), 413, "too_many_leaves", "1024",
    ),
    "no submission": Case(lambda log: b"\xff" * 1000, 400, "malformed", ""),
    "half of one": Case(lambda log: log.push(6)[:300], 400, "malformed", ""),
}  # fmt: skip


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


async def state(asked: Asked, key: str) -> dict[str, object]:
    answer: dict[str, object] = (await asked.get("/reconcile", key)).json
    return answer


@pytest.mark.parametrize("what", CASES)
async def test_what_is_not_the_continuation_is_a_sentence_everywhere_and_nothing_is_lost(
    asked: Asked, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    case, gateway, other = CASES[what], SendingLog(records=9), SendingLog(2, records=3)
    secret, neighbour = await asked.enrol("garage"), await asked.enrol("attic")
    assert (await asked.push(secret, gateway.push(0, 6))).status == 200
    good = gateway.bodies.copy()
    body = case.spoil(gateway)
    gateway.bodies = good
    for _ in range(3):
        reply = await asked.push(secret, body)
        assert (reply.status, reply.code) == (case.status, case.code)
    # The neighbour is served, and hears nothing of it.
    assert (await asked.push(neighbour, other.push())).status == 200
    told = await state(asked, neighbour)
    assert (told["status"], told["findings"], told["refused"]) == ("OK", [], [])
    for key in (secret, asked.owner):
        told = await state(asked, key)
        assert told["status"] != "OK"
        (finding,) = told["findings"]  # type: ignore[misc]
        assert case.words in finding
        assert finding.endswith(".")
        (refused,) = told["refused"]  # type: ignore[misc]
        assert (refused["gateway"], refused["code"]) == ("garage", case.code)
    (line,) = lines(caplog)
    assert line.startswith(f"What the gateway garage sent was refused: {case.code}")
    assert line.endswith(".")
    assert "diary" not in caplog.text
    assert secret not in caplog.text
    # It comes as it was signed.
    assert (await asked.push(secret, gateway.push(6))).status == 200
    told = await state(asked, secret)
    assert (told["status"], told["findings"], told["refused"], told["charges"]) == ("OK", [], [], [])
    assert (await asked.get("/ledger/entries", secret)).text.encode().splitlines() == good


async def test_a_log_that_never_begins_is_a_finding_though_no_log_is_held(asked: Asked) -> None:
    gateway, secret = SendingLog(records=3), await asked.enrol("garage")
    gateway.bodies.pop(0)
    assert (await asked.push(secret, gateway.push(0, 2))).code == "out_of_order"
    told = await state(asked, secret)
    assert (told["status"], told["ledger_entries"]) == ("LAGGING", 0)
    assert told["findings"] == ["What garage sent last was refused: Record 1 came where number 0 belongs."]


async def test_a_fork_is_one_finding_and_stays_one(asked: Asked, caplog: pytest.LogCaptureFixture) -> None:
    gateway, secret = SendingLog(records=9), await asked.enrol("garage")
    await asked.push(secret, gateway.push())
    await asked.push(secret, forked(gateway, 4).push())
    told = await state(asked, secret)
    assert (told["status"], len(told["findings"])) == ("FORK", 1)  # type: ignore[arg-type]
    assert [line for line in lines(caplog) if "has signed two histories" in line]


async def test_who_was_removed_is_no_finding_any_more(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.receiver.doorkeeper.AGE_S", 0.0)
    secret = await asked.enrol("garage")
    await asked.push(secret, b"no submission")
    assert (await state(asked, asked.owner))["status"] == "LAGGING"
    await asked.receiver.keeper.write(lambda store: remove(store, "garage", now_s()))
    reply: Reply = await asked.push(secret, b"no submission")  # the list is read again beside this one
    while reply.status != 401:
        reply = await asked.push(secret, b"no submission")
    told = await state(asked, asked.owner)
    assert (told["status"], told["refused"]) == ("OK", [])


async def test_another_number_of_records_and_a_store_that_is_away_are_no_refusals(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, secret = SendingLog(records=3), await asked.enrol("garage")
    await asked.push(secret, gateway.push(0, 3))
    assert (await asked.push(secret, gateway.push(4))).status == 409
    monkeypatch.setattr("app.receiver.keeper.WAITING_B", 0)
    assert (await asked.push(secret, gateway.push(3))).status == 503
    assert (await state(asked, secret))["refused"] == []


def added_up_wrongly(log: SendingLog) -> None:
    changed(log, 7, cum="12345")


def billed_twice(log: SendingLog) -> None:
    draft = decode(log.bodies[3]).draft
    log.bodies[7] = encode(draft, log.log, 7, decode(log.bodies[6]).cum_pico + draft.cost)


def of_an_edited_history(log: SendingLog) -> None:
    cum = 0
    for seq, body in enumerate(log.bodies):
        draft = decode(body).draft
        if seq == 3 and isinstance(draft, UsageDraft):
            draft = replace(draft, cost=draft.cost + 5)
        cum += draft.cost
        log.bodies[seq] = encode(draft, log.log, seq, cum)


@pytest.mark.parametrize("cheat", [added_up_wrongly, billed_twice, of_an_edited_history])
async def test_what_was_signed_and_refused_and_then_taken_back_is_a_proven_fork(
    asked: Asked, cheat: Callable[[SendingLog], None]
) -> None:
    gateway = SendingLog(records=9)
    honest = gateway.bodies.copy()
    secret = await asked.enrol("garage")
    assert (await asked.push(secret, gateway.push(0, 6))).status == 200
    cheat(gateway)
    shown = gateway.note()
    assert (await asked.push(secret, gateway.push(6))).status == 422
    told = await state(asked, secret)
    assert told["status"] == "UNVERIFIABLE"
    assert NOT_BORNE_OUT in told["findings"][0]  # type: ignore[index]
    gateway.bodies = honest
    assert (await asked.push(secret, gateway.push(6))).status == 200
    told = await state(asked, secret)
    assert told["status"] == "FORK"
    (charge,) = told["charges"]  # type: ignore[misc]
    assert (charge["proof"], charge["shown_checkpoint"]) == (True, shown)
