"""What the faces say about models and about what is being done to them.

Rule 1: pure; entries, operations and a snapshot go in, short sentences come out. Rule 2: a file is counted as disks
and networks count (decimal gigabytes), the GPU's memory as graphics cards are sold (binary ones).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from app.desktop import format as fmt
from app.desktop.theme import Tone
from app.desktop.wording import sentences
from app.engine.host import HostPhase, Progress
from app.face import EngineView, Snapshot
from app.models.base import Doing, Entry, Fit, Operation, Outcome

EMPTY: Final = "No models yet. Choose one below, or type the name of one."
ALL_HERE: Final = "Every model of the catalogue is here already."


@dataclass(frozen=True, slots=True)
class Look:
    """A word, and the mark that goes with it: told apart by shape as well as by colour."""

    word: str
    mark: str
    tone: Tone


_FITS: Final = {
    Fit.FITS: Look("Fits", "fit-fits", Tone.GOOD),
    Fit.TIGHT: Look("Just fits", "fit-tight", Tone.WARN),
    Fit.PARTLY: Look("Slow", "fit-partly", Tone.WARN),
    Fit.NO: Look("Too large", "fit-no", Tone.BAD),
    Fit.UNKNOWN: Look("Not known", "fit-unknown", Tone.MUTED),
}

FIT_WORDS: Final = tuple(look.word for look in _FITS.values())

_OUTCOMES: Final = {
    Outcome.RUNNING: ("download", Tone.ACCENT),
    Outcome.DONE: ("fit-fits", Tone.GOOD),
    Outcome.FAILED: ("warning", Tone.BAD),
    Outcome.CANCELLED: ("stop", Tone.MUTED),
}

_DOING: Final = {Doing.PULL: "Getting", Doing.UPDATE: "Updating", Doing.LOAD: "Loading"}


def fit(entry: Entry) -> Look:
    """Whether it fits into the GPU's memory, in a word and a mark."""
    return _FITS[entry.estimate.fit]


def facts(entry: Entry) -> str:
    """«8.0B · Q4_K_M»."""
    return " · ".join(filter(None, (entry.parameter_size, entry.quantization)))


def about(entry: Entry) -> str:
    """What the catalogue says of it, then what it needs."""
    return sentences(entry.note, entry.estimate.sentence)


def memory(entry: Entry) -> str:
    """«6.1 GB loaded»; empty for a model that is not."""
    if not entry.loaded:
        return ""
    return f"{fmt.gigabytes(entry.vram_b)} GB loaded" if entry.vram_b else "On the processor"


def sum_line(entries: Iterable[Entry]) -> str:
    """«3 models, 14.2 GB of the disk»."""
    sizes = [entry.size_b for entry in entries if entry.installed]
    return (
        f"{fmt.counted(len(sizes), 'model', 'models')}, {fmt.size(sum(sizes))} of the disk" if sizes else ""
    )


def ways_of_its_own(engine: EngineView) -> str:
    """Why there is nothing to press where the engine has no API for its models."""
    return "" if engine.native else f"{engine.name} manages its models itself."


def absence(snapshot: Snapshot) -> str:
    """Why no models can be listed, and the next step; empty where the engine answers."""
    engine, host, blocker = snapshot.engine, snapshot.host, snapshot.blocker
    if engine.reachable:
        return ""
    if host.problem and host.phase not in (HostPhase.PULLING, HostPhase.STARTING):
        return sentences(host.problem, host.fix)
    match host.phase:
        case HostPhase.PULLING | HostPhase.STARTING | HostPhase.RUNNING:
            return f"{engine.name} is starting. Its models show up here as soon as it answers."
        case HostPhase.STOPPED:
            return f"{engine.name} does not run. Start it to see its models."
        case HostPhase.ABSENT:
            # Nobody may have looked yet whether its container is there.
            return (
                f"{engine.name} does not run. Start it to see its models; what is missing is fetched first."
            )
    if blocker is not None and blocker.code.startswith("engine"):
        return sentences(blocker.sentence, blocker.ends)
    return f"{engine.name} does not answer at {engine.url}. Start it; its models show up here as soon as it answers."


def progress(progress: Progress) -> str:
    """«1.2 of 4.9 GB · 38 MB/s · 2 min left»; what is being done where no size is known."""
    if not progress.total:
        return " · ".join(filter(None, (progress.what, fmt.size(progress.done) if progress.done else "")))
    parts = [fmt.size_of(progress.done, progress.total)]
    if progress.done >= progress.total:
        parts.append(progress.what)
    elif progress.rate_b_per_s > 0:
        parts.append(fmt.speed(progress.rate_b_per_s))
        if progress.seconds_left is not None:
            parts.append(fmt.time_left(progress.seconds_left))
    return " · ".join(filter(None, parts))


def share(progress: Progress) -> float:
    """How much of it is done, 0 to 1; 0 where no size is known."""
    return min(1.0, progress.done / progress.total) if progress.total else 0.0


def operation_title(operation: Operation) -> str:
    """«Getting llama3.1:8b»; once that has ended what came of it, where that names the model, else its bare name."""
    if operation.outcome is Outcome.RUNNING:
        return f"{doing(operation)} {operation.model}"
    if operation.outcome is Outcome.DONE and operation.model in operation.sentence:
        return operation.sentence
    return operation.model


def doing(operation: Operation) -> str:
    """«Getting»."""
    return _DOING[operation.doing]


def operation_detail(operation: Operation) -> str:
    """How far it is, or what came of it; empty where the title says that."""
    if operation.outcome is not Outcome.RUNNING:
        return "" if operation_title(operation) == operation.sentence else operation.sentence
    detail = progress(operation.progress) or operation.sentence
    return "" if operation_title(operation).startswith(detail.rstrip(" .…")) else detail


def operation_mark(operation: Operation) -> tuple[str, Tone]:
    """The mark of how far it is."""
    return _OUTCOMES[operation.outcome]


def delete_question(entry: Entry) -> tuple[str, str]:
    """What is asked before a model is deleted, and what it means."""
    return (
        f"Delete {entry.name}?",
        f"It takes {fmt.size(entry.size_b)} of the disk and can be pulled again.",
    )
