"""What ends by itself, is ended from outside, or loses its daemon, on a real daemon."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator

import pytest

from app.containers.base import Container, DaemonUnreachable
from app.containers.docker import Docker
from app.containers.find import find_daemon
from app.engine.host import HostPhase
from app.managed.faults import EngineCrashed
from app.simulator import VERSION
from tests.managed.hosting import Make, Managed, eventually
from tests.real.docker_engine import Engine
from tests.real.docker_images import Images


@pytest.fixture
def own_dockerd(another_dockerd: Callable[..., Engine]) -> Iterator[Engine]:
    """An engine of this test's own, without images: for what must not disturb the others."""
    engine = another_dockerd()
    yield engine
    engine.stop()


def restarts(managed: Managed) -> int:
    """How often it said that it restarts because something went wrong."""
    return sum(
        state.phase is HostPhase.STARTING and state.problem is not None and before.problem is None
        for before, state in zip(managed.said, managed.said[1:], strict=False)
    )


async def killed(managed: Managed) -> None:
    """Kill the container from outside, and wait until that has been seen to."""
    before = managed.container().attrs["State"]["StartedAt"]
    managed.container().kill()
    await eventually(
        lambda: (
            managed.container().attrs["State"]["StartedAt"] != before
            and managed.state.phase is HostPhase.RUNNING
        ),
        "it runs again",
    )


async def test_a_container_killed_from_outside_is_restarted(make: Make) -> None:
    managed = make()
    await managed.host.start()
    before = managed.container().id
    await killed(managed)
    assert managed.container().id == before
    assert await managed.engine.version() == VERSION
    assert managed.phases == [HostPhase.STARTING, HostPhase.RUNNING, HostPhase.STARTING, HostPhase.RUNNING]
    assert any(state.problem == "The engine's container was ended from outside." for state in managed.said)
    assert managed.state.problem is None


async def test_a_container_removed_from_outside_is_made_again_with_its_models(
    make: Make, dockerd: Engine
) -> None:
    managed = make()
    await managed.host.start()
    before = managed.container().id
    managed.container().exec_run(["/python/bin/python3", "-c", "open('/root/.ollama/a-model', 'w').close()"])
    managed.container().remove(force=True)
    await eventually(lambda: managed.exists() and managed.container().id != before, "a new container")
    await managed.running()
    found = managed.container().exec_run(
        ["/python/bin/python3", "-c", "import os; print(os.listdir('/root/.ollama'))"]
    )
    assert b"a-model" in found.output


async def test_a_paused_container_is_brought_back(make: Make) -> None:
    managed = make()
    await managed.host.start()
    managed.container().pause()
    await eventually(lambda: restarts(managed) == 1, "the pause is seen")
    await managed.running()
    assert managed.container().status == "running"


async def test_the_fourth_end_within_ten_minutes_is_the_last_and_later_ones_count_anew(make: Make) -> None:
    now = [1000.0]
    managed = make({"clock": lambda: now[0]})
    await managed.host.start()
    for _ in range(3):
        await killed(managed)
    now[0] += 600
    await killed(managed)
    now[0] += 1
    for _ in range(2):
        await killed(managed)
    managed.container().kill()
    await eventually(lambda: managed.state.phase is HostPhase.FAILED, "given up")
    assert managed.state.problem is not None
    assert "restarted 3 times within 10 minutes" in managed.state.problem
    assert managed.container().status == "exited"
    await managed.host.start()
    await killed(managed)


async def test_an_engine_that_crashes_is_restarted_three_times_and_then_shown_with_its_log(
    make: Make, images: Images
) -> None:
    managed = make(image=images.crashing)
    with pytest.raises(EngineCrashed):
        await managed.host.start()
    assert restarts(managed) == 3
    state = managed.state
    assert state.phase is HostPhase.FAILED
    assert state.problem is not None
    assert "libcudart.so cannot be loaded" in state.problem
    assert "restarted 3 times" in state.problem
    assert state.fix == "Read the end of its log, then start the engine again."
    assert set(state.log_tail) == {"Error: the library libcudart.so cannot be loaded"}
    assert len(state.log_tail) == 4
    managed.said.clear()
    with pytest.raises(EngineCrashed):
        await managed.host.start()
    assert restarts(managed) == 3, "a person's start counts anew"
    managed.set(image=images.simulator)
    await managed.host.start()
    assert managed.state.phase is HostPhase.RUNNING


