"""Starting, stopping and removing the engine's container on a real daemon."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from app.containers.base import (
    ContainerError,
    GpuRefused,
    ImageMissing,
    NameTaken,
    PortTaken,
    PullBroken,
)
from app.engine.host import EngineHost, HostPhase, HostState, Processor
from app.managed.faults import NeverHealthy, NotRunning
from app.simulator import VERSION
from tests.managed.hosting import Make, eventually
from tests.real.docker_engine import Engine
from tests.real.docker_images import Images, layered
from tests.real.docker_registry import Registry

Foreign = Callable[..., Any]


async def test_the_first_start_makes_everything_and_ends_with_an_engine_that_answers(make: Make) -> None:
    managed = make()
    host: EngineHost = managed.host
    assert host.managed
    assert host.state == HostState(HostPhase.ABSENT, container=managed.names.container)
    await host.start()
    assert await managed.engine.version() == VERSION
    state = host.state
    assert (state.phase, state.problem, state.drift) == (HostPhase.RUNNING, None, ())
    assert (state.processor, state.isolated) == (Processor.CPU, True)
    assert managed.phases == [HostPhase.STARTING, HostPhase.RUNNING]
    attrs = managed.container().attrs
    (binding,) = attrs["HostConfig"]["PortBindings"]["11434/tcp"]
    assert binding["HostIp"] == "127.0.0.1"
    assert managed.engine.url == f"http://127.0.0.1:{binding['HostPort']}"
    assert binding["HostPort"] not in ("0", "11434")
    assert managed.networks() == {managed.names.sealed}
    assert attrs["HostConfig"]["Binds"] == [f"{managed.names.volume}:/root/.ollama:rw"]


async def test_an_image_that_is_not_here_is_pulled_with_progress_and_its_digest_remembered(
    make: Make, dockerd: Engine, images: Images, registry: Registry
) -> None:
    layered(dockerd.client, "mortdecai-test/large:1", [3_000_000, 2_000_000], images.simulator)
    reference = registry.push("mortdecai-test/large:1", "ollama:large")
    dockerd.client.images.remove("mortdecai-test/large:1")
    registry.throttle(rate_b_per_s=6_000_000)
    managed = make(image=reference)
    try:
        await managed.host.start()
    finally:
        registry.throttle()
    assert managed.phases == [HostPhase.STARTING, HostPhase.PULLING, HostPhase.STARTING, HostPhase.RUNNING]
    told = [state.progress for state in managed.said if state.progress is not None]
    assert any(0 < progress.done < progress.total and progress.rate_b_per_s > 0 for progress in told)
    assert managed.state.progress is None
    assert managed.state.image == reference
    digests = dockerd.client.images.get(reference).attrs["RepoDigests"]
    assert managed.state.digest in {entry.partition("@")[2] for entry in digests}
    assert managed.state.digest.startswith("sha256:")


async def test_a_pull_that_breaks_off_is_one_sentence_and_the_next_start_goes_on(
    make: Make, dockerd: Engine, images: Images, registry: Registry
) -> None:
    layered(dockerd.client, "mortdecai-test/broken:1", [2_000_000, 2_000_000], images.simulator)
    reference = registry.push("mortdecai-test/broken:1", "ollama:broken")
    dockerd.client.images.remove("mortdecai-test/broken:1")
    managed = make(image=reference)
    registry.throttle(after_b=1_000_000)
    try:
        with pytest.raises(ContainerError) as raised:
            await managed.host.start()
    finally:
        registry.throttle()
    assert isinstance(raised.value, PullBroken), raised.value.detail
    assert managed.state.phase is HostPhase.FAILED
    assert managed.state.problem
    assert managed.state.fix
    assert managed.state.progress is None
    await managed.host.start()
    assert managed.state.phase is HostPhase.RUNNING


async def test_an_image_that_is_nowhere_is_a_sentence_and_another_image_works(
    make: Make, images: Images, registry: Registry
) -> None:
    managed = make(image=f"{registry.address}/nobody/has-this:1")
    with pytest.raises(ImageMissing):
        await managed.host.start()
    assert managed.state.phase is HostPhase.FAILED
    assert managed.state.fix
    assert not managed.exists()
    managed.set(image=images.simulator)
    await managed.host.start()
    assert managed.state.phase is HostPhase.RUNNING


async def test_a_running_container_of_an_earlier_run_is_adopted_and_not_restarted(make: Make) -> None:
    first, second = make(), make()
    await first.host.start()
    before = first.container().attrs
    await first.close()
    await second.host.start()
    after = second.container().attrs
    assert after["Id"] == before["Id"]
    assert after["State"]["StartedAt"] == before["State"]["StartedAt"]
    assert await second.engine.version() == VERSION
    assert second.state.phase is HostPhase.RUNNING
    assert second.state.image == first.state.image


async def test_a_stopped_container_is_started_again_as_it_was(make: Make) -> None:
    managed = make()
    await managed.host.start()
    before = managed.container().id
    await managed.host.stop()
    assert managed.state.phase is HostPhase.STOPPED
    assert managed.container().status == "exited"
    await managed.host.start()
    assert managed.container().id == before
    assert await managed.engine.version() == VERSION


async def test_a_stopped_container_with_old_settings_is_made_anew_by_a_start(make: Make) -> None:
    managed = make()
    await managed.host.start()
    before = managed.container().id
    await managed.host.stop()
    managed.set(parallel=2)
    managed.host.settings_changed()
    assert managed.state.drift == ("engine_parallel",)
    await managed.host.start()
    assert managed.container().id != before
    assert managed.state.drift == ()
    assert "OLLAMA_NUM_PARALLEL=2" in managed.container().attrs["Config"]["Env"]


async def test_networks_that_somebody_tidied_away_are_made_again(make: Make, dockerd: Engine) -> None:
    managed = make()
    await managed.host.start()
    await managed.host.stop()
    dockerd.client.api.prune_networks()
    assert dockerd.client.networks.list(names=[managed.names.sealed]) == []
    await managed.host.start()
    assert (managed.state.phase, managed.state.isolated) == (HostPhase.RUNNING, True)
    assert await managed.engine.version() == VERSION


async def test_an_image_that_somebody_untagged_is_no_hindrance(
    make: Make, dockerd: Engine, images: Images
) -> None:
    dockerd.client.api.tag(images.simulator, "mortdecai-test/passing", "1")
    managed = make(image="mortdecai-test/passing:1")
    await managed.host.start()
    dockerd.client.images.remove("mortdecai-test/passing:1")
    managed.set(parallel=2)
    await managed.host.recreate()
    assert await managed.engine.version() == VERSION
    assert "OLLAMA_NUM_PARALLEL=2" in managed.container().attrs["Config"]["Env"]


async def test_stopping_twice_or_before_any_start_is_fine(make: Make) -> None:
    managed = make()
    await managed.host.stop()
    assert managed.state.phase is HostPhase.ABSENT
    await managed.host.start()
    await managed.host.stop()
    await managed.host.stop()
    assert managed.state.phase is HostPhase.STOPPED


async def test_a_stop_is_not_taken_for_a_crash(make: Make) -> None:
    managed = make()
    await managed.host.start()
    await managed.host.stop()
    managed.host.look_again()
    await managed.close()
    assert managed.container().status == "exited"
    assert managed.said[-1].phase is HostPhase.STOPPED


async def test_several_callers_share_one_start(make: Make, dockerd: Engine) -> None:
    managed = make()
    await asyncio.gather(*(managed.host.start() for _ in range(4)))
    assert managed.phases == [HostPhase.STARTING, HostPhase.RUNNING]


async def test_one_callers_cancellation_leaves_the_start_to_the_others(make: Make) -> None:
    managed = make()
    given_up = asyncio.ensure_future(managed.host.start())
    staying = asyncio.ensure_future(managed.host.start())
    await eventually(lambda: managed.said, "the start has begun")
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    await staying
    assert managed.state.phase is HostPhase.RUNNING


async def test_stopping_calls_a_start_off_that_is_under_way(make: Make, images: Images) -> None:
    managed = make(image=images.deaf)
    starting = asyncio.ensure_future(managed.host.start())
    await eventually(
        lambda: managed.exists() and managed.container().status == "running", "the container runs"
    )
    await managed.host.stop()
    with pytest.raises(NotRunning, match="called off"):
        await starting
    assert managed.state.phase is HostPhase.STOPPED
    assert managed.container().status == "exited"


async def test_an_engine_that_never_answers_fails_with_its_log_and_is_stopped(
    make: Make, images: Images
) -> None:
    managed = make({"healthy_s": 0.5}, image=images.deaf)
    with pytest.raises(NeverHealthy, match=r"nothing has answered in it for 0\.5 s"):
        await managed.host.start()
    state = managed.state
    assert state.phase is HostPhase.FAILED
    assert state.problem is not None
    assert state.fix == "Read the end of its log, then start the engine again."
    assert state.log_tail == ("waiting for nothing",)
    assert managed.container().status == "exited"
    managed.set(image=images.simulator)
    await managed.host.start()
    assert managed.state.phase is HostPhase.RUNNING
    assert managed.state.log_tail == ()


async def test_a_name_that_somebody_elses_container_has_is_left_alone(make: Make, foreign: Foreign) -> None:
    managed = make()
    other = foreign(managed.names.container)
    with pytest.raises(NameTaken, match="was not made by this app"):
        await managed.host.start()
    assert managed.state.phase is HostPhase.FAILED
    other.reload()
    assert other.status == "running"
    other.rename(f"{managed.names.container}-theirs")
    await managed.host.start()
    assert managed.state.phase is HostPhase.RUNNING
    other.reload()
    assert other.status == "running"


async def test_a_port_that_is_taken_is_a_sentence_where_the_person_chose_it(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        managed = make(port=taken.getsockname()[1])
        with pytest.raises(PortTaken):
            await managed.host.start()
        assert managed.state.phase is HostPhase.FAILED
        assert managed.state.fix
    await managed.host.start()
    assert managed.engine.url.endswith(f":{managed.recipe.port}")


async def test_another_port_is_taken_where_the_choice_was_ours(make: Make) -> None:
    managed = make()
    await managed.host.start()
    before = managed.engine.url
    await managed.host.stop()
    with socket.create_server(("127.0.0.1", int(before.rpartition(":")[2]))):
        await managed.host.start()
        assert managed.engine.url != before
        assert await managed.engine.version() == VERSION


async def test_a_gpu_that_the_daemon_cannot_hand_over_is_a_failure_and_no_quiet_cpu(make: Make) -> None:
    managed = make(processor="nvidia")
    with pytest.raises(GpuRefused):
        await managed.host.start()
    assert managed.state.phase is HostPhase.FAILED
    assert managed.state.problem
    assert managed.state.fix
    assert not managed.exists() or managed.container().status != "running"
    managed.set(processor="cpu")
    await managed.host.start()
    assert (managed.state.phase, managed.state.processor) == (HostPhase.RUNNING, Processor.CPU)


async def test_models_outlive_stop_and_recreate_and_go_only_when_told(make: Make, dockerd: Engine) -> None:
    managed = make()
    await managed.host.start()
    managed.container().exec_run(["/python/bin/python3", "-c", "open('/root/.ollama/a-model', 'w').close()"])
    await managed.host.stop()
    managed.set(cpus=1)
    await managed.host.recreate()
    found = managed.container().exec_run(
        ["/python/bin/python3", "-c", "import os; print(os.listdir('/root/.ollama'))"]
    )
    assert b"a-model" in found.output
    await managed.host.remove(models=False)
    assert managed.state == HostState(HostPhase.ABSENT, container=managed.names.container)
    assert not managed.exists()
    assert dockerd.client.networks.list(names=[managed.names.sealed]) == []
    dockerd.client.volumes.get(managed.names.volume)
    await managed.host.start()
    await managed.host.remove(models=True)
    assert managed.names.volume not in {volume.name for volume in dockerd.client.volumes.list()}


async def test_removing_what_is_not_there_is_fine(make: Make) -> None:
    managed = make()
    await managed.host.remove(models=True)
    assert managed.state.phase is HostPhase.ABSENT


async def test_the_log_can_be_read_and_is_empty_without_a_container(make: Make) -> None:
    managed = make()
    assert await managed.host.log_tail() == ""
    await managed.host.start()
    assert ":11434" in await managed.host.log_tail()


async def test_closing_leaves_the_container_running_and_later_starts_are_refused(make: Make) -> None:
    managed = make()
    await managed.host.start()
    await managed.host.close()
    await managed.host.close()
    assert managed.container().status == "running"
    with pytest.raises(NotRunning):
        await managed.host.start()


async def test_closing_is_over_in_seconds_whatever_hangs(make: Make) -> None:
    async def hangs() -> Any:
        await asyncio.Event().wait()

    managed = make(find=hangs)
    starting = asyncio.ensure_future(managed.host.start())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await managed.host.close()
    with pytest.raises(NotRunning):
        await starting
