"""Ollama as an inference engine.

Rule 1: requests for inference pass as they are; only the gateway's own few questions are understood here.
Rule 2: what Ollama leaves out is absent (empty, zero), never guessed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

from app.basics.compact import compact
from app.engine.base import EngineBroken, EngineTimeout, Loaded, Model, Reply
from app.engine.wire import Wire

_QUESTION_S = 10.0
"""How long the gateway's own questions may take; none of them waits for inference."""


class OllamaEngine:
    """Ollama at `url` (see `base.Engine`).

    `silence_s`: how long it may say nothing while it owes an answer. Raises ValueError on an address that is none.
    Make it inside the loop that will use it, or before that loop runs.
    """

    def __init__(self, url: str, *, silence_s: float = 600.0, connect_s: float = 5.0) -> None:
        self._wire = Wire(url, silence_s=silence_s, connect_s=connect_s)
        self._silence_s = silence_s
        self._connect_s = connect_s
        self.name = "Ollama"
        self.kind = "ollama"
        self.simulated = False
        self.native = self.frees_memory = True

    @property
    def url(self) -> str:
        """Base address without a trailing slash."""
        return self._wire.url

    # Not `async def`: the wire's coroutine is awaited directly, one frame less on every step of every request.
    def post(self, path: str, body: bytes) -> Coroutine[Any, Any, Reply]:
        """Send `body` (JSON) to `path`; the reply as soon as its status line is there."""
        return self._wire.post(path, body)

    def get(self, path: str) -> Coroutine[Any, Any, Reply]:
        """Like `post`, without a body."""
        return self._wire.get(path)

    async def version(self) -> str:
        """The engine's own version."""
        return _text((await self._question("/api/version")).get("version"))

    async def models(self) -> tuple[Model, ...]:
        """Every model it has, the newest first as Ollama lists them."""
        return tuple(_model(entry) for entry in _entries(await self._question("/api/tags")))

    async def loaded(self) -> tuple[Loaded, ...]:
        """Every model that occupies memory now."""
        return tuple(
            Loaded(
                name=_text(entry.get("name") or entry.get("model")),
                digest=_text(entry.get("digest")),
                size_b=_number(entry.get("size")),
                vram_b=_number(entry.get("size_vram")),
                expires_at=_text(entry.get("expires_at")),
            )
            for entry in _entries(await self._question("/api/ps"))
        )

    async def unload(self, model: str) -> None:
        """Give the model's memory back; Ollama does so as soon as no request uses the model."""
        await self._question("/api/generate", {"model": model, "keep_alive": 0, "stream": False}, absent=404)

    async def move_to(self, url: str) -> None:
        """Ask at another address from now on. Requests under way at the old one fail as if the engine had gone.

        Raises ValueError on an address that is none, and then stays where it is.
        """
        if url.rstrip("/") == self._wire.url:
            return
        old, self._wire = self._wire, Wire(url, silence_s=self._silence_s, connect_s=self._connect_s)
        await old.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._wire.close()

    async def _question(self, path: str, body: object = None, *, absent: int = 0) -> dict[str, Any]:
        """The answer's object; an empty one where the status is `absent`."""
        try:
            async with asyncio.timeout(_QUESTION_S):
                if body is None:
                    reply = await self._wire.get(path)
                else:
                    reply = await self._wire.post(path, compact(body))
                try:
                    raw = await reply.read()
                finally:
                    reply.release()
        except TimeoutError as error:
            why = f"The engine at {self.url} did not answer {path} within {_QUESTION_S:g} s: see its log."
            raise EngineTimeout(why) from error
        if reply.status == absent:
            return {}
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError):
            answer = None
        if reply.status == 200 and isinstance(answer, dict):
            return answer
        said = answer.get("error") if isinstance(answer, dict) else None
        why = f"said «{said}»" if said else f"answered {path} with status {reply.status}, not as Ollama does"
        raise EngineBroken(f"The engine at {self.url} {why}: check that it is Ollama, and its log.")


def _entries(answer: dict[str, Any]) -> list[dict[str, Any]]:
    models = answer.get("models")
    return [entry for entry in models if isinstance(entry, dict)] if isinstance(models, list) else []


def _model(entry: dict[str, Any]) -> Model:
    details = entry.get("details")
    if not isinstance(details, dict):
        details = {}
    name = _text(entry.get("name") or entry.get("model"))
    return Model(
        name=name,
        digest=_text(entry.get("digest")),
        size_b=_number(entry.get("size")),
        family=_text(details.get("family")),
        parameter_size=_text(details.get("parameter_size")),
        quantization=_text(details.get("quantization_level")),
        # remote_model alone has been seen too, and names that say it in any case; each means that prompts leave this
        # computer.
        remote=bool(entry.get("remote_host") or entry.get("remote_model"))
        or name.lower().endswith((":cloud", "-cloud")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
