"""Whether the GPU is really used. The GPU is the one thing that is not real here: /dev/null stands for its device file,
and scripted images write what Ollama writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.containers.base import DaemonFailed
from app.containers.docker import Docker
from app.containers.find import find_daemon
from app.engine.base import Loaded
from app.engine.host import HostPhase, Processor
from app.managed.gpu_choice import Machine
from app.managed.processor import FIX, PROBLEM
from tests.managed.hosting import Make, Managed, eventually
from tests.real.docker_engine import Engine

Scripted = Callable[..., str]

AMD = {"machine": lambda: Machine(rocm=("/dev/null",))}


def starts(managed: Managed) -> int:
    """How often the container's engine has been started."""
    said = managed.container().exec_run(
        ["/python/bin/python3", "-c", "print(open('/root/.ollama/starts').read())"]
    )
    return int(said.output)


def load(managed: Managed, vram_b: int) -> None:
    """A model is loaded from now on."""
    code = f"open('/root/.ollama/vram', 'w').write('{vram_b}')"
    managed.container().exec_run(["/python/bin/python3", "-c", code])


def loaded(vram_b: int) -> Loaded:
    return Loaded("m", "", 100, vram_b, "")


async def test_a_gpu_that_the_engine_names_in_its_log_is_used(make: Make, scripted: Scripted) -> None:
    managed = make(AMD, image=scripted("ROCm"), processor="auto")
    await managed.host.start()
    assert (managed.state.processor, managed.state.problem) == (Processor.GPU, None)
    assert managed.container().attrs["HostConfig"]["Devices"][0]["PathOnHost"] == "/dev/null"
    assert starts(managed) == 1


async def test_a_gpu_lost_at_the_start_is_found_again_by_one_restart(make: Make, scripted: Scripted) -> None:
    managed = make(AMD, image=scripted("cpu,ROCm"), processor="auto")
    await managed.host.start()
    assert (managed.state.processor, managed.state.problem) == (Processor.GPU, None)
    assert starts(managed) == 2
    assert Processor.FALLBACK not in {state.processor for state in managed.said}


async def test_a_gpu_that_stays_lost_is_said_and_restarted_only_once(make: Make, scripted: Scripted) -> None:
    managed = make(AMD, image=scripted("cpu"), processor="rocm")
    await managed.host.start()
    assert managed.state.phase is HostPhase.RUNNING
    assert (managed.state.processor, managed.state.problem, managed.state.fix) == (
        Processor.FALLBACK,
        PROBLEM,
        FIX,
    )
    assert await managed.host.check_processor() is Processor.FALLBACK
    assert starts(managed) == 2
    await managed.host.start()
    assert starts(managed) == 3, "a person's start tries the cure again"


async def test_an_engine_that_says_nothing_is_not_judged(make: Make, scripted: Scripted) -> None:
    managed = make(AMD, image=scripted(""), processor="auto")
    await managed.host.start()
    assert managed.state.processor is Processor.UNKNOWN
    assert starts(managed) == 1


@pytest.mark.parametrize(("vram", "processor"), [(100, Processor.GPU), (0, Processor.FALLBACK)])
async def test_what_a_loaded_model_occupies_counts_more_than_the_log(
    make: Make, scripted: Scripted, vram: int, processor: Processor
) -> None:
    managed = make(AMD, image=scripted("cpu" if vram else "ROCm", vram), processor="auto")
    await managed.host.start()
    assert managed.state.processor is processor


async def test_the_processor_is_no_fallback_where_it_was_asked_for(make: Make, scripted: Scripted) -> None:
    managed = make(AMD, image=scripted("cpu", 0), processor="cpu")
    await managed.host.start()
    assert await managed.host.check_processor() is Processor.CPU
    assert await managed.host.resumed() is Processor.CPU
    assert starts(managed) == 1


