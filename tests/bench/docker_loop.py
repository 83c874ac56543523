"""How long the event loop stands still while Docker works: create, start, inspect, pull, stop, remove, all the time.

A real engine of its own, a real registry, and a ticker in the loop that is due every millisecond; what counts is the
longest time by which it was late. The machine is late by itself, above all while a daemon unpacks layers on two cores;
so the same ticker runs in a process beside, at the same time, where nothing but the machine can hold it up.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from app.containers.base import LABEL_PROFILE, ContainerSpec
from app.containers.docker import Docker
from app.containers.find import find_daemon
from tests.bench.tools import BenchFailed
from tests.real.docker_engine import Engine, EngineFailed
from tests.real.docker_images import build_images, layered
from tests.real.docker_registry import Registry

_TICK_S = 0.001
_BESIDE = f"""
import asyncio, gc, sys, threading, time
async def main():
    ended, late = asyncio.Event(), []
    loop = asyncio.get_running_loop()
    def wait():
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)
    threading.Thread(target=wait, daemon=True).start()
    print("ticks", flush=True)
    while not ended.is_set():
        due = time.perf_counter() + {_TICK_S}
        await asyncio.sleep({_TICK_S})
        late.append((time.perf_counter() - due) * 1e3)
    late.sort()
    print(late[-1], late[int(len(late) * 0.99)], flush=True)
asyncio.run(main())
"""


def measure(rounds: int = 5) -> dict[str, float]:
    """Milliseconds: `docker_ms` the longest pause of the loop while Docker works, `docker_p99_ms` what one in a hundred
    exceeds, `beside_ms` and `beside_p99_ms` the same in a process beside, `own_ms` the most CPU time that the loop's
    thread itself used between two ticks, `held_ms` and `held_p99_ms` what is left of the pauses without the time that
    the kernel let the thread wait for a processor: the loop's own work, and other threads of ours that held Python's
    lock. BenchFailed where there is no Docker Engine to start."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    dockerd, server = shutil.which("dockerd", path=path), shutil.which("docker-registry", path=path)
    if dockerd is None or server is None:
        raise BenchFailed("dockerd is not installed. Run: sudo apt-get install docker.io docker-registry")
    if sys.platform != "linux" or os.geteuid() != 0:
        raise BenchFailed("A Docker Engine of its own needs Linux and root.")
    with contextlib.ExitStack() as stack:
        try:
            engine = Engine(dockerd)
            stack.callback(engine.close)
            engine.start()
        except EngineFailed as error:
            raise BenchFailed(str(error)) from error
        images = build_images(engine)
        registry = Registry(server, engine)
        stack.callback(registry.close)
        layered(engine.client, "mortdecai-test/bench:latest", [8_000_000] * 4, images.deaf)
        reference = registry.push("mortdecai-test/bench:latest", "bench/layers:1")
        engine.client.images.remove("mortdecai-test/bench:latest")
        return asyncio.run(_measure(engine, images.deaf, reference, rounds))


async def _measure(engine: Engine, image: str, reference: str, rounds: int) -> dict[str, float]:
    docker = await find_daemon(engine.socket)
    await _round(docker, image, reference)  # what is imported at first use is imported now
    gc.collect()
    gc.freeze()
    beside = subprocess.Popen(
        [sys.executable, "-c", _BESIDE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert beside.stdin is not None
    assert beside.stdout is not None
    beside.stdout.readline()

    async def work() -> None:
        for _ in range(rounds):
            await _round(docker, image, reference)

    late, held, own = await _late(work)
    beside.stdin.close()
    beside_worst, beside_p99 = map(float, beside.stdout.readline().split())
    beside.wait(10)
    beside.stdout.close()
    await docker.close()
    late.sort()
    held.sort()
    return {
        "docker_ms": late[-1],
        "docker_p99_ms": late[int(len(late) * 0.99)],
        "beside_ms": beside_worst,
        "beside_p99_ms": beside_p99,
        "own_ms": own,
        "held_ms": held[-1],
        "held_p99_ms": held[int(len(held) * 0.99)],
    }


async def _round(docker: Docker, image: str, reference: str) -> None:
    labels = {LABEL_PROFILE: "bench"}
    pulling = asyncio.ensure_future(docker.pull(reference, lambda _: None))
    events = docker.events()
    await anext(events)
    await docker.create(ContainerSpec(name="bench", image=image, labels=labels, volumes={"bench": "/models"}))
    await docker.start("bench")
    for _ in range(20):
        await asyncio.gather(docker.find("bench"), docker.list(labels), docker.image(image))
    await docker.logs("bench")
    await docker.stop("bench", grace_s=1)
    await docker.remove("bench")
    await docker.remove_volume("bench")
    await events.aclose()
    await pulling
    await docker.remove_image(reference)


async def _late(work: Callable[[], Coroutine[Any, Any, None]]) -> tuple[list[float], list[float], float]:
    """By how many milliseconds each tick was late while `work` ran, the same without waiting for a processor, and the
    loop's own CPU time at most."""
    late: list[float] = []
    held: list[float] = []
    own = 0.0

    async def tick(kept: Any) -> None:
        nonlocal own
        while True:
            due, used, waited = time.perf_counter() + _TICK_S, time.thread_time(), _waited_s(kept)
            await asyncio.sleep(_TICK_S)
            late.append((time.perf_counter() - due) * 1e3)
            held.append(max(0.0, late[-1] - (_waited_s(kept) - waited) * 1e3))
            own = max(own, (time.thread_time() - used) * 1e3)

    with open(f"/proc/self/task/{threading.get_native_id()}/schedstat", "rb", buffering=0) as kept:
        ticker = asyncio.ensure_future(tick(kept))
        try:
            await work()
        finally:
            ticker.cancel()
            await asyncio.wait([ticker])
    return late, held, own


def _waited_s(schedstat: Any) -> float:
    """How long the kernel has let this thread wait for a processor (Documentation/scheduler/sched-stats.rst)."""
    schedstat.seek(0)
    return int(schedstat.read().split()[1]) / 1e9


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:<16} {value:8.2f}")
