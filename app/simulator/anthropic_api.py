"""Anthropic's Messages API as Ollama offers it: /v1/messages.

Rule: the shapes are those of Ollama's anthropic package, with its habits: what goes in is guessed at in
`message_start` and counted in `message_delta`, a model that cannot think is not asked to, and an answer that breaks off
leaves no word of it.
There is no /v1/messages/count_tokens, as in Ollama.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from aiohttp import web

from app.simulator.exchange import Fields, SimulatedRefusal, Stream, reply
from app.simulator.gojson import Json, dumps
from app.simulator.inference import CutOff, InferenceFailed, SimulatedInference, Task, Timing, ToolCall
from app.simulator.tasks import (
    TOKENS_A_MESSAGE,
    TOKENS_A_PICTURE,
    SimulatedTasks,
    functions,
    stop_list,
    token_json,
)

_TYPES = {400: "invalid_request_error", 404: "not_found_error", 503: "overloaded_error"}


def anthropic_error(status: int, message: str) -> web.Response:
    """An error in Anthropic's shape, as Ollama fills it."""
    told = {"type": _TYPES.get(status, "api_error"), "message": message}
    return reply({"type": "error", "error": told, "request_id": "req_0"}, status=status, newline=True)


class AnthropicApi:
    """The handler of /v1/messages."""

    def __init__(self, tasks: SimulatedTasks, inference: SimulatedInference) -> None:
        self._tasks = tasks
        self._inference = inference
        self._ids = itertools.count(1)

    async def messages(self, request: web.BaseRequest) -> web.StreamResponse:
        """POST /v1/messages."""
        fields = Fields(await request.read(), "MessagesRequest")
        name, limit, messages = (
            fields.text("model"),
            fields.number("max_tokens") or 0,
            fields.items("messages"),
        )
        if not name:
            raise SimulatedRefusal(400, "model is required")
        if limit <= 0:
            raise SimulatedRefusal(400, "max_tokens is required and must be positive")
        if not messages:
            raise SimulatedRefusal(400, "messages is required")
        texts = [_system(fields.raw("system")), *(_text(message) for message in messages)]
        tools = fields.items("tools")
        model = self._tasks.generating(name, "chat", tools=tools)
        prompt = "\n".join(text for text in texts if text)
        thinking = fields.object("thinking").get("type")
        task = self._tasks.task(
            model,
            prompt,
            TOKENS_A_MESSAGE * len(texts) + TOKENS_A_PICTURE * sum(_blocks(one, "image") for one in messages),
            limit=limit,
            stops=stop_list(fields.raw("stop_sequences")),
            form=None,
            thinks=None if thinking is None else thinking != "disabled",
            tools=[]
            if _blocks(messages[-1], "tool_result")
            else functions(tools, inside="", schema="input_schema"),
        )
        message_id = f"msg_{next(self._ids):024x}"
        if fields.flag("stream"):
            return await self._stream(request, task, message_id, name, max(1, len(prompt) // 4))
        try:
            timing = await self._inference.generate(task, None)
        except CutOff as cut:
            timing = Timing(text=[cut.text], reason="")
        thoughts, shown = task.parted(timing.text)
        content: list[Json] = [{"type": "thinking", "thinking": "".join(thoughts)}] if thoughts else []
        content += [{"type": "text", "text": "".join(shown)}] if shown else []
        content += (
            [_tool_use(timing.call) | {"input": timing.call.arguments}] if timing.call is not None else []
        )
        answer = _message(message_id, name) | {"content": content or None}
        reason = _reason(timing)
        usage = {"input_tokens": timing.prompt_tokens, "output_tokens": timing.tokens}
        return reply(answer | ({"stop_reason": reason} if reason else {}) | {"usage": usage}, newline=True)

    async def _stream(
        self, request: web.BaseRequest, task: Task, message_id: str, name: str, guess: int
    ) -> web.StreamResponse:
        stream = Stream(request, "text/event-stream")
        blocks = _Blocks()
        usage = {"input_tokens": guess, "output_tokens": 0}
        start = _event("message_start", message=_message(message_id, name) | {"content": [], "usage": usage})
        sent = 0

        async def emit(tokens: Sequence[str]) -> None:
            nonlocal sent
            thoughts, shown = task.parted(tokens, sent)
            sent += len(tokens)
            said = (
                (b"" if stream.begun else start)
                + blocks.say("thinking", thoughts)
                + blocks.say("text", shown)
            )
            if said:
                await stream.write(said)

        try:
            timing = await self._inference.generate(task, emit)
        except CutOff:
            return await stream.end()
        except InferenceFailed:
            if not stream.begun:
                raise
            return await stream.end()
        last = (b"" if stream.begun else start) + blocks.call(timing.call) + blocks.close()
        usage = {"input_tokens": timing.prompt_tokens, "output_tokens": timing.tokens}
        last += _event("message_delta", delta={"stop_reason": _reason(timing)}, usage=usage)
        await stream.write(last + _event("message_stop"))
        return await stream.end()


class _Blocks:
    """The blocks of a streamed message, one open at a time."""

    def __init__(self) -> None:
        self._index = -1
        self._open = ""

    def say(self, kind: str, tokens: Sequence[str]) -> bytes:
        """More of a text or of thoughts."""
        if not tokens:
            return b""
        said = b""
        if self._open != kind:
            said = self.close()
            self._index += 1
            self._open = kind
            said += _event("content_block_start", index=self._index, content_block={"type": kind, kind: ""})
        delta = {"type": f"{kind}_delta", kind: "\0"}
        head, tail = _event("content_block_delta", index=self._index, delta=delta).split(b'"\\u0000"')
        return said + b"".join([head + token_json(token) + tail for token in tokens])

    def call(self, call: ToolCall | None) -> bytes:
        """A whole block for the call of a tool."""
        if call is None:
            return b""
        said = self.close()
        self._index += 1
        self._open = "tool_use"
        delta = {"type": "input_json_delta", "partial_json": dumps(call.arguments).decode()}
        said += _event("content_block_start", index=self._index, content_block=_tool_use(call))
        return said + _event("content_block_delta", index=self._index, delta=delta)

    def close(self) -> bytes:
        """The end of what is open."""
        was, self._open = self._open, ""
        return _event("content_block_stop", index=self._index) if was else b""


def _event(kind: str, **data: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), dumps({"type": kind, **data}))


def _message(message_id: str, name: str) -> Json:
    return {"id": message_id, "type": "message", "role": "assistant", "model": name}


def _tool_use(call: ToolCall) -> Json:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}


def _reason(timing: Timing) -> str:
    if timing.call is not None:
        return "tool_use"
    return {"stop": "end_turn", "length": "max_tokens"}.get(timing.reason, "")


def _system(system: object) -> str:
    """A text, or the texts of its blocks."""
    return system if isinstance(system, str) else _text({"content": system or []})


def _text(message: object) -> str:
    """A message's text: a string, or the texts of its blocks, those of tools' results included."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise SimulatedRefusal(
            400, "json: cannot unmarshal into Go struct field MessageParam.content of type []ContentBlock"
        )
    texts = []
    for block in content:
        if block.get("type") == "image" and _source(block) != "base64":
            why = f"invalid image source type: {_source(block)}. Only base64 images are supported."
            raise SimulatedRefusal(400, why)
        inside = block.get("content") if block.get("type") == "tool_result" else None
        texts.append(_text(block) if isinstance(inside, str | list) else str(block.get("text") or ""))
    return "\n".join(text for text in texts if text)


def _source(block: Json) -> object:
    source = block.get("source")
    return source.get("type") if isinstance(source, dict) else None


def _blocks(message: object, kind: str) -> int:
    """How many blocks of a kind a message has."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return 0
    return sum(isinstance(block, dict) and block.get("type") == kind for block in content)
