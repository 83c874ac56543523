"""Embeddings, in Ollama's dialect and in OpenAI's: asked for whole and answered whole, nothing is written.

Source: Ollama's `api/types.go` (EmbedRequest, EmbeddingRequest) and OpenAI's embeddings reference. What an engine
counts here is the prompt; the oldest of the three, `/api/embeddings`, tells nothing, and unknown is never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.proxy.dialects.base import JSON, Dialect, Tokens, dump, splice
from app.proxy.dialects.ollama import KEPT, OLLAMA, wants_unload
from app.proxy.dialects.openai import OPENAI
from app.proxy.strict_json import refuse_case_variants

_LEFT_OUT = frozenset(("keep_alive", "options"))
"""They pin, unload or reload the model for everyone, and change nothing about a vector."""


@dataclass(frozen=True, slots=True)
class EmbeddingEndpoint:
    """`/api/embed`, `/api/embeddings` and `/v1/embeddings`; none of them streams."""

    path: str
    required: str
    fields: frozenset[str]
    empty: str
    """The name of an Ollama answer's vectors, for the one answer that is ours; empty in OpenAI's dialect."""
    dialect: Dialect = OLLAMA
    stream_type: str = JSON

    def own_answer(self, call: dict[str, Any]) -> bytes | None:
        """A client that wants a model unloaded is told that it is not: without `keep_alive`, Ollama would load it."""
        if not self.empty or not wants_unload(call, self.required):
            return None
        named = {"model": call["model"]} if self.empty == "embeddings" else {}
        return splice(dump({**named, self.empty: []}), dump({"note": KEPT}))

    def prepare(self, call: dict[str, Any], max_output_tokens: int) -> None:
        """Drop what would pin, unload or reload a model; there is never a stream to read."""
        refuse_case_variants(call, self.fields | _LEFT_OUT)
        for name in _LEFT_OUT:
            call.pop(name, None)

    def whole_tokens(self, answer: dict[str, Any]) -> Tokens:
        """`prompt_eval_count`, or `usage.prompt_tokens`; nothing where the engine tells none."""
        tokens = Tokens()
        usage = answer.get("usage")
        tokens.said(
            usage.get("prompt_tokens") if isinstance(usage, dict) else answer.get("prompt_eval_count"), None
        )
        return tokens

    def whole_ended(self, answer: dict[str, Any]) -> bool:
        """Vectors come all or not at all."""
        return True


EMBED = EmbeddingEndpoint(
    "/api/embed", "input", frozenset("model input truncate dimensions".split()), "embeddings"
)
EMBEDDINGS_OF_OLD = EmbeddingEndpoint(
    "/api/embeddings", "prompt", frozenset(("model", "prompt")), "embedding"
)
EMBEDDINGS = EmbeddingEndpoint(
    "/v1/embeddings", "input", frozenset("model input encoding_format dimensions user".split()), "", OPENAI
)
