"""Ollama's own API: /api/*, in the shapes and words of Ollama's main branch of August 2026.

Rule: the order of fields is that of Ollama's structs (api/types.go), fields that Go omits when empty are omitted, and
the model is called what the client called it.
"""

from __future__ import annotations

import math
import re
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from aiohttp import web

from app.simulator.exchange import Fields, SimulatedRefusal, Stream, reply
from app.simulator.faults import Faults, read_faults
from app.simulator.gojson import Json, dumps, timestamp
from app.simulator.inference import CutOff, InferenceFailed, SimulatedInference, Task, Timing
from app.simulator.library import Library
from app.simulator.models import SimulatedModel
from app.simulator.scheduler import Scheduler
from app.simulator.text import count_tokens, embedding, example

_KEEP_S = 300.0
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_TOKENS_A_MESSAGE = 4
_TOKENS_OF_THE_TEMPLATE = 7

token_json = lru_cache(maxsize=4096)(dumps)
"""A token as JSON; answers are made of a small vocabulary."""


class NativeApi:
    """The handlers of /api/*. `faults` gives the faults that stand at the moment."""

    def __init__(
        self,
        inference: SimulatedInference,
        scheduler: Scheduler,
        version: str,
        faults: Callable[[], Faults],
        library: Library,
    ) -> None:
        self._library = library
        self._inference = inference
        self._scheduler = scheduler
        self._version = version
        self._faults = faults

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
                    for model in self._library.models()
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
        model = self.found(name)
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
        model = self.found(name)
        messages = fields.items("messages")
        message = {"role": "assistant", "content": ""}
        if not messages and _keep_s(fields) == 0:
            self._scheduler.unload(model)
            return reply(_frame(name, "message", message, done=True, done_reason="unload"))
        self._check(fields, name, model, "chat")
        contents = [_content(one) for one in messages]
        task = self._task(fields, model, "\n".join(contents), _TOKENS_A_MESSAGE * len(contents))
        if not messages:
            await self._inference.load(task)
            return reply(_frame(name, "message", message, done=True, done_reason="load"))
        shape = b'"message":{"role":"assistant","content":', b"}"
        return await self._answer(request, fields, name, task, "message", shape)

    async def generate(self, request: web.BaseRequest) -> web.StreamResponse:
        """POST /api/generate."""
        fields = Fields(await request.read(), "GenerateRequest")
        name = fields.text("model")
        if not name:
            raise SimulatedRefusal(404, "model '' not found")
        model = self.found(name)
        prompt = fields.text("prompt")
        if not prompt and _keep_s(fields) == 0:
            self._scheduler.unload(model)
            return reply(_frame(name, "response", "", done=True, done_reason="unload"))
        self._check(fields, name, model, "generate")
        task = self._task(fields, model, prompt, count_tokens(fields.text("system")))
        if not prompt:
            await self._inference.load(task)
            return reply(_frame(name, "response", "", done=True, done_reason="load"))
        return await self._answer(request, fields, name, task, "response", (b'"response":', b""))

    async def embed(self, request: web.BaseRequest) -> web.StreamResponse:
        """POST /api/embed."""
        fields = Fields(await request.read(), "EmbedRequest")
        name = fields.text("model")
        texts = fields.raw("input")
        if isinstance(texts, str):
            texts = [texts] if texts else []
        if texts is None:
            texts = []
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise SimulatedRefusal(400, "invalid input type")
        model = self.found(name)
        vectors, timing = await self.embed_texts(
            model,
            texts,
            _keep_s(fields),
            fields.number("dimensions") or 0,
            truncate=fields.flag("truncate") is not False,
        )
        answer: Json = {"model": name, "embeddings": vectors}
        if texts:
            answer["total_duration"] = timing.total_ns
            answer["load_duration"] = timing.load_ns
            answer["prompt_eval_count"] = timing.prompt_tokens
        return reply(answer)

    async def embeddings(self, request: web.BaseRequest) -> web.StreamResponse:
        """POST /api/embeddings, the old form, which tells no usage."""
        fields = Fields(await request.read(), "EmbeddingRequest")
        name = fields.text("model")
        if not name:
            raise SimulatedRefusal(400, "model is required")
        model = self._library.find(name)
        if model is None:
            raise SimulatedRefusal(404, f'model "{name}" not found, try pulling it first')
        prompt = fields.text("prompt")
        vectors, _ = await self.embed_texts(model, [prompt] if prompt else [], _keep_s(fields), 0)
        return reply({"embedding": vectors[0] if vectors else []})

    async def embed_texts(
        self,
        model: SimulatedModel,
        texts: Sequence[str],
        keep_s: float,
        dimensions: int,
        *,
        truncate: bool = True,
    ) -> tuple[list[list[float]], Timing]:
        """Vectors for `texts`, shortened to `dimensions` where that is less than the model's."""
        counts = [count_tokens(text) + 2 for text in texts]
        if not truncate and counts and max(counts) > model.context_length:
            raise SimulatedRefusal(400, "the input length exceeds the context length")
        task = Task(
            model=model,
            prompt="",
            prompt_tokens=sum(min(count, model.context_length) for count in counts),
            keep_s=keep_s,
            faults=read_faults("\n".join(texts), self._faults()),
        )
        timing = await self._inference.embed(task)
        length = min(dimensions, model.embedding_length) if dimensions > 0 else model.embedding_length
        return [embedding(model.name, text, length) for text in texts], timing

    def models(self) -> tuple[SimulatedModel, ...]:
        """All there are."""
        return self._library.models()

    def found(self, name: str) -> SimulatedModel:
        """The model called `name`; refuses as Ollama does."""
        model = self._library.find(name)
        gone = self._faults().gone
        if model is None or (gone and gone in model.name):
            raise SimulatedRefusal(404, f"model '{name}' not found")
        return model

    def _check(self, fields: Fields, name: str, model: SimulatedModel, verb: str) -> None:
        if fields.raw("think"):
            raise SimulatedRefusal(400, f'"{name}" does not support thinking')
        if not model.generates:
            raise SimulatedRefusal(400, f'"{name}" does not support {verb}')
        if fields.items("tools") and "tools" not in model.capabilities:
            raise SimulatedRefusal(400, f"registry.ollama.ai/library/{model.name} does not support tools")

    def _task(self, fields: Fields, model: SimulatedModel, prompt: str, further_tokens: int) -> Task:
        options = fields.object("options")
        limit = options.get("num_predict")
        stops = options.get("stop")
        return self.task(
            model,
            prompt,
            further_tokens,
            keep_s=_keep_s(fields),
            limit=limit if isinstance(limit, int) else -1,
            stops=stops if isinstance(stops, list) else [stops] if isinstance(stops, str) else [],
            form=fields.raw("format"),
        )

    def task(
        self,
        model: SimulatedModel,
        prompt: str,
        further_tokens: int,
        *,
        keep_s: float = _KEEP_S,
        limit: int,
        stops: Sequence[object],
        form: object,
    ) -> Task:
        """What is asked of the model; `form` is "json", a JSON schema, or nothing."""
        fixed = None
        if isinstance(form, dict):
            fixed = dumps(example(form)).decode()
        elif form == "json":
            fixed = '{"simulated": true, "answer": "No model ran, and no GPU worked for this."}'
        return Task(
            model=model,
            prompt=prompt,
            prompt_tokens=count_tokens(prompt) + further_tokens + _TOKENS_OF_THE_TEMPLATE,
            keep_s=keep_s,
            faults=self._faults_of(model, prompt),
            limit=limit,
            stops=tuple(stop for stop in stops if isinstance(stop, str)),
            fixed_text=fixed,
        )

    def _faults_of(self, model: SimulatedModel, prompt: str) -> Faults:
        faults = read_faults(prompt, self._faults())
        if faults.fails_to_generate and faults.fails_to_generate in model.name:
            return replace(faults, error_after=0)
        return faults

    async def _answer(
        self,
        request: web.BaseRequest,
        fields: Fields,
        name: str,
        task: Task,
        kind: str,
        shape: tuple[bytes, bytes],
    ) -> web.StreamResponse:
        if fields.flag("stream") is False:
            try:
                timing = await self._inference.generate(task, None)
            except CutOff as cut:
                content: object = (
                    cut.text if kind == "response" else {"role": "assistant", "content": cut.text}
                )
                return reply(_frame(name, kind, content, done=False))
            return reply(_last(name, kind, "".join(timing.text), task, timing))
        stream = Stream(request, "application/x-ndjson")
        head = b'{"model":' + dumps(name) + b',"created_at":"'
        middle, tail = b'",' + shape[0], shape[1] + b',"done":false}\n'

        async def emit(tokens: Sequence[str]) -> None:
            before = head + timestamp(time.time_ns()).encode() + middle
            await stream.write(b"".join([before + token_json(token) + tail for token in tokens]))

        try:
            timing = await self._inference.generate(task, emit)
        except CutOff:
            return await stream.end()
        except InferenceFailed as error:
            if not stream.begun:
                raise
            await stream.write(dumps({"error": str(error)}) + b"\n")
            return await stream.end()
        await stream.write(dumps(_last(name, kind, "", task, timing)) + b"\n")
        return await stream.end()


def _frame(name: str, kind: str, content: object, **further: object) -> Json:
    return {"model": name, "created_at": timestamp(time.time_ns()), kind: content, **further}


def _last(name: str, kind: str, text: str, task: Task, timing: Timing) -> Json:
    content: object = text if kind == "response" else {"role": "assistant", "content": text}
    frame = _frame(name, kind, content, done=True, done_reason=timing.reason)
    if kind == "response":
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


def _keep_s(fields: Fields) -> float:
    """`keep_alive` in seconds, negative for ever: a number, or a duration as Go writes them."""
    value = fields.raw("keep_alive")
    if value is None:
        return _KEEP_S
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if isinstance(value, str):
        sign, amount = (-1.0, value[1:]) if value.startswith("-") else (1.0, value.removeprefix("+"))
        pieces = _DURATION.findall(amount)
        if amount == "0":
            return 0.0
        if pieces and "".join(number + unit for number, unit in pieces) == amount:
            return sign * sum(float(number) * _UNITS_S[unit] for number, unit in pieces)
        raise SimulatedRefusal(400, f'time: invalid duration "{value}"')
    raise SimulatedRefusal(400, f"Unsupported type: '{type(value).__name__}'")
