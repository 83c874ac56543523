"""The simulator's durations and its card: honest by the clock, credible by the figures."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.simulator import SimulatedGpu, Simulator, SimulatorEngine
from app.simulator.faults import Faults, read_faults
from app.simulator.inference import SimulatedInference, Task
from app.simulator.models import MODELS, find
from app.simulator.physics import Phase
from app.simulator.scheduler import Scheduler
from app.simulator.text import answer_tokens, count_tokens, embedding, split_tokens, until_stop

SPEED = 40.0
DURATIONS = ("load_duration", "prompt_eval_duration", "eval_duration")


async def timed(engine: SimulatorEngine, prompt: str, *, stream: bool) -> tuple[dict[str, int], float]:
    began_s = time.perf_counter()
    body = json.dumps({"model": "qwen2.5:3b", "prompt": prompt, "stream": stream}).encode()
    lines = (await (await engine.post("/api/generate", body)).read()).splitlines()
    return json.loads(lines[-1]), time.perf_counter() - began_s


@pytest.fixture
async def slower() -> AsyncIterator[tuple[Simulator, SimulatorEngine]]:
    """Forty times as fast as real, so that durations are above what timers and other processes blur."""
    simulator = Simulator(speed=SPEED)
    engine = SimulatorEngine(await simulator.start())
    yield simulator, engine
    await engine.close()
    await simulator.stop()


@pytest.mark.parametrize("stream", [True, False])
async def test_durations_are_the_time_that_passed_multiplied_by_the_speed(
    slower: tuple[Simulator, SimulatorEngine], stream: bool
) -> None:
    _, engine = slower
    model = find("qwen2.5:3b")
    assert model is not None
    last, passed_s = await timed(engine, "word " * 400 + "[simulate: 100 tokens]", stream=stream)
    assert last["total_duration"] <= passed_s * SPEED * 1e9
    assert sum(last[name] for name in DURATIONS) <= last["total_duration"] + len(DURATIONS)
    # Timers may be late, never early by more than what is not worth a timer.
    slack_ns = 0.0006 * SPEED * 1e9
    assert last["load_duration"] >= model.load_s * 1e9 - slack_ns
    assert last["prompt_eval_duration"] >= last["prompt_eval_count"] / model.prefill_per_s * 1e9 - slack_ns
    assert last["eval_count"] == 100
    assert last["eval_duration"] >= 100 / model.decode_per_s * 1e9 - slack_ns
    # The second time the model is there.
    again, _ = await timed(engine, "hello", stream=stream)
    assert again["load_duration"] < 0.05 * last["load_duration"]


async def test_a_queued_request_counts_its_waiting_in_the_total_only(
    slower: tuple[Simulator, SimulatorEngine],
) -> None:
    simulator, engine = slower
    first = await engine.post(
        "/api/generate", b'{"model":"qwen2.5:3b","prompt":"[simulate: hang after 1 token]"}'
    )
    queued = asyncio.create_task(timed(engine, "hello", stream=False))
    while not simulator.waiting:
        await asyncio.sleep(0.001)
    began_s = time.perf_counter()
    await asyncio.sleep(0.05)
    waited_ns = (time.perf_counter() - began_s) * SPEED * 1e9
    first.release()
    last, _ = await queued
    assert last["total_duration"] >= waited_ns + sum(last[name] for name in DURATIONS) - len(DURATIONS)


async def test_tokens_come_at_the_models_pace_and_not_before() -> None:
    now_us = 0

    def clock_us() -> int:
        nonlocal now_us
        now_us += 700
        return now_us

    model = find("qwen2.5:3b")
    assert model is not None
    scheduler = Scheduler(SimulatedGpu(clock_us), speed=1000, parallel=1, clock_us=clock_us)
    inference = SimulatedInference(scheduler, speed=10, clock_us=clock_us)
    sent: list[tuple[int, int]] = []

    async def emit(tokens: Sequence[str]) -> None:
        sent.append((now_us, len(tokens)))

    task = Task(model=model, prompt="", prompt_tokens=0, keep_s=300, faults=Faults(tokens=60))
    timing = await inference.generate(task, emit)
    scheduler.close()
    step_us = 1e6 / (model.decode_per_s * 10)
    began_us = sent[-1][0] + 700 - timing.decode_ns / 10_000
    total = 0
    for at_us, count in sent:
        total += count
        assert at_us - began_us >= total * step_us - 500
    assert total == timing.tokens == 60
    assert len(sent) > 20, "they come one after the other"


async def test_a_slow_first_byte_delays_the_status_line(engine: SimulatorEngine) -> None:
    began_s = time.perf_counter()
    reply = await engine.post(
        "/api/generate", b'{"model":"qwen2.5:3b","prompt":"[simulate: slow first byte 0.1 s]"}'
    )
    assert time.perf_counter() - began_s >= 0.1
    assert b'"done":true' in await reply.read()


class Clock:
    """Microseconds that pass when told to."""

    def __init__(self) -> None:
        self.now_us = 0

    def __call__(self) -> int:
        return self.now_us

    def pass_s(self, seconds: float) -> None:
        self.now_us += int(seconds * 1e6)


def test_the_card_rests_at_fifteen_watts_and_works_near_its_limit() -> None:
    clock = Clock()
    gpu = SimulatedGpu(clock)
    assert gpu.state().power_w == 15
    assert gpu.state().utilisation_pct == 0
    gpu.shift(Phase.IDLE, Phase.PREFILL)
    readings = []
    for _ in range(50):
        clock.pass_s(0.1)
        readings.append(gpu.state().power_w)
    settled = readings[10:]
    assert all(163 < power_w <= gpu.limit_w for power_w in settled)
    assert len({round(power_w, 3) for power_w in settled}) > 10, "it ripples"
    gpu.shift(Phase.PREFILL, Phase.IDLE)
    clock.pass_s(3)
    assert gpu.state().power_w == pytest.approx(15, abs=0.01)


def test_a_resident_model_costs_a_few_watts() -> None:
    clock = Clock()
    gpu = SimulatedGpu(clock)
    before = gpu.state()
    gpu.set_memory(5 * 10**9)
    clock.pass_s(5)
    after = gpu.state()
    assert 3 < after.power_w - before.power_w < 20
    assert after.memory_used_b - before.memory_used_b == 5 * 10**9
    assert gpu.free_b() == after.memory_total_b - after.memory_used_b


def test_power_follows_within_hundredths_of_seconds_and_warmth_in_minutes() -> None:
    clock = Clock()
    gpu = SimulatedGpu(clock)
    cold_c = gpu.state().temperature_c
    gpu.shift(Phase.IDLE, Phase.DECODE)
    clock.pass_s(0.015)
    assert gpu.state().power_w == pytest.approx(15 + 149 * (1 - math.exp(-1)), abs=5)
    clock.pass_s(5)
    assert gpu.state().temperature_c < cold_c + 12
    clock.pass_s(300)
    warm_c = gpu.state().temperature_c
    assert 70 < warm_c < 85
    gpu.shift(Phase.DECODE, Phase.IDLE)
    clock.pass_s(10)
    assert cold_c + 15 < gpu.state().temperature_c < warm_c


def test_the_hungriest_of_several_phases_is_what_the_card_draws() -> None:
    clock = Clock()
    gpu = SimulatedGpu(clock)
    for phase in (Phase.LOADING, Phase.EMBEDDING, Phase.DECODE, Phase.PREFILL):
        gpu.shift(Phase.IDLE, phase)
    assert gpu.state().utilisation_pct == 99
    gpu.shift(Phase.PREFILL, Phase.IDLE)
    assert gpu.state().utilisation_pct == 96
    gpu.shift(Phase.DECODE, Phase.IDLE)
    gpu.shift(Phase.EMBEDDING, Phase.IDLE)
    assert gpu.state().utilisation_pct == 18


@given(st.lists(st.tuples(st.sampled_from(list(Phase)), st.floats(0.001, 100)), max_size=20))
def test_the_card_stays_within_physics(steps: list[tuple[Phase, float]]) -> None:
    clock = Clock()
    gpu, current = SimulatedGpu(clock), Phase.IDLE
    for phase, seconds in steps:
        gpu.shift(current, phase)
        current = phase
        clock.pass_s(seconds)
        state = gpu.state()
        assert 10 < state.power_w <= gpu.limit_w
        assert 30 < state.temperature_c < 80
        assert 0 <= state.utilisation_pct <= 100


def test_the_same_history_read_more_often_is_the_same_history() -> None:
    readings = []
    for step_s in (0.01, 4.0):
        clock = Clock()
        gpu = SimulatedGpu(clock)
        gpu.shift(Phase.IDLE, Phase.DECODE)
        while clock.now_us < 8_000_000:
            clock.pass_s(step_s)
            gpu.state()
        readings.append(gpu.state())
    assert readings[0].power_w == pytest.approx(readings[1].power_w, abs=1e-6)
    assert readings[0].temperature_c == pytest.approx(readings[1].temperature_c, abs=1e-6)


async def test_another_thread_may_read_the_card_while_the_simulator_works(
    simulator: Simulator, engine: SimulatorEngine
) -> None:
    stop = threading.Event()
    powers: list[float] = []

    def sample() -> None:
        while not stop.is_set():
            powers.append(simulator.gpu_state().power_w)

    thread = threading.Thread(target=sample)
    thread.start()
    await asyncio.gather(*(timed(engine, "hello", stream=True) for _ in range(20)))
    stop.set()
    thread.join(10)
    assert all(10 < power_w <= 170 for power_w in powers)


def test_speeds_and_sizes_are_those_of_real_models_on_such_a_card() -> None:
    for model in MODELS:
        assert model.vram_b < SimulatedGpu.memory_total_b
        assert 0.3 < model.load_s < 4
        if model.generates:
            # FACTS: 0.02 to 20 J per output token.
            assert 0.02 < 164 / model.decode_per_s < 20
            assert model.prefill_per_s > 10 * model.decode_per_s
    assert len({model.digest for model in MODELS}) == len(MODELS)


@given(st.text(max_size=60), st.none() | st.integers(0, 300))
def test_an_answer_depends_on_nothing_but_the_question(prompt: str, length: int | None) -> None:
    tokens = answer_tokens("llama3.1:8b", prompt, length=length)
    assert tokens == answer_tokens("llama3.1:8b", prompt, length=length)
    text = "".join(tokens)
    if length is None:
        assert 28 <= len(tokens) < 130
        assert text.startswith("This is a simulated answer: no model ran, and no GPU worked for it.")
        assert text.endswith(".")
    else:
        assert len(tokens) == length


@given(st.text(max_size=200))
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text
    assert count_tokens(text) >= len(text) / 4


@given(st.text(alphabet="ab ", max_size=30), st.lists(st.text(alphabet="ab ", max_size=3), max_size=3))
def test_nothing_of_a_stop_sequence_is_left(text: str, stops: list[str]) -> None:
    kept = "".join(until_stop(split_tokens(text), stops))
    assert text.startswith(kept)
    assert not any(stop and stop in kept for stop in stops)


def test_vectors_of_different_texts_point_in_different_directions() -> None:
    vectors = [embedding("m", text, 256) for text in ("a", "b", "c")]
    for one, other in pairwise(vectors):
        assert abs(sum(x * y for x, y in zip(one, other, strict=True))) < 0.5
        assert math.hypot(*one) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("prompt", "faults"),
    [
        ("hello", Faults()),
        ("[simulate: error after 3 tokens]", Faults(error_after=3)),
        ("please [Simulate: ERROR] now", Faults(error_after=0)),
        ("[simulate: hang after 1 token]", Faults(hang_after=1)),
        ("[simulate: close]", Faults(close_after=0)),
        ("[simulate: out of memory]", Faults(out_of_memory=True)),
        ("[simulate: slow first byte 2.5 s]", Faults(first_byte_s=2.5)),
        ("[simulate: 500 tokens] [simulate: close after 7 tokens]", Faults(tokens=500, close_after=7)),
        ("[simulate: an earthquake]", Faults()),
    ],
)
def test_faults_are_read_from_the_prompt(prompt: str, faults: Faults) -> None:
    assert read_faults(prompt, Faults()) == faults


def test_a_prompts_faults_come_on_top_of_the_standing_ones() -> None:
    standing = Faults(error_after=5, first_byte_s=1)
    assert read_faults("hello", standing) is standing
    assert read_faults("[simulate: error after 2 tokens]", standing) == Faults(error_after=2, first_byte_s=1)
