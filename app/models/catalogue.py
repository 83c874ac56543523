"""Open models worth offering: what they are called in Ollama's library, how large they are, and which fits whom.

Rule 1: pure data and arithmetic; nothing is fetched, and the simulator's registry knows the same names. Rule 2: sizes
are rounded as the library's pages show them, and only say what to expect; what the library says while pulling, and an
engine of what it has, goes before them. The tests hold each size against parameters and quantisation.

Layers, key-value heads and their length are those of the makers' config.json files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar


@dataclass(frozen=True, slots=True)
class Offer:
    """A model of Ollama's library."""

    name: str
    parameters: int
    quantization: str
    size_b: int
    """To be pulled, and on disk."""
    context_length: int
    """Tokens it was made for, at most."""
    layers: int
    kv_heads: int
    head_dim: int
    """Numbers in one head's key; its value has as many."""
    family: str
    note: str
    embeds: bool = False
    """It makes vectors of texts, and writes none."""

    @property
    def parameter_size(self) -> str:
        """As Ollama says it: `8.0B`, `137M`."""
        if self.parameters >= 1_000_000_000:
            return f"{self.parameters / 1e9:.1f}B"
        return f"{self.parameters / 1e6:.0f}M"


_K = 1024

CATALOGUE: tuple[Offer, ...] = (
    Offer(
        *("qwen3:0.6b", 752_000_000, "Q4_K_M", 523_000_000, 40 * _K, 28, 8, 128, "qwen3"),
        "Tiny, and enough to try things out on any machine.",
    ),
    Offer(
        *("gemma3:1b", 1_000_000_000, "Q4_K_M", 815_000_000, 32 * _K, 26, 1, 256, "gemma3"),
        "Small and quick, for short texts.",
    ),
    Offer(
        *("llama3.2:1b", 1_240_000_000, "Q8_0", 1_321_098_329, 128 * _K, 16, 8, 64, "llama"),
        "Small and quick, with a long context.",
    ),
    Offer(
        *("qwen3:1.7b", 2_030_000_000, "Q4_K_M", 1_400_000_000, 40 * _K, 28, 8, 128, "qwen3"),
        "Small, and can think before it answers.",
    ),
    Offer(
        *("qwen2.5:3b", 3_090_000_000, "Q4_K_M", 1_929_912_432, 32 * _K, 36, 2, 128, "qwen2"),
        "Small, with a context that costs little memory.",
    ),
    Offer(
        *("llama3.2:3b", 3_210_000_000, "Q4_K_M", 2_019_393_189, 128 * _K, 28, 8, 128, "llama"),
        "For conversation and summaries on cards with 4 GB.",
    ),
    Offer(
        *("qwen3:4b", 4_020_000_000, "Q4_K_M", 2_500_000_000, 256 * _K, 36, 8, 128, "qwen3"),
        "Good answers for its size; fits a card with 6 GB.",
    ),
    Offer(
        *("gemma3:4b", 4_300_000_000, "Q4_K_M", 3_300_000_000, 128 * _K, 34, 4, 256, "gemma3"),
        "Reads pictures too, in many languages.",
    ),
    Offer(
        *("mistral:7b", 7_250_000_000, "Q4_K_M", 4_400_000_000, 32 * _K, 32, 8, 128, "llama"),
        "An older all-rounder that many programs know.",
    ),
    Offer(
        *("qwen2.5-coder:7b", 7_620_000_000, "Q4_K_M", 4_700_000_000, 32 * _K, 28, 4, 128, "qwen2"),
        "Writes and completes programs.",
    ),
    Offer(
        *("llama3.1:8b", 8_030_000_000, "Q4_K_M", 4_920_753_328, 128 * _K, 32, 8, 128, "llama"),
        "A well-known all-rounder with a long context.",
    ),
    Offer(
        *("qwen3:8b", 8_190_000_000, "Q4_K_M", 5_200_000_000, 40 * _K, 36, 8, 128, "qwen3"),
        "A strong all-rounder for cards with 8 GB and more.",
    ),
    Offer(
        *("deepseek-r1:8b", 8_190_000_000, "Q4_K_M", 5_200_000_000, 128 * _K, 36, 8, 128, "qwen3"),
        "Thinks at length before it answers.",
    ),
    Offer(
        *("mistral-nemo:12b", 12_200_000_000, "Q4_0", 7_100_000_000, 128 * _K, 40, 8, 128, "llama"),
        "Speaks many languages, with a long context.",
    ),
    Offer(
        *("gemma3:12b", 12_200_000_000, "Q4_K_M", 8_100_000_000, 128 * _K, 48, 8, 256, "gemma3"),
        "Reads pictures too; for cards with 12 GB.",
    ),
    Offer(
        *("phi4:14b", 14_700_000_000, "Q4_K_M", 9_100_000_000, 16 * _K, 40, 10, 128, "phi3"),
        "Good at reasoning and mathematics.",
    ),
    Offer(
        *("qwen3:14b", 14_800_000_000, "Q4_K_M", 9_300_000_000, 40 * _K, 40, 8, 128, "qwen3"),
        "A strong all-rounder for cards with 12 GB and more.",
    ),
    Offer(
        *("gpt-oss:20b", 20_900_000_000, "MXFP4", 14_000_000_000, 128 * _K, 24, 8, 64, "gptoss"),
        "Quick for its size, and thinks; for cards with 16 GB.",
    ),
    Offer(
        *("mistral-small3.2:24b", 24_000_000_000, "Q4_K_M", 15_000_000_000, 128 * _K, 40, 8, 128, "mistral3"),
        "Reads pictures and calls tools; for cards with 24 GB.",
    ),
    Offer(
        *("gemma3:27b", 27_400_000_000, "Q4_K_M", 17_000_000_000, 128 * _K, 62, 16, 128, "gemma3"),
        "The largest Gemma 3; reads pictures too.",
    ),
    Offer(
        *("qwen3:30b", 30_500_000_000, "Q4_K_M", 19_000_000_000, 256 * _K, 48, 4, 128, "qwen3moe"),
        "Uses a tenth of itself for each token: quick for its size.",
    ),
    Offer(
        *("qwen3-coder:30b", 30_500_000_000, "Q4_K_M", 19_000_000_000, 256 * _K, 48, 4, 128, "qwen3moe"),
        "Writes programs over many files; quick for its size.",
    ),
    Offer(
        *("qwen3:32b", 32_800_000_000, "Q4_K_M", 20_000_000_000, 40 * _K, 64, 8, 128, "qwen3"),
        "The strongest of Qwen 3 that one card with 24 GB holds.",
    ),
    Offer(
        *("llama3.3:70b", 70_600_000_000, "Q4_K_M", 43_000_000_000, 128 * _K, 80, 8, 128, "llama"),
        "For two cards with 24 GB, or one with 48 GB.",
    ),
    Offer(
        *("gpt-oss:120b", 116_800_000_000, "MXFP4", 65_000_000_000, 128 * _K, 36, 8, 64, "gptoss"),
        "For a card with 80 GB, or much unified memory.",
    ),
    Offer(
        *("nomic-embed-text:latest", 136_727_040, "F16", 274_302_450, 2 * _K, 12, 12, 64, "nomic-bert"),
        "Turns texts into vectors, for searching.",
        embeds=True,
    ),
)

