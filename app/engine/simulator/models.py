"""The models that the simulator pretends to have, and how names find them.

Rule 1: sizes and speeds are those of the real models on a 12 GB, 170 W card, so that a demonstration is credible.
Rule 2: digests are of our own making: nobody shall take a simulated model's record for that of the real one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from app.engine.simulator.gojson import Json


@dataclass(frozen=True)
class SimulatedModel:
    """One model: what Ollama tells about it, and how fast it is at a speed of 1."""

    name: str
    size_b: int
    family: str
    parameters: int
    parameter_size: str
    quantization: str
    context_length: int
    embedding_length: int
    capabilities: tuple[str, ...]
    prefill_per_s: float
    """Prompt tokens a second."""
    decode_per_s: float
    """Answer tokens a second."""

    @cached_property
    def digest(self) -> str:
        """64 hex digits that no real model has."""
        return hashlib.sha256(f"simulated {self.name}".encode()).hexdigest()

    @property
    def vram_b(self) -> int:
        """Weights, plus about an eighth for context and buffers."""
        return self.size_b * 9 // 8

    @property
    def load_s(self) -> float:
        """From a fast disk, at 2.4 GB/s, after 0.3 s of starting a process."""
        return 0.3 + self.size_b / 2.4e9

    @property
    def generates(self) -> bool:
        """Whether it writes text; if not, it embeds."""
        return "completion" in self.capabilities

    def details(self) -> Json:
        """Ollama's `details`."""
        return {
            "parent_model": "",
            "format": "gguf",
            "family": self.family,
            "families": [self.family],
            "parameter_size": self.parameter_size,
            "quantization_level": self.quantization,
        }


MODIFIED_AT = "2026-08-21T18:48:22.123456789Z"
"""When every simulated model was «pulled»."""
MODIFIED_UNIX = 1787338102

_LLAMA = SimulatedModel(
    name="llama3.1:8b",
    size_b=4_920_753_328,
    family="llama",
    parameters=8_030_261_312,
    parameter_size="8.0B",
    quantization="Q4_K_M",
    context_length=131_072,
    embedding_length=4096,
    capabilities=("completion", "tools"),
    prefill_per_s=1400,
    decode_per_s=52,
)
_QWEN = SimulatedModel(
    name="qwen2.5:3b",
    size_b=1_929_912_432,
    family="qwen2",
    parameters=3_085_938_688,
    parameter_size="3.1B",
    quantization="Q4_K_M",
    context_length=32_768,
    embedding_length=2048,
    capabilities=("completion", "tools"),
    prefill_per_s=3100,
    decode_per_s=108,
)
_MORTDECAI = SimulatedModel(
    name="mortdecai:0.5.0",
    size_b=5_300_000_000,
    family="llama",
    parameters=8_800_000_000,
    parameter_size="8.8B",
    quantization="Q4_K_M",
    context_length=32_768,
    embedding_length=4096,
    capabilities=("completion",),
    prefill_per_s=1250,
    decode_per_s=47,
)
_NOMIC = SimulatedModel(
    name="nomic-embed-text:latest",
    size_b=274_302_450,
    family="nomic-bert",
    parameters=136_727_040,
    parameter_size="137M",
    quantization="F16",
    context_length=2048,
    embedding_length=768,
    capabilities=("embedding",),
    prefill_per_s=9000,
    decode_per_s=0,
)

MODELS: tuple[SimulatedModel, ...] = (_MORTDECAI, _LLAMA, _QWEN, _NOMIC)

_BY_NAME = {model.name: model for model in MODELS}


def find(name: str) -> SimulatedModel | None:
    """The model that Ollama would take `name` for: any case, `latest` where no tag is given, with or without
    `registry.ollama.ai/` and `library/`."""
    path = name.lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return _BY_NAME.get(path if ":" in path else f"{path}:latest")
