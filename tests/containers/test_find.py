"""Finding the daemon, and saying why there is none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from app.containers.base import DaemonUnreachable
from app.containers.candidates import DaemonPlace
from app.containers.find import ask, daemon_from, find_daemon
from tests.real.docker_engine import Engine


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short one: a socket's path has at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="md-find-") as name:
        yield Path(name)


@contextmanager
def served(path: Path, reply: bytes | None, asked: list[bytes] | None = None) -> Iterator[str]:
    """A socket that answers everything with `reply`, or accepts and says nothing."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    lines: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                line, _ = server.accept()
                lines.append(line)
                if reply is not None:
                    said = line.recv(65536)
                    if asked is not None:
                        asked.append(said)
                    line.sendall(reply)
                    line.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"unix://{path}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for line in lines:
            line.close()


def http_reply(body: object) -> bytes:
    text = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(text),
        text,
    )


async def why(host: str = "", **environ: str) -> str:
    with pytest.raises(DaemonUnreachable) as caught:
        await find_daemon(host, environ=environ, home=Path("/nowhere"), platform="linux", ask_s=1.0)
    return str(caught.value)


async def test_a_daemon_is_found_by_the_setting_and_described(dockerd: Engine) -> None:
    docker = await find_daemon(dockerd.socket)
    assert docker.daemon.name == "Docker"
    assert docker.daemon.url == dockerd.socket
    assert docker.daemon.version == dockerd.client.version()["Version"]
    assert not docker.daemon.virtual
    assert not docker.daemon.nvidia or "nvidia" in dockerd.client.info()["Runtimes"]
    await docker.close()


async def test_a_daemon_is_found_by_docker_host(dockerd: Engine, folder: Path) -> None:
    docker = await find_daemon(environ={"DOCKER_HOST": dockerd.socket}, home=folder)
    assert docker.daemon.found_by == "DOCKER_HOST"


async def test_a_daemon_is_found_at_a_usual_socket_past_others_that_are_dead(
    dockerd: Engine, folder: Path
) -> None:
    (folder / ".docker/desktop").mkdir(parents=True)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(folder / ".docker/desktop/docker.sock"))
    dead.close()
    (folder / "run").mkdir()
    (folder / "run/docker.sock").symlink_to(dockerd.socket_path)
    docker = await find_daemon(environ={"XDG_RUNTIME_DIR": str(folder / "run")}, home=folder)
    # This machine may have a daemon of its own, which comes first.
    assert docker.daemon.url in (f"unix://{folder}/run/docker.sock", "unix:///var/run/docker.sock")


@pytest.mark.skipif(
    os.path.exists("/var/run/docker.sock"),
    reason="this machine has a Docker of its own, which would be found",
)
async def test_without_any_socket_docker_is_not_installed() -> None:
    assert (await why()).startswith("Docker is not installed.")


async def test_a_named_socket_that_is_not_there_is_said(folder: Path) -> None:
    assert "There is no Docker at" in await why(f"unix://{folder}/none.sock")


async def test_a_socket_that_nobody_listens_at_is_a_docker_that_is_stopped(folder: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(folder / "d.sock"))
    dead.close()
    sentence = await why(f"unix://{folder}/d.sock")
    assert sentence == "Docker is installed but not running. Run «sudo systemctl start docker»."


@pytest.mark.parametrize(
    ("found_by", "platform", "words"),
    [
        ("the socket /var/run/docker.sock", "linux", "Run «sudo systemctl start docker»."),
        ("the socket of your own (rootless) Docker", "linux", "Run «systemctl --user start docker»."),
        ("the socket of your own (rootless) Podman", "linux", "Run «systemctl --user start podman.socket»."),
        ("Docker Desktop's socket", "linux", "Start Docker Desktop."),
        ("Colima's socket", "darwin", "Start Colima."),
        ("DOCKER_HOST", "win32", "Start Docker Desktop."),
    ],
)
async def test_how_to_start_it_depends_on_what_it_is(
    folder: Path, found_by: str, platform: str, words: str
) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(folder / "d.sock"))
    dead.close()
    with pytest.raises(DaemonUnreachable) as caught:
        await ask(DaemonPlace(f"unix://{folder}/d.sock", found_by), platform=platform)
    assert str(caught.value).endswith(words)


async def test_a_daemon_is_spoken_to_in_a_version_that_it_speaks(folder: Path) -> None:
    asked: list[bytes] = []
    for newest, oldest, version in (
        ("1.41", "1.12", b"/v1.41/"),
        ("9.9", "1.44", b"/v1.51/"),
        ("9.9", "9.1", b"/v9.1/"),
    ):
        path = folder / f"{newest}-{oldest}.sock"
        with served(path, http_reply({"ApiVersion": newest, "MinAPIVersion": oldest}), asked) as url:
            await find_daemon(url)
        assert asked[-2].startswith(b"GET /version ")
        assert asked[-1].startswith(b"GET " + version + b"info ")


