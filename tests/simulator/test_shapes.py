"""The simulator's answers byte for byte: order of fields, line ends, headers, words."""

from __future__ import annotations

import json
import random
import re

import pytest

from app.simulator import VERSION, Simulator, SimulatorEngine
from app.simulator.gojson import dumps, timestamp
from app.simulator.models import MODELS, find

STAMP = rb'"created_at":"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z"'
METRICS = (
    rb'"total_duration":\d+,"load_duration":\d+,"prompt_eval_count":\d+,"prompt_eval_duration":\d+,'
    rb'"eval_count":2,"eval_duration":\d+'
)


async def ask(engine: SimulatorEngine, path: str, body: object) -> tuple[int, str, bytes]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = await engine.post(path, raw)
    return reply.status, reply.content_type, await reply.read()


CHAT = {"model": "qwen2.5:3b", "messages": [{"role": "user", "content": "hi"}], "options": {"num_predict": 2}}
GENERATE = {"model": "qwen2.5:3b", "prompt": "hi", "options": {"num_predict": 2}}


async def test_chat_streams_ndjson_by_default(engine: SimulatorEngine) -> None:
    status, kind, body = await ask(engine, "/api/chat", CHAT)
    assert (status, kind) == (200, "application/x-ndjson")
    first, second, last, rest = body.split(b"\n")
    frame = rb'\{"model":"qwen2\.5:3b",%b,"message":\{"role":"assistant","content":"%b"\},"done":%b\}'
    assert re.fullmatch(frame % (STAMP, b"This", b"false"), first)
    assert re.fullmatch(frame % (STAMP, b" is", b"false"), second)
    assert re.fullmatch(frame % (STAMP, b"", b'true,"done_reason":"length",' + METRICS), last)
    assert rest == b""


async def test_generate_streams_ndjson_by_default(engine: SimulatorEngine) -> None:
    status, kind, body = await ask(engine, "/api/generate", GENERATE)
    assert (status, kind) == (200, "application/x-ndjson")
    first, _, last, rest = body.split(b"\n")
    frame = rb'\{"model":"qwen2\.5:3b",%b,"response":"%b","done":%b\}'
    assert re.fullmatch(frame % (STAMP, b"This", b"false"), first)
    ending = rb'true,"done_reason":"length","context":\[\d+,\d+,\d+\],' + METRICS
    assert re.fullmatch(frame % (STAMP, b"", ending), last)
    assert rest == b""


async def test_an_unstreamed_answer_is_one_object_without_a_line_end(engine: SimulatorEngine) -> None:
    status, kind, body = await ask(engine, "/api/chat", CHAT | {"stream": False})
    assert (status, kind) == (200, "application/json; charset=utf-8")
    ending = rb'true,"done_reason":"length",' + METRICS
    frame = rb'\{"model":"qwen2\.5:3b",%b,"message":\{"role":"assistant","content":"This is"\},"done":%b\}'
    assert re.fullmatch(frame % (STAMP, ending), body)


async def test_v1_chat_streams_server_sent_events(engine: SimulatorEngine) -> None:
    body = CHAT | {"stream": True, "max_tokens": 2, "stream_options": {"include_usage": True}}
    status, kind, answer = await ask(engine, "/v1/chat/completions", body)
    assert (status, kind) == (200, "text/event-stream")
    events = answer.split(b"\n\n")
    assert len(events) == 6
    assert events[5] == b""
    head = (
        rb'data: \{"id":"chatcmpl-\d+","object":"chat\.completion\.chunk","created":\d+,"model":"qwen2\.5:3b",'
        rb'"system_fingerprint":"fp_ollama",'
    )
    choice = head + rb'"choices":\[\{"index":0,"delta":%b,"finish_reason":%b\}\]\}'
    assert re.fullmatch(choice % (rb'\{"role":"assistant","content":"This"\}', b"null"), events[0])
    assert re.fullmatch(choice % (rb'\{"content":" is"\}', b"null"), events[1])
    assert re.fullmatch(choice % (rb"\{\}", b'"length"'), events[2])
    usage = rb'"choices":\[\],"usage":\{"prompt_tokens":\d+,"completion_tokens":2,"total_tokens":\d+\}\}'
    assert re.fullmatch(head + usage, events[3])
    assert events[4] == b"data: [DONE]"


async def test_v1_completions_stream_has_its_own_order_of_fields(engine: SimulatorEngine) -> None:
    body = GENERATE | {"stream": True, "max_tokens": 2}
    _, kind, answer = await ask(engine, "/v1/completions", body)
    assert kind == "text/event-stream"
    events = answer.split(b"\n\n")
    event = (
        rb'data: \{"id":"cmpl-\d+","object":"text_completion","created":\d+,'
        rb'"choices":\[\{"text":"%b","index":0,"finish_reason":%b\}\],'
        rb'"model":"qwen2\.5:3b","system_fingerprint":"fp_ollama"\}'
    )
    assert re.fullmatch(event % (b"This", b"null"), events[0])
    assert re.fullmatch(event % (b"", b'"length"'), events[2])
    assert events[3:] == [b"data: [DONE]", b""]


