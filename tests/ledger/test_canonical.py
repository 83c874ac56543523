"""RFC 8785 for closed schemas: one value, one sequence of bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.canonical import INT_MAX, CanonicalError, canonical, parse_canonical, quote

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-INT_MAX, INT_MAX) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def test_strings_are_escaped_as_rfc_8785_section_3_2_2_2_says():
    short = {8: r"\b", 9: r"\t", 10: r"\n", 12: r"\f", 13: r"\r", 0x22: r"\"", 0x5C: r"\\"}
    for code in [*range(0x300), 0x2028, 0x2029, 0xFFFD, 0x1F600]:
        expected = short.get(code) or (f"\\u{code:04x}" if code < 0x20 else chr(code))
        assert quote(chr(code)) == f'"{expected}"'


def test_names_are_sorted_by_utf_16_code_units_as_in_the_example_of_rfc_8785():
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    written = canonical(dict.fromkeys(names, 0)).decode()
    order = [name for name, _ in json.loads(written, object_pairs_hook=lambda pairs: pairs)]
    assert order == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@given(VALUES)
def test_what_is_written_is_read_back_and_is_plain_json(value):
    data = canonical(value)
    assert parse_canonical(data) == value == json.loads(data)
    assert b"\n" not in data


@given(VALUES, st.data())
def test_any_other_spelling_is_refused(value, data):
    written = canonical(value)
    at = data.draw(st.integers(0, len(written)))
    changed = written[:at] + b" " + written[at:]
    try:
        inside_a_string = json.loads(changed) != value
    except ValueError:
        inside_a_string = False
    if not inside_a_string:
        with pytest.raises(CanonicalError):
            parse_canonical(changed)


@pytest.mark.parametrize(
    "data",
    [
        b"1.0",
        b"1e3",
        b"-0",
        b"NaN",
        b"Infinity",
        b"9007199254740992",
        b"01",
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'"\\u0041"',
        b'"\\/"',
        b'"\\u00e4"',
        b'"\\ud800"',
        b'"\xff"',
        b"",
        b"{",
        b"\xef\xbb\xbf1",
        b"[" * 100_000,
        b"1" * 5000,
    ],
)
def test_bytes_that_are_not_canonical_are_refused(data):
    with pytest.raises(CanonicalError):
        parse_canonical(data)


@pytest.mark.parametrize(
    "value", [1.5, INT_MAX + 1, -INT_MAX - 1, "\ud800", {"\udfff": 1}, {1: 2}, b"x", {1}, object()]
)
def test_values_without_a_canonical_form_are_refused(value):
    with pytest.raises(CanonicalError):
        canonical(value)


def test_values_nested_without_end_are_refused():
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(CanonicalError, match="deeply"):
        canonical(loop)


def test_the_largest_integer_is_the_last_that_a_double_holds_exactly():
    for value in (2**53 - 1, 1 - 2**53):
        assert parse_canonical(canonical(value)) == value
    for value in (2**53, -(2**53)):
        with pytest.raises(CanonicalError, match="digit string"):
            canonical(value)
