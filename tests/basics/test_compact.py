"""JSON as it travels: compact, in UTF-8, and nothing that is no JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.basics.compact import compact

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inside: st.lists(inside) | st.dictionaries(TEXT, inside),
)


@given(VALUES)
def test_what_is_written_is_read_back(value: object) -> None:
    assert json.loads(compact(value)) == value


def test_there_is_no_space_and_no_escape_that_is_not_needed() -> None:
    assert compact({"a": [1, "ä\n"], "b": {}}) == '{"a":[1,"ä\\n"],"b":{}}'.encode()


def test_half_a_character_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        compact({"a": "\ud800"})
