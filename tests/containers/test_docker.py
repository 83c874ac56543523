"""Containers, for real: made harmless, started, watched, stopped, and every way in which that goes wrong."""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.containers.base import (
    LABEL_PROFILE,
    LABEL_SPEC,
    ContainerGone,
    ContainerSpec,
    DaemonFailed,
    DaemonUnreachable,
    Event,
    Gpu,
    GpuRefused,
    ImageMissing,
    NameTaken,
    PortTaken,
)
from app.containers.candidates import DaemonPlace
from app.containers.docker import CONNECTED, Docker
from app.containers.drift import drift
from app.containers.find import find_daemon
from tests.containers.conftest import OURS, no_threads_left, spec
from tests.containers.test_find import VERSION, http_reply, served
from tests.real.docker_engine import Engine, until
from tests.real.docker_images import Images


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def version(port: int) -> bytes:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        line.request("GET", "/api/version")
        return line.getresponse().read()
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        line.close()


async def seen(events: AsyncIterator[Event], action: str) -> Event:
    async with asyncio.timeout(20):
        async for event in events:
            if event.action == action:
                return event
    raise AssertionError("the events ended")


async def test_a_container_lives_from_its_making_to_its_removal(docker: Docker, images: Images) -> None:
    port = free_port()
    wanted = spec("life", images.simulator, ports={11434: port}, volumes={"life-models": "/root/.ollama"})
    made = await docker.create(wanted)
    assert (made.name, made.status, made.running) == ("life", "created", False)
    assert made.ports == {11434: port}
    assert drift(wanted, made) == ()

    await docker.start("life")
    await docker.start("life")
    until(lambda: b"version" in version(port), "the engine answers")
    found = await docker.find("life")
    assert found is not None
    assert found.running
    assert found == await docker.find(made.id)
    assert await docker.list(OURS) == (found,)
    assert await docker.list({LABEL_PROFILE: "another"}) == ()

    await docker.stop("life", grace_s=5)
    await docker.stop("life")
    stopped = await docker.find("life")
    assert stopped is not None
    assert stopped.status == "exited"
    await docker.remove("life")
    await docker.remove("life")
    assert await docker.find("life") is None


async def test_volumes_are_made_with_our_label_survive_the_container_and_go_when_told(
    docker: Docker, dockerd: Engine, images: Images
) -> None:
    await docker.create(spec("v1", images.deaf, volumes={"models": "/root/.ollama"}))
    assert dockerd.client.api.inspect_volume("models")["Labels"] == OURS
    with pytest.raises(DaemonFailed, match="remove the volume models"):
        await docker.remove_volume("models")
    await docker.remove("v1")
    assert dockerd.client.api.inspect_volume("models")
    await docker.remove_volume("models")
    await docker.remove_volume("models")
    dockerd.client.api.create_volume("theirs")
    with pytest.raises(DaemonFailed, match="left alone"):
        await docker.remove_volume("theirs")


