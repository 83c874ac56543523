"""What the gateway asks of an inference engine, and how an engine can fail.

Rule 1: everything here is data, a protocol or an error; nothing here does anything.
Rule 2: whatever an engine is made of (HTTP, sockets, a simulation), no exception of its making leaves this
room: callers see an `EngineError` or nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol


class EngineError(Exception):
    """An engine could not do what was asked; `str()` of it is one sentence for a person."""


class EngineUnreachable(EngineError):
    """No connection came about: nothing of the request reached the engine, no work, no energy, no record."""


class EngineBroken(EngineError):
    """The engine was asked and then failed: the connection died early, or the answer made no sense."""


class EngineTimeout(EngineError):
    """The engine was asked and then said nothing for longer than it may."""


class CannotUnload(EngineError):
    """This engine has no way to give a model's memory back while it runs."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model the engine could run."""

    name: str
    """As the engine spells it, tag included: `llama3.1:8b`."""
    digest: str
    """Hex SHA-256 of the model's manifest, or empty where the engine tells none."""
    size_b: int
    family: str
    parameter_size: str
    quantization: str
    remote: bool
    """True when the engine would send prompts to somebody else's computer (Ollama's cloud models)."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that occupies memory now."""

    name: str
    digest: str
    size_b: int
    vram_b: int
    """The part of `size_b` that lies in the GPU's memory."""
    expires_at: str
    """When the engine means to unload it: RFC 3339 as the engine wrote it, or empty."""


class Reply(Protocol):
    """An engine's answer, from its status line on.

    Take it with `read()` or with `chunks()`, one of them and once, and call `release()` whatever happened.
    After the end of the answer the connection serves the next request; before it, `release()` closes the
    connection, which makes the engine stop generating. Being cancelled in either of them does the same.
    """

    @property
    def status(self) -> int:
        """The HTTP status; any of them, an engine's refusal is an answer too."""

    @property
    def content_type(self) -> str:
        """The Content-Type header as sent, or empty."""

    async def read(self) -> bytes:
        """All of the answer, 32 MB at most. Raises EngineBroken or EngineTimeout."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The answer's bytes as they come, never empty, cut wherever the network cut. Raises like `read`."""

    def release(self) -> None:
        """Be done with this answer. Never raises, may be called again."""


class Engine(Protocol):
    """Where inference happens.

    Every method that asks the engine raises EngineUnreachable, EngineBroken or EngineTimeout, nothing else, except
    for `unload`, which may also raise CannotUnload.
    """

    @property
    def name(self) -> str:
        """For people, for example «Ollama»."""

    @property
    def kind(self) -> str:
        """`ollama`, `simulator`, `llama-server`, `vllm`, `lm-studio`, `litellm` or `openai`."""

    @property
    def url(self) -> str:
        """Base address without a trailing slash."""

    @property
    def simulated(self) -> bool:
        """True when no GPU does any work, which every face must say."""

    @property
    def native(self) -> bool:
        """It speaks Ollama's own API; False: `/v1` only, and names of models are compared exactly."""

    @property
    def frees_memory(self) -> bool:
        """`unload` can give memory back; False: it raises CannotUnload."""

    async def post(self, path: str, body: bytes) -> Reply:
        """Send `body` (JSON) to `path` (from the leading slash) and return once the status line is there.

        Cancelling it closes the connection.
        """

    async def get(self, path: str) -> Reply:
        """Like `post`, without a body."""

    async def version(self) -> str:
        """The engine's own version."""

    async def models(self) -> tuple[Model, ...]:
        """Every model it could run, in its own order."""

    async def loaded(self) -> tuple[Loaded, ...]:
        """Every model that occupies memory now."""

    async def unload(self, model: str) -> None:
        """Give the model's memory back. A model that is not loaded, or not known, is already unloaded."""

    async def close(self) -> None:
        """Close every connection. The engine itself goes on; this object does not."""
