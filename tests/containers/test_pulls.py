"""Pulling: from a real registry, over a line that is cut, slow or silent, onto a disk that fills up."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.containers.base import DaemonUnreachable, DiskFull, ImageMissing, PullBroken, PullProgress
from app.containers.candidates import DaemonPlace
from app.containers.docker import Docker
from app.containers.find import find_daemon
from app.containers.pulls import ImageLayers, split
from tests.containers.conftest import NOISE_B, no_threads_left
from tests.real.docker_engine import Engine, until
from tests.real.docker_images import Images
from tests.real.docker_registry import Registry

DIGEST = "sha256:" + "a" * 64
WHOLE_B = sum(NOISE_B)


def nothing_comes(registry: Registry) -> bool:
    """Whether for a moment, in which at the throttled rate much would come, nothing did."""
    before = registry.carried_b
    time.sleep(0.3)
    return registry.carried_b == before


def nothing(_: PullProgress) -> None:
    """Nobody looks."""


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("ollama/ollama", ("ollama/ollama", "latest")),
        ("ollama/ollama:0.12", ("ollama/ollama", "0.12")),
        ("127.0.0.1:5000/x/y", ("127.0.0.1:5000/x/y", "latest")),
        ("127.0.0.1:5000/x/y:1", ("127.0.0.1:5000/x/y", "1")),
        (f"ollama/ollama@{DIGEST}", ("ollama/ollama", DIGEST)),
        (f"127.0.0.1:5000/x:0.12@{DIGEST}", ("127.0.0.1:5000/x", DIGEST)),
    ],
)
def test_a_reference_without_a_tag_means_latest_and_a_digest_wins(
    reference: str, parts: tuple[str, str]
) -> None:
    assert split(reference) == parts


def line(key: str, status: str, current: int = 0, total: int = 0) -> dict[str, object]:
    return {
        "id": key,
        "status": status,
        "progressDetail": {"current": current, "total": total} if total else {},
    }


def test_progress_counts_only_layers_whose_size_is_known() -> None:
    layers = ImageLayers()
    layers.add({"status": "Pulling from ollama/ollama", "id": "latest"})
    assert layers.sum().layers == 0
    for key in "abc":
        layers.add(line(key, "Pulling fs layer"))
    layers.add(line("a", "Already exists"))
    layers.add(line("b", "Downloading", 30, 100))
    assert layers.sum() == PullProgress(3, 1, 30, 100, "Downloading")
    layers.add(line("b", "Retrying in 5 seconds"))
    layers.add(line("c", "Waiting"))
    assert layers.sum().status == "Waiting for the network"
    layers.add(line("b", "Download complete"))
    layers.add(line("c", "Downloading", 5, 50))
    assert layers.sum() == PullProgress(3, 1, 105, 150, "Downloading")
    layers.add(line("c", "Pull complete"))
    layers.add(line("b", "Extracting", 10, 100))
    assert layers.sum() == PullProgress(3, 2, 150, 150, "Unpacking")
    layers.add(line("b", "Pull complete"))
    assert layers.sum() == PullProgress(3, 3, 150, 150, "Done")


def test_lines_that_make_no_sense_change_nothing() -> None:
    layers = ImageLayers()
    for odd in ({}, {"id": 3, "status": "x"}, {"id": "a"}, {"status": "Digest: sha256:…"}):
        layers.add(odd)
    layers.add({"id": "a", "status": "Downloading", "progressDetail": None})
    layers.add({"id": "a", "status": "Downloading", "progressDetail": {"current": "x", "total": -1}})
    assert layers.sum() == PullProgress(1, 0, 0, 0, "Downloading")


async def test_a_pull_tells_how_far_it_is_and_never_goes_back(
    docker: Docker, registry: Registry, pulled_never: str
) -> None:
    registry.throttle(rate_b_per_s=8_000_000)
    seen: list[PullProgress] = []
    image = await docker.pull(pulled_never, seen.append)
    assert pulled_never in image.tags
    assert image.digests[0].startswith(f"{registry.address}/test/layers@sha256:")
    assert len(seen) > 5
    done = [progress.done_b for progress in seen]
    assert done == sorted(done)
    assert all(progress.done_b <= progress.total_b for progress in seen)
    assert seen[-1].layers == seen[-1].layers_done
    assert seen[-1].total_b >= WHOLE_B
    # By its digest it is the same image.
    assert (await docker.pull(image.digests[0], nothing)).id == image.id


async def test_a_pull_holds_up_nothing_else(docker: Docker, registry: Registry, pulled_never: str) -> None:
    registry.throttle(rate_b_per_s=1_000_000)
    pulling = asyncio.ensure_future(docker.pull(pulled_never, nothing))
    before = registry.carried_b
    while registry.carried_b < before + 100_000:
        await asyncio.wait_for(docker.list({}), 5)
    assert not pulling.done()
    registry.throttle()
    await pulling


async def test_a_line_that_breaks_once_is_gone_on_from_where_it_broke(
    docker: Docker, registry: Registry, pulled_never: str
) -> None:
    before = registry.carried_b
    registry.throttle(after_b=WHOLE_B // 2)
    statuses = set()

    def heal(progress: PullProgress) -> None:
        statuses.add(progress.status)
        if progress.status == "Waiting for the network":
            registry.throttle()

    await docker.pull(pulled_never, heal)
    assert "Waiting for the network" in statuses
    assert WHOLE_B <= registry.carried_b - before < WHOLE_B * 1.2


async def test_a_line_that_stays_broken_ends_the_pull_and_the_retry_works(
    docker: Docker, registry: Registry, pulled_never: str
) -> None:
    registry.throttle(after_b=WHOLE_B // 2)
    with pytest.raises(PullBroken, match=r"broke off\. Check the connection to the internet"):
        await docker.pull(pulled_never, nothing)
    assert await docker.image(pulled_never) is None
    registry.throttle()
    before = registry.carried_b
    assert await docker.pull(pulled_never, nothing)
    # What finished earlier may come again, with this daemon's image store; what was here before does not.
    assert registry.carried_b - before < WHOLE_B * 1.1


async def test_a_registry_that_is_down_breaks_the_pull_and_the_retry_works(
    docker: Docker, registry: Registry, pulled_never: str
) -> None:
    registry.stop()
    try:
        with pytest.raises(PullBroken):
            await docker.pull(pulled_never, nothing)
    finally:
        registry.start()
    assert await docker.pull(pulled_never, nothing)


async def test_a_line_that_falls_silent_is_given_up(
    dockerd: Engine, registry: Registry, pulled_never: str
) -> None:
    found = await find_daemon(dockerd.socket)
    spoken = dockerd.client.version()["ApiVersion"]
    docker = Docker(found.daemon, DaemonPlace(dockerd.socket, "a test"), spoken, silent_s=1.5)
    registry.throttle(rate_b_per_s=4_000)
    with pytest.raises(PullBroken, match="stands still"):
        await docker.pull(pulled_never, nothing)
    no_threads_left("docker")


async def test_a_cancelled_pull_stops_at_the_daemon_too(
    docker: Docker, registry: Registry, pulled_never: str
) -> None:
    registry.throttle(rate_b_per_s=2_000_000)
    begun = asyncio.Event()

    def look(progress: PullProgress) -> None:
        if progress.done_b:
            begun.set()

    pulling = asyncio.ensure_future(docker.pull(pulled_never, look))
    await asyncio.wait_for(begun.wait(), 20)
    pulling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pulling
    no_threads_left("docker")
    until(lambda: nothing_comes(registry), "the daemon stops fetching")
    assert await docker.image(pulled_never) is None
    registry.throttle()
    assert await docker.pull(pulled_never, nothing)


async def test_an_image_that_the_registry_does_not_have_is_missed(
    docker: Docker, registry: Registry, pulled_never: str
) -> None:
    for name in ("test/layers:9", "test/none"):
        with pytest.raises(ImageMissing, match="There is no image"):
            await docker.pull(f"{registry.address}/{name}", nothing)
    with pytest.raises(ImageMissing, match="how its name is spelt"):
        await docker.pull("Not A Name", nothing)


async def test_a_daemon_that_stops_while_it_pulls_is_said_to_have_stopped(
    docker: Docker, dockerd: Engine, registry: Registry, pulled_never: str
) -> None:
    registry.throttle(rate_b_per_s=1_000_000)
    begun = asyncio.Event()
    pulling = asyncio.ensure_future(docker.pull(pulled_never, lambda _: begun.set()))
    await asyncio.wait_for(begun.wait(), 20)
    await asyncio.to_thread(dockerd.stop)
    with pytest.raises((DaemonUnreachable, PullBroken)):
        await pulling
    with pytest.raises(DaemonUnreachable):
        await docker.pull(pulled_never, nothing)
    dockerd.start()
    registry.throttle()
    assert await docker.pull(pulled_never, nothing)


@pytest.fixture
def small_disk() -> Iterator[Callable[[str], Path]]:
    """`small_disk(size)` mounts a tmpfs, or gives the mounted one another size."""
    with tempfile.TemporaryDirectory(prefix="md-disk-") as name:
        mounted = False

        def size(text: str) -> Path:
            nonlocal mounted
            options = f"{'remount,' if mounted else ''}size={text}"
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", name], capture_output=True)
            if done.returncode != 0:
                pytest.skip("a small disk cannot be mounted here, which needs root: run the tests with sudo")
            mounted = True
            return Path(name)

        yield size
        if mounted:
            subprocess.run(["umount", "-l", name], check=True)


async def test_a_disk_that_fills_up_ends_the_pull_and_with_room_the_retry_works(
    another_dockerd: Callable[..., Engine],
    small_disk: Callable[[str], Path],
    images: Images,
    registry: Registry,
) -> None:
    reference = registry.push(images.deaf, "test/large:1")
    engine = another_dockerd(data_root=small_disk("48m"))
    engine.start()
    docker = await find_daemon(engine.socket)
    try:
        with pytest.raises(DiskFull, match=r"its disk is full\. Free some space"):
            await docker.pull(reference, nothing)
        small_disk("512m")
        assert (await docker.pull(reference, nothing)).size_b > 48 << 20
    finally:
        await docker.close()
        engine.close()


@pytest.mark.filterwarnings("ignore:docker-credential-not-installed")
async def test_a_credential_helper_that_is_not_installed_is_no_reason_not_to_pull(
    docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pulled_never: str
) -> None:
    (tmp_path / "config.json").write_text('{"credsStore": "not-installed"}')
    monkeypatch.setenv("DOCKER_CONFIG", os.fspath(tmp_path))
    assert await docker.pull(pulled_never, nothing)