async def test_something_else_at_the_socket_is_no_docker(folder: Path) -> None:
    with served(folder / "a.sock", http_reply({"hello": "world"})) as url:
        assert "it is no Docker" in await why(url)
    with served(folder / "b.sock", b"220 mail.example.com ESMTP\r\n") as url:
        assert "it is no Docker" in await why(url)
    with served(folder / "c.sock", http_reply(["ApiVersion"])) as url:
        assert "it is no Docker" in await why(url)
    with served(folder / "d.sock", http_reply({"ApiVersion": "new"})) as url:
        assert "it is no Docker" in await why(url)
    (folder / "file").write_text("")
    assert "it is no Docker" in await why(f"unix://{folder}/file")


async def test_a_docker_that_says_nothing_hangs_and_costs_its_time_only(folder: Path) -> None:
    began = time.monotonic()
    with served(folder / "h.sock", None) as url:
        assert "does not answer" in await why(url)
    assert time.monotonic() - began < 10


async def test_windows_containers_are_refused(folder: Path) -> None:
    with served(folder / "w.sock", http_reply({"ApiVersion": "1.47", "Os": "windows"})) as url:
        assert "Switch to Linux containers" in await why(url)


@pytest.mark.skipif(
    os.path.exists("/var/run/docker.sock"),
    reason="this machine has a Docker of its own, which would be found",
)
async def test_of_several_refusals_the_most_telling_one_is_said(folder: Path) -> None:
    (folder / ".rd").mkdir()
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(folder / ".rd/docker.sock"))
    dead.close()
    with pytest.raises(DaemonUnreachable, match="not running"):
        await find_daemon(environ={}, home=folder, platform="linux")
    with (
        served(folder / "docker.sock", None),
        pytest.raises(DaemonUnreachable, match="does not answer"),
    ):
        await find_daemon(environ={"XDG_RUNTIME_DIR": str(folder)}, home=folder, platform="linux", ask_s=0.5)


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="platform: has no such users")
def test_a_socket_that_refuses_this_user_names_the_group(dockerd: Engine) -> None:
    script = (
        "import asyncio, os, sys\n"
        "from app.containers.find import find_daemon\n"
        "from app.containers.base import DaemonUnreachable\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: asyncio.run(find_daemon(sys.argv[1], environ={}))\n"
        "except DaemonUnreachable as error: print(error)\n"
    )
    # The folder may be entered, so that it is the socket that refuses.
    dockerd.folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", script, dockerd.socket],
        capture_output=True,
        text=True,
        timeout=30,
        env={"HOME": "/"},
    )
    assert "sudo usermod -aG docker $USER" in done.stdout, done.stderr


def test_a_hung_docker_does_not_keep_the_program_from_ending(folder: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from app.containers.find import find_daemon\n"
        "async def main():\n"
        "    finding = asyncio.ensure_future(find_daemon(sys.argv[1], ask_s=3600))\n"
        "    await asyncio.wait([finding], timeout=0.5)\n"
        "    print('still asking', not finding.done(), flush=True)\n"
        "asyncio.run(main())\n"
    )
    with served(folder / "h.sock", None) as url:
        done = subprocess.run([sys.executable, "-c", script, url], capture_output=True, text=True, timeout=30)
    assert done.stdout == "still asking True\n"
    assert done.returncode == 0, done.stderr


VERSION = {"Version": "28.1.0", "ApiVersion": "1.49", "Components": [{"Name": "Engine"}]}
PODMAN = {"Version": "5.2.0", "ApiVersion": "1.41", "Components": [{"Name": "Podman Engine"}]}
HERE = DaemonPlace("tcp://127.0.0.1:2375", "a test")


def test_podman_is_told_from_docker_by_its_components() -> None:
    podman = daemon_from(HERE, PODMAN, {}, "linux")
    assert (podman.name, podman.host_alias) == ("Podman", "host.containers.internal")
    docker = daemon_from(HERE, VERSION, {}, "linux")
    assert (docker.name, docker.host_alias) == ("Docker", "host.docker.internal")


def test_rootless_and_virtual_daemons_are_known_as_such() -> None:
    rootless = {"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]}
    assert daemon_from(HERE, VERSION, rootless, "linux").rootless
    assert daemon_from(HERE, VERSION, {"OperatingSystem": "Docker Desktop"}, "linux").virtual
    assert daemon_from(HERE, VERSION, {}, "darwin").virtual
    assert daemon_from(HERE, VERSION, {}, "win32").virtual
    assert daemon_from(
        DaemonPlace("unix:///home/a/.colima/default/docker.sock", ""), VERSION, {}, "linux"
    ).virtual
    plain = daemon_from(HERE, VERSION, {"SecurityOptions": None}, "linux")
    assert not plain.virtual
    assert not plain.rootless


def test_nvidia_is_known_by_its_runtime_or_its_devices() -> None:
    assert daemon_from(HERE, VERSION, {"Runtimes": {"runc": {}, "nvidia": {}}}, "linux").nvidia
    devices = [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]
    assert daemon_from(HERE, VERSION, {"DiscoveredDevices": devices}, "linux").nvidia
    assert not daemon_from(HERE, VERSION, {"Runtimes": None, "DiscoveredDevices": None}, "linux").nvidia
