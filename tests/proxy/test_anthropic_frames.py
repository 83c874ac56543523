"""Anthropic's events on their way through the proxy."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.refusals import Refusal
from app.proxy.dialects.anthropic import ANTHROPIC, MESSAGES, MessageFrames

GATEWAY = b'{"energy_wh":0.1}'


def event(kind: str, **data: Any) -> bytes:
    told = json.dumps({"type": kind, **data}, separators=(",", ":"), ensure_ascii=False)
    return f"event: {kind}\ndata: {told}\n\n".encode()


START = event(
    "message_start",
    message={
        "id": "msg_7",
        "type": "message",
        "content": [],
        "usage": {"input_tokens": 99, "output_tokens": 0},
    },
)
PING = event("ping")
OPEN = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
CLOSE = event("content_block_stop", index=0)
WHY = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"input_tokens": 7, "output_tokens": 3})
STOP = event("message_stop")


def delta(text: str, index: int = 0) -> bytes:
    return event("content_block_delta", index=index, delta={"type": "text_delta", "text": text})


def payloads(data: bytes) -> list[Any]:
    parts = [part.partition(b"\ndata: ") for part in data.split(b"\n\n") if part]
    told = [(head.removeprefix(b"event: ").decode(), json.loads(body)) for head, _, body in parts]
    assert all(name == body["type"] for name, body in told)
    return [body for _, body in told]


def test_events_pass_untouched_and_the_last_one_carries_gateway() -> None:
    reader = MessageFrames("m")
    passed = reader.feed(START + PING + OPEN + delta("a") + delta("b") + CLOSE + WHY + STOP)
    assert passed == START + PING + OPEN + delta("a") + delta("b") + CLOSE + WHY
    assert (reader.ended, reader.failure, reader.deltas) == (True, None, 2)
    assert (reader.tokens.prompt, reader.tokens.completion, reader.tokens.source) == (7, 3, "engine")
    assert reader.finish(GATEWAY) == STOP.replace(b"}\n\n", b',"_gateway":' + GATEWAY + b"}\n\n")


def test_what_went_in_is_taken_from_the_start_only_where_the_end_does_not_say() -> None:
    reader = MessageFrames("m")
    why = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3})
    reader.feed(START + why + STOP)
    assert (reader.tokens.prompt, reader.tokens.completion) == (99, 3)


def test_what_came_from_a_cache_went_in_as_well() -> None:
    usage = {
        "input_tokens": 7,
        "cache_read_input_tokens": 30,
        "cache_creation_input_tokens": 4,
        "output_tokens": 3,
    }
    tokens = MESSAGES.whole_tokens({"usage": usage})
    assert (tokens.prompt, tokens.completion) == (41, 3)
    assert MESSAGES.whole_tokens({}).source == "none"


def test_a_guess_at_the_start_is_nobodys_count_where_the_end_never_came() -> None:
    reader = MessageFrames("m")
    reader.feed(START + OPEN + delta("a"))
    assert reader.close() == b""
    (error,) = payloads(reader.broken("The engine died.", "engine_upstream_error", GATEWAY))
    assert error["error"] == {
        "type": "api_error",
        "message": "The engine died.",
        "code": "engine_upstream_error",
    }
    assert error["_gateway"] == {"energy_wh": 0.1}
    assert (reader.tokens.prompt, reader.tokens.completion, reader.tokens.source) == (None, 1, "counted")


@pytest.mark.parametrize(
    ("seen", "ends"),
    [
        (b"", ["message_start", "message_delta", "message_stop"]),
        (START, ["message_delta", "message_stop"]),
        (START + OPEN + delta("a"), ["content_block_stop", "message_delta", "message_stop"]),
        (START + OPEN + delta("a") + CLOSE, ["message_delta", "message_stop"]),
        (START + OPEN + delta("a") + CLOSE + WHY, ["message_stop"]),
    ],
)
def test_our_own_end_closes_what_is_open_and_looks_like_a_token_limit(seen: bytes, ends: list[str]) -> None:
    reader = MessageFrames("m")
    reader.feed(seen)
    told = payloads(reader.cut(b'{"outcome":"budget_cut"}'))
    assert [one["type"] for one in told] == ends
    assert told[-1]["_gateway"] == {"outcome": "budget_cut"}
    if "message_delta" in ends:
        assert told[-2]["delta"]["stop_reason"] == "max_tokens"
        assert told[-2]["usage"]["output_tokens"] == seen.count(b"text_delta")
    if "content_block_stop" in ends:
        assert told[0]["index"] == 0


def test_the_block_that_is_closed_is_the_one_that_is_open() -> None:
    reader = MessageFrames("m")
    tool = event("content_block_start", index=1, content_block={"type": "tool_use", "id": "t", "input": {}})
    reader.feed(START + OPEN + delta("a") + CLOSE + tool)
    assert payloads(reader.cut(GATEWAY))[0] == {"type": "content_block_stop", "index": 1}


def test_an_error_event_ends_the_stream() -> None:
    reader = MessageFrames("m")
    error = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    assert reader.feed(START + error + STOP) == START
    assert (reader.ended, reader.failure) == (True, "Overloaded")
    (told,) = payloads(reader.finish(GATEWAY))
    assert (told["error"]["type"], told["_gateway"]) == ("overloaded_error", {"energy_wh": 0.1})


def test_a_message_that_said_why_it_ends_is_whole_without_its_stop() -> None:
    reader = MessageFrames("m")
    assert reader.feed(START + OPEN + delta("a") + CLOSE + WHY.rstrip()) == START + OPEN + delta("a") + CLOSE
    assert reader.close() == WHY
    assert reader.ended
    assert payloads(reader.finish(GATEWAY)) == [{"type": "message_stop", "_gateway": {"energy_wh": 0.1}}]


def test_what_follows_the_end_is_dropped() -> None:
    reader = MessageFrames("m")
    assert reader.feed(START + STOP + b"data: [DONE]\n\n") == START
    assert reader.feed(b"data: [DONE]\n\n") == b""


def test_words_that_look_like_an_end_are_words() -> None:
    reader = MessageFrames("m")
    tricky = delta('"type":"message_stop"') + delta('data: {"type":"message_stop"}\n\n')
    assert reader.feed(START + OPEN + tricky) == START + OPEN + tricky
    assert not reader.ended


@given(st.lists(st.text(max_size=20), max_size=8), st.lists(st.integers(0, 5000), max_size=12), st.booleans())
def test_however_the_network_cuts_it_only_the_last_event_changes(
    texts: list[str], cuts: list[int], windows: bool
) -> None:
    stream = START + OPEN + b"".join(delta(text) for text in texts) + PING + CLOSE + WHY + STOP
    if windows:
        stream = stream.replace(b"\n", b"\r\n")
    reader = MessageFrames("m")
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    got = b"".join(reader.feed(stream[a:b]) for a, b in zip(edges, edges[1:], strict=False))
    got += reader.close() + reader.finish(GATEWAY)
    assert reader.tokens.completion == 3
    assert got.replace(b',"_gateway":' + GATEWAY, b"") == stream


@pytest.mark.parametrize(("asked", "sent"), [(5, 5), (-1, 100), (1000, 100), (None, 100), (0, 100)])
def test_an_answers_length_is_clamped(asked: int | None, sent: int) -> None:
    call: dict[str, Any] = {"model": "m", "messages": [], "max_tokens": asked}
    assert MESSAGES.prepare(call, 100) is None
    assert call["max_tokens"] == sent


def test_tools_that_the_engine_would_run_are_left_out() -> None:
    own = {"name": "look", "input_schema": {"type": "object"}}
    bash = {"type": "bash_20250124", "name": "bash"}
    call: dict[str, Any] = {
        "model": "m",
        "messages": [],
        "tools": [own, {"type": "web_search_20250305", "name": "web_search"}, bash],
        "tool_choice": {"type": "tool", "name": "web_search"},
    }
    MESSAGES.prepare(call, 100)
    assert call["tools"] == [own, bash]
    assert "tool_choice" not in call
    call["tools"] = [{"type": "web_search_20250305", "name": "web_search"}]
    call["tool_choice"] = {"type": "auto"}
    MESSAGES.prepare(call, 100)
    assert call.keys() == {"model", "messages", "max_tokens"}


@pytest.mark.parametrize(
    "more",
    [
        {"Max_Tokens": 5},
        {"tools": [{"Type": "web_search_20250305", "name": "web_search"}]},
        {"tools": {}},
        {"tools": [1]},
        {"stream": "yes"},
    ],
)
def test_what_the_engine_could_read_otherwise_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        MESSAGES.prepare({"model": "m", "messages": [], **more}, 100)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (501, "api_error"),
        (503, "overloaded_error"),
    ],
)
def test_errors_have_the_names_that_anthropic_gave_them(status: int, kind: str) -> None:
    told = json.loads(ANTHROPIC.error(Refusal(status, "some_code", "So it is.")))
    assert told == {"type": "error", "error": {"type": kind, "message": "So it is.", "code": "some_code"}}
