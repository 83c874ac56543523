"""Ollama's NDJSON on its way through the proxy, as scripts of what comes in and what goes out."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from app.proxy.dialects.ollama import NdjsonFrames

EMPTY = {"message": {"role": "assistant", "content": ""}}
GATEWAY = b'{"energy_wh":0.1}'


def line(content: str, **more: object) -> bytes:
    frame = {"model": "m", "message": {"role": "assistant", "content": content}, "done": False, **more}
    return json.dumps(frame, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


LAST = line("", done=True, done_reason="stop", prompt_eval_count=7, eval_count=3, some_new_field=1)


def frames() -> NdjsonFrames:
    return NdjsonFrames("m", EMPTY)


def test_lines_pass_untouched_and_at_once() -> None:
    reader = frames()
    assert reader.feed(line("a") + line("b")) == line("a") + line("b")
    assert reader.deltas == 2
    assert not reader.ended


def test_the_last_line_waits_and_gains_gateway_and_loses_nothing() -> None:
    reader = frames()
    assert reader.feed(line("a") + LAST) == line("a")
    assert reader.ended
    assert (reader.tokens.prompt, reader.tokens.completion, reader.tokens.source) == (7, 3, "engine")
    last = reader.finish(GATEWAY)
    assert last.endswith(b"\n")
    assert json.loads(last) == {**json.loads(LAST), "_gateway": {"energy_wh": 0.1}}
    assert last.startswith(LAST.rstrip()[:-1]), "the engine's bytes are not written anew"


def test_a_line_cut_by_the_network_waits_for_its_end() -> None:
    reader = frames()
    whole = line("hello")
    assert reader.feed(whole[:10]) == b""
    assert reader.feed(whole[10:] + LAST[:5]) == whole
    assert reader.feed(LAST[5:]) == b""
    assert reader.ended


def test_text_that_quotes_a_last_frame_is_not_one() -> None:
    reader = frames()
    tricky = line('{"done":true} and "done":true')
    assert reader.feed(tricky) == tricky
    assert not reader.ended


def test_a_nested_done_is_not_the_end() -> None:
    reader = frames()
    nested = line("x", tool={"done": True})
    assert reader.feed(nested) == nested
    assert not reader.ended


def test_blank_lines_are_dropped_because_a_client_fails_on_them() -> None:
    assert frames().feed(line("a") + b"\n" + line("b")) == line("a") + line("b")


def test_a_blank_line_is_dropped_wherever_the_network_cut_it_off() -> None:
    reader = frames()
    assert reader.feed(line("a")) + reader.feed(b"\n") + reader.feed(b"\n" + line("b")) == line("a") + line(
        "b"
    )
    assert reader.feed(b" \r\n" + line("c") + b"\r\n") == line("c")


def test_an_error_in_mid_stream_ends_it_and_is_passed_on_with_gateway() -> None:
    reader = frames()
    reader.feed(line("a"))
    assert reader.feed(b'{"error":"out of memory"}\n') == b""
    assert reader.ended
    assert reader.failure == "out of memory"
    assert json.loads(reader.finish(GATEWAY)) == {"error": "out of memory", "_gateway": {"energy_wh": 0.1}}
    assert (reader.tokens.completion, reader.tokens.source) == (1, "counted")


def test_counts_that_are_missing_stay_unknown() -> None:
    reader = frames()
    reader.feed(line("", done=True, done_reason="load"))
    assert (reader.tokens.prompt, reader.tokens.completion, reader.tokens.source) == (None, None, "none")


def test_our_own_end_is_a_frame_clients_take_for_an_end() -> None:
    reader = frames()
    reader.feed(line("a"))
    last = json.loads(reader.cut(b'{"outcome":"budget_cut"}'))
    assert last["done"] is True
    assert last["message"] == {"role": "assistant", "content": ""}
    assert last["_gateway"] == {"outcome": "budget_cut"}


def test_an_engines_own_gateway_gives_way_to_ours() -> None:
    reader = frames()
    reader.feed(line("", done=True, _gateway={"energy_wh": 99}))
    last = reader.finish(GATEWAY)
    assert last.count(b"_gateway") == 1
    assert json.loads(last)["_gateway"] == {"energy_wh": 0.1}


def test_nothing_after_the_last_frame_passes() -> None:
    reader = frames()
    reader.feed(LAST)
    assert reader.feed(line("late")) == b""


@given(
    st.lists(st.text(max_size=20), max_size=8),
    st.lists(st.integers(0, 2000), max_size=12),
)
def test_however_the_network_cuts_it_the_client_gets_the_same_bytes(
    texts: list[str], cuts: list[int]
) -> None:
    content = b"".join(line(text) for text in texts)
    stream = b"".join(line(text) + b"\n" * (len(text) % 3) for text in texts) + LAST
    reader = frames()
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    got = b"".join(reader.feed(stream[a:b]) for a, b in zip(edges, edges[1:], strict=False))
    assert got == content
    assert reader.ended
    assert reader.deltas == sum(bool(text) for text in texts)


def test_a_last_line_without_its_newline_is_the_last_line() -> None:
    reader = frames()
    assert reader.feed(line("a") + LAST.rstrip()) == line("a")
    assert not reader.ended
    assert reader.close() == b""
    assert reader.ended
    assert (reader.tokens.completion, reader.tokens.source) == (3, "engine")
    assert json.loads(reader.finish(GATEWAY))["_gateway"] == {"energy_wh": 0.1}


def test_half_a_line_at_the_end_is_no_line() -> None:
    for rest in (LAST[:-9], b'{"mo', b"", b"[1]"):
        reader = frames()
        assert reader.feed(line("a") + rest) == line("a")
        assert reader.close() == b""
        assert not reader.ended
        assert reader.fell_silent


def test_a_whole_line_that_is_not_the_last_still_reaches_the_client() -> None:
    reader = frames()
    reader.feed(line("a") + line("b").rstrip())
    assert reader.close() == line("b")
    assert reader.deltas == 2
