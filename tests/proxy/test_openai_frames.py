"""OpenAI's server-sent events on their way through the proxy."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.proxy.dialects.openai import CHAT_COMPLETIONS, DONE, SseFrames

GATEWAY = b'{"energy_wh":0.1}'
BASE = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 5, "model": "m"}


def event(payload: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def delta(content: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}, "finish_reason": finish}
    return event({**BASE, "choices": [choice]})


USAGE = event(
    {**BASE, "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}
)


def frames(*, wants_usage: bool = False) -> SseFrames:
    return SseFrames("m", wants_usage=wants_usage)


def payloads(data: bytes) -> list[Any]:
    texts = [part.removeprefix(b"data: ") for part in data.split(b"\n\n") if part]
    return [text.decode() if text == b"[DONE]" else json.loads(text) for text in texts]


def test_events_pass_untouched_and_at_once() -> None:
    reader = frames()
    assert reader.feed(delta("a") + delta("b")) == delta("a") + delta("b")
    assert reader.deltas == 2


def test_without_asking_for_usage_the_finish_chunk_carries_gateway_and_usage_is_dropped() -> None:
    reader = frames()
    assert reader.feed(delta("a") + delta("", "stop") + USAGE + DONE) == delta("a")
    assert reader.ended
    assert (reader.tokens.prompt, reader.tokens.completion, reader.tokens.source) == (7, 3, "engine")
    last, done = payloads(reader.finish(GATEWAY))
    assert last == {**payloads(delta("", "stop"))[0], "_gateway": {"energy_wh": 0.1}}
    assert done == "[DONE]"


def test_who_asked_for_usage_gets_it_and_it_carries_gateway() -> None:
    reader = frames(wants_usage=True)
    assert reader.feed(delta("a") + delta("", "stop") + USAGE + DONE) == delta("a") + delta("", "stop")
    last, done = payloads(reader.finish(GATEWAY))
    assert last["usage"]["total_tokens"] == 10
    assert last["_gateway"] == {"energy_wh": 0.1}
    assert done == "[DONE]"


def test_a_second_choice_after_a_finished_one_is_not_lost() -> None:
    reader = frames()
    got = reader.feed(delta("a", "stop")) + reader.feed(delta("b")) + reader.feed(delta("", "stop") + DONE)
    assert got == delta("a", "stop") + delta("b")
    assert payloads(reader.finish(GATEWAY))[0]["choices"][0]["finish_reason"] == "stop"


def test_comments_pass_and_do_not_release_the_last_chunk() -> None:
    reader = frames()
    assert reader.feed(delta("", "stop")) == b""
    assert reader.feed(b": still here\n\n") == b": still here\n\n"
    reader.feed(DONE)
    assert payloads(reader.finish(GATEWAY))[0]["_gateway"]


def test_an_end_without_any_finish_chunk_still_carries_gateway_in_a_chunk_clients_can_read() -> None:
    reader = frames()
    reader.feed(delta("a") + DONE)
    last, done = payloads(reader.finish(GATEWAY))
    assert last["id"] == "chatcmpl-7"
    assert last["choices"][0]["delta"] == {}
    assert last["_gateway"] == {"energy_wh": 0.1}
    assert done == "[DONE]"


def test_an_error_event_ends_the_stream_without_done() -> None:
    reader = frames()
    assert reader.feed(delta("a") + event({"error": {"message": "out of memory"}})) == delta("a")
    assert reader.failure == "out of memory"
    assert payloads(reader.finish(GATEWAY)) == [
        {"error": {"message": "out of memory"}, "_gateway": {"energy_wh": 0.1}}
    ]


def test_a_stream_that_ends_without_done_is_told_as_an_error() -> None:
    reader = frames()
    reader.feed(delta("a"))
    (error,) = payloads(reader.broken("The engine died.", "engine_upstream_error", GATEWAY))
    assert error["error"]["message"] == "The engine died."
    assert error["error"]["code"] == "engine_upstream_error"
    assert (reader.tokens.completion, reader.tokens.source) == (1, "counted")


def test_our_own_end_looks_like_a_length_limit() -> None:
    reader = frames()
    reader.feed(delta("a"))
    last, done = payloads(reader.cut(b'{"outcome":"budget_cut"}'))
    assert last["choices"][0]["finish_reason"] == "length"
    assert last["_gateway"] == {"outcome": "budget_cut"}
    assert done == "[DONE]"


def test_windows_line_ends_are_understood() -> None:
    reader = frames()
    reader.feed((delta("a") + delta("", "stop") + DONE).replace(b"\n\n", b"\r\n\r\n"))
    assert reader.ended


@given(st.lists(st.text(max_size=20), max_size=8), st.lists(st.integers(0, 3000), max_size=12), st.booleans())
def test_however_the_network_cuts_it_the_client_gets_the_same_bytes(
    texts: list[str], cuts: list[int], wants_usage: bool
) -> None:
    content = b"".join(delta(text) for text in texts)
    stream = content + delta("", "stop") + USAGE + DONE
    reader = frames(wants_usage=wants_usage)
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    got = b"".join(reader.feed(stream[a:b]) for a, b in zip(edges, edges[1:], strict=False))
    assert got == content + (delta("", "stop") if wants_usage else b"")
    assert reader.ended
    assert reader.tokens.completion == 3


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(("asked", "sent"), [(5, 5), (-1, 100), (1000, 100), (None, 100)])
def test_an_answers_length_is_clamped_under_either_name(name: str, asked: int | None, sent: int) -> None:
    call: dict[str, Any] = {"model": "m", "messages": []}
    if asked is not None:
        call[name] = asked
    assert CHAT_COMPLETIONS.prepare(call, 100) is None
    assert call["max_tokens"] == sent
    assert "max_completion_tokens" not in call


def test_a_streamed_call_always_asks_the_engine_for_usage() -> None:
    call = {"model": "m", "messages": [], "stream": True}
    assert CHAT_COMPLETIONS.prepare(call, 100) is not None
    assert call["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_done_without_its_blank_line_is_done(end: str) -> None:
    reader = frames()
    assert reader.feed(delta("a") + delta("", "stop") + USAGE + DONE.rstrip() + end.encode()) == delta("a")
    assert reader.close() == b""
    assert reader.ended
    assert reader.tokens.completion == 3


def test_half_an_event_at_the_end_is_no_event() -> None:
    for rest in (b"data: [DO", b'data: {"id"', b""):
        reader = frames()
        reader.feed(delta("a") + rest)
        assert reader.close() == b""
        assert not reader.ended
        assert reader.fell_silent


def test_an_empty_chunk_that_names_no_model_is_ollamas_way_to_fail() -> None:
    reader = frames()
    reader.feed(delta("a") + delta("").replace(b'"model":"m"', b'"model":""'))
    reader.close()
    assert not reader.fell_silent


@pytest.mark.parametrize("usage", [b"", USAGE, USAGE.rstrip()])
def test_an_answer_that_said_why_it_ends_is_whole_without_done(usage: bytes) -> None:
    reader = frames()
    passed = reader.feed(delta("a") + delta("", "stop") + usage) + reader.close()
    assert passed == delta("a")
    assert reader.ended
    assert reader.failure is None
    assert reader.tokens.completion == (3 if usage else 1)
    *_, last, done = payloads(reader.finish(GATEWAY))
    assert (last["choices"][0]["finish_reason"], last["_gateway"], done) == (
        "stop",
        {"energy_wh": 0.1},
        "[DONE]",
    )


def test_an_answer_that_did_not_say_why_it_ends_is_not() -> None:
    reader = frames()
    assert reader.feed(delta("a") + delta("b", None)) + reader.close() == delta("a") + delta("b")
    assert not reader.ended