_BY_NAME = {offer.name: offer for offer in CATALOGUE}

# The default for set-up: the strongest all-rounder that leaves room for its context and for the screen.
_ALL_ROUNDERS = ("qwen3:32b", "qwen3:14b", "qwen3:8b", "qwen3:4b", "qwen3:1.7b", "qwen3:0.6b")
_ROOM = 0.8
"""How much of the GPU's memory weights may take, so that context, buffers and a screen have the rest."""
_MAIN_ROOM = 0.35
"""The same for main memory, where everything else lives too."""
_LARGEST_ON_PROCESSOR_B = 3_000_000_000
"""Larger ones answer too slowly on a processor to be anybody's first impression."""


def offer(name: str) -> Offer | None:
    """The catalogue's entry, if there is one of this name."""
    return _BY_NAME.get(name)


def suggest(gpu_memory_b: int | None, main_memory_b: int) -> Offer:
    """The model to begin with, by the GPU's memory in bytes (None or 0: no GPU is known) and by main memory."""
    on_gpu = bool(gpu_memory_b)
    room_b = (
        (gpu_memory_b or 0) * _ROOM if on_gpu else min(main_memory_b * _MAIN_ROOM, _LARGEST_ON_PROCESSOR_B)
    )
    for name in _ALL_ROUNDERS:
        if _BY_NAME[name].size_b <= room_b:
            return _BY_NAME[name]
    return _BY_NAME[_ALL_ROUNDERS[-1]]


class _Sized(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def size_b(self) -> int: ...
    @property
    def family(self) -> str: ...


_S = TypeVar("_S", bound=_Sized)


def smallest(models: Iterable[_S]) -> _S | None:
    """The smallest model that writes text, for a test request; None where there is none.

    A model's name or family says that it embeds; nothing else that a list of models tells does.
    """
    writing = [model for model in models if not embeds(model.name, model.family)]
    return min(writing, key=lambda model: (model.size_b, model.name), default=None)


def embeds(name: str, family: str) -> bool:
    """Whether a model is known, or called, as one that only makes vectors."""
    known = _BY_NAME.get(name)
    if known is not None:
        return known.embeds
    return (
        "embed" in name.lower() or "bert" in family.lower() or name.lower().startswith(("bge-", "all-minilm"))
    )
