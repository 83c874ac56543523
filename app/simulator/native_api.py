"""Ollama's own API: /api/*, in the shapes and words of Ollama's main branch of August 2026.

Rule: the order of fields is that of Ollama's structs (api/types.go), fields that Go omits when empty are omitted, and
the model is called what the client called it.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence

from aiohttp import web

from app.simulator.exchange import Fields, SimulatedRefusal, Stream, reply
from app.simulator.gojson import Json, dumps, timestamp
from app.simulator.inference import CutOff, InferenceFailed, SimulatedInference, Task, Timing, ToolCall
from app.simulator.scheduler import Scheduler
from app.simulator.tasks import (
    TOKENS_A_MESSAGE,
    TOKENS_A_PICTURE,
    SimulatedTasks,
    functions,
    keep_s,
    logprobs,
    stop_list,
    token_json,
)
from app.simulator.text import count_tokens


class NativeApi:
    """The handlers of /api/*, but for embeddings and what changes the library."""

    def __init__(
        self,
        inference: SimulatedInference,
        scheduler: Scheduler,
        version: str,
        tasks: SimulatedTasks,
    ) -> None:
        self._tasks = tasks
        self._inference = inference
        self._scheduler = scheduler
        self._version = version

    async def version(self, request: web.BaseRequest) -> web.StreamResponse:
        """GET /api/version."""
        return reply({"version": self._version})

    async def tags(self, request: web.BaseRequest) -> web.StreamResponse:
        """GET /api/tags."""
        return reply(
            {
                "models": [
                    {
                        "name": model.name,
                        "model": model.name,
                        "modified_at": model.modified_at,
                        "size": model.size_b,
                        "digest": model.digest,
                        "details": model.details(),
                        "capabilities": model.capabilities,
                    }
                    for model in self._tasks.models()
                ]
            }
        )

    async def ps(self, request: web.BaseRequest) -> web.StreamResponse:
        """GET /api/ps."""
        return reply(
            {
                "models": [
                    {
                        "name": runner.model.name,
                        "model": runner.model.name,
                        "size": runner.model.vram_b,
                        "digest": runner.model.digest,
                        "details": runner.model.details(),
                        "expires_at": timestamp(runner.expires_ns),
                        "size_vram": runner.vram_b,
                        "context_length": min(4096, runner.model.context_length),
                    }
                    for runner in self._scheduler.runners()
                ]
            }
        )

    async def show(self, request: web.BaseRequest) -> web.StreamResponse:
        """POST /api/show."""
        fields = Fields(await request.read(), "ShowRequest")
        name = fields.text("model") or fields.text("name")
        if not name:
            raise SimulatedRefusal(400, "model is required")
        model = self._tasks.found(name)
        licensed = {"license": model.license} if model.license else {}
        return reply(
            {
                **licensed,
                "modelfile": model.modelfile,
                "template": model.template,
                "system": model.system,
                "parameters": model.parameters_said,
                "details": model.details(),
                "model_info": model.info(),
                "capabilities": model.capabilities,
                "modified_at": model.modified_at,
            }
        )

    async def chat(self, request: web.BaseRequest) -> web.StreamResponse:
        """POST /api/chat."""
        fields = Fields(await request.read(), "ChatRequest")
        name = fields.text("model")
        if not name:
            raise SimulatedRefusal(400, "model is required")
        model = self._tasks.found(name)
        messages = fields.items("messages")
        if not messages and keep_s(fields) == 0:
            self._scheduler.unload(model)
            return reply(_frame(name, _CHAT.content(""), done=True, done_reason="unload"))
        tools = fields.items("tools")
        self._tasks.generating(name, "chat", thinks=fields.raw("think"), tools=tools)
        contents = [_content(one) for one in messages]
        further = TOKENS_A_MESSAGE * len(contents) + TOKENS_A_PICTURE * sum(
            _pictures(one) for one in messages
        )
        task = self._task(fields, "\n".join(contents), further, [] if _is_result(messages) else tools)
        if not messages:
            await self._inference.load(task)
            return reply(_frame(name, _CHAT.content(""), done=True, done_reason="load"))
        return await self._answer(request, fields, name, task, _CHAT)

    async def generate(self, request: web.BaseRequest) -> web.StreamResponse:
        """POST /api/generate."""
        fields = Fields(await request.read(), "GenerateRequest")
        name = fields.text("model")
        if not name:
            raise SimulatedRefusal(404, "model '' not found")
        model = self._tasks.found(name)
        prompt = fields.text("prompt")
        if not prompt and keep_s(fields) == 0:
            self._scheduler.unload(model)
            return reply(_frame(name, _GENERATE.content(""), done=True, done_reason="unload"))
        self._tasks.generating(name, "generate", thinks=fields.raw("think"))
        further = count_tokens(fields.text("system")) + TOKENS_A_PICTURE * len(fields.items("images"))
        task = self._task(fields, prompt, further, [])
        if not prompt:
            await self._inference.load(task)
            return reply(_frame(name, _GENERATE.content(""), done=True, done_reason="load"))
        return await self._answer(request, fields, name, task, _GENERATE)

    def _task(self, fields: Fields, prompt: str, further_tokens: int, tools: Sequence[object]) -> Task:
        options = fields.object("options")
        limit = options.get("num_predict")
        return self._tasks.task(
            self._tasks.found(fields.text("model")),
            prompt,
            further_tokens,
            keep_s=keep_s(fields),
            limit=limit if isinstance(limit, int) else -1,
            stops=stop_list(options.get("stop")),
            form=fields.raw("format"),
            thinks=fields.raw("think"),
            tools=functions(tools, inside="function", schema="parameters"),
        )

    async def _answer(
        self, request: web.BaseRequest, fields: Fields, name: str, task: Task, shape: _Shape
    ) -> web.StreamResponse:
        most_likely = (fields.number("top_logprobs") or 0) if fields.flag("logprobs") else -1
        if fields.flag("stream") is False:
            try:
                timing = await self._inference.generate(task, None)
            except CutOff as cut:
                return reply(_frame(name, shape.content(cut.text), done=False))
            thoughts, shown = task.parted(timing.text)
            content = shape.content("".join(shown), "".join(thoughts), timing.call)
            return reply(_last(name, shape, content, task, timing, logprobs_of(shown, most_likely)))
        stream = Stream(request, "application/x-ndjson")
        head = b'{"model":' + dumps(name) + b',"created_at":"'
        sent = 0

        closing = shape.closing + b',"done":false'

        def line(before: bytes, opening: bytes, token: str) -> bytes:
            told = b"," + dumps(logprobs_of([token], most_likely))[1:-1] if most_likely >= 0 else b""
            return before + opening + token_json(token) + closing + told + b"}\n"

        async def emit(tokens: Sequence[str]) -> None:
            nonlocal sent
            thoughts, shown = task.parted(tokens, sent)
            sent += len(tokens)
            before = head + timestamp(time.time_ns()).encode() + b'",'
            lines = [line(before, shape.thinking, token) for token in thoughts]
            lines += [line(before, shape.saying, token) for token in shown]
            if lines:
                await stream.write(b"".join(lines))

        try:
            timing = await self._inference.generate(task, emit)
        except CutOff:
            return await stream.end()
        except InferenceFailed as error:
            if not stream.begun:
                raise
            await stream.write(dumps({"error": str(error)}) + b"\n")
            return await stream.end()
        if timing.call is not None:
            await stream.write(dumps(_frame(name, shape.content("", "", timing.call), done=False)) + b"\n")
        await stream.write(dumps(_last(name, shape, shape.content(""), task, timing, {})) + b"\n")
        return await stream.end()


class _Shape:
    """Where an answer's text stands in a frame: in a chat's message, or in `response`."""

    def __init__(self, *, message: bool) -> None:
        self.is_message = message
        role = b'"message":{"role":"assistant","content":'
        self.saying = role if message else b'"response":'
        self.thinking = self.saying + b'"","thinking":'
        self.closing = b"}" if message else b""

    def content(self, text: str, thoughts: str = "", call: ToolCall | None = None) -> Json:
        """The part of a frame that holds it."""
        further: Json = {"thinking": thoughts} if thoughts else {}
        if not self.is_message:
            return {"response": text, **further}
        if call is not None:
            function = {"index": 0, "name": call.name, "arguments": call.arguments}
            further["tool_calls"] = [{"id": call.id, "function": function}]
        return {"message": {"role": "assistant", "content": text, **further}}


_CHAT, _GENERATE = _Shape(message=True), _Shape(message=False)


def logprobs_of(tokens: Sequence[str], most_likely: int) -> Json:
    """The field with probabilities, where they are wanted: `most_likely` is at least 0."""
    return {"logprobs": logprobs(tokens, most_likely)} if most_likely >= 0 and tokens else {}


def _frame(name: str, content: Json, **further: object) -> Json:
    return {"model": name, "created_at": timestamp(time.time_ns()), **content, **further}


def _last(name: str, shape: _Shape, content: Json, task: Task, timing: Timing, further: Json) -> Json:
    frame = _frame(name, content, done=True, done_reason=timing.reason, **further)
    if not shape.is_message:
        # Ollama gives the conversation back as token numbers; ours are only as many, not the same.
        frame["context"] = [
            zlib.crc32(word.encode("utf-8", "replace")) % 128_256
            for word in (task.prompt.split() + timing.text)
        ]
    frame["total_duration"] = timing.total_ns
    frame["load_duration"] = timing.load_ns
    frame["prompt_eval_count"] = timing.prompt_tokens
    frame["prompt_eval_duration"] = timing.prefill_ns
    if timing.tokens:
        frame["eval_count"] = timing.tokens
        frame["eval_duration"] = timing.decode_ns
    return frame


def _pictures(message: object) -> int:
    pictures = message.get("images") if isinstance(message, dict) else None
    return len(pictures) if isinstance(pictures, list) else 0


def _is_result(messages: Sequence[object]) -> bool:
    """Whether the last word is a tool's: what the prompt asked for has been done."""
    last = messages[-1] if messages else None
    return isinstance(last, dict) and last.get("role") == "tool"


def _content(message: object) -> str:
    if not isinstance(message, dict):
        raise SimulatedRefusal(
            400, "json: cannot unmarshal into Go struct field ChatRequest.messages of type api.Message"
        )
    content = message.get("content") or ""
    if not isinstance(content, str):
        raise SimulatedRefusal(
            400, "json: cannot unmarshal into Go struct field ChatRequest.messages.content of type string"
        )
    return content