async def test_whatever_is_asked_for_a_container_is_harmless(
    docker: Docker, dockerd: Engine, images: Images
) -> None:
    port = free_port()
    wanted = spec(
        "safe", images.deaf, ports={11434: port}, memory_b=256 << 20, cpus=1, pids=64, read_only=True
    )
    made = await docker.create(wanted)
    await docker.start("safe")
    host = dockerd.client.api.inspect_container(made.id)["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert not host["Privileged"]
    assert host["RestartPolicy"]["Name"] == "no"
    assert host["PortBindings"] == {"11434/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}
    assert host["Memory"] == host["MemorySwap"] == 256 << 20
    assert host["NanoCpus"] == 1_000_000_000
    assert host["PidsLimit"] == 64
    inside = dockerd.client.containers.get("safe")
    look = "print(open('/proc/self/status').read())\nopen('/tmp/x', 'w')\nopen('/root/x', 'w')"
    done = inside.exec_run(["python3", "-c", look])
    status = done.output.decode()
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert "Read-only file system: '/root/x'" in status


async def test_devices_and_groups_are_handed_in(docker: Docker, dockerd: Engine, images: Images) -> None:
    await docker.create(
        spec("gpu", images.deaf, gpu=Gpu.ROCM, devices=("/dev/null",), groups=("video", "105"))
    )
    await docker.start("gpu")
    host = dockerd.client.api.inspect_container("gpu")["HostConfig"]
    assert [device["PathOnHost"] for device in host["Devices"]] == ["/dev/null"]
    groups = dockerd.client.containers.get("gpu").exec_run(
        ["python3", "-c", "import os; print(os.getgroups())"]
    )
    assert {44, 105} <= set(eval(groups.output))


async def test_the_environment_and_the_command_arrive(docker: Docker, images: Images) -> None:
    say = "import os; print(os.environ['WORD'])"
    await docker.create(
        spec("say", images.base, command=("python3", "-c", say), environment={"WORD": "naïve"})
    )
    await docker.start("say")
    assert [line async for line in docker.follow_logs("say")] == ["naïve"]
    assert await docker.logs("say") == "naïve\n"


async def test_a_name_that_somebody_has_is_refused_and_free_again_later(
    docker: Docker, dockerd: Engine, images: Images
) -> None:
    theirs = dockerd.client.containers.create(images.deaf, name="taken")
    with pytest.raises(NameTaken, match="called taken"):
        await docker.create(spec("taken", images.deaf))
    theirs.remove()
    assert (await docker.create(spec("taken", images.deaf))).name == "taken"


async def test_an_image_that_is_not_here_is_missed(docker: Docker) -> None:
    assert await docker.image("mortdecai-test/none:1") is None
    with pytest.raises(ImageMissing, match="mortdecai-test/none:1 is not here"):
        await docker.create(spec("none", "mortdecai-test/none:1"))


async def test_an_image_is_described_and_its_name_taken_away(
    docker: Docker, dockerd: Engine, images: Images
) -> None:
    dockerd.client.api.tag(images.deaf, "mortdecai-test/again", "1")
    found = await docker.image("mortdecai-test/again:1")
    assert found is not None
    assert {"mortdecai-test/again:1", images.deaf} <= set(found.tags)
    assert found.size_b > 1_000_000
    await docker.remove_image("mortdecai-test/again:1")
    await docker.remove_image("mortdecai-test/again:1")
    assert await docker.image(images.deaf) is not None


async def test_a_port_that_a_program_of_the_host_has_is_named_and_the_retry_works(
    docker: Docker, images: Images
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        await docker.create(spec("port", images.deaf, ports={1: port}))
        with pytest.raises(PortTaken, match=f"Port {port} "):
            await docker.start("port")
    await docker.start("port")


async def test_a_port_that_another_container_has_is_named(docker: Docker, images: Images) -> None:
    port = free_port()
    await docker.create(spec("one", images.deaf, ports={1: port}))
    await docker.create(spec("two", images.deaf, ports={1: port}))
    await docker.start("one")
    with pytest.raises(PortTaken, match=f"Port {port} "):
        await docker.start("two")
    await docker.remove("one")
    await docker.start("two")


async def test_a_gpu_that_cannot_be_handed_over_is_refused_and_without_it_it_works(
    docker: Docker, images: Images
) -> None:
    if docker.daemon.nvidia:
        pytest.skip("this machine's Docker has an NVIDIA runtime, so it refuses no GPU")
    await docker.create(spec("gpu", images.deaf, gpu=Gpu.NVIDIA))
    with pytest.raises(GpuRefused, match="NVIDIA Container Toolkit"):
        await docker.start("gpu")
    await docker.remove("gpu")
    if not os.path.exists("/dev/kfd"):
        await docker.create(spec("gpu", images.deaf, gpu=Gpu.ROCM, devices=("/dev/kfd",)))
        with pytest.raises(GpuRefused, match="AMD GPU"):
            await docker.start("gpu")
        await docker.remove("gpu")
    await docker.create(spec("gpu", images.deaf))
    await docker.start("gpu")


async def test_a_container_that_is_gone_is_said_to_be(docker: Docker) -> None:
    for call in (docker.start("ghost"), docker.logs("ghost"), anext(docker.follow_logs("ghost"))):
        with pytest.raises(ContainerGone, match="ghost is gone"):
            await call
    await docker.stop("ghost")
    await docker.remove("ghost")


async def test_what_is_not_ours_is_never_stopped_or_removed(
    docker: Docker, dockerd: Engine, images: Images
) -> None:
    theirs = dockerd.client.containers.run(images.deaf, name="theirs", detach=True)
    for call in (docker.stop("theirs"), docker.remove("theirs")):
        with pytest.raises(DaemonFailed, match="left alone"):
            await call
    theirs.reload()
    assert theirs.status == "running"
    assert [container.name for container in await docker.list({})] == ["theirs"]


async def test_the_beginning_of_an_id_is_nobodys_name(docker: Docker, images: Images) -> None:
    made = await docker.create(spec("somebody", images.deaf))
    assert await docker.find(made.id[:4]) is None
    assert await docker.find(made.id[:12]) is not None


async def test_a_crash_is_seen_with_its_last_words(docker: Docker, images: Images) -> None:
    await docker.create(spec("crash", images.crashing))
    events = docker.events()
    assert await anext(events) == CONNECTED
    await docker.start("crash")
    assert (await seen(events, "die")).name == "crash"
    await events.aclose()
    found = await docker.find("crash")
    assert found is not None
    assert (found.status, found.exit_code) == ("exited", 1)
    assert "libcudart.so" in await docker.logs("crash")


async def test_a_container_killed_from_outside_is_seen_to_die(
    docker: Docker, dockerd: Engine, images: Images
) -> None:
    theirs = dockerd.client.containers.create(images.deaf, name="not-ours")
    made = await docker.create(spec("victim", images.deaf))
    await docker.start("victim")
    events = docker.events()
    assert await anext(events) == CONNECTED
    theirs.start()
    theirs.kill()
    dockerd.client.containers.get("victim").kill()
    assert (await anext(events)) == Event("container", "kill", made.id, "victim")
    assert (await seen(events, "die")).id == made.id
    await docker.start("victim")
    assert (await seen(events, "start")).name == "victim"
    await events.aclose()
    no_threads_left("docker-stream")


async def test_a_reload_of_the_daemon_is_seen(docker: Docker, dockerd: Engine) -> None:
    events = docker.events()
    assert await anext(events) == CONNECTED
    dockerd.reload()
    assert (await seen(events, "reload")).kind == "daemon"
    await events.aclose()


async def test_a_log_is_followed_line_by_line_and_left_when_nobody_wants_it(
    docker: Docker, images: Images
) -> None:
    talk = "import time, sys\nprint('a\\nb', end='', flush=True)\nprint('c', flush=True)\ntime.sleep(600)"
    await docker.create(spec("talk", images.base, command=("python3", "-c", talk)))
    await docker.start("talk")
    log = docker.follow_logs("talk")
    assert [await anext(log), await anext(log)] == ["a", "bc"]
    waiting = asyncio.ensure_future(anext(log))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    no_threads_left("docker-stream")


async def test_only_the_end_of_a_log_is_read(docker: Docker, images: Images) -> None:
    await docker.create(
        spec("much", images.base, command=("python3", "-c", "for i in range(5000): print(i)"))
    )
    await docker.start("much")
    lines = [line async for line in docker.follow_logs("much")]
    assert lines == [str(number) for number in range(5000)]
    assert await docker.logs("much", lines=2) == "4998\n4999\n"


async def test_a_daemon_that_stops_ends_the_events_and_every_call_until_it_is_back(
    docker: Docker, dockerd: Engine, images: Images
) -> None:
    wanted = spec("back", images.deaf)
    await docker.create(wanted)
    await docker.start("back")
    events = docker.events()
    assert await anext(events) == CONNECTED
    dockerd.stop()
    with pytest.raises(DaemonUnreachable, match="Docker has stopped"):
        await seen(events, "never")
    for call in (docker.find("back"), docker.create(replace(wanted, name="x2")), docker.start("back")):
        with pytest.raises(DaemonUnreachable, match="Docker is not running"):
            await call
    dockerd.start()
    found = await docker.find("back")
    assert found is not None
    assert found.status == "exited"
    await docker.start("back")


async def test_a_daemon_that_hangs_costs_the_deadline_and_no_thread(images: Images) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="md-hang-") as folder,
        served(Path(folder) / "h.sock", None) as url,
    ):
        daemon = (await _described()).daemon
        hung = Docker(daemon, DaemonPlace(url, "a test"), "1.41", deadline_s=0.5)
        for call in (hung.find("x"), hung.list({}), hung.image("x")):
            with pytest.raises(DaemonUnreachable, match="does not answer"):
                await call
        no_threads_left("docker")
        events = hung.events()
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.wait([waiting], timeout=0.2)
        await hung.close()
        with pytest.raises(DaemonUnreachable):
            await waiting
        no_threads_left("docker-stream")


async def _described() -> Docker:
    described = http_reply({**VERSION, "ApiVersion": "1.41"})
    with (
        tempfile.TemporaryDirectory(prefix="md-said-") as folder,
        served(Path(folder) / "s.sock", described) as url,
    ):
        return await find_daemon(url)


async def test_after_closing_nothing_is_asked_any_more(docker: Docker) -> None:
    await docker.close()
    with pytest.raises(DaemonUnreachable, match="has been closed"):
        await docker.find("x")


async def test_what_is_written_on_a_container_is_its_spec(docker: Docker, images: Images) -> None:
    wanted: ContainerSpec = spec("drift", images.deaf, memory_b=128 << 20)
    made = await docker.create(wanted)
    assert LABEL_SPEC in made.labels
    assert drift(replace(wanted, memory_b=0, pids=9), made) == ("memory_b", "pids")
