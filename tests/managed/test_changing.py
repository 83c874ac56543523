"""Updating, going back, and making the container anew, on a real daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from app.containers.base import GpuRefused, Image, ImageMissing, PullBroken, PullProgress
from app.containers.docker import Docker
from app.containers.find import find_daemon
from app.engine.host import HostPhase
from app.managed.faults import NotRunning
from app.simulator import VERSION
from tests.managed.hosting import Make, eventually
from tests.real.docker_engine import Engine
from tests.real.docker_images import Images, layered
from tests.real.docker_registry import Registry


def push(dockerd: Engine, registry: Registry, name: str, base: str) -> str:
    """Push a version of `name` that differs from every other one, and forget it here."""
    layered(dockerd.client, f"mortdecai-test/{name}:new", [1000], base)
    reference = registry.push(f"mortdecai-test/{name}:new", f"{name}:latest")
    dockerd.client.images.remove(f"mortdecai-test/{name}:new")
    return reference


def has_image(dockerd: Engine, image_id: str) -> bool:
    return image_id in {image.id for image in dockerd.client.images.list(all=True)}


async def test_an_update_puts_the_newest_image_in_place_and_removes_the_old_one(
    make: Make, dockerd: Engine, images: Images, registry: Registry
) -> None:
    reference = push(dockerd, registry, "updated", images.simulator)
    managed = make(image=reference)
    await managed.host.start()
    url, old = managed.engine.url, managed.container().attrs["Image"]
    assert await managed.host.update() == "Ollama is up to date."
    push(dockerd, registry, "updated", images.simulator)
    assert await managed.host.update() == "Ollama was updated; its models are kept."
    new = managed.container().attrs["Image"]
    assert new != old
    assert not has_image(dockerd, old)
    assert managed.engine.url == url
    assert await managed.engine.version() == VERSION
    assert (managed.state.phase, managed.state.drift) == (HostPhase.RUNNING, ())
    digests = dockerd.client.images.get(new).attrs["RepoDigests"]
    assert managed.state.digest in {entry.partition("@")[2] for entry in digests}


async def test_an_update_that_never_answers_goes_back_to_the_old_image(
    make: Make, dockerd: Engine, images: Images, registry: Registry
) -> None:
    reference = push(dockerd, registry, "deaf-update", images.simulator)
    managed = make({"healthy_s": 5.0}, image=reference)
    await managed.host.start()
    old, digest = managed.container().attrs["Image"], managed.state.digest
    push(dockerd, registry, "deaf-update", images.deaf)
    said = await managed.host.update()
    assert said.startswith("The new Ollama did not come up, so the old one runs again: ")
    assert "nothing has answered in it" in said
    assert managed.container().attrs["Image"] == old
    assert managed.state.digest == digest
    assert (managed.state.phase, managed.state.problem) == (HostPhase.RUNNING, None)
    assert await managed.engine.version() == VERSION


async def test_an_update_that_crashes_goes_back_too(
    make: Make, dockerd: Engine, images: Images, registry: Registry
) -> None:
    reference = push(dockerd, registry, "crashing-update", images.simulator)
    managed = make(image=reference)
    await managed.host.start()
    push(dockerd, registry, "crashing-update", images.crashing)
    assert "libcudart.so cannot be loaded" in await managed.host.update()
    assert await managed.engine.version() == VERSION


async def test_an_update_that_cannot_be_had_leaves_the_running_engine_alone(
    make: Make, dockerd: Engine, images: Images, registry: Registry
) -> None:
    managed = make()
    await managed.host.start()
    before = managed.container().attrs["State"]["StartedAt"]
    with pytest.raises(ImageMissing):
        await managed.host.update(f"{registry.address}/nobody/has-this:1")
    assert (managed.state.phase, managed.state.problem) == (HostPhase.RUNNING, None)
    assert managed.container().attrs["State"]["StartedAt"] == before
    managed.container().kill()
    await managed.running()


async def test_an_update_may_be_pinned_by_digest_and_is_no_drift(
    make: Make, dockerd: Engine, images: Images, registry: Registry
) -> None:
    reference = push(dockerd, registry, "pinned", images.simulator)
    managed = make(image=reference)
    await managed.host.start()
    first = managed.state.digest
    push(dockerd, registry, "pinned", images.simulator)
    await managed.host.update()
    assert managed.state.digest != first
    pinned = f"{reference.removesuffix(':latest')}@{first}"
    assert await managed.host.update(pinned) == "Ollama was updated; its models are kept."
    assert (managed.state.digest, managed.state.drift) == (first, ())


async def test_an_image_that_somebody_else_uses_is_not_removed_by_an_update(
    make: Make, dockerd: Engine, images: Images, registry: Registry
) -> None:
    reference = push(dockerd, registry, "shared", images.simulator)
    managed = make(image=reference)
    await managed.host.start()
    old = managed.container().attrs["Image"]
    other = dockerd.client.containers.create(old, name=f"{managed.names.container}-theirs")
    try:
        push(dockerd, registry, "shared", images.simulator)
        await managed.host.update()
        assert managed.container().attrs["Image"] != old
        assert has_image(dockerd, old)
    finally:
        other.remove(force=True)


async def test_an_update_of_a_stopped_engine_leaves_it_stopped(
    make: Make, dockerd: Engine, images: Images, registry: Registry
) -> None:
    reference = push(dockerd, registry, "stopped", images.simulator)
    managed = make(image=reference)
    await managed.host.start()
    await managed.host.stop()
    old = managed.container().attrs["Image"]
    push(dockerd, registry, "stopped", images.simulator)
    assert await managed.host.update() == "Ollama was updated; its models are kept."
    assert managed.state.phase is HostPhase.STOPPED
    assert managed.container().status == "exited"
    assert managed.container().attrs["Image"] != old


async def test_changed_settings_are_drift_at_once_and_a_recreate_ends_it(make: Make) -> None:
    managed = make()
    await managed.host.start()
    before = managed.container().attrs
    url = managed.engine.url
    managed.set(memory_gb=1, context_length=8192, isolated=False)
    managed.host.settings_changed()
    assert managed.state.drift == ("engine_context_length", "engine_isolated", "engine_memory_gb")
    assert managed.said[-1] == managed.state
    assert managed.container().attrs["State"]["StartedAt"] == before["State"]["StartedAt"]
    await managed.host.recreate()
    assert (managed.state.phase, managed.state.drift, managed.state.isolated) == (
        HostPhase.RUNNING,
        (),
        False,
    )
    attrs = managed.container().attrs
    assert attrs["HostConfig"]["Memory"] == 1_000_000_000
    assert "OLLAMA_CONTEXT_LENGTH=8192" in attrs["Config"]["Env"]
    assert attrs["Image"] == before["Image"]
    assert managed.engine.url == url
    assert managed.networks() == {managed.names.opened}
    managed.set(memory_gb=0, context_length=4096, isolated=True)
    managed.host.settings_changed()
    managed.set(memory_gb=1, context_length=8192, isolated=False)
    managed.host.settings_changed()
    assert managed.state.drift == ()


async def test_a_recreate_that_is_refused_says_so_and_a_start_with_other_settings_works(make: Make) -> None:
    managed = make()
    await managed.host.start()
    managed.set(processor="nvidia")
    managed.host.settings_changed()
    assert managed.state.drift == ("engine_gpu",)
    with pytest.raises(GpuRefused):
        await managed.host.recreate()
    assert managed.state.phase is HostPhase.FAILED
    managed.set(processor="cpu")
    await managed.host.start()
    assert managed.state.phase is HostPhase.RUNNING


async def test_a_recreate_without_a_container_makes_one(make: Make) -> None:
    managed = make()
    await managed.host.recreate()
    assert managed.state.phase is HostPhase.RUNNING


async def test_an_update_that_breaks_off_leaves_a_stopped_engine_stopped(make: Make, dockerd: Engine) -> None:
    async def find() -> Docker:
        docker = await find_daemon(dockerd.socket)

        async def pull(_: str, on_progress: Callable[[PullProgress], None]) -> Image:
            on_progress(PullProgress(2, 1, 50, 100, "Downloading"))
            raise PullBroken("The download broke off. Try again.")

        docker.pull = pull  # type: ignore[method-assign]
        return docker

    managed = make(find=find)
    await managed.host.start()
    await managed.host.stop()
    before = managed.state
    with pytest.raises(PullBroken):
        await managed.host.update()
    assert HostPhase.PULLING in managed.phases
    assert managed.state == before


async def test_whoever_asked_for_a_new_container_may_go_away_before_it_is_there(make: Make) -> None:
    managed = make()
    await managed.host.start()
    managed.set(parallel=2)
    before = managed.container().id
    asked = asyncio.ensure_future(managed.host.recreate())
    await eventually(lambda: not managed.exists(), "the old one is gone")
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await eventually(lambda: managed.exists() and managed.container().id != before, "the new one is there")
    await eventually(
        lambda: managed.state.phase is HostPhase.RUNNING and managed.state.drift == (), "it runs as it should"
    )
    assert HostPhase.FAILED not in managed.phases
    assert all(state.problem is None for state in managed.said), "nobody took that for a crash"


async def test_a_stop_ends_the_making_of_a_new_container_and_it_stays_stopped(make: Make) -> None:
    managed = make()
    await managed.host.start()
    asked = asyncio.ensure_future(managed.host.recreate())
    await eventually(lambda: not managed.exists(), "the old one is gone")
    await managed.host.stop()
    with pytest.raises(NotRunning, match="called off"):
        await asked
    managed.said.clear()
    # What would bring it up again has an event of the daemon to wait for and a hundredth of a second.
    end_s = asyncio.get_running_loop().time() + 1.0
    while asyncio.get_running_loop().time() < end_s:
        assert managed.said == [], "nobody brings it up again"
        await asyncio.sleep(0.02)
    assert managed.state.phase in (HostPhase.STOPPED, HostPhase.ABSENT)
    await managed.host.start()
    assert managed.state.phase is HostPhase.RUNNING


async def test_the_last_word_counts_when_a_start_follows_a_stop_at_once(make: Make) -> None:
    managed = make()
    first = asyncio.ensure_future(managed.host.start())
    await eventually(lambda: managed.exists(), "it is being made")
    stopping = asyncio.ensure_future(managed.host.stop())
    await asyncio.sleep(0)
    await managed.host.start()
    await stopping
    assert managed.state.phase is HostPhase.RUNNING
    assert managed.container().status == "running"
    with pytest.raises(NotRunning):
        await first
    assert all(state.problem is None for state in managed.said), "nobody took the stop for a crash"


async def test_quitting_while_the_new_image_comes_does_not_wait_for_it(
    make: Make, dockerd: Engine, images: Images
) -> None:
    coming = asyncio.Event()

    async def find() -> Docker:
        docker = await find_daemon(dockerd.socket)

        async def pull(*_: object) -> Image:
            coming.set()
            await asyncio.Event().wait()
            raise AssertionError

        docker.pull = pull  # type: ignore[method-assign]
        return docker

    managed = make(find=find)
    await managed.host.start()
    asked = asyncio.ensure_future(managed.host.update())
    await coming.wait()
    managed.container().kill()
    await eventually(lambda: managed.state.phase is HostPhase.STARTING, "its end is noticed meanwhile")
    await managed.running()
    async with asyncio.timeout(5):
        await managed.host.stop()
    assert managed.container().status == "exited"
    with pytest.raises(NotRunning):
        await asked
