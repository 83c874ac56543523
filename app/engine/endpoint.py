"""Whatever runs at an address, as an inference engine: it finds out what that is, and then behaves accordingly.

Rule 1: it asks what the software is at the first reach, and again after the engine failed to answer, because another
program may have taken its place. Rule 2: until it knows, it behaves as Ollama. Rule 3: what an engine cannot do is
said in one sentence, never pretended.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any, TypeVar

from app.basics.compact import compact
from app.engine.base import (
    CannotUnload,
    EngineBroken,
    EngineError,
    EngineTimeout,
    EngineUnreachable,
    Loaded,
    Model,
)
from app.engine.evidence import Found, Software, model_entries
from app.engine.identify import identify
from app.engine.ollama import OllamaEngine

_QUESTION_S = 10.0

T = TypeVar("T")

_KEEPS = {
    Software.LLAMA_SERVER: "llama-server keeps its model in the GPU's memory until it is stopped.",
    Software.VLLM: "vLLM keeps its model in the GPU's memory until it is stopped.",
    Software.LM_STUDIO: "This LM Studio cannot be asked to unload a model: eject it in its window, or update it.",
    Software.LITELLM: "LiteLLM only passes requests on: unload the model where it runs.",
    Software.OPENAI: "This engine has no way to give the GPU's memory back but being stopped.",
}


class EndpointEngine(OllamaEngine):
    """The engine at `url` (see `base.Engine`), of whatever kind it is.

    `silence_s`: how long it may say nothing while it owes an answer. Raises ValueError on an address that is none.
    Make it inside the loop that will use it, or before that loop runs.
    """

    def __init__(self, url: str, *, silence_s: float = 600.0, connect_s: float = 5.0) -> None:
        super().__init__(url, silence_s=silence_s, connect_s=connect_s)
        self._found: Found | None = None
        self._doubtful = True

    async def move_to(self, url: str) -> None:
        """Ask at another address from now on, and find out anew what is there."""
        await super().move_to(url)
        self._doubtful = True

    async def version(self) -> str:
        """The engine's own version; empty where it tells none."""
        found = await self._know()
        return await self._watched(super().version()) if found.native else found.version

    async def models(self) -> tuple[Model, ...]:
        """Every model it could run, in its own order."""
        if (await self._know()).native:
            return await self._watched(super().models())
        return tuple(_model(entry) for entry in await self._watched(self._list()))

    async def loaded(self) -> tuple[Loaded, ...]:
        """Every model that occupies memory now, as far as the engine tells."""
        found = await self._know()
        if found.native:
            return await self._watched(super().loaded())
        if found.software is Software.LM_STUDIO:
            return await self._watched(self._studio_loaded())
        if found.software in (Software.LLAMA_SERVER, Software.VLLM):
            return tuple(_served(entry) for entry in await self._watched(self._list()) if _is_loaded(entry))
        return ()

    async def unload(self, model: str) -> None:
        """Give the model's memory back. Raises CannotUnload where the software has no way."""
        found = await self._know()
        if found.native:
            await self._watched(super().unload(model))
        elif not found.unloads:
            raise CannotUnload(_KEEPS[found.software])
        elif found.software is Software.LM_STUDIO:
            for entry in await self._watched(self._studio()):
                if entry.get("key") == model or model in _instances(entry):
                    for instance in _instances(entry):
                        await self._watched(self._ask("/api/v1/models/unload", {"instance_id": instance}))
        elif any(entry["id"] == model and _is_loaded(entry) for entry in await self._watched(self._list())):
            await self._watched(self._ask("/models/unload", {"model": model}))

    async def _know(self) -> Found:
        """What the engine is; asked anew where that is in doubt."""
        if self._found is not None and not self._doubtful:
            return self._found
        # The wire's own words say best why nothing answers, and it is refused faster than a round of questions.
        try:
            async with asyncio.timeout(_QUESTION_S):
                (await self.get("/")).release()
        except TimeoutError as error:
            why = f"What listens at {self.url} accepts connections and says nothing: see its log."
            raise EngineTimeout(why) from error
        asked = self.url
        found = await identify(asked, budget_s=self._connect_s)
        if found is None:
            raise EngineBroken(
                f"What answers at {self.url} is no engine that is known here: check the address, or its log."
            )
        if found.software is Software.GATEWAY:
            raise EngineBroken(
                f"{self.url} is a Mortdecai Gateway, not an engine: give the address of the engine itself."
            )
        if found.locked:
            raise EngineBroken(
                f"{found.name} at {self.url} wants a key of its own, which the gateway does not send: "
                "start it without one, or choose another engine."
            )
        # What was asked at another address says nothing of this one.
        self._found, self._doubtful = found, asked != self.url
        self.name, self.kind = found.name, found.software.value
        self.simulated = found.software is Software.SIMULATOR
        self.native, self.frees_memory = found.native, found.unloads
        return found

    async def _watched(self, asking: Awaitable[T]) -> T:
        """The outcome of a question; where it fails, what we know of the engine is in doubt."""
        try:
            return await asking
        except EngineError:
            self._doubtful = True
            raise

    async def _list(self) -> list[dict[str, Any]]:
        entries = model_entries(await self._ask("/v1/models"))
        if entries is None:
            raise EngineBroken(f"The engine at {self.url} gave no list of models: see its log.")
        return entries

    async def _studio(self) -> list[dict[str, Any]]:
        """LM Studio's own list; the older API's has `state`, the newer one's `loaded_instances`."""
        assert self._found is not None
        if not self._found.unloads:
            return model_entries(await self._ask("/api/v0/models")) or []
        models = (await self._ask("/api/v1/models")).get("models")
        return [entry for entry in models if isinstance(entry, dict)] if isinstance(models, list) else []

    async def _studio_loaded(self) -> tuple[Loaded, ...]:
        return tuple(
            Loaded(
                name=str(entry.get("key") or entry.get("id") or ""),
                digest="",
                size_b=_whole(entry.get("size_bytes")),
                vram_b=0,
                expires_at="",
            )
            for entry in await self._studio()
            if entry.get("state") == "loaded" or _instances(entry)
        )

    async def _ask(self, path: str, body: object = None) -> dict[str, Any]:
        """The answer's object. Raises EngineUnreachable, EngineBroken, EngineTimeout."""
        try:
            async with asyncio.timeout(_QUESTION_S):
                reply = await (self.get(path) if body is None else self.post(path, compact(body)))
                try:
                    raw = await reply.read()
                finally:
                    reply.release()
        except TimeoutError as error:
            why = f"The engine at {self.url} did not answer {path} within {_QUESTION_S:g} s: see its log."
            raise EngineTimeout(why) from error
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError):
            answer = None
        # LM Studio's way to refuse a path is status 200 with an error.
        if reply.status == 200 and isinstance(answer, dict) and "error" not in answer:
            return answer
        if reply.status == 503:
            raise EngineUnreachable(
                f"The engine at {self.url} is not ready: it may still be loading its model."
            )
        raise EngineBroken(
            f"The engine at {self.url} answered {path} with status {reply.status}: see its log."
        )


def _model(entry: dict[str, Any]) -> Model:
    meta = entry.get("meta")  # llama-server's
    return Model(
        name=entry["id"],
        digest="",
        size_b=_whole(meta.get("size")) if isinstance(meta, dict) else 0,
        family="",
        parameter_size="",
        quantization="",
        remote=False,
    )


def _served(entry: dict[str, Any]) -> Loaded:
    return Loaded(name=entry["id"], digest="", size_b=_model(entry).size_b, vram_b=0, expires_at="")


def _is_loaded(entry: dict[str, Any]) -> bool:
    """llama-server gives each model a status where it serves several; vLLM names an adapter's `parent`, which is what
    occupies the memory."""
    status = entry.get("status")
    if isinstance(status, dict):
        return status.get("value") == "loaded"
    return not entry.get("parent")


def _instances(entry: dict[str, Any]) -> list[str]:
    instances = entry.get("loaded_instances")
    if not isinstance(instances, list):
        return []
    return [one["id"] for one in instances if isinstance(one, dict) and isinstance(one.get("id"), str)]


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
