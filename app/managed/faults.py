"""What can go wrong with the engine's own container, beyond what a daemon refuses; and errors as problem and fix.

Rule: an error is told in two sentences, what is wrong and what the person can do; the second is never empty.
"""

from __future__ import annotations

import re

from app.containers.base import (
    Container,
    ContainerError,
    ContainerGone,
    DaemonUnreachable,
    DiskFull,
    GpuRefused,
    ImageMissing,
    NameTaken,
    PortTaken,
    PullBroken,
)


class EngineCrashed(ContainerError):
    """The container has ended by itself."""


class NeverHealthy(ContainerError):
    """The container runs, and its engine does not answer."""


class NotRunning(ContainerError):
    """Something was asked that needs a container, and there is none, or its start was called off."""


_NEXT: tuple[tuple[type[ContainerError], str], ...] = (
    (DaemonUnreachable, "Start Docker; the engine then starts by itself."),
    (ImageMissing, "Check «Image of the engine» and the network, then start the engine again."),
    (PullBroken, "Start the engine again: what has been fetched is kept."),
    (DiskFull, "Make room on Docker's disk, then start the engine again."),
    (NameTaken, "Rename or remove the other container, then start the engine again."),
    (PortTaken, "Set «Port of the engine» to 0 for any free one, then start the engine again."),
    (
        GpuRefused,
        "Install the GPU's container toolkit, or set «Processor» to cpu, then start the engine again.",
    ),
    (EngineCrashed, "Read the end of its log, then start the engine again."),
    (NeverHealthy, "Read the end of its log, then start the engine again."),
    (ContainerGone, "Start the engine again."),
)
_SENTENCES = re.compile(r"(?<=[.!?])\s+(?=[A-Z«0-9])")


def problem_and_fix(error: ContainerError) -> tuple[str, str]:
    """`error`'s text, taken apart where it is more than one sentence, else with a next step that suits its kind."""
    first, *rest = _SENTENCES.split(str(error), maxsplit=1)
    if rest:
        fix = rest[0]
        if isinstance(error, GpuRefused) and "processor" not in fix.lower():
            fix += " Or set «Processor» to cpu, which is slow."
        return first, fix
    return first, next((fix for kind, fix in _NEXT if isinstance(error, kind)), "Start the engine again.")


def crashed(container: Container | None, log: str) -> EngineCrashed:
    """The error for a container that has ended, or that is not there any more."""
    if container is None:
        return EngineCrashed("The engine's container was removed from outside.")
    if container.status == "paused":
        return EngineCrashed("The engine's container was paused from outside.")
    if container.out_of_memory:
        return EngineCrashed(
            "The engine needed more main memory than its container may use and was ended. Raise «Memory limit», "
            "or use smaller models."
        )
    last = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "")
    # 137 and 143 are SIGKILL and SIGTERM: the engine does not send them to itself.
    if container.exit_code in (137, 143):
        return EngineCrashed("The engine's container was ended from outside.", last)
    said = f", its last words were «{last[:200]}»" if last else " without a word in its log"
    why = f" ({container.error})" if container.error else ""
    return EngineCrashed(f"The engine ended by itself with status {container.exit_code}{why}{said}.", last)


def gave_up(last: EngineCrashed, restarts: int, minutes: int) -> EngineCrashed:
    """The error once it has been restarted often enough."""
    first, _ = problem_and_fix(last)
    return EngineCrashed(
        f"{first.rstrip('.')}; it was restarted {restarts} times within {minutes} minutes and is left alone now. "
        "Read the end of its log, then start the engine again.",
        last.detail,
    )
