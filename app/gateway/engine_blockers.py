"""What stands in the way on the engine's side, as blockers.

Rule 1: pure; the engine's state and its host's state in, blockers out. Rule 2: one cause, one blocker: while a
container is being started nobody is told besides that nothing answers there.
"""

from __future__ import annotations

from app.engine.health import EngineState
from app.engine.host import HostPhase, HostState, Processor
from app.presence.blockers import Blocker, Weight


def engine_blocker(
    engine: EngineState, url: str, host: HostState, *, gpu_expected: bool = False
) -> Blocker | None:
    """The reason not to serve that lies with the engine, or None.

    `gpu_expected`: this machine has a GPU for the engine, so a model outside its memory is a fault and not a choice.
    """
    if host.processor is Processor.FALLBACK:
        return _gpu_unused(
            host.problem or "The engine computes on the processor, not on the GPU.",
            host.fix or "Restart the engine; if that does not help, restart Docker.",
        )
    match host.phase:
        case HostPhase.PULLING | HostPhase.STARTING:
            what = host.progress.what if host.progress is not None else "The engine is starting"
            return Blocker(
                "engine_starting",
                f"{what.rstrip('.')}.",
                "Serving begins by itself when the engine is ready.",
                Weight.TEMPORARY,
                retry_after_s=15,
            )
        case HostPhase.STOPPED:
            return Blocker(
                "engine_stopped",
                "The engine's container is stopped.",
                "Start the engine to serve again.",
                Weight.TEMPORARY,
                retry_after_s=300,
            )
        case HostPhase.ABSENT | HostPhase.FAILED:
            return Blocker(
                "engine_failed",
                host.problem or "The engine's container is not there yet.",
                host.fix or "Start the engine.",
                # A container that nobody has asked for yet is no fault: whoever has paused reads that they paused.
                Weight.FAULT if host.problem is not None else Weight.TEMPORARY,
                retry_after_s=120,
            )
    if engine.reachable:
        slow = [model.name for model in engine.loaded if model.size_b and not model.vram_b]
        if gpu_expected and slow and host.phase is HostPhase.NONE:
            return _gpu_unused(
                f"{slow[0]} runs on the processor, not on the GPU.",
                "Restart Ollama, or set the processor to cpu in the settings to serve like this.",
            )
        return None
    return Blocker(
        "engine_down",
        f"No engine answers at {url}.",
        "It is being looked after." if host.phase is HostPhase.RUNNING else _ANOTHER,
        Weight.FAULT,
        retry_after_s=15,
    )


def _gpu_unused(sentence: str, ends: str) -> Blocker:
    return Blocker("gpu_unused", sentence, ends, Weight.FAULT, retry_after_s=300)


_ANOTHER = "Start Ollama there, or let this app run one in Docker: mortdecai-gateway setup."
