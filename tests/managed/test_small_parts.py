"""Ports, crashes, evidence, progress, sleep, sentences: each a small pure part of the managed engine."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import pytest

from app.containers.base import (
    Container,
    ContainerError,
    DaemonUnreachable,
    GpuRefused,
    Image,
    PortTaken,
    PullProgress,
)
from app.engine.base import Loaded
from app.engine.host import Processor
from app.managed import ports
from app.managed.faults import crashed, gave_up, problem_and_fix
from app.managed.making import digest_of
from app.managed.names import is_ours, labels_of, names_of
from app.managed.ports import NEVER, free_port
from app.managed.processor import from_loaded, from_log
from app.managed.pulling import PullRate
from app.managed.waking import Gap, Waking

ENDED = Container(
    id="1", name="mortdecai-ollama", image="i", image_id="sha256:1", labels={}, status="exited", exit_code=1,
    out_of_memory=False, error="", started_at="", ports={}, networks=(),
)  # fmt: skip


def test_a_free_port_can_be_listened_on_and_is_none_of_those_to_avoid() -> None:
    first = free_port()
    assert free_port({first}) != first
    with socket.create_server(("127.0.0.1", first)):
        assert free_port() != first


def test_ollamas_own_port_is_never_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_LOWEST", NEVER)
    monkeypatch.setattr(ports, "_HIGHEST", NEVER + 1)
    assert all(free_port() != NEVER for _ in range(50))


def loaded(*vram_b: int) -> list[Loaded]:
    return [Loaded(f"m{at}", "", 100, vram, "") for at, vram in enumerate(vram_b)]


@pytest.mark.parametrize(
    ("models", "verdict"),
    [
        (loaded(), Processor.UNKNOWN),
        (loaded(100), Processor.GPU),
        (loaded(1), Processor.GPU),
        (loaded(0), Processor.FALLBACK),
        (loaded(100, 0), Processor.FALLBACK),
    ],
)
def test_what_a_model_occupies_tells_what_computes_it(models: list[Loaded], verdict: Processor) -> None:
    assert from_loaded(models) is verdict


CUDA = (
    'time=2026-11-20T10:00:00.123Z level=INFO source=types.go:42 msg="inference compute" id=GPU-1 filter_id="" '
    'library=CUDA compute=8.6 name=CUDA0 description="NVIDIA GeForce RTX 3090" total="24.0 GiB" available="23.3 GiB"'
)
OLD_CUDA = 'time=x level=INFO source=types.go:130 msg="inference compute" id=GPU-1 library=cuda variant=v12 compute=7.5'
ROCM = (
    'time=x level=INFO source=types.go:42 msg="inference compute" id=0 library=ROCm compute=gfx1151 type=iGPU'
)
CPU = 'time=x level=INFO source=types.go:60 msg="inference compute" id=cpu library=cpu compute="" name=cpu'
OLD_CPU = 'time=x level=INFO source=gpu.go:377 msg="no compatible GPUs were discovered"'


@pytest.mark.parametrize(
    ("log", "verdict"),
    [
        ("", Processor.UNKNOWN),
        ("Listening on [::]:11434 (version 0.12.0)", Processor.UNKNOWN),
        (CUDA, Processor.GPU),
        (OLD_CUDA, Processor.GPU),
        (ROCM, Processor.GPU),
        (CPU, Processor.FALLBACK),
        (OLD_CPU, Processor.FALLBACK),
        (f"{CUDA}\n{CPU}\n[GIN] 200", Processor.FALLBACK),
        (f"{CPU}\nmore\n{CUDA}\n[GIN] 200", Processor.GPU),
        ('"prompt": "library=cpu is what it says"', Processor.UNKNOWN),
    ],
)
def test_the_log_of_the_last_start_tells_what_the_engine_found(log: str, verdict: Processor) -> None:
    assert from_log(log) is verdict


def test_names_of_profiles_never_meet() -> None:
    profiles = ("default", "models", "a", "a-models", "open", "sealed", "a-open", "default-models")
    every = [names_of(profile) for profile in profiles]
    assert len({names.container for names in every}) == len(profiles)
    assert len({names.volume for names in every}) == len(profiles)
    assert len({name for names in every for name in (names.sealed, names.opened)}) == 2 * len(profiles)
    assert names_of("default").container == "mortdecai-ollama"


def test_the_way_out_sorts_before_the_closed_network() -> None:
    """Docker takes the first network in order of the alphabet as the way out."""
    assert all(names_of(p).opened < names_of(p).sealed for p in ("default", "x"))


def test_only_both_labels_with_this_profile_make_a_container_ours() -> None:
    ours = replace(ENDED, labels=dict(labels_of("work")))
    assert is_ours(ours, "work")
    assert not is_ours(ours, "default")
    assert not is_ours(ENDED, "default")
    elsewhere = replace(ENDED, labels=dict(labels_of("work", "somebody else's home")))
    assert not is_ours(elsewhere, "work", "this home")
    assert is_ours(elsewhere, "work", "somebody else's home")
    for missing in labels_of("work"):
        labels = {key: value for key, value in labels_of("work").items() if key != missing}
        assert not is_ours(replace(ENDED, labels=labels), "work")


@pytest.mark.parametrize(
    ("ended", "log", "words"),
    [
        (
            ENDED,
            "one\nlibcudart.so is missing\n\n",
            "status 1, its last words were «libcudart.so is missing»",
        ),
        (ENDED, "", "without a word"),
        (replace(ENDED, exit_code=137), "", "ended from outside"),
        (replace(ENDED, exit_code=143), "", "ended from outside"),
        (replace(ENDED, exit_code=137, out_of_memory=True), "", "needed more main memory"),
        (replace(ENDED, status="paused", exit_code=0), "", "paused from outside"),
        (None, "", "removed from outside"),
    ],
)
def test_the_end_of_a_container_is_told_in_words(ended: Container | None, log: str, words: str) -> None:
    assert words in str(crashed(ended, log))


def test_giving_up_says_why_how_often_and_what_to_do() -> None:
    problem, fix = problem_and_fix(gave_up(crashed(ENDED, "no such library"), 3, 10))
    assert "no such library" in problem
    assert "3 times within 10 minutes" in problem
    assert fix == "Read the end of its log, then start the engine again."


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DaemonUnreachable("Docker is not running. Start it."), ("Docker is not running.", "Start it.")),
        (
            PortTaken("Port 8.5 is taken"),
            (
                "Port 8.5 is taken",
                "Set «Port of the engine» to 0 for any free one, then start the engine again.",
            ),
        ),
        (
            GpuRefused("Docker cannot. Install the toolkit."),
            ("Docker cannot.", "Install the toolkit. Or set «Processor» to cpu, which is slow."),
        ),
        (
            GpuRefused("No AMD GPU. Choose another processor."),
            ("No AMD GPU.", "Choose another processor."),
        ),
        (ContainerError("Docker 20.10 said no"), ("Docker 20.10 said no", "Start the engine again.")),
    ],
)
def test_every_error_has_a_next_step(error: ContainerError, told: tuple[str, str]) -> None:
    assert problem_and_fix(error) == told


def test_the_digest_is_the_one_of_the_name_that_was_pulled() -> None:
    image = Image("sha256:1", (), ("other/x@sha256:aa", "127.0.0.1:5000/o/o@sha256:bb"), 1)
    assert digest_of(image, "127.0.0.1:5000/o/o:latest") == "sha256:bb"
    assert digest_of(image, "127.0.0.1:5000/o/o@sha256:bb") == "sha256:bb"
    assert digest_of(image, "elsewhere/o") == "sha256:aa"
    assert digest_of(replace(image, digests=()), "o") == ""


def pull(done_b: int, layers_done: int = 0) -> PullProgress:
    return PullProgress(layers=3, layers_done=layers_done, done_b=done_b, total_b=1000, status="Downloading")


def test_a_pull_tells_its_speed_and_the_time_left() -> None:
    rate = PullRate("Downloading Ollama")
    first = rate.at(0.0, pull(0))
    assert first is not None
    assert (first.rate_b_per_s, first.seconds_left) == (0.0, None)
    later = rate.at(2.0, pull(200))
    assert later is not None
    assert (later.what, later.done, later.total) == ("Downloading Ollama (downloading)", 200, 1000)
    assert later.rate_b_per_s == 100
    assert later.seconds_left == 8


def test_a_face_is_not_told_of_every_block_but_of_the_end() -> None:
    rate = PullRate("x")
    assert rate.at(0.0, pull(0)) is not None
    assert rate.at(0.01, pull(10)) is None
    assert rate.at(0.02, pull(1000, layers_done=3)) is not None


def test_a_layer_that_begins_again_gives_no_negative_speed() -> None:
    rate = PullRate("x")
    rate.at(0.0, pull(500))
    rate.at(1.0, pull(600))
    again = rate.at(2.0, pull(100))
    assert again is not None
    assert again.rate_b_per_s == 0


def test_the_speed_is_that_of_the_last_seconds() -> None:
    rate = PullRate("x")
    for second in range(20):
        rate.at(float(second), pull(0))
    for second in range(20, 40):
        told = rate.at(float(second), pull((second - 19) * 10))
    assert told is not None
    assert told.rate_b_per_s == pytest.approx(10)


def test_a_sleep_is_what_one_clock_saw_and_the_other_did_not() -> None:
    gap = Gap((100.0, 50.0))
    assert gap.slept_s((120.0, 70.0)) == 0
    assert gap.slept_s((3740.0, 90.0)) == 3600
    assert gap.slept_s((3760.0, 110.0)) == 0
    assert gap.slept_s((3763.0, 110.0)) == 0, "a busy machine, or a clock that was set"
    assert gap.slept_s((3000.0, 130.0)) == 0, "a clock that was set back"


async def test_waking_up_is_told_once_and_only_while_somebody_wants_to_know() -> None:
    now = [(0.0, 0.0)]
    woke = asyncio.Event()
    times = 0

    async def on_woke() -> None:
        nonlocal times
        times += 1
        woke.set()

    waking = Waking(on_woke, tick_s=0.001, clocks=lambda: now[0])
    waking.start()
    waking.start()
    await asyncio.sleep(0)
    now[0] = (100.0, 1.0)
    async with asyncio.timeout(5):
        await woke.wait()
    assert times == 1
    waking.stop()
    waking.stop()
    waking.start()
    await asyncio.sleep(0)
    waking.stop()
    assert times == 1