async def test_v1_is_whole_by_default_and_ends_with_a_line(engine: SimulatorEngine) -> None:
    status, kind, answer = await ask(engine, "/v1/chat/completions", CHAT | {"max_tokens": 2})
    assert (status, kind) == (200, "application/json")
    assert re.fullmatch(
        rb'\{"id":"chatcmpl-\d+","object":"chat\.completion","created":\d+,"model":"qwen2\.5:3b",'
        rb'"system_fingerprint":"fp_ollama","choices":\[\{"index":0,"message":\{"role":"assistant",'
        rb'"content":"This is"\},"finish_reason":"length"\}\],'
        rb'"usage":\{"prompt_tokens":\d+,"completion_tokens":2,"total_tokens":\d+\}\}\n',
        answer,
    )


async def test_a_stream_that_fails_on_v1_ends_without_done(engine: SimulatorEngine) -> None:
    prompt = "[simulate: error after 1 token]"
    for path, body in (
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": prompt}]}),
        ("/v1/completions", {"prompt": prompt}),
    ):
        _, _, answer = await ask(engine, path, {"model": "qwen2.5:3b", "stream": True} | body)
        events = answer.split(b"\n\n")
        assert len(events) == 3
        assert b'"model":""' in events[1]
        assert b"[DONE]" not in answer


async def test_an_error_in_the_middle_is_a_line_of_its_own(engine: SimulatorEngine) -> None:
    body = GENERATE | {"prompt": "[simulate: error after 1 token]", "options": {}}
    status, _, answer = await ask(engine, "/api/generate", body)
    assert status == 200
    first, error, rest = answer.split(b"\n")
    assert b'"done":false' in first
    assert error == b'{"error":"an error was encountered while running the model: simulated failure"}'
    assert rest == b""


@pytest.mark.parametrize(
    ("path", "body", "status", "answer"),
    [
        ("/api/chat", {"model": "x", "messages": []}, 404, {"error": "model 'x' not found"}),
        ("/api/generate", {"model": "x"}, 404, {"error": "model 'x' not found"}),
        ("/api/embed", {"model": "x", "input": "a"}, 404, {"error": "model 'x' not found"}),
        ("/api/embeddings", {"model": "x"}, 404, {"error": 'model "x" not found, try pulling it first'}),
        ("/api/show", {"model": "x"}, 404, {"error": "model 'x' not found"}),
        ("/api/show", {}, 400, {"error": "model is required"}),
        ("/api/chat", {}, 400, {"error": "model is required"}),
        ("/api/chat", b"", 400, {"error": "missing request body"}),
        ("/api/chat", b"{", 400, {"error": "unexpected EOF"}),
        ("/api/chat", b"{]", 400, {"error": "invalid character ']' looking for beginning of value"}),
        (
            "/api/chat",
            b"[]",
            400,
            {"error": "json: cannot unmarshal array into Go value of type api.ChatRequest"},
        ),
        (
            "/api/chat",
            {"model": 1},
            400,
            {"error": "json: cannot unmarshal number into Go struct field ChatRequest.model of type string"},
        ),
        ("/api/embed", {"model": "qwen2.5:3b", "input": [1]}, 400, {"error": "invalid input type"}),
        (
            "/api/embed",
            {"model": "nomic-embed-text", "input": "long " * 9000, "truncate": False},
            400,
            {"error": "the input length exceeds the context length"},
        ),
        ("/api/chat", CHAT | {"keep_alive": "soon"}, 400, {"error": 'time: invalid duration "soon"'}),
    ],
)
async def test_refusals_have_ollamas_status_and_words(
    engine: SimulatorEngine, path: str, body: object, status: int, answer: object
) -> None:
    got = await ask(engine, path, body)
    assert (got[0], json.loads(got[2])) == (status, answer)


async def test_refusals_on_v1_have_openais_shape(engine: SimulatorEngine) -> None:
    status, kind, body = await ask(engine, "/v1/chat/completions", CHAT | {"model": "x"})
    assert (status, kind) == (404, "application/json")
    expected = (
        b'{"error":{"message":"model \'x\' not found","type":"not_found_error","param":null,"code":null}}\n'
    )
    assert body == expected


async def test_like_go_it_takes_keys_in_any_case_and_the_last_of_several(engine: SimulatorEngine) -> None:
    body = b'{"model":"x","MODEL":"qwen2.5:3b","prompt":"hi","Stream":false,"options":{"num_predict":2}}'
    status, _, answer = await ask(engine, "/api/generate", body)
    assert status == 200
    assert json.loads(answer)["model"] == "qwen2.5:3b"