async def test_a_machine_without_a_gpu_is_said_to_compute_on_the_processor(
    make: Make, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    managed = make(image=scripted("cpu"), processor="auto")
    await managed.host.start()
    assert managed.state.processor is Processor.CPU
    assert sum("No GPU was found" in record.message for record in caplog.records) == 1


async def test_after_a_sleep_an_engine_at_rest_looks_for_its_gpu_again(
    make: Make, scripted: Scripted
) -> None:
    managed = make(AMD, image=scripted("ROCm,cpu"), processor="auto")
    await managed.host.start()
    assert await managed.host.resumed() is Processor.FALLBACK
    assert (managed.state.processor, managed.state.problem) == (Processor.FALLBACK, PROBLEM)


async def test_after_a_sleep_a_busy_engine_is_not_restarted_and_not_trusted(
    make: Make, scripted: Scripted
) -> None:
    managed = make({**AMD, "busy": lambda: True}, image=scripted("ROCm"), processor="auto")
    await managed.host.start()
    assert await managed.host.resumed() is Processor.UNKNOWN
    assert starts(managed) == 1


async def test_after_a_sleep_a_loaded_model_is_evidence_enough(make: Make, scripted: Scripted) -> None:
    managed = make(AMD, image=scripted("ROCm", 100), processor="auto")
    await managed.host.start()
    assert await managed.host.resumed() is Processor.GPU
    assert starts(managed) == 1


async def test_a_model_beside_the_gpu_is_looked_into_when_somebody_hears_of_it(
    make: Make, scripted: Scripted
) -> None:
    managed = make(AMD, image=scripted("ROCm"), processor="auto")
    managed.host.noticed([loaded(0)])
    await managed.host.start()
    managed.host.noticed([])
    managed.host.noticed([loaded(100)])
    assert (managed.state.processor, managed.state.isolated) == (Processor.GPU, True)
    assert starts(managed) == 1
    load(managed, 0)
    managed.host.noticed([loaded(0)])
    await eventually(lambda: managed.state.processor is Processor.FALLBACK, "looked")
    assert starts(managed) == 2, "the cure was tried first"
    assert (managed.state.problem, managed.state.isolated) == (PROBLEM, True)
    managed.host.noticed([loaded(0)])
    await managed.host.check_processor()
    assert starts(managed) == 2, "a model that is too large makes no restart of every answer"


async def test_what_somebody_heard_is_checked_before_it_is_believed(make: Make, scripted: Scripted) -> None:
    managed = make(AMD, image=scripted("ROCm"), processor="auto")
    await managed.host.start()
    load(managed, 100)
    managed.host.noticed([loaded(0)])
    assert await managed.host.check_processor() is Processor.GPU
    assert starts(managed) == 1


async def test_a_gpu_seen_at_work_ends_a_fallback(make: Make, scripted: Scripted) -> None:
    managed = make(AMD, image=scripted("cpu"), processor="auto")
    await managed.host.start()
    assert managed.state.processor is Processor.FALLBACK
    managed.host.noticed([loaded(100)])
    assert (managed.state.processor, managed.state.problem, managed.state.fix) == (Processor.GPU, None, None)


async def test_a_daemon_that_reads_its_configuration_again_has_the_gpu_checked(
    make: Make, scripted: Scripted, dockerd: Engine
) -> None:
    managed = make(AMD, image=scripted("cpu"), processor="auto")
    await managed.host.start()
    managed.host.noticed([loaded(100)])
    assert managed.state.processor is Processor.GPU
    dockerd.reload()
    await eventually(lambda: managed.state.processor is Processor.FALLBACK, "checked")


async def test_an_engine_that_crashes_while_it_looks_for_its_gpu_is_restarted_like_any_other(
    make: Make, scripted: Scripted
) -> None:
    managed = make(AMD, image=scripted("ROCm,crash,ROCm"), processor="auto")
    await managed.host.start()
    assert await managed.host.resumed() is Processor.GPU
    assert managed.state.phase is HostPhase.RUNNING
    assert starts(managed) == 3


async def test_nothing_is_checked_in_a_container_that_does_not_run(make: Make, scripted: Scripted) -> None:
    async def none() -> Any:
        raise AssertionError("nobody is to be asked")

    managed = make(find=none)
    assert await managed.host.check_processor() is Processor.UNKNOWN
    assert await managed.host.resumed() is Processor.UNKNOWN


async def test_what_many_have_heard_is_looked_into_once(make: Make, scripted: Scripted) -> None:
    managed = make(AMD, image=scripted("ROCm"), processor="auto")
    await managed.host.start()

    def at_work() -> int:
        return sum(task.get_name() == "engine-work" for task in asyncio.all_tasks())

    await eventually(lambda: not at_work(), "at rest")
    for _ in range(5):
        managed.host.noticed([loaded(0)])
    assert at_work() == 1


async def test_an_engine_whose_log_cannot_be_read_runs_and_is_not_judged(
    make: Make, scripted: Scripted, dockerd: Engine
) -> None:
    async def find() -> Docker:
        docker = await find_daemon(dockerd.socket)

        async def logs(*_: object) -> str:
            raise DaemonFailed("Docker could not read the log: this log driver does not support reading.")

        docker.logs = logs  # type: ignore[method-assign]
        return docker

    managed = make(AMD, find=find, image=scripted("ROCm"), processor="auto")
    await managed.host.start()
    assert (managed.state.phase, managed.state.processor) == (HostPhase.RUNNING, Processor.UNKNOWN)
