"""What is said of models and of what is being done to them. Data and errors only.

Rule: an operation is one piece of work on one model; whoever looks sees its latest state, nobody is called back.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from app.engine.host import Progress


class ModelError(Exception):
    """Something about a model did not work; `str()` is one sentence: what happened, why, what to do."""


class Fit(StrEnum):
    """Whether a model would fit into the GPU's memory with the context that the settings ask for."""

    FITS = "fits"
    TIGHT = "tight"
    """It fits, and little is left for anything else on the screen."""
    PARTLY = "partly"
    """Some of it would be computed on the processor: slow."""
    NO = "no"
    """Neither the GPU's memory nor main memory has room."""
    UNKNOWN = "unknown"
    """The GPU's memory or the model's size is not known."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a model would need: bytes of its weights, of its context (the key-value cache) and of buffers."""

    weights_b: int
    context_b: int
    buffers_b: int
    fit: Fit
    sentence: str
    """For example «Needs about 6.1 GB of the GPU's 24.0 GB.»"""

    @property
    def total_b(self) -> int:
        """All of it."""
        return self.weights_b + self.context_b + self.buffers_b


@dataclass(frozen=True, slots=True)
class Entry:
    """One model, here or in the catalogue."""

    name: str
    installed: bool
    size_b: int
    """On disk, or to be pulled."""
    family: str
    parameter_size: str
    """As people say it: `8.0B`."""
    quantization: str
    digest: str
    loaded: bool
    vram_b: int
    """What it occupies of the GPU's memory now."""
    expires_at: str
    """When the engine means to unload it: RFC 3339, or empty."""
    estimate: Estimate
    note: str = ""
    """One sentence of the catalogue's; empty for models that it does not know."""


class Doing(StrEnum):
    """What an operation does."""

    PULL = "pull"
    UPDATE = "update"
    LOAD = "load"


class Outcome(StrEnum):
    """How far an operation is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Operation:
    """One piece of work on one model."""

    id: str
    doing: Doing
    model: str
    outcome: Outcome
    progress: Progress
    sentence: str
    """What happens now, or what came of it."""
    source: str = ""
    """The web address that an update comes from."""
    sha256: str = ""
    """What the file there must have, where that was said."""


class ModelsFace(Protocol):
    """What a face may ask about models. Everything on the loop's thread; nothing blocks; errors are ModelError."""

    def entries(self) -> tuple[Entry, ...]:
        """The engine's models, then the catalogue's that are not there."""

    def operations(self) -> tuple[Operation, ...]:
        """What runs now and what has ended lately, the newest first."""

    def pull(self, name: str) -> Operation:
        """Begin to pull, or join the pull of this model that runs. Pulling one that was broken off goes on there."""

    def update(self, url: str, name: str, sha256: str = "") -> Operation:
        """Begin to fetch a GGUF file from `url` and make it the model `name`. One at a time."""

    def load(self, name: str) -> Operation:
        """Begin to load a model into the GPU's memory."""

    def cancel(self, operation: str) -> None:
        """Stop an operation by its id; what has been pulled so far is kept."""

    async def unload(self, name: str) -> None:
        """Give a model's memory back."""

    async def delete(self, name: str) -> None:
        """Remove a model from the disk."""

    async def show(self, name: str) -> dict[str, Any]:
        """What the engine tells of a model: details, parameters, template, licence."""