async def test_what_is_not_served_is_not_found_or_not_allowed(engine: SimulatorEngine) -> None:
    assert await ask(engine, "/api/push", {}) == (404, "text/plain; charset=utf-8", b"404 page not found")
    assert await ask(engine, "/api/tags", {}) == (405, "text/plain; charset=utf-8", b"405 method not allowed")


async def test_it_says_what_it_is(engine: SimulatorEngine, simulator: Simulator) -> None:
    front = await engine.get("/")
    assert await front.read() == b"Ollama is running (simulated: no model runs here)"
    version = await engine.get("/api/version")
    assert await version.read() == b'{"version":"%b"}' % VERSION.encode()
    assert "simulated" in VERSION
    assert "Simulated" in simulator.gpu.name
    for model in MODELS:
        if model.generates:
            _, _, answer = await ask(
                engine, "/api/generate", {"model": model.name, "prompt": "Who?", "stream": False}
            )
            assert json.loads(answer)["response"].startswith("This is a simulated answer: no model ran")


KEYS = (
    "model messages prompt input stream options keep_alive format stop max_tokens stream_options response_format tools "
    "think system dimensions encoding_format truncate reasoning_effort name suffix images logprobs top_logprobs "
    "thinking reasoning text instructions max_output_tokens stop_sequences"
).split()
SCHEMA = {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#/$defs/q"}]}}, "$defs": 3}
VALUES: list[object] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**70,
        1.5,
        float("inf"),
        "",
        "x",
        "json",
        "\ud800",
        "5m",
        "1.5.5s",
        7 * "[",
    ),
    *([], [None], ["a"], [1], [[]], [{"content": None}], [{"content": [{"type": "text", "text": 3}]}]),
    *({}, {"num_predict": "x"}, {"num_predict": 3}, {"stop": [1, "is"]}, {"include_usage": True}, SCHEMA),
    {"type": "json_schema", "json_schema": {"schema": SCHEMA}},
    {"type": "object", "properties": [], "enum": []},
    *(
        {"type": "enabled"},
        {"effort": "low"},
        {"format": 3},
        {"format": {"type": "json_schema", "schema": SCHEMA}},
    ),
    *(
        [{"name": "f", "input_schema": 3}],
        [{"function": {"name": "f", "parameters": SCHEMA}}],
        [{"name": None}],
    ),
    *(
        [{"type": "image", "source": 3}],
        [{"role": "user", "content": [{"type": "image"}]}],
        [{"type": "reasoning"}],
    ),
    [{"role": "user", "content": "[simulate: call a tool]"}],
    [{"role": "user", "content": [{"type": "tool_result", "content": [3]}]}],
    [{"type": "function_call_output", "output": [{"type": "input_text"}]}],
]
PATHS = (
    *("/api/chat", "/api/generate", "/api/embed", "/api/embeddings", "/api/show"),
    *("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"),
)


@pytest.mark.parametrize("path", PATHS)
async def test_no_request_body_makes_it_fall_over(engine: SimulatorEngine, path: str) -> None:
    chance = random.Random(path)
    for _ in range(150):
        body = {key: chance.choice(VALUES) for key in chance.sample(KEYS, 5)}
        if chance.random() < 0.7:
            body["model"] = chance.choice(["qwen2.5:3b", "nomic-embed-text", "mortdecai:0.5.0"])
            body.setdefault("messages", [{"role": "user", "content": "hi"}])
            body.setdefault("input", "hi")
            body.setdefault("max_tokens", 9)
        status, _, answer = await ask(engine, path, body)
        assert status in (200, 400, 404), (body, answer)


def test_json_is_written_as_go_writes_it() -> None:
    assert (
        dumps({"a": "<b> & é \u2028", "n": None})
        == '{"a":"\\u003cb\\u003e \\u0026 é \\u2028","n":null}'.encode()
    )
    assert dumps("\ud800") == b'"?"'


@pytest.mark.parametrize(
    ("at_ns", "text"),
    [
        (1_787_338_102_123_456_789, "2026-08-21T18:48:22.123456789Z"),
        (1_787_338_102_120_000_000, "2026-08-21T18:48:22.12Z"),
        (1_787_338_102_000_000_000, "2026-08-21T18:48:22Z"),
    ],
)
def test_times_are_written_as_go_writes_them(at_ns: int, text: str) -> None:
    assert timestamp(at_ns) == text


def test_names_find_models_as_ollama_finds_them() -> None:
    for name in (
        "nomic-embed-text",
        "Nomic-Embed-Text:LATEST",
        "registry.ollama.ai/library/nomic-embed-text",
    ):
        model = find(name)
        assert model is not None
        assert model.name == "nomic-embed-text:latest"
    for name in ("", "llama3.1", "elsewhere/nomic-embed-text", "hf.co/library/qwen2.5:3b", "qwen2.5:3b:x"):
        assert find(name) is None
