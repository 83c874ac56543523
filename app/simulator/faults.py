"""What the simulator shall do wrong, for tests and for showing what the gateway does then.

Rule: a fault is asked for, by setting `Simulator.faults` or by a line in the prompt such as
`[simulate: error after 3 tokens]`; nothing fails by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults of one request, or of all of them. Counts are of answer tokens already sent."""

    error_after: int | None = None
    """An error in Ollama's words: a line in the stream, or status 500 where nothing has been sent."""
    hang_after: int | None = None
    """Nothing more comes, and the connection stays."""
    close_after: int | None = None
    """The connection is cut."""
    repeat_after: int | None = None
    """The answer repeats itself, so it ends there without a last frame, as Ollama ends such a one."""
    out_of_memory: bool = False
    """The model cannot be loaded: status 500."""
    first_byte_s: float = 0.0
    """How much later than usual the answer begins, in real seconds."""
    tokens: int | None = None
    """No fault: how long the answer is."""
    calls_tool: bool = False
    """No fault: the first of the tools on offer is called, with arguments that fit its schema."""
    pull_breaks_after_b: int | None = None
    """Standing only: a pull breaks off once so many bytes have come; the next one goes on from there."""
    create_fails: bool = False
    """Standing only: no model can be created."""
    create_says: str = ""
    """Standing only: what the engine says of a file that it cannot make a model of."""
    fails_to_generate: str = ""
    """Standing only: models whose name holds this break when they are asked."""
    gone: str = ""
    """Standing only: models whose name holds this are listed and not found, as one that was removed a moment ago."""
    cpu_only: bool = False
    """Standing only: models are loaded into main memory, as where an engine cannot reach the GPU."""

    @property
    def stop_after(self) -> int | None:
        """The token after which something goes wrong."""
        points = [
            n
            for n in (self.error_after, self.hang_after, self.close_after, self.repeat_after)
            if n is not None
        ]
        return min(points) if points else None


_DIRECTIVE = re.compile(r"\[simulate: *([^\]]{1,60})\]", re.IGNORECASE)
_AFTER = re.compile(r"(error|hang|close|repeat)(?: +after +(\d{1,6}) +tokens?)?")
_SLOW = re.compile(r"slow first byte(?: +(\d{1,4}(?:\.\d{1,3})?) *s)?")
_LENGTH = re.compile(r"(\d{1,6}) +tokens?")


def read_faults(prompt: str, standing: Faults) -> Faults:
    """`standing`, changed by what the prompt asks for; what is not understood is left alone."""
    if "[simulate:" not in prompt and "[Simulate:" not in prompt:
        return standing
    faults = standing
    for directive in _DIRECTIVE.findall(prompt):
        words = directive.strip().lower()
        if after := _AFTER.fullmatch(words):
            count = int(after[2] or 0)
            if after[1] == "error":
                faults = replace(faults, error_after=count)
            elif after[1] == "hang":
                faults = replace(faults, hang_after=count)
            elif after[1] == "repeat":
                faults = replace(faults, repeat_after=count)
            else:
                faults = replace(faults, close_after=count)
        elif slow := _SLOW.fullmatch(words):
            faults = replace(faults, first_byte_s=float(slow[1] or 1.0))
        elif length := _LENGTH.fullmatch(words):
            faults = replace(faults, tokens=int(length[1]))
        elif words == "call a tool":
            faults = replace(faults, calls_tool=True)
        elif words == "out of memory":
            faults = replace(faults, out_of_memory=True)
    return faults
