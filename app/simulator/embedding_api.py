"""Embeddings: /api/embed, /api/embeddings and /v1/embeddings. Vectors made of hashes, at the pace of a prefill."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence

from aiohttp import web

from app.simulator.exchange import Fields, SimulatedRefusal, reply
from app.simulator.gojson import Json
from app.simulator.inference import SimulatedInference, Timing
from app.simulator.models import SimulatedModel
from app.simulator.tasks import KEEP_S, SimulatedTasks, keep_s
from app.simulator.text import count_tokens, embedding


class EmbeddingApi:
    """The handlers of what makes vectors, in both dialects."""

    def __init__(self, tasks: SimulatedTasks, inference: SimulatedInference) -> None:
        self._tasks = tasks
        self._inference = inference

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
        model = self._tasks.found(name)
        vectors, timing = await self._vectors(
            model,
            texts,
            keep_s(fields),
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
        model = self._tasks.named(name)
        if model is None:
            raise SimulatedRefusal(404, f'model "{name}" not found, try pulling it first')
        prompt = fields.text("prompt")
        vectors, _ = await self._vectors(model, [prompt] if prompt else [], keep_s(fields), 0)
        return reply({"embedding": vectors[0] if vectors else []})

    async def compatible(self, request: web.BaseRequest) -> web.StreamResponse:
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
        vectors, timing = await self._vectors(
            self._tasks.found(name), texts, KEEP_S, fields.number("dimensions") or 0
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

    async def _vectors(
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
        count = sum(min(count, model.context_length) for count in counts)
        task = self._tasks.embedding(model, texts, count, keep_s)
        timing = await self._inference.embed(task)
        length = min(dimensions, model.embedding_length) if dimensions > 0 else model.embedding_length
        return [embedding(model.name, text, length) for text in texts], timing


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
