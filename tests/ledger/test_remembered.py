"""What is remembered outside the file is a few short lines, and a log keeps its place among them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.checkpoint import Checkpoint
from app.ledger.remembered import LOGS_A_TEXT, pack, unpack
from app.vault.base import check_secret

claims = st.lists(
    st.builds(
        Checkpoint,
        st.from_regex(r"[0-9a-f]{16}/c_[0-9a-f]{12}", fullmatch=True),
        st.integers(0, 2**53),
        st.binary(min_size=32, max_size=32),
    ),
    max_size=20,
)


@given(claims)
def test_what_was_packed_is_unpacked_and_fits_a_vault(given_claims):
    texts = pack(given_claims)
    for text in texts:
        check_secret(text)
    assert unpack(texts) == tuple(given_claims)


def test_the_longest_names_fit_a_vault_as_many_as_stand_together():
    longest = Checkpoint("g" * 85, 2**53, bytes(32))
    (text,) = pack([longest] * LOGS_A_TEXT)
    check_secret(text)
    with pytest.raises(ValueError):
        check_secret(",".join(pack([longest] * LOGS_A_TEXT) + pack([longest])))


def test_a_log_that_grew_changes_one_text_and_a_new_one_changes_the_last():
    logs = [Checkpoint(f"g/{number}", 5, bytes(32)) for number in range(2 * LOGS_A_TEXT)]
    before = pack(logs)
    assert len(before) == 2
    logs[LOGS_A_TEXT] = Checkpoint(f"g/{LOGS_A_TEXT}", 6, bytes(32))
    assert [old == new for old, new in zip(before, pack(logs), strict=True)] == [True, False]
    logs.append(Checkpoint("g/new", 1, bytes(32)))
    assert pack(logs)[:1] == before[:1]
    assert len(pack(logs)) == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "g/1 5",
        "g/1 5 00",
        f"g/1 5 {'0' * 66}",
        f"g/1 x {'0' * 64}",
        f"g/1 -1 {'0' * 64}",
        f" 1 {'0' * 64}",
        ",",
    ],
)
def test_what_nobody_packed_is_refused(text):
    with pytest.raises(ValueError):
        unpack([text])
