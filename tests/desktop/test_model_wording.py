"""What the faces say about models, the engine's container and the public address."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtGui import QColor

from app.desktop import engine_wording, model_wording, wording
from app.desktop.icons import render
from app.desktop.theme import Tone
from app.engine.host import HostPhase, HostState, Processor, Progress
from app.face import EngineView, Serving
from app.models.base import Doing, Fit, Outcome
from app.tunnel.state import TunnelPhase, TunnelState
from tests.desktop.fake_gateway import (
    CRASHED,
    DOCKER_GONE,
    ENGINE_DOWN,
    MANAGED,
    NOW_US,
    PUBLIC,
    PULLING,
    a_request,
    a_snapshot,
    busy,
)
from tests.desktop.fake_models import GIB, OFFERS, SOME, an_entry, an_estimate, an_operation

AWAY: EngineView = replace(a_snapshot().engine, reachable=False, version=None, models=(), loaded=())

# Models


def test_every_fit_has_a_word_and_a_shape_of_its_own(qapp: object) -> None:
    looks = [model_wording.fit(an_entry(estimate=an_estimate(fit))) for fit in Fit]
    assert len({look.word for look in looks}) == len(Fit)
    shapes = set()
    for look in looks:
        image = render(look.mark, QColor("black"), 32).toImage()
        shapes.add(bytes(image.constBits()))
    assert len(shapes) == len(Fit), "told apart without any colour"


def test_the_sum_counts_what_is_on_the_disk_and_nothing_else() -> None:
    assert model_wording.sum_line((*SOME, *OFFERS)) == "3 models, 14.3 GB of the disk"
    assert model_wording.sum_line(SOME[2:]) == "1 model, 1.9 GB of the disk"
    assert model_wording.sum_line(OFFERS) == ""


def test_a_loaded_model_says_how_much_of_the_gpu_s_memory_it_takes() -> None:
    assert model_wording.memory(an_entry(loaded=True, vram_b=6 * GIB)) == "6 GB loaded"
    assert model_wording.memory(an_entry(loaded=True, vram_b=0)) == "On the processor"
    assert model_wording.memory(an_entry()) == ""


def test_progress_is_said_with_speed_and_time_left() -> None:
    assert model_wording.operation_detail(an_operation()) == "1.2 of 4.9 GB · 38 MB/s · 2 min left"


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        (Progress("Looking it up", 0, 0), "Looking it up"),
        (Progress("Unpacking", 5_000_000, 0), "Unpacking · 5 MB"),
        (Progress("Downloading", 0, 10**9), "0.0 of 1.0 GB"),
        (Progress("Checking", 10**9, 10**9, 1e6, 0.0), "1.0 of 1.0 GB · Checking"),
        (Progress("Downloading", 10**6, 10**9, 500.0, None), "0.0 of 1.0 GB · 500 B/s"),
    ],
)
def test_progress_says_no_more_than_is_known(progress: Progress, said: str) -> None:
    assert model_wording.progress(progress) == said


def test_an_operation_that_has_ended_says_what_came_of_it() -> None:
    failed = an_operation(outcome=Outcome.FAILED, sentence="The disk is full. Free some space.")
    assert model_wording.operation_title(failed) == "llama3.1:8b"
    assert model_wording.operation_detail(failed) == "The disk is full. Free some space."
    assert model_wording.operation_mark(failed) == ("warning", Tone.BAD)


@pytest.mark.parametrize("what", ["Loading", "Loading llama3.1:8b", "Loading …"])
def test_nothing_is_said_twice_while_a_model_is_being_loaded(what: str) -> None:
    loading = an_operation(doing=Doing.LOAD, progress=Progress(what, 0, 0))
    assert model_wording.operation_title(loading) == "Loading llama3.1:8b"
    assert model_wording.operation_detail(loading) == ""


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (HostState(HostPhase.STOPPED), "Ollama does not run. Start it to see its models."),
        (PULLING, "Ollama is starting. Its models show up here as soon as it answers."),
        (
            HostState(HostPhase.STARTING, problem="Ollama ended by itself.", fix="Start it again."),
            "Ollama is starting. Its models show up here as soon as it answers.",
        ),
        (CRASHED, "Ollama has ended three times within ten minutes. Read its log, then try again."),
        (
            HostState(HostPhase.ABSENT),
            "Ollama does not run. Start it to see its models; what is missing is fetched first.",
        ),
    ],
)
def test_an_engine_of_ours_that_does_not_answer_says_why_and_what_to_do(host: HostState, said: str) -> None:
    assert model_wording.absence(a_snapshot(engine=AWAY, host=host)) == said


def test_an_engine_of_somebody_else_s_that_does_not_answer_says_so() -> None:
    down = a_snapshot(engine=AWAY, serving=Serving.BLOCKED, blocker=ENGINE_DOWN)
    assert model_wording.absence(down) == wording.reason(down)
    assert model_wording.absence(a_snapshot(engine=AWAY)).startswith(
        "Ollama does not answer at http://127.0.0.1:11434. Start it;"
    )
    assert model_wording.absence(a_snapshot()) == ""


# The container


def line(host: HostState) -> str:
    return engine_wording.engine_line(a_snapshot(host=host))


def test_a_healthy_container_is_one_line() -> None:
    assert line(MANAGED) == "Ollama runs in its container · on the GPU · no way out to the network"
    assert (
        line(replace(MANAGED, isolated=False, processor=Processor.UNKNOWN)) == "Ollama runs in its container"
    )
    assert line(replace(MANAGED, processor=Processor.CPU, isolated=False)).endswith("· on the processor")


def test_the_image_s_download_says_how_far_it_is() -> None:
    assert line(PULLING) == "Downloading Ollama: 0.9 of 1.6 GB · 38 MB/s · 20 s left"
    assert line(HostState(HostPhase.PULLING)) == "Ollama is being downloaded …"
    assert line(HostState(HostPhase.STARTING)) == "Ollama is starting …"


def test_a_fallback_to_the_processor_goes_before_everything_else_and_is_red() -> None:
    host = replace(MANAGED, processor=Processor.FALLBACK, drift=("engine_cpus",))
    assert line(host) == "Ollama computes on the processor, not on the GPU."
    assert engine_wording.engine_tone(a_snapshot(host=host)) is Tone.BAD
    assert engine_wording.next_step(host) == ("Try again", "restart")


@pytest.mark.parametrize(
    ("host", "step"),
    [
        (MANAGED, None),
        (PULLING, None),
        (HostState(HostPhase.STARTING), None),
        (HostState(HostPhase.STOPPED), ("Start", "start")),
        (HostState(HostPhase.ABSENT), ("Start", "start")),
        (HostState(HostPhase.ABSENT, problem="Docker is not running."), ("Try again", "start")),
        (CRASHED, ("Try again", "start")),
        (replace(MANAGED, drift=("engine_image",)), ("Re-create", "recreate")),
    ],
)
def test_each_state_has_one_next_step_or_needs_none(host: HostState, step: tuple[str, str] | None) -> None:
    assert engine_wording.next_step(host) == step


def test_what_the_headline_says_already_is_not_said_again() -> None:
    host = HostState(HostPhase.ABSENT, problem=f"{DOCKER_GONE.sentence}.", fix=f"{DOCKER_GONE.ends}.")
    alone = a_snapshot(host=host)
    assert engine_wording.engine_trouble(alone) == f"{DOCKER_GONE.sentence}. {DOCKER_GONE.ends}."
    assert engine_wording.engine_trouble(replace(alone, blocker=DOCKER_GONE)) == ""
    assert line(host) == "Ollama does not run.", "whether there is a container nobody knows without a daemon"


def test_changed_settings_say_that_a_re_create_is_due() -> None:
    drifted = a_snapshot(host=replace(MANAGED, drift=("engine_context_length",)))
    assert engine_wording.engine_trouble(drifted) == "Settings changed: re-create the container to use them."


def test_only_verbs_that_end_requests_are_asked_about_and_only_while_some_run() -> None:
    steps = {step.verb: step for step, _ in engine_wording.VERBS}
    running = busy(a_snapshot(host=MANAGED), a_request())
    asked = {verb for verb, step in steps.items() if engine_wording.interruption(step, running)}
    assert asked == {"stop", "restart", "update", "recreate"}
    assert all(engine_wording.interruption(step, a_snapshot(host=MANAGED)) is None for step in steps.values())
    assert engine_wording.interruption(steps["stop"], running) == (
        "Stop Ollama?",
        "1 request is running and would end. What they used is billed.",
    )


# The public address


def test_the_public_address_is_one_line_while_there_is_one() -> None:
    assert engine_wording.public_line(TunnelState(TunnelPhase.OFF)) == ""
    assert engine_wording.public_line(PUBLIC) == f"Reachable from the internet: {PUBLIC.url}"
    named = engine_wording.public_line(TunnelState(TunnelPhase.OPEN))
    assert named == "Reachable from the internet, under the name that you gave your tunnel at Cloudflare."
    assert engine_wording.public_line(TunnelState(TunnelPhase.FAILED)) == "The public address is not open."


@pytest.mark.parametrize("serving", Serving)
def test_the_tooltip_says_that_the_internet_reaches_us_however_long_the_amounts(serving: Serving) -> None:
    snapshot = busy(a_snapshot(serving=serving, public=PUBLIC, at_us=NOW_US), a_request())
    money = replace(snapshot.money, spent_pico=123_456 * 10**12, cap_pico=900_000 * 10**12, currency="CHF")
    tip = wording.tooltip(replace(snapshot, money=money))
    assert "open to the internet" in tip
    assert len(tip) <= wording.TOOLTIP_MOST
