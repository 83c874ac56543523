"""The OpenAI-compatible API as Ollama offers it: /v1/*.

Rule: the shapes are those of Ollama's openai package, with its habits: `stream` is off unless asked for, usage comes
in a stream only if asked for, and a failure in the middle of a stream leaves an empty chunk and no `[DONE]`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

from aiohttp import web

from app.simulator.exchange import Fields, SimulatedRefusal, Stream, reply
from app.simulator.gojson import Json, dumps
from app.simulator.inference import CutOff, InferenceFailed, SimulatedInference, Task, Timing, ToolCall
from app.simulator.models import SimulatedModel
from app.simulator.tasks import (
    TOKENS_A_MESSAGE,
    TOKENS_A_PICTURE,
    SimulatedTasks,
    functions,
    logprobs,
    stop_list,
    token_json,
)
from app.simulator.text import count_tokens

_FINGERPRINT = "fp_ollama"
_DONE = b"data: [DONE]\n\n"
_TYPES = {400: "invalid_request_error", 404: "not_found_error"}


def error(status: int, message: str) -> web.Response:
    """An error in OpenAI's shape, as Ollama fills it."""
    kind = _TYPES.get(status, "api_error")
    body = {"error": {"message": message, "type": kind, "param": None, "code": None}}
    return reply(body, status=status, newline=True)


