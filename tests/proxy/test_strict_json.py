"""Bodies that mean one thing here and another in Go are refused."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.refusals import Refusal
from app.proxy.dialects.ollama import CHAT, GENERATE
from app.proxy.json_in_steps import CONTAINER, MOST_VALUES
from app.proxy.strict_json import DEEPEST, depth, dump_object, parse_object


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "not JSON"),
        (b"{", "line 1"),
        (b"[1]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "Infinity"),
        (b'{"model":"a","model":"b"}', "more than once"),
        (b'{"x":{"y":1,"y":2}}', "more than once"),
        (b'{"a":' + b"[" * 100_000, "nested"),
        (b'{"a":' + b"9" * 5000 + b"}", "digits"),
        (b'{"a":' + b"9" * 301 + b"}", "digits"),
        (b'{"a":1e999}', "too large"),
        (b'{"a":[-1e400]}', "too large"),
        (b'{"a":"\\ud83d"}', "surrogate"),
        (b'{"a":"\\\\\\uDE00"}', "surrogate"),
        (b'{"a":"\\ude00\\ud83d"}', "surrogate"),
        (b'{"a\\udc80":1}', "surrogate"),
    ],
)
@pytest.mark.parametrize("in_steps", [False, True])
def test_a_bad_body_is_refused_with_what_is_wrong(body: bytes, word: str, in_steps: bool) -> None:
    with pytest.raises(Refusal) as caught:
        parse_object(body, in_steps=in_steps)
    assert caught.value.status == 400
    assert word in caught.value.sentence


@pytest.mark.parametrize("key", ["Keep_Alive", "KEEP_ALIVE", "\u212aeep_alive", "\u017ftream", "Model"])
def test_a_name_that_go_would_match_is_refused(key: str) -> None:
    with pytest.raises(Refusal) as caught:
        CHAT.prepare({"model": "m", "messages": [], key: 0}, 100)
    assert caught.value.status == 400


def test_a_reloading_option_in_another_case_is_refused() -> None:
    with pytest.raises(Refusal):
        CHAT.prepare({"model": "m", "options": {"Num_Ctx": 99999}}, 100)


def test_two_unknown_names_that_differ_by_case_are_refused_and_one_is_not() -> None:
    CHAT.prepare({"model": "m", "newField": 1}, 100)
    with pytest.raises(Refusal):
        CHAT.prepare({"model": "m", "newField": 1, "newfield": 2}, 100)


def test_mixed_case_inside_a_schema_is_the_clients_own_business() -> None:
    schema = {"type": "object", "properties": {"firstName": {}, "FirstName": {}}}
    CHAT.prepare({"model": "m", "format": schema}, 100)


def test_what_would_pin_unload_or_reload_a_model_is_stripped() -> None:
    call: dict[str, Any] = {
        "model": "m",
        "prompt": "",
        "keep_alive": -1,
        "_debug_render_only": True,
        "options": {"num_ctx": 10**6, "num_gpu": 0, "temperature": 0.5, "num_predict": -1},
    }
    GENERATE.prepare(call, 100)
    assert call == {
        "model": "m",
        "prompt": "",
        "stream": True,
        "options": {"temperature": 0.5, "num_predict": 100},
    }


@pytest.mark.parametrize("value", ["10", True, [1], {}])
def test_a_token_limit_that_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(Refusal):
        CHAT.prepare({"model": "m", "options": {"num_predict": value}}, 100)


@pytest.mark.parametrize("value", ["false", 0, 1])
def test_a_stream_flag_that_is_no_flag_is_refused(value: object) -> None:
    with pytest.raises(Refusal):
        CHAT.prepare({"model": "m", "stream": value}, 100)


def test_half_a_surrogate_pair_does_not_reach_the_engine() -> None:
    with pytest.raises(Refusal):
        dump_object(parse_object(rb'{"prompt":"\ud800"}'))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), values, max_size=6))
def test_what_is_parsed_and_written_anew_means_the_same(body: dict[str, Any]) -> None:
    assert json.loads(dump_object(parse_object(json.dumps(body).encode()))) == body


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), values, max_size=6))
def test_in_steps_the_same_is_read_and_the_same_bytes_are_written(body: dict[str, Any]) -> None:
    text = json.dumps(body).encode()
    assert parse_object(text, in_steps=True) == parse_object(text)
    assert dump_object(body, in_steps=True) == dump_object(body)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        list(range(1025)),
        [*range(600), [1], "x" * 300, {"a": []}, *range(600)],
        'é"\\\n' * 200_000,
        {"a": "x" * 300_000, "b": ["y" * 300_000, 1]},
    ],
)
def test_what_takes_several_steps_has_no_seams(value: object) -> None:
    assert dump_object({"v": value}, in_steps=True) == dump_object({"v": value})
    assert parse_object(dump_object({"v": value}), in_steps=True) == {"v": value}


def test_half_a_surrogate_pair_is_not_written_in_steps_either() -> None:
    for value in ("\ud800", "x" * 300_000 + "\ud800", ["\ud800"] * 600):
        with pytest.raises(Refusal):
            dump_object({"v": value}, in_steps=True)


@pytest.mark.parametrize("one", ["[]", "{}", '{"a":1}', "1", "1.5", '"a"'])
def test_more_values_than_any_model_takes_are_refused_before_they_fill_the_memory(one: str) -> None:
    weight = CONTAINER if one[0] in "[{" else 1
    body = f'{{"v":[{",".join([one] * (MOST_VALUES // weight + 1))}]}}'.encode()
    with pytest.raises(Refusal) as caught:
        parse_object(body, in_steps=True)
    assert (caught.value.status, "more than 1,000,000 values" in caught.value.sentence) == (400, True)


def test_a_context_of_hundreds_of_thousands_of_numbers_is_taken() -> None:
    body = {"context": list(range(500_000)), "images": ["A" * 2_000_000]}
    text = json.dumps(body).encode()
    assert parse_object(text, in_steps=True) == body


async def test_while_a_crowded_body_is_read_and_written_the_loop_has_its_turns() -> None:
    body = b'{"v":[' + b",".join([b"[]"] * 100_000) + b"]}"
    for work in (
        lambda: parse_object(body, in_steps=True),
        lambda: dump_object({"v": [[]] * 400_000}, in_steps=True),
    ):
        working = asyncio.create_task(asyncio.to_thread(work))
        turns = 0
        while not working.done():
            turns += 1
            await asyncio.sleep(0)
        await working
        assert turns > 3


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("padding", [0, 600_000])
def test_the_bound_of_the_depth_is_the_same_for_every_size_and_stack(opening: str, padding: int) -> None:
    closing = "]" if opening == "[" else "}"

    def body(deep: int) -> bytes:
        return f'{{"p":"{"[" * padding}","x":{opening * (deep - 1)}1{closing * (deep - 1)}}}'.encode()

    def at_stack(frames: int, deep: int) -> bytes:
        if frames:
            return at_stack(frames - 1, deep)
        return dump_object(parse_object(body(deep)))

    def in_a_thread(deep: int) -> bytes:
        with ThreadPoolExecutor(1) as threads:
            parsed = threads.submit(parse_object, body(deep), in_steps=True).result()
            return threads.submit(dump_object, parsed, in_steps=True).result()

    assert in_a_thread(DEEPEST) == at_stack(0, DEEPEST)
    with pytest.raises(Refusal) as caught:
        in_a_thread(DEEPEST + 1)
    assert (caught.value.status, "nested" in caught.value.sentence) == (400, True)

    assert at_stack(300, DEEPEST) == at_stack(0, DEEPEST)
    for frames in (0, 300):
        with pytest.raises(Refusal) as caught:
            at_stack(frames, DEEPEST + 1)
        assert (caught.value.status, "nested" in caught.value.sentence) == (400, True)


@given(
    st.recursive(
        st.text() | st.integers(-(10**20), 10**20),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_depth_is_counted_without_a_parser_and_rightly(value: Any) -> None:
    def deep(part: Any) -> int:
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else None
        return 0 if inner is None else 1 + max(map(deep, inner), default=0)

    for plain in (True, False):
        assert depth(json.dumps(value, ensure_ascii=plain).encode("utf-8", "replace")) == deep(value)


def test_brackets_in_texts_whole_pairs_and_long_lists_are_no_fault() -> None:
    body = {
        "a": "\\" * 3 + '"[{' * 500,
        "b": [[] for _ in range(1000)],
        "c": "😀 \\ud800",
        "d": 10**250,
        "e": 1e300,
    }
    assert parse_object(json.dumps(body).encode()) == body
