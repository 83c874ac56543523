"""What a gateway sent last and was refused: kept until something of it is taken, and told to the log once."""

from __future__ import annotations

import logging

import pytest

from app.receiver.refused import RefusedPush, RefusedPushes
from tests.receiver.stores import enrolment

GARAGE, ATTIC = enrolment("garage"), enrolment("attic")


def test_the_last_one_of_each_is_held_until_something_is_taken() -> None:
    pushes = RefusedPushes()
    pushes.note(GARAGE, 5, "fork", "Record 3 is another.", 3)
    pushes.note(ATTIC, 6, "unsigned", "It is not signed.")
    pushes.note(GARAGE, 7, "bad_record", "Record 4 is none.", 4)
    garage = RefusedPush(GARAGE.id, 7, "bad_record", "Record 4 is none.", 4)
    attic = RefusedPush(ATTIC.id, 6, "unsigned", "It is not signed.", None)
    assert pushes.of(None) == (garage, attic)
    assert (pushes.of(GARAGE.id), pushes.of(ATTIC.id), pushes.of("nobody")) == ((garage,), (attic,), ())
    pushes.taken(GARAGE)
    assert pushes.of(None) == (attic,)


def test_the_log_hears_of_the_same_once_and_never_what_was_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "app.receiver.refused")
    pushes = RefusedPushes()
    pushes.taken(GARAGE)
    for seq in (3, 3, 4, None, None):
        pushes.note(GARAGE, 5, "bad_record", "It says <script>.", seq)
    pushes.note(GARAGE, 5, "fork", "It says <script>.")
    pushes.taken(GARAGE)
    pushes.taken(GARAGE)
    assert caplog.messages == [
        "What the gateway garage sent was refused: bad_record at record 3.",
        "What the gateway garage sent was refused: bad_record at record 4.",
        "What the gateway garage sent was refused: bad_record.",
        "What the gateway garage sent was refused: fork.",
        "What the gateway garage sends is taken again.",
    ]
