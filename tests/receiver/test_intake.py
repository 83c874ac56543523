"""What a receiver accepts, and what it says about everything else: a table of submissions, without any I/O."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.canonical import canonical, parse_canonical
from app.ledger.checkpoint import Signer
from app.ledger.drafts import AdjustDraft
from app.ledger.records import decode, encode
from app.ledger.signing_keys import passed_on
from app.receiver.intake import Accepted, Decision, Elsewhere, Rejected, Repeated, decide, prepare
from app.receiver.submission import (
    BODY_MAX_B,
    LEAVES_MAX,
    MalformedSubmission,
    TooManyLeaves,
    parse_submission,
    write_submission,
)
from tests.receiver.sending import Remembered, SendingLog, usage

NOW_S = 1_764_000_000


class Desk:
    """A receiver without a store: what it decides, and what it then holds."""

    def __init__(self, vkey: str = "") -> None:
        self.held = Remembered()
        self.vkey = vkey
        self.now_s = NOW_S

    def take(self, body: bytes) -> Decision:
        sent = prepare(parse_submission(body))
        if isinstance(sent, Rejected):
            return sent
        decision = decide(
            sent,
            self.held.log,
            self.held,
            enrolment="e_1",
            vkey=self.vkey,
            now_s=self.now_s,
        )
        if isinstance(decision, Accepted):
            self.held.log = decision.growth.log
            self.held.bodies += [leaf.body for leaf in decision.growth.leaves]
        return decision

    @property
    def size(self) -> int:
        return 0 if self.held.log is None else self.held.log.size


@pytest.fixture
def gateway() -> SendingLog:
    return SendingLog(records=9)


@pytest.fixture
def desk(gateway: SendingLog) -> Desk:
    """One that holds the first six of the gateway's ten records."""
    made = Desk()
    assert isinstance(made.take(gateway.push(0, 6)), Accepted)
    return made


def refused(decision: Decision, code: str) -> Rejected:
    assert isinstance(decision, Rejected), decision
    assert decision.code == code
    assert decision.sentence.endswith(".")
    return decision


def test_a_log_begins_with_its_genesis_record_and_is_counted_from_there(gateway: SendingLog) -> None:
    desk = Desk()
    decision = desk.take(gateway.push())
    assert isinstance(decision, Accepted)
    head = decision.growth.log.head
    assert (head.size, head.requests, head.cum) == (10, 9, gateway.cum)
    assert (head.frontier.root(), head.checkpoint) == (gateway.root(), gateway.note())
    assert (decision.growth.log.keys, decision.growth.log.cosigned_s) == (((0, gateway.signer.vkey),), NOW_S)


def test_it_goes_on_where_the_copy_ends(desk: Desk, gateway: SendingLog) -> None:
    assert isinstance(desk.take(gateway.push(6)), Accepted)
    assert desk.held.bodies == gateway.bodies


def test_what_is_sent_again_is_cosigned_again_and_kept_once(desk: Desk, gateway: SendingLog) -> None:
    desk.now_s += 60
    for old in (0, 3, 6):
        decision = desk.take(gateway.push(old, 6))
        assert isinstance(decision, Repeated)
        assert decision.log.cosigned_s == NOW_S + 60
    assert desk.held.bodies == gateway.bodies[:6]


def test_what_overlaps_is_compared_and_the_rest_is_kept(desk: Desk, gateway: SendingLog) -> None:
    assert isinstance(desk.take(gateway.push(2)), Accepted)
    assert desk.held.bodies == gateway.bodies


def test_the_time_of_a_cosignature_never_goes_back(desk: Desk, gateway: SendingLog) -> None:
    desk.now_s -= 3600
    decision = desk.take(gateway.push(6))
    assert isinstance(decision, Accepted)
    assert decision.growth.log.cosigned_s == NOW_S


def test_whoever_leaves_records_out_hears_how_many_are_held(desk: Desk, gateway: SendingLog) -> None:
    assert desk.take(gateway.push(8)) == Elsewhere(6)
    assert Desk().take(gateway.push(1)) == Elsewhere(0)


def test_an_older_checkpoint_of_the_same_history_is_not_cosigned_any_more(
    desk: Desk, gateway: SendingLog
) -> None:
    assert desk.take(gateway.push(0, 4)) == Elsewhere(6)
    assert desk.take(gateway.push(4, 4)) == Elsewhere(6)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30))