class OpenAIApi:
    """The handlers of /v1/chat/completions, /v1/completions and /v1/models."""

    def __init__(self, tasks: SimulatedTasks, inference: SimulatedInference) -> None:
        self._tasks = tasks
        self._inference = inference
        self._ids = itertools.count(1)

    async def models(self, request: web.BaseRequest) -> web.StreamResponse:
        """GET /v1/models."""
        return reply(
            {"object": "list", "data": [_model(model, model.name) for model in self._tasks.models()]},
            newline=True,
        )

    async def model(self, request: web.BaseRequest, name: str) -> web.StreamResponse:
        """GET /v1/models/{id}."""
        return reply(_model(self._tasks.found(name), name), newline=True)

    async def chat(self, request: web.BaseRequest) -> web.StreamResponse:
        """POST /v1/chat/completions."""
        fields = Fields(await request.read(), "ChatCompletionRequest")
        messages = fields.items("messages")
        if not messages:
            raise SimulatedRefusal(400, "[] is too short - 'messages'")
        contents = [_content(message) for message in messages]
        tools, last = fields.items("tools"), messages[-1]
        effort = fields.object("reasoning").get("effort") or fields.text("reasoning_effort")
        thinks = thinks_at(effort)
        name, model = self._model(fields, "chat", thinks, tools)
        if isinstance(last, dict) and last.get("role") == "tool":
            tools = []
        response_format = fields.object("response_format")
        schema = response_format.get("json_schema")
        form: object = "json" if response_format.get("type") == "json_object" else None
        if response_format.get("type") == "json_schema" and isinstance(schema, dict):
            form = schema.get("schema")
        further = TOKENS_A_MESSAGE * len(contents) + TOKENS_A_PICTURE * sum(
            _pictures(one) for one in messages
        )
        task = self._task(fields, model, "\n".join(contents), further, form, thinks, tools)
        reply_id = f"chatcmpl-{next(self._ids) % 999}"
        created = int(time.time())
        if fields.flag("stream"):
            return await self._stream_chat(request, fields, task, reply_id, created, name)
        try:
            timing = await self._inference.generate(task, None)
        except CutOff as cut:
            timing = Timing(text=[cut.text], reason="")
        thoughts, shown = task.parted(timing.text)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "".join(shown), **_further(thoughts, timing.call)},
            "finish_reason": _reason(timing),
            **_probabilities(fields, shown),
        }
        return reply(_whole(reply_id, "chat.completion", created, name, choice, timing), newline=True)

    async def completions(self, request: web.BaseRequest) -> web.StreamResponse:
        """POST /v1/completions."""
        fields = Fields(await request.read(), "CompletionRequest")
        prompt = fields.text("prompt")
        name, model = self._model(fields, "generate", None, [])
        task = self._task(fields, model, prompt, count_tokens(fields.text("suffix")), None, False, [])
        reply_id = f"cmpl-{next(self._ids) % 999}"
        if fields.flag("stream"):
            return await self._stream_completion(request, fields, task, reply_id, name)
        try:
            timing = await self._inference.generate(task, None)
        except CutOff as cut:
            timing = Timing(text=[cut.text], reason="")
        choice = {"text": "".join(timing.text), "index": 0, "finish_reason": timing.reason or None}
        return reply(
            _whole(reply_id, "text_completion", int(time.time()), name, choice, timing), newline=True
        )

    def _model(
        self, fields: Fields, verb: str, thinks: object, tools: Sequence[object]
    ) -> tuple[str, SimulatedModel]:
        name = fields.text("model")
        if not name:
            raise SimulatedRefusal(400, "model is required")
        return name, self._tasks.generating(name, verb, thinks=thinks, tools=tools)

    def _task(
        self,
        fields: Fields,
        model: SimulatedModel,
        prompt: str,
        further: int,
        form: object,
        thinks: object,
        tools: Sequence[object],
    ) -> Task:
        limit = fields.number("max_tokens")
        return self._tasks.task(
            model,
            prompt,
            further,
            limit=-1 if limit is None else limit,
            stops=stop_list(fields.raw("stop")),
            form=form,
            thinks=thinks,
            tools=functions(tools, inside="function", schema="parameters"),
        )

    async def _stream_chat(
        self, request: web.BaseRequest, fields: Fields, task: Task, reply_id: str, created: int, name: str
    ) -> web.StreamResponse:
        stream = Stream(request, "text/event-stream")
        frame: Json = {"id": reply_id, "object": "chat.completion.chunk", "created": created, "model": name}
        frame["system_fingerprint"] = _FINGERPRINT
        head = b"data: " + dumps(frame)[:-1] + b',"choices":[{"index":0,"delta":{"content":'
        thinking = head + b'"","reasoning":'
        sent = 0

        closing = b'},"finish_reason":null'
        wanted = fields.flag("logprobs")

        def chunk(before: bytes, token: str) -> bytes:
            told = dumps(_probabilities(fields, [token]))[1:-1] if wanted else b""
            return before + token_json(token) + closing + (b"," + told if wanted else b"") + b"}]}\n\n"

        async def emit(tokens: Sequence[str]) -> None:
            nonlocal sent
            thoughts, shown = task.parted(tokens, sent)
            sent += len(tokens)
            chunks = [chunk(thinking, token) for token in thoughts] + [chunk(head, token) for token in shown]
            if chunks and not stream.begun:
                chunks[0] = chunks[0].replace(b'"delta":{', b'"delta":{"role":"assistant",', 1)
            if chunks:
                await stream.write(b"".join(chunks))

        try:
            timing = await self._inference.generate(task, emit)
        except CutOff:
            return await stream.end()
        except InferenceFailed:
            if not stream.begun:
                raise
            # Ollama's middleware takes its own error for an empty answer without a name, and stops there.
            failed = frame | {
                "model": "",
                "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": None}],
            }
            await stream.write(_event(failed))
            return await stream.end()
        last = b""
        if timing.call is not None or not stream.begun:
            role = {} if stream.begun else {"role": "assistant"}
            delta = {**role, "content": "", **_further((), timing.call)}
            last = _event(frame | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        finish = frame | {"choices": [{"index": 0, "delta": {}, "finish_reason": _reason(timing)}]}
        last += _event(finish)
        if _wants_usage(fields):
            last += _event(finish | {"choices": [], "usage": _usage(timing)})
        await stream.write(last + _DONE)
        return await stream.end()

    async def _stream_completion(
        self, request: web.BaseRequest, fields: Fields, task: Task, reply_id: str, name: str
    ) -> web.StreamResponse:
        with_usage = _wants_usage(fields)
        stream = Stream(request, "text/event-stream")
        no_usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}

        def chunk(text: str, reason: str | None, model: str = name) -> Json:
            choice = {"text": text, "index": 0, "finish_reason": reason}
            frame: Json = {"id": reply_id, "object": "text_completion", "created": int(time.time())}
            frame |= {"choices": [choice], "model": model, "system_fingerprint": _FINGERPRINT}
            return frame | {"usage": no_usage} if with_usage else frame

        head, tail = (
            b"data: " + part if first else part + b"\n\n"
            for first, part in zip((True, False), dumps(chunk("\0", None)).split(b'"\\u0000"'), strict=True)
        )

        async def emit(tokens: Sequence[str]) -> None:
            await stream.write(b"".join([head + token_json(token) + tail for token in tokens]))

        try:
            timing = await self._inference.generate(task, emit)
        except CutOff:
            return await stream.end()
        except InferenceFailed:
            if not stream.begun:
                raise
            await stream.write(_event(chunk("", None, model="")))
            return await stream.end()
        finish = chunk("", timing.reason)
        last = _event(finish)
        if with_usage:
            last += _event(finish | {"choices": [], "usage": _usage(timing)})
        await stream.write(last + _DONE)
        return await stream.end()


