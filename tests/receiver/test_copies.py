"""What a receiver keeps, whichever database it keeps it in: every test here runs over all of them."""

from __future__ import annotations

import dataclasses

import pytest

from app.ledger.merkle import inclusion_proof, leaf_hash, verify_inclusion
from app.ledger.records import decode
from app.receiver.errors import EnrolmentError
from app.receiver.intake import Accepted, Elsewhere, Rejected, Repeated
from app.receiver.parties import Enrolment, FlatOutcome, FlatRow
from app.receiver.store import CHARGES_A_LOG, LOGS_AN_ENROLMENT, CopyStore, LogName
from tests.receiver.conftest import OpenStore
from tests.receiver.sending import SendingLog, usage
from tests.receiver.stores import NOW_S, Counter, enrolment
from tests.receiver.test_intake import changed, forked


def listed(store: CopyStore, log: str | None = None):
    return store.logs(None, log)


def test_what_was_accepted_is_there_for_whoever_opens_it_next(
    counter: Counter, open_store: OpenStore
) -> None:
    gateway = SendingLog(records=20)
    assert isinstance(counter.take(gateway.push(0, 7)), Accepted)
    counter.now_s += 5
    assert isinstance(counter.take(gateway.push(5)), Accepted)
    (found,) = open_store().logs("e_garage")
    head = found.log.head
    assert (head.name, head.size, head.cum, head.requests) == (gateway.log, 21, gateway.cum, 20)
    assert (head.checkpoint, head.frontier.root()) == (gateway.note(), gateway.root())
    assert (head.tok_in, head.tok_out, head.dur_us) == (26 * 20, 298 * 20, 400_000 * 20)
    assert (found.log.keys, found.log.cosigned_s) == (((0, gateway.signer.vkey),), NOW_S + 5)
    assert (found.begun_s, found.heard_s, found.proofs) == (NOW_S, NOW_S + 5, 0)
    store = open_store()
    assert list(store.bodies(found.log, 0, 100)) == gateway.bodies
    assert list(store.bodies(found.log, 4, 3)) == gateway.bodies[4:7]
    assert list(store.newest(None, None, 2)) == gateway.bodies[:-3:-1]
    assert [row[2] for row in store.stretch(found.log, 0, 100)] == gateway.bodies


def test_a_fault_in_the_middle_leaves_nothing_behind(counter: Counter) -> None:
    gateway = SendingLog(records=3)
    counter.take(gateway.push(0, 2))

    name = LogName("e_garage", gateway.log)

    def break_off() -> None:
        with counter.store.work({name: ()}) as work:
            work.heard(dataclasses.replace(work.logs[name], cosigned_s=NOW_S + 99), NOW_S + 99)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    (found,) = listed(counter.store)
    assert (found.log.cosigned_s, found.log.size) == (NOW_S, 2)
    assert isinstance(counter.take(gateway.push(2)), Accepted)


def test_what_was_sent_again_changes_the_time_alone(counter: Counter) -> None:
    gateway = SendingLog(records=3)
    counter.take(gateway.push())
    counter.now_s += 60
    assert isinstance(counter.take(gateway.push(2)), Repeated)
    (found,) = listed(counter.store)
    assert (found.log.cosigned_s, found.heard_s, found.log.size) == (NOW_S + 60, NOW_S + 60, 4)
    assert len(counter.store.bodies(found.log, 0, 100)) == 4


def test_two_gateways_may_call_their_logs_the_same_and_see_nothing_of_each_other(counter: Counter) -> None:
    mine, theirs = SendingLog(1, "gw/c_1", records=3), SendingLog(2, "gw/c_1", records=5)
    other = enrolment("attic")
    counter.store.enrol(other)
    counter.take(mine.push())
    assert isinstance(Counter(counter.store, other).take(theirs.push()), Accepted)
    assert [found.log.size for found in counter.store.logs("e_garage")] == [4]
    assert [found.log.size for found in counter.store.logs("e_attic")] == [6]
    assert [found.log.enrolment for found in counter.store.logs(None, "gw/c_1")] == ["e_garage", "e_attic"]
    assert list(counter.store.newest("e_attic", None, 99)) == theirs.bodies[::-1]
    assert list(counter.store.newest("e_garage", None, 99)) == mine.bodies[::-1]


def test_a_doubled_request_is_found_among_records_that_came_long_ago(counter: Counter) -> None:
    gateway = SendingLog(records=5)
    counter.take(gateway.push())
    gateway.append(decode(gateway.bodies[2]).draft)
    decision = counter.take(gateway.push(6))
    assert isinstance(decision, Rejected)
    assert (decision.code, decision.seq) == ("doubled", 6)