def test_however_it_is_parted_and_repeated_and_reordered_the_copy_is_the_beginning_of_the_log(
    pushes: list[tuple[int, int]],
) -> None:
    gateway, desk, most = SendingLog(records=19), Desk(), 0
    for begin, end in pushes:
        old, size = min(begin, end), max(begin, end)
        if size == 0:
            continue
        decision = desk.take(gateway.push(old, size))
        if old <= most and size > most:
            assert isinstance(decision, Accepted)
            most = size
        elif old <= most == size:
            assert isinstance(decision, Repeated)
        else:
            assert decision == Elsewhere(most)
        assert desk.held.bodies == gateway.bodies[:most]


# What is wrong with the records.


def changed(gateway: SendingLog, seq: int, **fields: object) -> None:
    """Make one record say something else, in canonical form."""
    gateway.bodies[seq] = canonical(parse_canonical(gateway.bodies[seq]) | fields)


WRONG: dict[str, tuple[Callable[[SendingLog], object], str, int | None]] = {
    "a byte changed that breaks the form": (
        lambda log: log.bodies.__setitem__(7, log.bodies[7].replace(b'"cost"', b'"cosr"')),
        "bad_record",
        7,
    ),
    "spaces in the JSON": (
        lambda log: log.bodies.__setitem__(7, log.bodies[7].replace(b",", b", ")),
        "bad_record",
        7,
    ),
    "another schema": (lambda log: log.bodies.__setitem__(7, b'{"hello":"world"}'), "bad_record", 7),
    "a later version of the schema": (lambda log: changed(log, 7, v=2), "bad_record", 7),
    "a field more": (lambda log: changed(log, 7, more="x"), "bad_record", 7),
    "no JSON": (lambda log: log.bodies.__setitem__(7, b"\xff\xfe\x00"), "bad_record", 7),
    "another log": (lambda log: changed(log, 7, log="gw_1/c_2"), "other_log", 7),
    "two swapped": (
        lambda log: log.bodies.__setitem__(slice(7, 9), [log.bodies[8], log.bodies[7]]),
        "out_of_order",
        7,
    ),
    "one twice": (lambda log: log.bodies.insert(7, log.bodies[6]), "out_of_order", 7),
    "one left out": (lambda log: log.bodies.pop(7), "out_of_order", 7),
    "a cost that is not in the total": (
        lambda log: log.bodies.__setitem__(
            7, encode(usage(cost=5), log.log, 7, decode(log.bodies[7]).cum_pico)
        ),
        "wrong_total",
        7,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_first_bad_record_is_named_and_nothing_is_kept(
    desk: Desk, gateway: SendingLog, name: str
) -> None:
    spoil, code, seq = WRONG[name]
    spoil(gateway)
    found = refused(desk.take(gateway.push(6)), code)
    assert (found.seq, found.proof) == (seq, False)
    assert found.suspect is (code in ("wrong_total", "doubled", "other_root")), (
        "whoever signed nothing is not blamed"
    )
    assert desk.size == 6
    assert desk.held.log is not None
    assert desk.held.log.head.requests == 5


@pytest.mark.parametrize("held", [2, 6])
def test_a_request_that_is_billed_twice_is_found(gateway: SendingLog, held: int) -> None:
    desk = Desk()
    gateway = SendingLog(records=5)
    draft = decode(gateway.bodies[2]).draft
    gateway.append(draft)
    if held == 6:
        desk.take(gateway.push(0, 6))
    found = refused(desk.take(gateway.push(0)), "doubled")
    assert (found.seq, found.proof, found.suspect) == (6, False, True)


def test_records_that_were_damaged_on_their_way_are_refused_and_accepted_when_they_come_whole(
    desk: Desk, gateway: SendingLog
) -> None:
    note = gateway.note()
    good = gateway.bodies[8]
    changed(gateway, 8, model="llama3.1:9b")
    found = refused(desk.take(gateway.push(6, note=note)), "other_root")
    assert (found.proof, found.suspect) == (False, True)
    gateway.bodies[8] = good
    assert isinstance(desk.take(gateway.push(6)), Accepted)


def test_a_log_that_does_not_begin_with_genesis_is_none(gateway: SendingLog) -> None:
    gateway.bodies[0] = encode(usage(cost=0), gateway.log, 0, 0)
    found = refused(Desk().take(gateway.push()), "no_genesis")
    assert (found.seq, found.proof, found.suspect, found.shown, found.held) == (0, False, False, b"", "")
    refused(Desk().take(write_submission(0, (), gateway.note(0))), "no_genesis")


# Who signed.


def test_a_checkpoint_that_another_key_signed_is_not_believed(desk: Desk, gateway: SendingLog) -> None:
    thief = SendingLog(2, gateway.log)
    refused(
        desk.take(gateway.push(6, note=thief.signer.sign_checkpoint(gateway.log, 10, gateway.root()))),
        "unsigned",
    )
    note = gateway.note().replace("\n10\n", "\n11\n")
    gateway.append(usage())
    refused(desk.take(gateway.push(6, note=note)), "bad_signature")


def test_a_stripped_signature_is_missed(desk: Desk, gateway: SendingLog) -> None:
    with pytest.raises(MalformedSubmission):
        desk.take(gateway.push(6, note=gateway.note().partition("— ")[0]))


def test_where_a_key_was_named_no_other_one_begins_a_log(gateway: SendingLog) -> None:
    found = refused(Desk(SendingLog(2).signer.vkey).take(gateway.push()), "other_key")
    assert (found.seq, found.proof, found.suspect) == (0, False, False)
    assert isinstance(Desk(gateway.signer.vkey).take(gateway.push()), Accepted)


def test_a_genesis_record_with_a_key_that_is_none_is_refused(gateway: SendingLog) -> None:
    changed(gateway, 0, vkey="gw_1+00000000+AAAA")
    refused(Desk().take(gateway.push()), "bad_signature")


# Keys that pass to the next.


def rotated(gateway: SendingLog) -> Signer:
    """The gateway passes its log on to a new key; returns the old one."""
    old, gateway.signer = gateway.signer, Signer(bytes([77]) * 32, gateway.signer.name)
    seq = len(gateway.bodies)
    gateway.append(passed_on(usage().id, 5, gateway.log, seq, old, gateway.signer))
    return old


def test_a_key_passes_on_within_a_submission_and_the_old_one_is_good_for_nothing_more(
    desk: Desk, gateway: SendingLog
) -> None:
    old = rotated(gateway)
    gateway.append(usage())
    stale = gateway.push(6, note=old.sign_checkpoint(gateway.log, 12, gateway.root()))
    refused(desk.take(stale), "bad_signature")
    decision = desk.take(gateway.push(6))
    assert isinstance(decision, Accepted)
    assert decision.growth.log.keys == ((0, old.vkey), (11, gateway.signer.vkey))
    gateway.append(usage())
    assert isinstance(desk.take(gateway.push(11)), Accepted)
    gateway.append(usage())
    refused(
        desk.take(gateway.push(13, note=old.sign_checkpoint(gateway.log, 14, gateway.root()))),
        "bad_signature",
    )


def test_a_key_that_was_passed_on_already_may_come_again_with_what_overlaps(gateway: SendingLog) -> None:
    desk = Desk()
    rotated(gateway)
    assert isinstance(desk.take(gateway.push()), Accepted)
    gateway.append(usage())
    for old in (0, 6, 11):
        assert isinstance(desk.take(gateway.push(old)), Accepted if not old else Repeated)
    assert desk.size == 12


def test_a_log_that_begins_with_another_root_is_no_beginning(gateway: SendingLog) -> None:
    note = gateway.signer.sign_checkpoint(gateway.log, len(gateway.bodies), bytes(32))
    desk = Desk()
    found = refused(desk.take(gateway.push(note=note)), "other_root")
    assert (found.seq, found.proof, found.suspect) == (None, False, True)
    assert desk.held.log is None


def test_a_log_may_come_whole_with_a_key_that_has_passed_on(gateway: SendingLog) -> None:
    rotated(gateway)
    assert isinstance(Desk().take(gateway.push()), Accepted)


def test_a_key_that_the_old_one_did_not_pass_on_is_not_taken(desk: Desk, gateway: SendingLog) -> None:
    thief = Signer(bytes([66]) * 32, gateway.signer.name)
    gateway.append(passed_on(usage().id, 5, gateway.log, 10, thief, thief))
    note = thief.sign_checkpoint(gateway.log, 11, gateway.root())
    refused(desk.take(gateway.push(6, note=note)), "bad_signature")


# Two histories.


def forked(gateway: SendingLog, seq: int, size: int | None = None) -> SendingLog:
    """The same log under the same key, and another record at `seq`: all that follows is recorded anew."""
    other = gateway.twin()
    drafts = [decode(body).draft for body in other.bodies[seq:size]]
    del other.bodies[seq:]
    other.cum = decode(other.bodies[-1]).cum_pico
    for number, draft in enumerate(drafts):
        other.append(dataclasses.replace(draft, cost=draft.cost - 1) if not number else draft)
    return other


def test_two_signed_histories_of_one_size_are_proof(desk: Desk, gateway: SendingLog) -> None:
    other = forked(gateway, 4, 6)
    found = refused(desk.take(write_submission(6, (), other.note())), "fork")
    assert found.proof


def test_a_signed_history_with_another_record_is_proof_and_names_it(desk: Desk, gateway: SendingLog) -> None:
    other = forked(gateway, 4)
    found = refused(desk.take(other.push(0)), "fork")
    assert (found.seq, found.proof, found.shown) == (4, True, other.bodies[4])
    found = refused(desk.take(other.push(3)), "fork")
    assert (found.seq, found.proof) == (4, True)


def test_a_signed_older_history_that_is_not_the_held_one_is_proof(desk: Desk, gateway: SendingLog) -> None:
    other = forked(gateway, 3, 5)
    assert refused(desk.take(other.push(5, 5)), "fork").proof
    assert refused(desk.take(other.push(0, 5)), "fork").seq == 3


def test_a_continuation_of_another_history_is_refused_and_is_no_proof_by_itself(
    desk: Desk, gateway: SendingLog
) -> None:
    other = forked(gateway, 4)
    decision = desk.take(other.push(6))
    assert isinstance(decision, Rejected)
    # A running total that does not fit says it first; with an equal one the root does.
    assert (decision.code, decision.proof, decision.suspect) == ("wrong_total", False, True)
    other = gateway.twin()
    other.bodies[4] = encode(
        decode(other.bodies[4]).draft, other.log, 4, decode(other.bodies[4]).cum_pico
    ).replace(b"llama3.1:8b", b"llama3.1:9b")
    found = refused(desk.take(other.push(6)), "other_root")
    assert (found.proof, found.suspect) == (False, True)


def test_a_held_record_that_came_damaged_is_no_proof(desk: Desk, gateway: SendingLog) -> None:
    note, good = gateway.note(), gateway.bodies[4]
    gateway.bodies[4] = good.replace(b"llama3.1:8b", b"llama3.1:9b")
    found = refused(desk.take(gateway.push(3, note=note)), "other_record")
    assert (found.seq, found.proof, found.suspect) == (4, False, True)


def test_every_changed_byte_of_a_submission_is_found(desk: Desk, gateway: SendingLog) -> None:
    gateway.bodies = gateway.bodies[:8]
    body = gateway.push(6)
    dice = random.Random(9)
    for at in range(len(body)):
        spoiled = bytearray(body)
        spoiled[at] ^= 1 << dice.randrange(8)
        try:
            decision = desk.take(bytes(spoiled))
        except MalformedSubmission:
            continue
        assert isinstance(decision, Rejected | Elsewhere), at
        assert not (isinstance(decision, Rejected) and decision.proof), at
        assert desk.size == 6


def test_a_correction_counts_into_the_total_and_is_no_request(desk: Desk, gateway: SendingLog) -> None:
    gateway.append(AdjustDraft(usage().id, 5, None, "agreed by mail", -7))
    decision = desk.take(gateway.push(6))
    assert isinstance(decision, Accepted)
    assert (decision.growth.log.head.cum, decision.growth.log.head.requests) == (gateway.cum, 9)


# The form.

GOOD = SendingLog(records=1).push()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old",
        b"old 0",
        b"old 0\n",
        GOOD.replace(b"old 0", b"old 00"),
        GOOD.replace(b"old 0", b"old -1"),
        GOOD.replace(b"old 0", b"old 1"),
        GOOD.replace(b"old 0", b"new 0"),
        GOOD.replace(b"old 0", b"old 99999999999999999999"),
        GOOD.replace(b"\n\n", b"\n"),
        GOOD.replace(b"\n", b"\r\n"),
        GOOD[:-1],
        GOOD + b"\n",
        GOOD.partition(b"\n\n")[0] + b"\n\n\xff",
        b'{"hello":"world"}',
        b"\x00" * 100,
    ],
    ids=range(16),
)
def test_what_is_no_submission_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedSubmission):
        parse_submission(body)


def test_a_submission_is_read_as_it_was_written(gateway: SendingLog) -> None:
    read = parse_submission(gateway.push(4))
    assert (read.old, list(read.leaves), read.note) == (4, gateway.bodies[4:], gateway.note())
    assert write_submission(read.old, read.leaves, read.note) == gateway.push(4)


def test_more_records_than_fit_at_once_are_too_many() -> None:
    assert (LEAVES_MAX, BODY_MAX_B) == (1024, 4 << 20), "what docs/receiver.md says"
    log = SendingLog()
    whole = log.signer.sign_checkpoint(log.log, LEAVES_MAX, bytes(32))
    read = parse_submission(b"old 0\n" + b"{}\n" * LEAVES_MAX + b"\n" + whole.encode())
    assert len(read.leaves) == LEAVES_MAX
    note = log.note()
    with pytest.raises(TooManyLeaves, match="At most 1024 records"):
        parse_submission(b"old 0\n" + b"{}\n" * (LEAVES_MAX + 1) + b"\n" + note.encode())
