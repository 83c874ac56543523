"""What is said of a log that is held: each way in which a copy may be wrong has a sentence, and the gravest wins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from app.ledger.merkle import Frontier
from app.receiver.intake import Accepted, decide, prepare
from app.receiver.kept import KeptLog
from app.receiver.parties import Listed
from app.receiver.submission import parse_submission
from app.receiver.verdicts import STATUSES, gravest, judge
from tests.receiver.sending import Remembered, SendingLog

NOW_S = 1_764_000_000
SILENCE_S = 26 * 3600


@pytest.fixture
def gateway() -> SendingLog:
    return SendingLog(records=4)


@pytest.fixture
def held(gateway: SendingLog) -> Listed:
    sent = prepare(parse_submission(gateway.push()))
    assert not isinstance(sent, str)
    decision = decide(sent, None, Remembered(), enrolment="e", vkey="", now_s=NOW_S)  # type: ignore[arg-type]
    assert isinstance(decision, Accepted)
    return Listed(decision.growth.log, NOW_S - 9, NOW_S, 0)


def but(listed: Listed, **changes: object) -> Listed:
    """The same with another head; the one that was given stays as it is."""
    head = listed.log.head.copy()
    for name, value in changes.items():
        setattr(head, name, value)
    return replace(listed, log=replace(listed.log, head=head))


def test_a_copy_that_is_as_it_was_signed_is_ok_and_tells_what_all_cost(
    gateway: SendingLog, held: Listed
) -> None:
    verdict = judge(held, gateway.bodies[-1], NOW_S, SILENCE_S)
    assert (verdict.status, verdict.finding, verdict.told_pico) == ("OK", "", gateway.cum)


def under_key(listed: Listed, vkey: str) -> Listed:
    return replace(listed, log=replace(listed.log, keys=((0, vkey),)))


Spoil = Callable[[SendingLog, Listed], tuple[Listed, bytes]]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda gw, held: (but(held, checkpoint=gw.note(3)), gw.bodies[-1]), "is of another state"),
        (lambda gw, held: (but(held, frontier=Frontier()), gw.bodies[-1]), "is of another state"),
        (lambda gw, held: (but(held, cum=gw.cum + 1), gw.bodies[-1]), "is not the one that was counted last"),
        (lambda gw, held: (held, gw.bodies[-2]), "is not the one that was counted last"),
        (lambda gw, held: (held, b"{}"), "its newest record cannot be read: "),
        (lambda gw, held: (held, b""), "its newest record cannot be read: "),
        (lambda gw, held: (but(held, checkpoint="nonsense"), gw.bodies[-1]), "is not a signed note"),
        (lambda gw, held: (but(held, checkpoint=SendingLog(2, gw.log).note()), gw.bodies[-1]), "no signature"),
        (lambda gw, held: (under_key(held, "nonsense"), gw.bodies[-1]), "a verifier key has a name"),
    ],
)  # fmt: skip
def test_a_copy_that_somebody_changed_is_said_in_a_sentence(
    gateway: SendingLog, held: Listed, spoil: Spoil, said: str
) -> None:
    spoilt, newest = spoil(gateway, held)
    verdict = judge(spoilt, newest, NOW_S, SILENCE_S)
    assert verdict.status == "TAMPERED"
    assert said in verdict.finding
    read = "key" not in said and "note" not in said and "signature" not in said and "be read" not in said
    assert bool(verdict.told_pico) is read
    assert verdict.finding.startswith(f"The copy of {gateway.log} is not as it was signed: ")
    assert verdict.finding.endswith(".")
    # It is as grave however long nothing was heard, and less so than what the gateway's own signatures prove.
    assert judge(spoilt, newest, NOW_S + 10 * SILENCE_S, SILENCE_S).status == "TAMPERED"
    assert judge(replace(spoilt, proofs=1), newest, NOW_S, SILENCE_S).status == "FORK"


def suspected(listed: Listed) -> Listed:
    log: KeptLog = replace(listed.log, suspected=True)
    return replace(listed, log=log)


def test_what_speaks_against_the_gateway_is_said_before_its_silence(
    gateway: SendingLog, held: Listed
) -> None:
    newest = gateway.bodies[-1]
    for listed, status, said in (
        (replace(held, proofs=2), "FORK", f"has signed two histories of {gateway.log}, and both signatures are held."),
        (replace(suspected(held), proofs=1), "FORK", "has signed two histories"),
        (suspected(held), "UNVERIFIABLE", f"of {gateway.log} that the records it sent do not bear out."),
    ):  # fmt: skip
        for now_s in (NOW_S, NOW_S + 10 * SILENCE_S):
            verdict = judge(listed, newest, now_s, SILENCE_S)
            assert (verdict.status, verdict.told_pico) == (status, gateway.cum)
            assert said in verdict.finding


@pytest.mark.parametrize(
    ("silent_s", "status", "finding"),
    [
        (0, "OK", ""),
        (SILENCE_S, "OK", ""),
        (SILENCE_S + 1, "LAGGING", "Nothing was heard of gw_1/c_1 for 26 hours."),
        (SILENCE_S + 3600, "LAGGING", "Nothing was heard of gw_1/c_1 for 27 hours."),
        (-5, "OK", ""),
    ],
)
def test_silence_is_said_once_it_is_longer_than_it_may_be(
    gateway: SendingLog, held: Listed, silent_s: int, status: str, finding: str
) -> None:
    verdict = judge(held, gateway.bodies[-1], NOW_S + silent_s, SILENCE_S)
    assert (verdict.status, verdict.finding, verdict.told_pico) == (status, finding, gateway.cum)


def test_the_gravest_of_all_is_the_verdict_and_a_wrong_hash_is_as_grave_as_a_wrong_record() -> None:
    assert gravest([], 0) == "OK"
    assert gravest([], 1) == "TAMPERED"
    for worse, status in enumerate(STATUSES):
        for better in STATUSES[: worse + 1]:
            assert gravest([better, status, "OK"], 0) == status
    assert [gravest([status], 2) for status in STATUSES] == ["TAMPERED"] * 4 + ["FORK"]
