"""Which processes on the GPU are an engine's, told by their names.

Rule: a name that cannot be read is nobody's engine; names are read once for each process number in a while, because the
sampler asks twice a second. A container's processes are seen from outside by the same names.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

NAMES = ("ollama", "llama-server", "llama_server", "llama.cpp", "koboldcpp", "vllm", "lmstudio", "lm-studio")
"""How the names of engines' programs begin, in lower case."""
KEPT_S = 30.0


def program_of(pid: int) -> str:
    """The name of a process, or empty: by /proc where there is one, by psutil elsewhere."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        pass
    import psutil

    try:
        return str(psutil.Process(pid).name())
    except (psutil.Error, OSError):
        return ""


class EnginePrograms:
    """Remembers what it has looked up."""

    def __init__(
        self, name_of: Callable[[int], str] = program_of, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name_of = name_of
        self._clock = clock
        self._known: dict[int, tuple[float, bool]] = {}

    def is_engine(self, pid: int) -> bool:
        """Whether this process is an engine's."""
        now_s = self._clock()
        known = self._known.get(pid)
        if known is not None and now_s - known[0] < KEPT_S:
            return known[1]
        if len(self._known) > 256:
            self._known.clear()
        found = self._name_of(pid).lower().startswith(NAMES)
        self._known[pid] = (now_s, found)
        return found
