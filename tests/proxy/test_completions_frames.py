"""A streamed completion on its way through: the chat's frames with a text in them, and Ollama's habit of zeros."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.proxy.dialects.openai import COMPLETIONS, DONE, SseFrames

GATEWAY = b'{"energy_wh":0.1}'
ZEROS = b',"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}'


def chunk(text: str, reason: str | None = None, usage: bytes = ZEROS) -> bytes:
    choice = json.dumps({"text": text, "index": 0, "finish_reason": reason}, separators=(",", ":"))
    head = b'data: {"id":"cmpl-1","object":"text_completion","created":5,"choices":[' + choice.encode()
    return head + b'],"model":"m","system_fingerprint":"fp_ollama"' + usage + b"}\n\n"


USAGE = chunk("", "stop", b',"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}')
USAGE = USAGE.replace(USAGE[USAGE.index(b"[") : USAGE.index(b"]") + 1], b"[]")


def frames(*, wants_usage: bool = False) -> SseFrames:
    call: dict[str, Any] = {"model": "m", "prompt": "Hi", "stream": True}
    if wants_usage:
        call["stream_options"] = {"include_usage": True}
    made = COMPLETIONS.prepare(call, 100)
    assert made is not None
    assert call["stream_options"] == {"include_usage": True}
    return made


def test_who_did_not_ask_for_usage_sees_none_not_even_the_zeros_that_come_with_every_chunk() -> None:
    reader = frames()
    assert reader.feed(chunk("a")) == chunk("a", usage=b"")
    assert reader.feed(chunk("", "stop") + USAGE + DONE) == b""
    assert (reader.tokens.prompt, reader.tokens.completion, reader.tokens.source) == (7, 3, "engine")
    last = reader.finish(GATEWAY)
    assert last == chunk("", "stop", b',"_gateway":' + GATEWAY) + DONE


def test_who_asked_gets_every_chunk_at_once_and_as_it_came() -> None:
    reader = frames(wants_usage=True)
    assert reader.feed(chunk("a")) == chunk("a")
    assert reader.feed(chunk("b") + chunk("", "stop") + USAGE + DONE) == chunk("b") + chunk("", "stop")
    assert reader.finish(GATEWAY) == USAGE.replace(b"}\n\n", b',"_gateway":' + GATEWAY + b"}\n\n") + DONE


def test_zeros_are_nobodys_count() -> None:
    for wants in (True, False):
        reader = frames(wants_usage=wants)
        reader.feed(chunk("a") + chunk("b"))
        reader.broken("The engine died.", "engine_upstream_error", GATEWAY)
        assert (reader.tokens.prompt, reader.tokens.completion, reader.tokens.source) == (None, 2, "counted")


def test_usage_that_grows_beside_the_content_counts_as_far_as_it_came() -> None:
    reader = frames(wants_usage=True)
    grown = chunk("a", usage=b',"usage":{"prompt_tokens":7,"completion_tokens":1,"total_tokens":8}')
    assert reader.feed(grown) == grown
    assert (reader.tokens.prompt, reader.tokens.completion) == (7, 1)


def test_our_own_end_is_a_completions_chunk() -> None:
    reader = frames()
    reader.feed(chunk("a"))
    last, done = reader.cut(b'{"outcome":"budget_cut"}').split(b"\n\n")[:2]
    told = json.loads(last.removeprefix(b"data: "))
    assert (told["id"], told["object"]) == ("cmpl-1", "text_completion")
    assert told["choices"] == [{"index": 0, "text": "", "finish_reason": "length"}]
    assert done == b"data: [DONE]"


@given(st.lists(st.text(max_size=20), max_size=8), st.lists(st.integers(0, 5000), max_size=12), st.booleans())
def test_however_the_network_cuts_it_the_client_gets_the_same_bytes(
    texts: list[str], cuts: list[int], wants_usage: bool
) -> None:
    stream = b"".join(chunk(text) for text in texts) + chunk("", "stop") + USAGE + DONE
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    reader = frames(wants_usage=wants_usage)
    got = b"".join(reader.feed(stream[a:b]) for a, b in zip(edges, edges[1:], strict=False))
    whole = b"".join(chunk(text, usage=ZEROS if wants_usage else b"") for text in texts)
    assert got == whole + (chunk("", "stop") if wants_usage else b"")
    assert reader.ended


@pytest.mark.parametrize(
    ("prompt", "sent"), [("Hi", "Hi"), (["Hi"], "Hi"), ([[1, 2]], [1, 2]), ([1, 2], [1, 2]), ([], [])]
)
def test_a_single_prompt_passes_however_it_is_wrapped(prompt: object, sent: object) -> None:
    call: dict[str, Any] = {"model": "m", "prompt": prompt}
    COMPLETIONS.prepare(call, 100)
    assert call["prompt"] == sent
