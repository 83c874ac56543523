"""OpenAI's Responses API as Ollama offers it: /v1/responses.

Rule: the shapes are those of Ollama's openai package, with its habits: what is streamed has its keys in alphabetical
order, an answer at its token limit calls itself completed, nothing is stored, `previous_response_id` is overlooked, and
an answer that breaks off leaves no word of it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

from aiohttp import web

from app.simulator.exchange import Fields, SimulatedRefusal, Stream, reply
from app.simulator.gojson import Json, dumps
from app.simulator.inference import CutOff, InferenceFailed, SimulatedInference, Task, Timing, ToolCall
from app.simulator.openai_api import thinks_at
from app.simulator.tasks import TOKENS_A_MESSAGE, TOKENS_A_PICTURE, SimulatedTasks, functions, token_json

_TEXTS = ("input_text", "output_text")


class ResponsesApi:
    """The handler of /v1/responses."""

    def __init__(self, tasks: SimulatedTasks, inference: SimulatedInference) -> None:
        self._tasks = tasks
        self._inference = inference
        self._ids = itertools.count(1)

    async def responses(self, request: web.BaseRequest) -> web.StreamResponse:
        """POST /v1/responses."""
        fields = Fields(await request.read(), "ResponsesRequest")
        name = fields.text("model")
        if not name:
            raise SimulatedRefusal(400, "model is required")
        asked = fields.raw("input")
        items = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
        if not isinstance(items, list):
            raise SimulatedRefusal(400, "input must be a string or array")
        texts = [fields.text("instructions"), *(_text(at, item) for at, item in enumerate(items))]
        tools = fields.items("tools")
        thinks = thinks_at(fields.object("reasoning").get("effort"))
        model = self._tasks.generating(name, "chat", thinks=thinks, tools=tools)
        if items and isinstance(items[-1], dict) and items[-1].get("type") == "function_call_output":
            tools = []
        form = fields.object("text").get("format")
        limit = fields.number("max_output_tokens")
        task = self._tasks.task(
            model,
            "\n".join(text for text in texts if text),
            TOKENS_A_MESSAGE * len(texts) + TOKENS_A_PICTURE * sum(_pictures(item) for item in items),
            limit=-1 if limit is None else limit,
            stops=[],
            form=form.get("schema") if isinstance(form, dict) and form.get("type") == "json_schema" else None,
            thinks=thinks,
            tools=functions(tools, inside="", schema="parameters"),
        )
        number = next(self._ids)
        response = _response(fields, f"resp_{number}", name)
        if fields.flag("stream"):
            return await self._stream(request, task, response, number)
        try:
            timing = await self._inference.generate(task, None)
        except CutOff as cut:
            timing = Timing(text=[cut.text], reason="")
        thoughts, shown = task.parted(timing.text)
        output = [_reasoning(f"rs_resp_{number}", "".join(thoughts))] if thoughts else []
        if timing.call is not None:
            output.append(_call(f"fc_resp_{number}_0", timing.call))
        else:
            output.append(_said(f"msg_{number}", "".join(shown)))
        response |= {"output": output, "usage": _usage(timing)}
        return reply(response | {"status": "completed", "completed_at": int(time.time())}, newline=True)

    async def _stream(
        self, request: web.BaseRequest, task: Task, response: Json, number: int
    ) -> web.StreamResponse:
        stream = Stream(request, "text/event-stream")
        items = _Items(number)
        sent = 0

        def begin() -> bytes:
            begun = response | {"status": "in_progress", "output": [], "usage": None}
            return b"".join(
                items.event(f"response.{kind}", response=begun) for kind in ("created", "in_progress")
            )

        async def emit(tokens: Sequence[str]) -> None:
            nonlocal sent
            thoughts, shown = task.parted(tokens, sent)
            sent += len(tokens)
            said = (b"" if stream.begun else begin()) + items.think(thoughts) + items.say(shown)
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
        last = (b"" if stream.begun else begin()) + items.close()
        if timing.call is not None:
            last += items.call(timing.call)
        whole = response | {"status": "completed", "output": items.done, "usage": _usage(timing)}
        whole["completed_at"] = int(time.time())
        await stream.write(last + items.event("response.completed", response=whole))
        return await stream.end()


class _Items:
    """The items of a streamed answer, one open at a time, and the numbers of its events."""

    def __init__(self, number: int) -> None:
        self.done: list[Json] = []
        self._answer = number
        self._events = 0
        self._open = ""
        self._text: list[str] = []

    def event(self, kind: str, **data: object) -> bytes:
        """One event; its keys in alphabetical order, as Go writes a map."""
        told = {**data, "type": kind, "sequence_number": self._events}
        self._events += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), dumps(_sorted(told)))

    def think(self, tokens: Sequence[str]) -> bytes:
        """More thoughts."""
        if not tokens:
            return b""
        said, item = b"", {"id": self._id("rs"), "type": "reasoning", "summary": []}
        if self._open != "reasoning":
            self._open = "reasoning"
            said = self.event("response.output_item.added", output_index=len(self.done), item=item)
        return said + self._deltas(
            tokens, "response.reasoning_summary_text.delta", item_id=item["id"], summary_index=0
        )

    def say(self, tokens: Sequence[str]) -> bytes:
        """More of the text."""
        if not tokens:
            return b""
        said, item_id = b"", self._id("msg")
        if self._open != "message":
            said = self.close()
            item_id = self._id("msg")
            self._open = "message"
            item = _said(item_id, "") | {"status": "in_progress", "content": []}
            said += self.event("response.output_item.added", output_index=len(self.done), item=item)
            said += self.event(
                "response.content_part.added",
                item_id=item_id,
                output_index=len(self.done),
                content_index=0,
                part=_part(""),
            )
        return said + self._deltas(
            tokens, "response.output_text.delta", item_id=item_id, content_index=0, logprobs=[]
        )

    def close(self) -> bytes:
        """The end of the item that is open."""
        was, text, at = self._open, "".join(self._text), len(self.done)
        self._open, self._text = "", []
        if was == "reasoning":
            item = _reasoning(self._id("rs"), text)
            where: Json = {"item_id": item["id"], "output_index": at, "summary_index": 0}
            said = self.event("response.reasoning_summary_text.done", **where, text=text)
        elif was == "message":
            item = _said(self._id("msg"), text)
            where = {"item_id": item["id"], "output_index": at, "content_index": 0}
            said = self.event("response.output_text.done", **where, text=text, logprobs=[])
            said += self.event("response.content_part.done", **where, part=_part(text))
        else:
            return b""
        self.done.append(item)
        return said + self.event("response.output_item.done", output_index=at, item=item)

    def call(self, call: ToolCall) -> bytes:
        """The whole item for the call of a tool."""
        item, at = _call(self._id("fc"), call), len(self.done)
        where = {"item_id": item["id"], "output_index": at}
        begun = item | {"status": "in_progress", "arguments": ""}
        self.done.append(item)
        return (
            self.event("response.output_item.added", output_index=at, item=begun)
            + self.event("response.function_call_arguments.delta", **where, delta=item["arguments"])
            + self.event("response.function_call_arguments.done", **where, arguments=item["arguments"])
            + self.event("response.output_item.done", output_index=at, item=item)
        )

    def _deltas(self, tokens: Sequence[str], kind: str, **where: object) -> bytes:
        self._text += tokens
        made = self.event(kind, **where, output_index=len(self.done), delta="\0")
        self._events += len(tokens) - 1
        head, tail = made.split(b'"\\u0000"')
        # The number stands behind the delta: `delta`, `item_id` … `sequence_number`, `type`.
        before, _, after = tail.rpartition(b'"sequence_number":')
        behind = after[after.index(b",") :]
        first = self._events - len(tokens)
        return b"".join(
            [
                head + token_json(token) + before + b'"sequence_number":%d' % (first + at) + behind
                for at, token in enumerate(tokens)
            ]
        )

    def _id(self, kind: str) -> str:
        return f"{kind}_{self._answer}_{len(self.done)}"


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


def _response(fields: Fields, response_id: str, name: str) -> Json:
    """The fields of an answer that are known before it is; they say again what was asked."""
    form = fields.object("text").get("format")
    reasoning = fields.object("reasoning")
    return {
        "id": response_id,
        "object": "response",
        "created_at": int(time.time()),
        "completed_at": None,
        "status": "in_progress",
        "incomplete_details": None,
        "model": name,
        "previous_response_id": None,
        "instructions": fields.text("instructions") or None,
        "output": [],
        "error": None,
        "tools": fields.items("tools"),
        "tool_choice": "auto",
        "truncation": fields.text("truncation") or "disabled",
        "parallel_tool_calls": True,
        "text": {"format": form if isinstance(form, dict) else {"type": "text"}},
        "top_p": fields.raw("top_p") or 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "top_logprobs": 0,
        "temperature": 1 if fields.raw("temperature") is None else fields.raw("temperature"),
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")}
        if reasoning
        else None,
        "usage": None,
        "max_output_tokens": fields.number("max_output_tokens"),
        "max_tool_calls": None,
        "store": False,
        "background": False,
        "service_tier": "default",
        "metadata": {},
        "safety_identifier": None,
        "prompt_cache_key": None,
    }


def _usage(timing: Timing) -> Json:
    return {
        "input_tokens": timing.prompt_tokens,
        "output_tokens": timing.tokens,
        "total_tokens": timing.prompt_tokens + timing.tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _said(item_id: str, text: str) -> Json:
    head = {"id": item_id, "type": "message", "status": "completed", "role": "assistant"}
    return head | {"content": [_part(text)]}


def _reasoning(item_id: str, text: str) -> Json:
    summary = [{"type": "summary_text", "text": text}]
    return {"id": item_id, "type": "reasoning", "summary": summary, "encrypted_content": text}


def _call(item_id: str, call: ToolCall) -> Json:
    head = {"id": item_id, "type": "function_call", "status": "completed", "call_id": call.id}
    return head | {"name": call.name, "arguments": dumps(call.arguments).decode()}


def _text(at: int, item: object) -> str:
    """The text of an item: of a message, of a tool's result, or none."""
    if not isinstance(item, dict) or not (item.get("type") or item.get("role")):
        raise SimulatedRefusal(400, f"input[{at}]: input item missing required 'type' field")
    kind = item.get("type") or "message"
    if kind not in ("message", "function_call", "function_call_output", "reasoning", "web_search_call"):
        raise SimulatedRefusal(400, f'input[{at}]: unknown input item type: "{kind}"')
    content = item.get("output" if kind == "function_call_output" else "content")
    if isinstance(content, str):
        return content
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    if any(part.get("type") == "input_file" for part in parts):
        raise SimulatedRefusal(400, "file inputs are not currently supported")
    return "\n".join(str(part.get("text") or "") for part in parts if part.get("type") in _TEXTS)


def _pictures(item: object) -> int:
    content = item.get("content") if isinstance(item, dict) else None
    if not isinstance(content, list):
        return 0
    return sum(isinstance(part, dict) and part.get("type") == "input_image" for part in content)