def test_of_a_log_that_never_began_nothing_is_held_against_anybody(counter: Counter) -> None:
    gateway = SendingLog(records=3)
    note = gateway.signer.sign_checkpoint(gateway.log, 4, bytes(32))
    decision = counter.take(gateway.push(note=note))
    assert isinstance(decision, Rejected)
    assert (decision.code, decision.suspect) == ("other_root", True)
    assert (counter.store.charges(None, 10), counter.store.logs(None)) == ((), ())


def test_the_note_that_is_held_is_shown_where_it_proves_a_fork_and_only_there(counter: Counter) -> None:
    gateway = SendingLog(records=5)
    counter.take(gateway.push())
    decision = counter.take(forked(gateway, 3).push())
    assert isinstance(decision, Rejected)
    assert (decision.proof, decision.held) == (True, gateway.note())
    decision = counter.take(gateway.push(note=gateway.note().replace("— ", "— x")))
    assert isinstance(decision, Rejected)
    assert (decision.proof, decision.held) == (False, "")
    note = gateway.note()
    bodies = gateway.bodies.copy()
    changed(gateway, 3, model="llama3.1:9b")
    decision = counter.take(gateway.push(note=note))
    gateway.bodies = bodies
    assert isinstance(decision, Rejected)
    assert (decision.proof, decision.suspect, decision.held) == (False, True, "")


def test_proofs_of_any_record_hold_over_several_tiles(counter: Counter) -> None:
    gateway = SendingLog(records=600)
    for at in range(0, 601, 200):
        counter.take(gateway.push(at, min(at + 200, 601)))
    (found,) = listed(counter.store)
    nodes = counter.store.nodes(found.log)
    for seq in (0, 255, 256, 511, 512, 600):
        proof = inclusion_proof(nodes, seq, 601)
        verify_inclusion(leaf_hash(gateway.bodies[seq]), seq, 601, proof, gateway.root())
    assert nodes.frontier(300).root() == gateway.root(300)
    # And a submission that begins long before the end is compared with what is held there.
    decision = counter.take(forked(gateway, 590).push(580))
    assert isinstance(decision, Rejected)
    assert (decision.proof, decision.seq) == (True, 590)


def test_both_signed_histories_of_a_fork_are_kept(counter: Counter) -> None:
    gateway = SendingLog(records=9)
    counter.take(gateway.push())
    other = forked(gateway, 4)
    counter.now_s += 7
    for _ in range(3):
        counter.take(other.push())
    (charge,) = counter.store.charges("e_garage", 10)
    assert (charge.log, charge.code, charge.seq, charge.proof, charge.at_s) == (
        gateway.log,
        "fork",
        4,
        True,
        NOW_S + 7,
    )
    assert (charge.held_note, charge.held_cosigned_s) == (gateway.note(), NOW_S)
    assert (charge.held_body, charge.shown_note, charge.shown_body) == (
        gateway.bodies[4], other.note(), other.bodies[4],
    )  # fmt: skip
    assert counter.store.charges("e_attic", 10) == ()
    assert listed(counter.store)[0].proofs == 1


def test_a_suspicion_is_forgotten_when_what_was_signed_comes_whole(counter: Counter) -> None:
    gateway = SendingLog(records=9)
    counter.take(gateway.push(0, 6))
    note, good = gateway.note(), gateway.bodies[8]
    changed(gateway, 8, model="llama3.1:9b")
    counter.take(gateway.push(6, note=note))
    (charge,) = counter.store.charges(None, 10)
    assert not charge.proof
    assert listed(counter.store)[0].log.suspected
    gateway.bodies[8] = good
    assert isinstance(counter.take(gateway.push(6)), Accepted)
    assert counter.store.charges(None, 10) == ()
    assert not listed(counter.store)[0].log.suspected


def test_a_suspicion_is_proven_when_another_history_grows_beyond_it(counter: Counter) -> None:
    gateway = SendingLog(records=9)
    counter.take(gateway.push(0, 6))
    other = gateway.twin()
    changed(other, 8, model="llama3.1:9b")
    note = other.note()
    counter.take(gateway.push(6, note=note))  # the records of the one, the signature over the other
    assert not counter.store.charges(None, 10)[0].proof
    assert isinstance(counter.take(gateway.push(6)), Accepted)
    (charge,) = counter.store.charges(None, 10)
    assert (charge.proof, charge.shown_note) == (True, note)


def test_a_gateway_that_forks_with_every_request_does_not_fill_the_disk(counter: Counter) -> None:
    gateway = SendingLog(records=4)
    counter.take(gateway.push())
    for number in range(CHARGES_A_LOG + 5):
        other = gateway.twin()
        changed(other, 3, model=f"m:{number}")
        counter.take(other.push(5, 5, note=other.note()))
    assert len(counter.store.charges(None, 1000)) == CHARGES_A_LOG