def _event(frame: Json) -> bytes:
    return b"data: " + dumps(frame) + b"\n\n"


def _whole(reply_id: str, kind: str, created: int, name: str, choice: Json, timing: Timing) -> Json:
    return {
        "id": reply_id,
        "object": kind,
        "created": created,
        "model": name,
        "system_fingerprint": _FINGERPRINT,
        "choices": [choice],
        "usage": _usage(timing),
    }


def _usage(timing: Timing) -> Json:
    return {
        "prompt_tokens": timing.prompt_tokens,
        "completion_tokens": timing.tokens,
        "total_tokens": timing.prompt_tokens + timing.tokens,
    }


def thinks_at(effort: object) -> bool | None:
    """Whether a reasoning effort asks for thoughts; None where it leaves that to the model."""
    return None if not effort else effort != "none"


def tool_calls(call: ToolCall) -> list[Json]:
    """A call as OpenAI words it: its arguments are a text."""
    function = {"name": call.name, "arguments": dumps(call.arguments).decode()}
    return [{"id": call.id, "index": 0, "type": "function", "function": function}]


def _further(thoughts: Sequence[str], call: ToolCall | None) -> Json:
    """What stands in a message beside its content."""
    further: Json = {"reasoning": "".join(thoughts)} if thoughts else {}
    return further | {"tool_calls": tool_calls(call)} if call is not None else further


def _reason(timing: Timing) -> str | None:
    """Why an answer ended; one that was cut off does not say."""
    return "tool_calls" if timing.call is not None else timing.reason or None


def _probabilities(fields: Fields, tokens: Sequence[str]) -> Json:
    """A choice's `logprobs`, where they are wanted."""
    if not fields.flag("logprobs") or not tokens:
        return {}
    return {"logprobs": {"content": logprobs(tokens, fields.number("top_logprobs") or 0)}}


def _pictures(message: object) -> int:
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return 0
    return sum(isinstance(part, dict) and part.get("type") == "image_url" for part in content)


def _wants_usage(fields: Fields) -> bool:
    return fields.object("stream_options").get("include_usage") is True


def _model(model: SimulatedModel, name: str) -> Json:
    return {
        "id": name,
        "object": "model",
        "created": model.modified_ns // 1_000_000_000,
        "owned_by": "library",
    }


def _content(message: object) -> str:
    """A message's text: a string, or the text parts of a list."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = []
        for part in content:
            if not isinstance(part, dict) or part.get("type") not in ("text", "image_url", "input_audio"):
                raise SimulatedRefusal(400, "invalid message format")
            if part["type"] == "text":
                if not isinstance(part.get("text"), str):
                    raise SimulatedRefusal(400, "invalid message format")
                parts.append(part["text"])
        return "\n".join(parts)
    if isinstance(message, dict) and message.get("tool_calls") is not None:
        return ""
    raise SimulatedRefusal(
        400, f"invalid message content type: {'<nil>' if content is None else type(content).__name__}"
    )
