"""What `/reconcile` makes of what receivers say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.face import ReceiptState, ReceiptsView
from app.ledger.findings import Verdict
from app.proxy.receipts import findings, of_log, peers_json, receipts_json, verdict_of

FINE = ReceiptsView(
    log="g/a", way="ledger", where="client.example:443", acked=5, size=5, state=ReceiptState.ACKNOWLEDGED, trouble="",
    sentence="", since_us=0, next_us=0, unacked_pico=0, checkpoint="note", vkey="receiver+1+k",
)  # fmt: skip
LATE = replace(
    FINE, state=ReceiptState.OVERDUE, acked=3, since_us=4_000_000, next_us=9_500_000, unacked_pico=8_407_500,
    sentence="It is down.",
)  # fmt: skip
CONTESTED = replace(LATE, state=ReceiptState.DISPUTED, trouble="disputed", sentence="It says no.")


@pytest.mark.parametrize(
    ("view", "verdict", "sentences"),
    [
        (FINE, Verdict.OK, []),
        (replace(LATE, state=ReceiptState.WAITING), Verdict.OK, []),
        (LATE, Verdict.LAGGING, ["g/a: 2 records wait for a receipt. It is down."]),
        (replace(LATE, acked=4, sentence=""), Verdict.LAGGING, ["g/a: 1 record waits for a receipt."]),
        (CONTESTED, Verdict.LAGGING, ["g/a: It says no."]),
        (replace(CONTESTED, trouble="fork"), Verdict.FORK, ["g/a: It says no."]),
        (replace(CONTESTED, trouble="ahead"), Verdict.ROLLBACK, ["g/a: It says no."]),
    ],
)
def test_what_is_overdue_or_contested_is_a_finding(
    view: ReceiptsView, verdict: Verdict, sentences: list[str]
) -> None:
    assert verdict_of(view) is verdict
    assert findings([view], to_client=True) == sentences


def test_each_client_hears_of_its_own_log() -> None:
    other = replace(FINE, log="g/b")
    assert of_log([FINE, other], "g/b") == (other,)
    assert of_log([FINE, other], None) == (FINE, other)


def test_amounts_and_times_are_told_as_everywhere() -> None:
    (said,) = receipts_json([LATE], to_client=True)
    assert (said["waiting"], said["acknowledged"], said["size"]) == (2, 3, 5)
    assert (said["unacknowledged_cost"], said["unacknowledged_cost_pico"]) == (8.4075e-06, "8407500")
    assert (said["waiting_since"], said["next_try"]) == (4.0, 9.5)
    assert said["receiver"] == "client.example:443"


def test_where_the_contributors_own_receiver_is_is_told_to_no_client() -> None:
    (said,) = receipts_json([replace(LATE, way="seed")], to_client=True)
    assert (said["receiver"], said["sentence"]) == (None, None)
    assert findings([replace(LATE, way="seed")], to_client=True) == ["g/a: 2 records wait for a receipt."]
    assert findings([replace(CONTESTED, way="seed")], to_client=True) == [
        "g/a: A receiver contests the records."
    ]
    (said,) = receipts_json([replace(LATE, way="seed")], to_client=False)
    assert (said["receiver"], said["sentence"]) == ("client.example:443", "It is down.")


def test_a_receiver_that_cosigns_is_a_peer_and_another_is_none() -> None:
    assert peers_json([FINE, replace(FINE, vkey="", checkpoint="")]) == [
        {"log": "g/a", "key": "receiver+1+k", "size": 5, "checkpoint": "note"}
    ]