def test_suspicions_leave_room_for_a_proof(counter: Counter) -> None:
    gateway = SendingLog(records=4)
    counter.take(gateway.push())
    for number in range(CHARGES_A_LOG + 5):
        other = gateway.twin()
        other.append(usage(model=f"m:{number}"))
        counter.take(other.push(5, note=gateway.signer.sign_checkpoint(gateway.log, 6, bytes([number]) * 32)))
    assert len(counter.store.charges(None, 1000)) == CHARGES_A_LOG
    assert listed(counter.store)[0].proofs == 0
    for model in ("m:a", "m:b"):
        other = gateway.twin()
        changed(other, 3, model=model)
        for _ in range(2):
            counter.take(other.push(5, 5, note=other.note()))
    assert listed(counter.store)[0].proofs == 2
    assert [charge.shown_note for charge in counter.store.charges(None, 1)] == [other.note()]
    assert len(counter.store.charges(None, 1000)) == CHARGES_A_LOG


def test_a_secret_that_leaked_does_not_fill_the_disk_with_logs(counter: Counter) -> None:
    for number in range(LOGS_AN_ENROLMENT):
        assert isinstance(counter.take(SendingLog(1, f"gw_1/c_{number}").push()), Accepted)
    decision = counter.take(SendingLog(1, "gw_1/more").push())
    assert isinstance(decision, Rejected)
    assert decision.code == "too_many_logs"
    gateway = SendingLog(1, "gw_1/c_0", records=1)
    gateway.bodies[0] = counter.store.bodies(counter.store.logs(None, "gw_1/c_0")[0].log, 0, 1)[0]
    assert isinstance(counter.take(gateway.push(1)), Accepted), "what is there goes on"


def test_an_older_history_is_told_where_the_copy_is(counter: Counter) -> None:
    gateway = SendingLog(records=300)
    counter.take(gateway.push())
    assert counter.take(gateway.push(100, 270)) == Elsewhere(301)


def test_gateways_are_enrolled_renewed_and_removed(counter: Counter, open_store: OpenStore) -> None:
    store = counter.store
    with pytest.raises(EnrolmentError):
        store.enrol(Enrolment("e_2", "garage", b"x" * 32, "", NOW_S))
    renewed = dataclasses.replace(enrolment("garage"), sha256=b"new" * 10 + b"..", vkey="k")
    store.enrol(renewed)
    store.enrol(enrolment("attic"))
    store.remove("e_attic", NOW_S + 3)
    store.remove("e_attic", NOW_S + 9)
    assert open_store().enrolments() == (
        dataclasses.replace(enrolment("attic"), removed_s=NOW_S + 3),
        renewed,
    )


def test_flat_transactions_are_kept_once_and_read_in_their_order(counter: Counter) -> None:
    rows = [
        FlatRow("e_garage", f"t{number}", NOW_S, genuine, 10**12 * number, b'{"id":"t%d"}' % number)
        for number, genuine in enumerate((True, True, False, None))
    ]
    with counter.store.work({}) as work:
        assert {work.keep_flat(row) for row in rows} == {FlatOutcome.KEPT}
        assert work.keep_flat(rows[1]) is FlatOutcome.AGAIN
    with counter.store.work({}) as work:
        assert work.keep_flat(rows[1]) is FlatOutcome.AGAIN
        assert work.keep_flat(dataclasses.replace(rows[1], body=b"{}")) is FlatOutcome.DIFFERS
        assert work.keep_flat(dataclasses.replace(rows[1], enrolment="")) is FlatOutcome.KEPT
    held = counter.store.flat_rows("e_garage", 0, 9)
    assert [row for _, row in held] == rows
    assert counter.store.flat_rows("e_garage", held[1][0], 1) == [held[2]]
    assert counter.store.flat_rows("e_garage", held[3][0], 9) == []
    everybody = counter.store.flat_rows(None, 0, 9)
    assert [row for _, row in everybody] == [*rows, dataclasses.replace(rows[1], enrolment="")]
    assert counter.store.flat_rows("nobody", 0, 9) == []


def test_usage_of_a_model_with_any_name_is_kept_byte_for_byte(counter: Counter) -> None:
    gateway = SendingLog()
    gateway.append(usage(model='ü \u2028 \x00 "' + "\U0001f600" * 40))
    assert isinstance(counter.take(gateway.push()), Accepted)
    assert list(counter.store.bodies(listed(counter.store)[0].log, 0, 9)) == gateway.bodies
