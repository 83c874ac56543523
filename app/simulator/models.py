"""The models that the simulator pretends to have, and how names find them.

Rule 1: sizes and speeds are those of the real models on a 12 GB, 170 W card, so that a demonstration is credible.
Rule 2: digests are of our own making: nobody shall take a simulated model's record for that of the real one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

from app.models.catalogue import CATALOGUE, Offer
from app.simulator.gojson import Json, timestamp

MODIFIED_NS = 1_787_338_102_123_456_789
"""When every model that the simulator is born with was «pulled»."""


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
    layers: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    """These three: 0 where they are not known."""
    modified_ns: int = MODIFIED_NS
    made_of: str = ""
    """What its digest is made from: its name, or for a created one the digest of its file."""
    template: str = "{{ .Prompt }}"
    system: str = ""
    license: str = ""
    renderer: str = ""
    parser: str = ""
    """The names of what writes its prompt and reads its answer, in place of the template."""
    parameters_said: str = ""
    """As /api/show lists them."""
    blob: str = ""
    """`sha256:…` of the file that it was created from."""

    @cached_property
    def digest(self) -> str:
        """64 hex digits that no real model has."""
        return hashlib.sha256(f"simulated {self.made_of or self.name}".encode()).hexdigest()

    @property
    def modified_at(self) -> str:
        """When it was pulled or created, as Go writes it."""
        return timestamp(self.modified_ns)

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

    @property
    def modelfile(self) -> str:
        """As far as something could be read out of it: Ollama tells renderer and parser nowhere else."""
        said = ["# This model is simulated.", f"FROM {self.name}", f'TEMPLATE """{self.template}"""']
        said += [f"SYSTEM {self.system}"] if self.system else []
        said += [f"RENDERER {self.renderer}"] if self.renderer else []
        said += [f"PARSER {self.parser}"] if self.parser else []
        return "\n".join(said) + "\n"

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

    def info(self) -> Json:
        """Ollama's `model_info`: what a GGUF file's head would say."""
        info: Json = {
            "general.architecture": self.family,
            "general.basename": self.name.partition(":")[0],
            "general.parameter_count": self.parameters,
            f"{self.family}.context_length": self.context_length,
            f"{self.family}.embedding_length": self.embedding_length,
        }
        if self.layers:
            info[f"{self.family}.block_count"] = self.layers
            info[f"{self.family}.attention.head_count_kv"] = self.kv_heads
            info[f"{self.family}.attention.key_length"] = self.head_dim
            info[f"{self.family}.attention.value_length"] = self.head_dim
        return info


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
    layers=32,
    kv_heads=8,
    head_dim=128,
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
    layers=36,
    kv_heads=2,
    head_dim=128,
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
    layers=32,
    kv_heads=8,
    head_dim=128,
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
    layers=12,
    kv_heads=12,
    head_dim=64,
)

_SEEING = SimulatedModel(
    name="qwen3-vl:4b",
    size_b=3_296_000_000,
    family="qwen3vl",
    parameters=4_440_000_000,
    parameter_size="4.4B",
    quantization="Q4_K_M",
    context_length=262_144,
    embedding_length=2560,
    capabilities=("completion", "vision", "tools", "thinking"),
    prefill_per_s=2400,
    decode_per_s=76,
    layers=36,
    kv_heads=8,
    head_dim=128,
)

MODELS: tuple[SimulatedModel, ...] = (_MORTDECAI, _LLAMA, _QWEN, _NOMIC)


_BANDWIDTH_B_PER_S = 256e9
"""Of such a card's memory: every token reads all the weights once."""
_PREFILL_PARAMETERS_PER_S = 1.12e13


def simulated(offer: Offer) -> SimulatedModel:
    """A model of the catalogue, as slow as its size makes it on such a card."""
    return SimulatedModel(
        name=offer.name,
        size_b=offer.size_b,
        family=offer.family,
        parameters=offer.parameters,
        parameter_size=offer.parameter_size,
        quantization=offer.quantization,
        context_length=offer.context_length,
        embedding_length=4096,
        capabilities=("embedding",) if offer.embeds else ("completion", "tools"),
        prefill_per_s=_PREFILL_PARAMETERS_PER_S / offer.parameters,
        decode_per_s=0 if offer.embeds else _BANDWIDTH_B_PER_S / offer.size_b,
        layers=offer.layers,
        kv_heads=offer.kv_heads,
        head_dim=offer.head_dim,
    )


def from_file(name: str, blob: str, size_b: int, modified_ns: int) -> SimulatedModel:
    """A model made of a GGUF file whose head nobody reads: its parameters follow from its size, at Q4_K_M."""
    parameters = max(1, int(size_b * 8 / 4.85))
    as_offer = Offer(name, parameters, "Q4_K_M", size_b, 8192, 0, 0, 0, "llama", "")
    model = simulated(as_offer)
    return replace(
        model,
        # A file of a few bytes is a test's; it shall not answer faster than a clock can tell.
        prefill_per_s=min(model.prefill_per_s, 20_000),
        decode_per_s=min(model.decode_per_s, 500),
        modified_ns=modified_ns,
        made_of=blob,
        blob=blob,
    )


REGISTRY: dict[str, SimulatedModel] = {
    **{offer.name: simulated(offer) for offer in CATALOGUE},
    **{model.name: model for model in (*MODELS, _SEEING)},
}
"""What can be pulled."""

_BY_NAME = {model.name: model for model in MODELS}


def spelled(name: str) -> str:
    """The name that Ollama would take `name` for: any case, `latest` where no tag is given, with or without
    `registry.ollama.ai/` and `library/`."""
    path = name.lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return path if ":" in path.rpartition("/")[2] else f"{path}:latest"


def find(name: str) -> SimulatedModel | None:
    """The model of that name, among those the simulator is born with."""
    return _BY_NAME.get(spelled(name))
