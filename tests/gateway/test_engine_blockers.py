"""What the engine's side puts in the way: one cause, one blocker, each with what ends it."""

from __future__ import annotations

import pytest

from app.engine.base import Loaded
from app.engine.health import EngineState
from app.engine.host import NO_HOST_STATE, HostPhase, HostState, Processor, Progress
from app.gateway.engine_blockers import engine_blocker
from app.presence.blockers import Weight

URL = "http://127.0.0.1:11434"
UP = EngineState(reachable=True, problem=None, version="0.12.0", models=(), loaded=())
DOWN = EngineState(reachable=False, problem="No.", version=None, models=(), loaded=())
SLOW = EngineState(
    reachable=True,
    problem=None,
    version="0.12.0",
    models=(),
    loaded=(Loaded("llama3.1:8b", "", 5_000_000_000, 0, ""),),
)


def test_an_engine_that_answers_stands_in_nobodys_way() -> None:
    assert engine_blocker(UP, URL, NO_HOST_STATE) is None
    assert engine_blocker(UP, URL, HostState(HostPhase.RUNNING, processor=Processor.GPU)) is None
    assert engine_blocker(UP, URL, HostState(HostPhase.RUNNING, processor=Processor.CPU)) is None


@pytest.mark.parametrize(
    ("engine", "host", "code"),
    [
        (DOWN, NO_HOST_STATE, "engine_down"),
        (DOWN, HostState(HostPhase.RUNNING), "engine_down"),
        (DOWN, HostState(HostPhase.PULLING), "engine_starting"),
        (DOWN, HostState(HostPhase.STARTING), "engine_starting"),
        (DOWN, HostState(HostPhase.STOPPED), "engine_stopped"),
        (DOWN, HostState(HostPhase.ABSENT), "engine_failed"),
        (
            DOWN,
            HostState(HostPhase.FAILED, problem="Docker is not running.", fix="Start it."),
            "engine_failed",
        ),
        (UP, HostState(HostPhase.RUNNING, processor=Processor.FALLBACK), "gpu_unused"),
    ],
)
def test_each_state_has_its_own_code_and_says_what_ends_it(
    engine: EngineState, host: HostState, code: str
) -> None:
    blocker = engine_blocker(engine, URL, host)
    assert blocker is not None
    assert blocker.code == code
    assert blocker.sentence.endswith(".")
    assert blocker.ends.endswith(".")


def test_a_failure_is_told_in_the_hosts_own_words() -> None:
    failed = HostState(HostPhase.FAILED, problem="Docker is not running.", fix="Start Docker Desktop.")
    blocker = engine_blocker(DOWN, URL, failed)
    assert blocker is not None
    assert (blocker.sentence, blocker.ends) == ("Docker is not running.", "Start Docker Desktop.")


def test_what_is_being_done_is_said_while_a_container_starts() -> None:
    pulling = HostState(HostPhase.PULLING, progress=Progress("Downloading Ollama", 1, 2))
    blocker = engine_blocker(DOWN, URL, pulling)
    assert blocker is not None
    assert blocker.sentence == "Downloading Ollama."


def test_whoever_has_paused_reads_that_and_not_that_a_container_was_never_started() -> None:
    blocker = engine_blocker(DOWN, URL, HostState(HostPhase.ABSENT))
    assert blocker is not None
    assert blocker.weight < Weight.CHOSEN


def test_an_ollama_that_leaves_a_present_gpu_unused_is_not_served_from_silently() -> None:
    blocker = engine_blocker(SLOW, URL, NO_HOST_STATE, gpu_expected=True)
    assert blocker is not None
    assert blocker.code == "gpu_unused"
    assert "llama3.1:8b" in blocker.sentence


def test_a_machine_without_a_gpu_may_serve_on_its_processor() -> None:
    assert engine_blocker(SLOW, URL, NO_HOST_STATE, gpu_expected=False) is None
