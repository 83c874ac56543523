"""What the faces say about the engine's container and about the public address.

Rule 1: pure; a snapshot goes in, short sentences come out. Rule 2: what the headline says already is not said twice.
Rule 3: computing on the processor where a GPU was asked for is said first and in so many words.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from app.desktop import format as fmt
from app.desktop.model_wording import progress
from app.desktop.theme import Tone
from app.desktop.wording import sentences
from app.engine.host import HostPhase, HostState, Processor
from app.face import Serving, Snapshot
from app.tunnel.state import TunnelPhase, TunnelState

DRIFT: Final = "Settings changed: re-create the container to use them."


class Step(NamedTuple):
    """A button: what it says, and the verb for `UpstreamFace.verb`."""

    label: str
    verb: str


VERBS: Final = (
    (Step("Start", "start"), frozenset({HostPhase.ABSENT, HostPhase.STOPPED, HostPhase.FAILED})),
    (Step("Stop", "stop"), frozenset({HostPhase.PULLING, HostPhase.STARTING, HostPhase.RUNNING})),
    (Step("Restart", "restart"), frozenset({HostPhase.RUNNING, HostPhase.STARTING})),
    (Step("Update", "update"), frozenset({HostPhase.RUNNING, HostPhase.STOPPED, HostPhase.FAILED})),
    (Step("Re-create", "recreate"), frozenset({HostPhase.RUNNING, HostPhase.STOPPED, HostPhase.FAILED})),
)
"""Every verb, and the phases in which it makes sense."""

INTERRUPTING: Final = frozenset({"stop", "restart", "update", "recreate"})
"""Verbs that end running requests."""

FAILING: Final = {
    "start": "The engine could not be started",
    "stop": "The engine could not be stopped",
    "restart": "The engine could not be restarted",
    "update": "The engine could not be updated",
    "recreate": "The container could not be made anew",
}


def is_ours(host: HostState) -> bool:
    """Whether the engine runs in a container of ours, so that there is something to say."""
    return host.phase is not HostPhase.NONE


def fell_back(host: HostState) -> bool:
    """Whether the engine computes on the processor though a GPU was asked for."""
    return host.processor is Processor.FALLBACK and host.phase in (HostPhase.RUNNING, HostPhase.STARTING)


def _seen_to(host: HostState) -> bool:
    """Whether something is under way that ends by itself: a start, or the download of an update."""
    return host.phase in (HostPhase.PULLING, HostPhase.STARTING) or host.progress is not None


def at_rest(snapshot: Snapshot) -> bool:
    """Whether the engine does not run because nobody needs it."""
    host = snapshot.host
    down = host.phase in (HostPhase.ABSENT, HostPhase.STOPPED)
    return snapshot.serving is Serving.PAUSED and down and not host.problem


def engine_line(snapshot: Snapshot) -> str:
    """The container in one line: «Ollama runs in its container · on the GPU · no way out to the network»."""
    host, name = snapshot.host, snapshot.engine.name
    if fell_back(host):
        return f"{name} computes on the processor, not on the GPU."
    if at_rest(snapshot):
        return f"{name} does not run. It starts when you contribute."
    match host.phase:
        case HostPhase.PULLING | HostPhase.STARTING:
            return _under_way(host, name)
        case HostPhase.STOPPED:
            return f"{name} is stopped."
        case HostPhase.FAILED:
            return f"{name} does not run."
        case HostPhase.ABSENT:
            return f"{name} does not run."
    if host.progress is not None:
        return _under_way(host, name)
    parts = [f"{name} runs in its container"]
    if host.processor in (Processor.GPU, Processor.CPU):
        parts.append("on the GPU" if host.processor is Processor.GPU else "on the processor")
    if host.isolated:
        parts.append("no way out to the network")
    return " · ".join(parts)


def _under_way(host: HostState, name: str) -> str:
    known = host.progress
    if known is not None and known.total:
        figures = progress(known)
        return f"{known.what}: {figures}" if known.what and known.done < known.total else figures
    if known is not None and known.what:
        return f"{known.what} …"
    return f"{name} is being downloaded …" if host.phase is HostPhase.PULLING else f"{name} is starting …"


def engine_tone(snapshot: Snapshot) -> Tone:
    """What the line is coloured by, next to its mark."""
    host = snapshot.host
    if at_rest(snapshot):
        return Tone.MUTED
    if fell_back(host) or host.phase is HostPhase.FAILED:
        return Tone.BAD
    if _seen_to(host):
        return Tone.MUTED
    if host.problem or host.drift or host.phase in (HostPhase.ABSENT, HostPhase.STOPPED):
        return Tone.WARN
    return Tone.MUTED


def engine_trouble(snapshot: Snapshot) -> str:
    """What is amiss with the container, and what to do; empty where nothing is, or where the headline says it."""
    host, blocker = snapshot.host, snapshot.blocker
    said = sentences(blocker.sentence, blocker.ends) if blocker is not None else ""
    if _seen_to(host) and not fell_back(host):
        # It is being seen to: why is worth a line, what to do would be out of date.
        parts: tuple[str | None, ...] = (host.problem,)
    else:
        parts = (host.problem, host.fix) if host.problem else (DRIFT if host.drift else "",)
    return sentences(*(part for part in parts if part and sentences(part) not in said))


def next_step(host: HostState) -> Step | None:
    """The one button that the present state calls for."""
    again = "Try again" if host.problem else "Start"
    match host.phase:
        case HostPhase.FAILED:
            return Step("Try again", "start")
        case HostPhase.ABSENT | HostPhase.STOPPED:
            return Step(again, "start")
    if fell_back(host):
        return Step("Try again", "restart")
    if host.drift and host.phase is HostPhase.RUNNING and host.progress is None:
        return Step("Re-create", "recreate")
    return None


def interruption(step: Step, snapshot: Snapshot) -> tuple[str, str] | None:
    """What is asked before a verb that ends running requests, and what it means; None where nothing would end."""
    running = len(snapshot.running)
    if step.verb not in INTERRUPTING or not running:
        return None
    name = snapshot.engine.name
    verb = {"recreate": "Re-create the container of"}.get(step.verb, step.label)
    count = fmt.counted(running, "request is", "requests are")
    return f"{verb} {name}?", f"{count} running and would end. What they used is billed."


def public_line(public: TunnelState) -> str:
    """The public address in one line; empty where there is none."""
    match public.phase:
        case TunnelPhase.OPENING:
            return "The public address is being opened …"
        case TunnelPhase.OPEN:
            # A tunnel of one's own has the name that was given to it there.
            return (
                f"Reachable from the internet: {public.url}"
                if public.url
                else "Reachable from the internet, under the name that you gave your tunnel at Cloudflare."
            )
        case TunnelPhase.FAILED:
            return sentences(public.problem or "The public address is not open", public.fix)
    return ""


def public_trouble(public: TunnelState) -> str:
    """What is amiss with an address that is there or on its way, and what to do; empty where nothing is."""
    return "" if public.phase is TunnelPhase.FAILED else sentences(public.problem, public.fix)


def public_tone(public: TunnelState) -> Tone:
    """What the line's mark is coloured by."""
    if public.problem:
        return Tone.WARN
    return {TunnelPhase.OPEN: Tone.ACCENT, TunnelPhase.FAILED: Tone.WARN}.get(public.phase, Tone.MUTED)
