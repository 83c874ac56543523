"""The copy read again: whoever changed it on the client's side is found by the gateway's signature."""

from __future__ import annotations

import apsw
import pytest

from app.receiver.audit import audit_copy
from app.receiver.sqlite.store import SqliteCopy
from app.receiver.store import CopyStore
from tests.receiver.sending import SendingLog
from tests.receiver.stores import Counter
from tests.receiver.test_intake import rotated


def audited(store: CopyStore):
    return audit_copy(store, store.logs(None)[0].log)


def test_what_was_kept_is_as_it_was_signed_over_a_change_of_keys(counter: Counter) -> None:
    gateway = SendingLog(records=1500)
    for at in range(0, 1501, 500):
        counter.take(gateway.push(at, min(at + 500, 1501)))
    rotated(gateway)
    counter.take(gateway.push(1501))
    told: list[tuple[int, int]] = []
    report = audit_copy(counter.store, counter.store.logs(None)[0].log, lambda *how: told.append(how))
    assert (report.sentence, report.valid, report.size, report.cost_pico) == ("", 1502, 1502, gateway.cum)
    assert told == [(1024, 1502), (1502, 1502)]


def test_what_comes_while_it_reads_is_left_for_the_next_time(counter: Counter) -> None:
    gateway = SendingLog(records=1499)
    for at in range(0, 1200, 600):
        counter.take(gateway.push(at, at + 600))
    then = counter.store.logs(None)[0].log
    counter.take(gateway.push(1200))
    report = audit_copy(counter.store, then)
    assert (report.sentence, report.valid, report.size) == ("", 1200, 1200)
    assert audited(counter.store).valid == 1500


@pytest.mark.parametrize(
    ("spoil", "valid", "words"),
    [
        ("UPDATE record SET body = replace(cast(body AS text), 'llama3.1:8b', 'llama3.1:9b') WHERE seq = 7", 7, "hash"),
        ("DELETE FROM record WHERE seq = 7", 7, "Record 7 is gone"),
        ("DELETE FROM record WHERE seq = 9", 9, "Record 9 is gone"),
        ("UPDATE record SET seq = CASE seq WHEN 6 THEN 107 ELSE seq END", 6, "Record 6 is gone"),
        ("UPDATE log SET cum = cum - 1", 10, "do not lead to the newest checkpoint"),
        ("UPDATE log SET checkpoint = replace(checkpoint, char(10) || '10' || char(10), char(10) || '9' || char(10))",
         10, "does not belong to this text"),
    ],
)  # fmt: skip
def test_the_first_record_that_somebody_changed_is_named(
    counter: Counter, spoil: str, valid: int, words: str
) -> None:
    if not isinstance(counter.store, SqliteCopy):
        return
    gateway = SendingLog(records=9)
    counter.take(gateway.push())
    with apsw.Connection(str(counter.store._path)) as file:
        for table in ("record", "log"):
            assert file.execute(f"SELECT count(*) FROM {table}").get
        file.execute(spoil.replace("replace(cast(body AS text)", "cast(replace(cast(body AS text)").replace(
            "'llama3.1:9b')", "'llama3.1:9b') AS blob)"
        ))  # fmt: skip
    report = audited(counter.store)
    assert (report.valid, report.size) == (valid, 10)
    assert words in report.sentence
    assert report.sentence.endswith(".")
    assert report.sentence.count("Record ") <= 1
    assert report.sentence.startswith(
        "The checkpoint cannot be believed: " if valid == 10 else f"Record {valid}"
    )


def test_a_body_changed_together_with_its_hash_is_found_by_the_signature(counter: Counter) -> None:
    if not isinstance(counter.store, SqliteCopy):
        return
    from app.ledger.merkle import leaf_hash

    gateway = SendingLog(records=9)
    counter.take(gateway.push())
    body = gateway.bodies[7].replace(b"llama3.1:8b", b"llama3.1:9b")
    with apsw.Connection(str(counter.store._path)) as file:
        file.execute("UPDATE record SET body = ?, leaf = ? WHERE seq = 7", (body, leaf_hash(body)))
    report = audited(counter.store)
    assert "checkpoint" in report.sentence
