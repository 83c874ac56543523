"""Whether the engine computes with what it was given: what shows it, what is expected, and what was tried.

Rule 1: pure. Rule 2: what a loaded model occupies is worth more than what the log said when the engine started; the
log counts only where nothing is loaded, and not after the machine slept; where nothing tells, the verdict is UNKNOWN
and not a guess. Rule 3: one cure, a restart (nvidia-container-toolkit#251), and only once until a person starts the
engine or the GPU is seen at work: a model that is too large for the GPU must not make a restart of every answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from app.engine.base import Loaded
from app.engine.host import Processor

PROBLEM = "The engine computes on the processor, not on the GPU, and a restart did not change that."
FIX = (
    "Choose a smaller model or a shorter context if it does not fit the GPU; otherwise restart Docker or the machine, "
    "then start the engine again."
)

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


class Trust:
    """What is expected of the engine, and what was tried to have it."""

    def __init__(self) -> None:
        self._expected = Processor.UNKNOWN
        self._cured = False
        self.log_counts = False
        """The log of the last start is evidence still."""

    def started(self, expected: Processor) -> None:
        """The engine has begun to run, or was found running; `expected` is GPU or CPU."""
        self._expected = expected
        self.log_counts = True

    def doubt(self) -> None:
        """Something happened that may have taken the GPU away since the engine started."""
        self.log_counts = False

    def forget(self) -> None:
        """A person starts it: the cure may be tried again."""
        self._cured = False

    @property
    def as_meant(self) -> Processor | None:
        """The verdict where no evidence is needed: no GPU is expected."""
        return None if self._expected is Processor.GPU else self._expected

    def by(self, loaded: Iterable[Loaded]) -> Processor:
        """The verdict by what is loaded; UNKNOWN where that tells nothing."""
        if self.as_meant is not None:
            return self.as_meant
        verdict = from_loaded(loaded)
        if verdict is Processor.GPU:
            self._cured = False
        return verdict

    def cure(self, verdict: Processor, *, if_unknown: bool) -> bool:
        """Whether to restart the engine for `verdict`; from now on that was tried. `if_unknown`: also where nothing
        tells, and no request would be cut."""
        if verdict is Processor.UNKNOWN and if_unknown:
            return True
        if verdict is not Processor.FALLBACK or self._cured:
            return False
        self._cured = True
        return True
