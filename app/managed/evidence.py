"""What shows whether the engine computes with the GPU.

Rule 1: pure. Rule 2: what a loaded model occupies is worth more than what the log said when the engine started, and
where nothing tells, the verdict is UNKNOWN and not a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from app.engine.base import Loaded
from app.engine.host import Processor

_COMPUTE = re.compile(r'msg="inference compute".*?\blibrary="?(\w+)')
"""One line a device at every start of Ollama (its discover package): `library=CUDA`, `ROCm`, `Vulkan`, or `cpu` alone;
older ones write the names small."""
_NONE_FOUND = "no compatible GPUs were discovered"


def from_loaded(loaded: Iterable[Loaded]) -> Processor:
    """FALLBACK where a loaded model has nothing in the GPU's memory, GPU where all have some, UNKNOWN where none is."""
    verdict = Processor.UNKNOWN
    for model in loaded:
        if model.vram_b == 0:
            return Processor.FALLBACK
        verdict = Processor.GPU
    return verdict


def from_log(text: str) -> Processor:
    """What the engine found at its last start, by its log: GPU, FALLBACK or UNKNOWN."""
    for line in reversed(text.splitlines()):
        found = _COMPUTE.search(line)
        if found:
            return Processor.FALLBACK if found[1].lower() == "cpu" else Processor.GPU
        if _NONE_FOUND in line:
            return Processor.FALLBACK
    return Processor.UNKNOWN
