"""The events of a response on their way through the proxy."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.refusals import Refusal
from app.proxy.dialects.responses import RESPONSES, ResponseFrames

GATEWAY = b'{"energy_wh":0.1}'
WHOLE = {"id": "resp_7", "object": "response", "model": "m", "created_at": 5, "instructions": "Be brief."}


class Stream:
    """Events numbered as they are made, their keys in alphabetical order as Ollama writes them."""

    def __init__(self) -> None:
        self.number = 0

    def event(self, kind: str, **data: Any) -> bytes:
        told = {**data, "sequence_number": self.number, "type": kind}
        self.number += 1
        text = json.dumps(told, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
        return f"event: {kind}\ndata: {text}\n\n".encode()

    def begin(self) -> bytes:
        started = {**WHOLE, "status": "in_progress", "output": [], "usage": None}
        return self.event("response.created", response=started) + self.event(
            "response.in_progress", response=started
        )

    def open(self, item: dict[str, Any], at: int = 0) -> bytes:
        return self.event("response.output_item.added", output_index=at, item=item)

    def part(self, at: int = 0) -> bytes:
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        return self.event(
            "response.content_part.added", item_id="msg_1", output_index=at, content_index=0, part=part
        )

    def delta(self, text: str, kind: str = "output_text") -> bytes:
        where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        return self.event(f"response.{kind}.delta", **where, delta=text)

    def done(self, item: dict[str, Any], at: int = 0) -> bytes:
        return self.event("response.output_item.done", output_index=at, item=item)

    def end(self, kind: str = "completed", **more: Any) -> bytes:
        usage = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
        return self.event(f"response.{kind}", response={**WHOLE, "status": kind, "usage": usage, **more})


MESSAGE = {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}


def payloads(data: bytes) -> list[Any]:
    parts = [part.partition(b"\ndata: ") for part in data.split(b"\n\n") if part]
    told = [(head.removeprefix(b"event: ").decode(), json.loads(body)) for head, _, body in parts]
    assert all(name == body["type"] for name, body in told)
    return [body for _, body in told]


def test_events_pass_untouched_and_the_last_one_carries_gateway() -> None:
    made = Stream()
    content = made.begin() + made.open(MESSAGE) + made.part() + made.delta("a") + made.delta("b")
    end = made.end()
    reader = ResponseFrames("m")
    assert reader.feed(content + end + b"data: [DONE]\n\n") == content
    assert (reader.ended, reader.failure, reader.deltas) == (True, None, 2)
    assert (reader.tokens.prompt, reader.tokens.completion, reader.tokens.source) == (7, 3, "engine")
    assert reader.finish(GATEWAY) == end.replace(b"}\n\n", b',"_gateway":' + GATEWAY + b"}\n\n")


def test_an_answer_at_its_limit_has_ended() -> None:
    made = Stream()
    reader = ResponseFrames("m")
    reader.feed(made.begin() + made.end("incomplete", incomplete_details={"reason": "max_output_tokens"}))
    assert (reader.ended, reader.failure, reader.tokens.completion) == (True, None, 3)


@pytest.mark.parametrize("plain", [True, False])
def test_a_failure_ends_the_stream_and_is_one(plain: bool) -> None:
    made = Stream()
    begun = made.begin()
    if plain:
        last = made.event("error", code="server_error", message="out of memory")
    else:
        last = made.end("failed", error={"code": "server_error", "message": "out of memory"})
    reader = ResponseFrames("m")
    assert reader.feed(begun + last) == begun
    assert (reader.ended, reader.failure) == (True, "out of memory")
    (told,) = payloads(reader.finish(GATEWAY))
    assert told["_gateway"] == {"energy_wh": 0.1}


def test_our_own_end_closes_what_is_open_and_says_again_what_has_passed() -> None:
    made = Stream()
    thought = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
    reader = ResponseFrames("m")
    reader.feed(made.begin() + made.open({"id": "rs_1", "type": "reasoning", "summary": []}))
    reader.feed(made.delta("Hm.", "reasoning_summary_text") + made.done(thought))
    reader.feed(made.open(MESSAGE, 1) + made.part(1) + made.delta('«Well»\n"') + made.delta("\\ so"))
    told = payloads(reader.cut(b'{"outcome":"budget_cut"}'))
    assert [one["type"].removeprefix("response.") for one in told] == [
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "incomplete",
    ]
    assert [one["sequence_number"] for one in told] == list(range(made.number, made.number + 4))
    assert told[0]["text"] == told[1]["part"]["text"] == '«Well»\n"\\ so'
    item = told[2]["item"]
    assert (item["id"], item["status"], told[2]["output_index"]) == ("msg_1", "incomplete", 1)
    response = told[-1]["response"]
    assert response["output"] == [thought, item]
    assert (response["id"], response["status"], response["instructions"]) == (
        "resp_7",
        "incomplete",
        "Be brief.",
    )
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["usage"] is None  # nobody counted
    assert told[-1]["_gateway"] == {"outcome": "budget_cut"}
    assert (reader.tokens.completion, reader.tokens.source) == (3, "counted")


@pytest.mark.parametrize(
    ("item", "kind", "name", "said"),
    [
        (
            {"id": "fc", "type": "function_call", "name": "look"},
            "function_call_arguments",
            "arguments",
            '{"a"',
        ),
        (
            {"id": "rs", "type": "reasoning"},
            "reasoning_summary_text",
            "summary",
            [{"type": "summary_text", "text": '{"a"'}],
        ),
    ],
)
def test_what_is_open_may_be_a_call_or_a_thought(
    item: dict[str, Any], kind: str, name: str, said: object
) -> None:
    made = Stream()
    reader = ResponseFrames("m")
    reader.feed(made.begin() + made.open(item) + made.delta("{", kind) + made.delta('"a"', kind))
    closed, last = payloads(reader.cut(GATEWAY))
    assert closed["item"] == {**item, "status": "incomplete", name: said}
    assert last["response"]["output"] == [closed["item"]]


def test_nothing_at_all_still_ends_as_a_stream_of_its_kind() -> None:
    created, last = payloads(ResponseFrames("m").cut(GATEWAY))
    assert (created["type"], created["sequence_number"]) == ("response.created", 0)
    assert (last["type"], last["sequence_number"]) == ("response.incomplete", 1)
    assert (last["response"]["model"], last["response"]["output"]) == ("m", [])


def test_a_stream_that_breaks_off_is_told_as_a_failed_response() -> None:
    made = Stream()
    reader = ResponseFrames("m")
    reader.feed(made.begin() + made.open(MESSAGE) + made.part() + made.delta("a"))
    assert reader.close() == b""
    assert not reader.ended
    last = payloads(reader.broken("The engine died.", "engine_upstream_error", GATEWAY))[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["error"] == {"code": "server_error", "message": "The engine died."}
    assert last["response"]["output"][0]["content"][0]["text"] == "a"


def test_half_a_character_at_the_end_does_not_keep_us_from_ending() -> None:
    made = Stream()
    reader = ResponseFrames("m")
    reader.feed(made.begin() + made.open(MESSAGE) + made.part())
    half = made.delta("X").replace(b'"X"', b'"\\ud83d"')
    reader.feed(half)
    assert payloads(reader.cut(GATEWAY))[0]["text"] == "\ufffd"
    other = Stream()
    reader = ResponseFrames("m")
    reader.feed(other.begin() + other.open(MESSAGE) + other.part() + half)
    reader.feed(half.replace(b"d83d", b"de00"))
    assert payloads(reader.cut(GATEWAY))[0]["text"] == "\U0001f600"


@given(st.lists(st.text(max_size=20), max_size=8), st.lists(st.integers(0, 9000), max_size=12), st.booleans())
def test_however_the_network_cuts_it_only_the_last_event_changes(
    texts: list[str], cuts: list[int], cut_by_us: bool
) -> None:
    made = Stream()
    stream = made.begin() + made.open(MESSAGE) + made.part()
    stream += b"".join(made.delta(text) for text in texts)
    content = stream
    if not cut_by_us:
        stream += made.end()
    reader = ResponseFrames("m")
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    got = b"".join(reader.feed(stream[a:b]) for a, b in zip(edges, edges[1:], strict=False))
    assert got == content
    if cut_by_us:
        assert payloads(reader.cut(GATEWAY))[0]["text"] == "".join(texts)
    else:
        assert reader.finish(GATEWAY).replace(b',"_gateway":' + GATEWAY, b"") == stream[len(content) :]


@pytest.mark.parametrize(("asked", "sent"), [(5, 5), (-1, 100), (1000, 100), (None, 100)])
def test_an_answers_length_is_clamped_and_nothing_is_kept(asked: int | None, sent: int) -> None:
    call: dict[str, Any] = {"model": "m", "input": "Hi", "max_output_tokens": asked, "store": True}
    assert RESPONSES.prepare(call, 100) is None
    assert (call["max_output_tokens"], call["store"]) == (sent, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("previous_response_id", "resp_1"), ("conversation", {"id": "conv_1"}), ("background", True)],
)
def test_what_would_need_a_kept_answer_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(Refusal) as caught:
        RESPONSES.prepare({"model": "m", "input": "Hi", name: value}, 100)
    assert caught.value.status == 400
    assert name in caught.value.sentence
    call: dict[str, Any] = {"model": "m", "input": "Hi", name: None}
    RESPONSES.prepare(call, 100)
    assert name not in call


def test_tools_that_the_engine_would_run_are_left_out_also_of_a_namespace() -> None:
    own = {"type": "function", "name": "look", "parameters": {"type": "object"}}
    search = {"type": "web_search"}
    call: dict[str, Any] = {
        "model": "m",
        "input": "Hi",
        "tools": [own, search, {"type": "namespace", "name": "n", "tools": [own, search]}],
    }
    RESPONSES.prepare(call, 100)
    assert call["tools"] == [own, {"type": "namespace", "name": "n", "tools": [own]}]
    with pytest.raises(Refusal):
        RESPONSES.prepare({"model": "m", "input": "Hi", "tools": [{"TYPE": "web_search"}]}, 100)


@pytest.mark.parametrize(
    ("status", "ended"), [("completed", True), ("incomplete", True), ("failed", False), (None, False)]
)
def test_a_whole_answer_says_whether_it_came_to_its_end(status: str | None, ended: bool) -> None:
    assert RESPONSES.whole_ended({"status": status}) is ended