async def test_a_daemon_that_stops_is_said_and_its_return_is_enough(make: Make, dockerd: Engine) -> None:
    managed = make()
    await managed.host.start()
    try:
        await asyncio.to_thread(dockerd.stop)
        await eventually(lambda: managed.state.phase is HostPhase.ABSENT, "the loss is noticed")
        assert managed.state.problem
        assert managed.state.fix
    finally:
        # Not in a thread: it would end with the thread that started it.
        dockerd.start()
    await managed.running()
    assert managed.state.problem is None
    assert await managed.engine.version() == VERSION
    await killed(managed)


async def test_a_daemon_that_restarts_uses_up_none_of_the_restarts(make: Make, dockerd: Engine) -> None:
    managed = make()
    await managed.host.start()
    await asyncio.to_thread(dockerd.stop)
    await eventually(lambda: HostPhase.ABSENT in managed.phases, "the loss is noticed")
    dockerd.start()
    await managed.running()
    for _ in range(3):
        await killed(managed)


async def test_a_start_without_a_daemon_is_a_sentence_and_begins_by_itself_when_there_is_one(
    make: Make, own_dockerd: Engine, images: Images
) -> None:
    managed = make()
    managed.dockerd = own_dockerd
    with pytest.raises(DaemonUnreachable):
        await managed.host.start()
    assert managed.state.phase is HostPhase.ABSENT
    assert managed.state.problem
    assert managed.state.fix
    own_dockerd.start()
    await eventually(lambda: managed.state.phase is HostPhase.FAILED, "it was tried")
    assert managed.state.image == "", (
        "this daemon has no such image; the point is that it was asked by itself"
    )


async def test_stopping_without_a_daemon_is_a_sentence_and_nobody_waits_for_one(
    make: Make, own_dockerd: Engine
) -> None:
    managed = make()
    managed.dockerd = own_dockerd
    with pytest.raises(DaemonUnreachable):
        await managed.host.start()
    with pytest.raises(DaemonUnreachable):
        await managed.host.stop()
    own_dockerd.start()
    await managed.host.stop()
    assert managed.state.phase is HostPhase.ABSENT
    assert managed.state.problem is None


async def test_a_daemon_reading_its_configuration_again_disturbs_nothing(make: Make, dockerd: Engine) -> None:
    managed = make()
    await managed.host.start()
    before = managed.container().attrs["State"]["StartedAt"]
    dockerd.reload()
    assert await managed.engine.version() == VERSION
    assert (managed.state.phase, managed.container().attrs["State"]["StartedAt"]) == (
        HostPhase.RUNNING,
        before,
    )


async def test_one_call_that_docker_leaves_unanswered_ends_nothing_for_good(
    make: Make, dockerd: Engine
) -> None:
    found: list[Docker] = []

    async def find() -> Docker:
        found.append(await find_daemon(dockerd.socket))
        return found[-1]

    async def hangs(_: str) -> None:
        raise DaemonUnreachable("Docker does not answer. Restart Docker.")

    managed = make(find=find)
    await managed.host.start()
    found[-1].find = hangs  # type: ignore[assignment]  the events go on meanwhile
    with pytest.raises(DaemonUnreachable):
        await managed.host.check_processor()
    assert managed.state.phase is HostPhase.ABSENT
    await managed.running()
    assert managed.state.problem is None
    await killed(managed)


async def test_a_daemon_that_stays_away_is_asked_at_a_slower_and_slower_pace(make: Make) -> None:
    asked: list[float] = []

    async def find() -> Docker:
        asked.append(asyncio.get_running_loop().time())
        raise DaemonUnreachable("Docker is not running. Start it.")

    managed = make(find=find)
    with pytest.raises(DaemonUnreachable):
        await managed.host.start()
    await eventually(lambda: len(asked) == 4, "asked again")
    pauses = [after - before for before, after in itertools.pairwise(asked)]
    assert pauses[0] < pauses[1] < pauses[2]


async def test_an_end_that_comes_while_a_look_is_under_way_is_not_missed(make: Make, dockerd: Engine) -> None:
    heard, armed = asyncio.Event(), False

    async def find() -> Docker:
        docker = await find_daemon(dockerd.socket)
        real = docker.find

        async def stale(name: str) -> Container | None:
            nonlocal armed
            seen = await real(name)
            if armed:
                armed = False
                heard.clear()
                managed.container().kill()
                await heard.wait()
            return seen

        docker.find = stale  # type: ignore[method-assign]
        return docker

    managed = make(find=find)
    look_again = managed.host.look_again

    def look() -> None:
        heard.set()
        look_again()

    managed.host.look_again = look  # type: ignore[method-assign]
    await managed.host.start()
    await asyncio.wait_for(heard.wait(), 20)
    before = len(managed.said)
    armed = True
    managed.host.look_again()
    await eventually(
        lambda: any(state.phase is HostPhase.STARTING for state in managed.said[before:]), "the end is seen"
    )
    await managed.running()
    assert managed.container().status == "running"
