"""The OpenAI-compatible API as Ollama offers it: /v1/*.

Rule: the shapes are those of Ollama's openai package, with its habits: `stream` is off unless asked for, usage comes
in a stream only if asked for, and a failure in the middle of a stream leaves an empty chunk and no `[DONE]`.
"""

from __future__ import annotations

import base64
import itertools
import struct
import time
from collections.abc import Sequence

from aiohttp import web

from app.simulator.exchange import Fields, SimulatedRefusal, Stream, reply
from app.simulator.gojson import Json, dumps
from app.simulator.inference import CutOff, InferenceFailed, SimulatedInference, Task, Timing
from app.simulator.models import SimulatedModel
from app.simulator.native_api import NativeApi, token_json
from app.simulator.text import count_tokens

_FINGERPRINT = "fp_ollama"
_TOKENS_A_MESSAGE = 4
_DONE = b"data: [DONE]\n\n"
_TYPES = {400: "invalid_request_error", 404: "not_found_error"}


def error(status: int, message: str) -> web.Response:
    """An error in OpenAI's shape, as Ollama fills it."""
    kind = _TYPES.get(status, "api_error")
    body = {"error": {"message": message, "type": kind, "param": None, "code": None}}
    return reply(body, status=status, newline=True)


class OpenAIApi:
    """The handlers of /v1/*, on top of the native ones."""

    def __init__(self, native: NativeApi, inference: SimulatedInference) -> None:
        self._native = native
        self._inference = inference
        self._ids = itertools.count(1)

    async def models(self, request: web.BaseRequest) -> web.StreamResponse:
        """GET /v1/models."""
        return reply(
            {"object": "list", "data": [_model(model, model.name) for model in self._native.models()]},
            newline=True,
        )

    async def model(self, request: web.BaseRequest, name: str) -> web.StreamResponse:
        """GET /v1/models/{id}."""
        return reply(_model(self._native.found(name), name), newline=True)

    async def chat(self, request: web.BaseRequest) -> web.StreamResponse:
        """POST /v1/chat/completions."""
        fields = Fields(await request.read(), "ChatCompletionRequest")
        messages = fields.items("messages")
        if not messages:
            raise SimulatedRefusal(400, "[] is too short - 'messages'")
        contents = [_content(message) for message in messages]
        name, model = self._model(fields, "chat")
        response_format = fields.object("response_format")
        schema = response_format.get("json_schema")
        form: object = "json" if response_format.get("type") == "json_object" else None
        if response_format.get("type") == "json_schema" and isinstance(schema, dict):
            form = schema.get("schema")
        task = self._task(fields, model, "\n".join(contents), _TOKENS_A_MESSAGE * len(contents), form)
        reply_id = f"chatcmpl-{next(self._ids) % 999}"
        created = int(time.time())
        if fields.flag("stream"):
            return await self._stream_chat(request, fields, task, reply_id, created, name)
        timing, text, reason = await self._whole(task)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": reason,
        }
        return reply(_whole(reply_id, "chat.completion", created, name, choice, timing), newline=True)

    async def completions(self, request: web.BaseRequest) -> web.StreamResponse:
        """POST /v1/completions."""
        fields = Fields(await request.read(), "CompletionRequest")
        prompt = fields.text("prompt")
        name, model = self._model(fields, "generate")
        task = self._task(fields, model, prompt, count_tokens(fields.text("suffix")), None)
        reply_id = f"cmpl-{next(self._ids) % 999}"
        if fields.flag("stream"):
            return await self._stream_completion(request, fields, task, reply_id, name)
        timing, text, reason = await self._whole(task)
        choice = {"text": text, "index": 0, "finish_reason": reason}
        return reply(
            _whole(reply_id, "text_completion", int(time.time()), name, choice, timing), newline=True
        )

    async def embeddings(self, request: web.BaseRequest) -> web.StreamResponse:
        """POST /v1/embeddings."""
        fields = Fields(await request.read(), "EmbedRequest")
        encoding = fields.text("encoding_format").lower()
        if encoding not in ("", "float", "base64"):
            why = f"Invalid value for 'encoding_format' = {encoding}. Supported values: ['float', 'base64']."
            raise SimulatedRefusal(400, why)
        texts = fields.raw("input")
        if isinstance(texts, str):
            texts = [texts]
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise SimulatedRefusal(400, "invalid input")
        name = fields.text("model")
        vectors, timing = await self._native.embed_texts(
            self._native.found(name), texts, 300.0, fields.number("dimensions") or 0
        )
        data = [
            {
                "object": "embedding",
                "embedding": _base64(vector) if encoding == "base64" else vector,
                "index": index,
            }
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": timing.prompt_tokens, "total_tokens": timing.prompt_tokens}
        return reply({"object": "list", "data": data, "model": name, "usage": usage}, newline=True)

    def _model(self, fields: Fields, verb: str) -> tuple[str, SimulatedModel]:
        name = fields.text("model")
        if not name:
            raise SimulatedRefusal(400, "model is required")
        model = self._native.found(name)
        effort = fields.text("reasoning_effort")
        if effort and effort != "none":
            raise SimulatedRefusal(400, f'"{name}" does not support thinking')
        if not model.generates:
            raise SimulatedRefusal(400, f'"{name}" does not support {verb}')
        return name, model

    def _task(self, fields: Fields, model: SimulatedModel, prompt: str, further: int, form: object) -> Task:
        stops = fields.raw("stop")
        limit = fields.number("max_tokens")
        return self._native.task(
            model,
            prompt,
            further,
            limit=-1 if limit is None else limit,
            stops=[stops] if isinstance(stops, str) else stops if isinstance(stops, list) else [],
            form=form,
        )

    async def _whole(self, task: Task) -> tuple[Timing, str, str | None]:
        """The answer, its text and why it ended; one that was cut off says neither why nor how long it was."""
        try:
            timing = await self._inference.generate(task, None)
        except CutOff as cut:
            return Timing(), cut.text, None
        return timing, "".join(timing.text), timing.reason

    async def _stream_chat(
        self, request: web.BaseRequest, fields: Fields, task: Task, reply_id: str, created: int, name: str
    ) -> web.StreamResponse:
        with_usage = _wants_usage(fields)
        stream = Stream(request, "text/event-stream")
        frame: Json = {"id": reply_id, "object": "chat.completion.chunk", "created": created, "model": name}
        frame["system_fingerprint"] = _FINGERPRINT
        head = b"data: " + dumps(frame)[:-1] + b',"choices":[{"index":0,"delta":{"content":'
        tail = b'},"finish_reason":null}]}\n\n'
        with_role = head.replace(b'"delta":{', b'"delta":{"role":"assistant",')

        async def emit(tokens: Sequence[str]) -> None:
            chunks = [head + token_json(token) + tail for token in tokens]
            if not stream.begun:
                chunks[0] = with_role + token_json(tokens[0]) + tail
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
        if not stream.begun:
            await emit([""])
        finish = frame | {"choices": [{"index": 0, "delta": {}, "finish_reason": timing.reason}]}
        last = _event(finish)
        if with_usage:
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


def _wants_usage(fields: Fields) -> bool:
    return fields.object("stream_options").get("include_usage") is True


def _model(model: SimulatedModel, name: str) -> Json:
    return {
        "id": name,
        "object": "model",
        "created": model.modified_ns // 1_000_000_000,
        "owned_by": "library",
    }


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


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
