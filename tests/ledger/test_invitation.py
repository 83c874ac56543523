"""The line that a receiver prints and a contributor pastes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.cosignature import Cosigner
from app.ledger.invitation import Invitation, NoInvitation, parse_invitation

SECRET = "mr_" + "aZ0_-" * 8 + "abc"
INVITATION = Invitation(
    "https://client.example:8435/copy", SECRET, Cosigner(bytes(32), "client.example").vkey
)


def test_what_is_printed_is_what_is_read() -> None:
    assert parse_invitation(f"  {INVITATION.line}\n") == INVITATION
    assert parse_invitation(INVITATION.line.replace("copy#", "copy/#")) == INVITATION


def test_the_secret_is_in_no_traceback() -> None:
    assert SECRET not in repr(INVITATION)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("mortdecai-receiver:", "", "must begin with mortdecai-receiver:"),
        ("https://", "ftp://", "names no http address"),
        ("client", "cl ient", "names no http address"),
        ("#" + SECRET, "", "lacks its secret"),
        (SECRET, SECRET[:-1], "lacks its secret"),
        (SECRET, SECRET + "A", "lacks its secret"),
        (SECRET, "x" + SECRET, "lacks its secret"),
        ("," + INVITATION.vkey, "", "key in the line is damaged"),
        (INVITATION.vkey, INVITATION.vkey[:-4], "key in the line is damaged"),
        (INVITATION.vkey, "x+01234567+" + INVITATION.vkey.split("+", 2)[2], "key in the line is damaged"),
    ],
)
def test_a_line_that_was_cut_or_mistyped_is_said_without_repeating_it(
    before: str, after: str, words: str
) -> None:
    line = INVITATION.line.replace(before, after, 1)
    with pytest.raises(NoInvitation, match=words) as caught:
        parse_invitation(line)
    assert "aZ0_" not in str(caught.value)


@given(st.text(max_size=80), st.integers(0, len(INVITATION.line)))
def test_no_text_makes_the_reading_fall_over(text: str, at: int) -> None:
    for line in (text, "mortdecai-receiver:" + text, INVITATION.line[:at] + text):
        try:
            assert parse_invitation(line).line.startswith("mortdecai-receiver:http")
        except NoInvitation:
            pass
