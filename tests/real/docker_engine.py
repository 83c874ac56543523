"""A real Docker Engine that the tests start: its own data root, bridge and addresses, and nothing of the machine's own.

Rule 1: only what was started here is ended, by its process id. Rule 2: several engines may run at once, of several
test runs: each takes a number, and its bridge and subnets come from that number.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import docker

_SLOTS = 200


class EngineFailed(Exception):
    """The engine did not come up or did not go down; the text ends with its log."""


def until(true: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait until `true()`; AssertionError with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.02)


class Engine:
    """One `dockerd`. `data_root` may lie on a file system of the test's own, such as a small tmpfs."""

    def __init__(self, dockerd: str, *, data_root: Path | None = None, options: tuple[str, ...] = ()) -> None:
        # A socket's path may have 107 characters, so not below pytest's long folders.
        self.folder = Path(tempfile.mkdtemp(prefix="md-docker-"))
        self.data_root = data_root or self.folder / "data"
        self._dockerd = dockerd
        self._options = options
        self.slot = _take_slot()
        """Its number; from it come its addresses."""
        self._process: subprocess.Popen[bytes] | None = None
        self._client: docker.DockerClient | None = None

    @property
    def socket_path(self) -> Path:
        """Where the daemon listens."""
        return self.folder / "docker.sock"

    @property
    def socket(self) -> str:
        """The same as DOCKER_HOST wants it."""
        return f"unix://{self.socket_path}"

    @property
    def gateway(self) -> str:
        """The host's address on the default bridge."""
        return f"10.214.{self.slot}.1"

    @property
    def client(self) -> docker.DockerClient:
        """The SDK's client for the test's own checks."""
        if self._client is None:
            self._client = docker.DockerClient(self.socket, timeout=60)
        return self._client

    @property
    def log(self) -> str:
        """What the daemon wrote so far."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it answers; nothing where it runs."""
        if self.running:
            return
        # Five tries of a layer would take more than a minute until a pull is given up; one takes five seconds.
        command = [
            *_ends_with_us(), self._dockerd, "--data-root", str(self.data_root),
            "--exec-root", str(self.folder / "exec"),
            "-p", str(self.folder / "pid"), "-H", self.socket, "--config-file", str(self.folder / "daemon.json"),
            "--bridge", f"md{self.slot}", "--shutdown-timeout", "5", "--max-download-attempts", "1",
            "--default-address-pool", f"base=10.215.{self.slot}.0/24,size=28", *self._options,
        ]  # fmt: skip
        (self.folder / "daemon.json").write_text("{}")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 30
        while not self._answers():
            if not self.running or time.monotonic() > deadline:
                raise EngineFailed(f"dockerd did not start:\n{self.log[-4000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it with its containers, as `systemctl stop docker` does; nothing where it is stopped."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=10)
        self._process = None

    def restart(self) -> None:
        """Stop it and start it."""
        self.stop()
        self.start()

    def reload(self) -> None:
        """Let it read its configuration again (SIGHUP), as `systemctl reload docker` does."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGHUP)

    def clean(self) -> None:
        """Remove every container, volume and network that tests made in it."""
        self.start()
        for container in self.client.api.containers(all=True, quiet=True):
            self.client.api.remove_container(container["Id"], force=True, v=True)
        for volume in self.client.api.volumes()["Volumes"] or []:
            self.client.api.remove_volume(volume["Name"], force=True)
        for network in self.client.api.networks():
            if network["Name"] not in ("bridge", "host", "none"):
                self.client.api.remove_network(network["Id"])

    def close(self) -> None:
        """End it for good: nothing of it stays, in the file system or among the network's rules."""
        try:
            if self.running:
                self.clean()
        finally:
            self.stop()
            _free_slot(self.slot)
            # A container on the host's own network leaves a mount behind.
            for line in reversed(Path("/proc/mounts").read_text().splitlines()):
                if (place := line.split()[1]).startswith(f"{self.folder}/"):
                    subprocess.run(["umount", "-l", place], capture_output=True)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
            line.settimeout(5)
            line.connect(str(self.socket_path))
            line.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 OK" in line.recv(4096)
        return False


def _ends_with_us() -> list[str]:
    """What to put before a command that ends when this process does, however it ends."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def _take_slot() -> int:
    """A number that no other test run uses; its bridge exists on return."""
    with (Path(tempfile.gettempdir()) / "md-docker-slots.lock").open("w") as turn:
        # One run at a time: two that clear away the same dead run's bridge would clear away each other's too.
        fcntl.flock(turn, fcntl.LOCK_EX)
        return _first_free_slot()


def _first_free_slot() -> int:
    for slot in range(_SLOTS):
        name = f"md{slot}"
        if _ip("link", "add", name, "type", "bridge") != 0:
            if _alive(name):
                continue
            _free_slot(slot)
            if _ip("link", "add", name, "type", "bridge") != 0:
                continue
        _ip("link", "set", name, "alias", str(os.getpid()))
        assert _ip("addr", "add", f"10.214.{slot}.1/24", "dev", name) == 0
        assert _ip("link", "set", name, "up") == 0
        return slot
    raise EngineFailed("No bridge can be made: `ip link add … type bridge` fails.")


def _alive(bridge: str) -> bool:
    try:
        alias = Path(f"/sys/class/net/{bridge}/ifalias").read_text().strip()
        # No alias yet: somebody makes it at this moment.
        return not alias or Path(f"/proc/{alias}").exists()
    except OSError:
        return True


def _free_slot(slot: int) -> None:
    """Remove the bridge, and the rules that dockerd leaves behind for it."""
    for table in ("filter", "nat"):
        listed = subprocess.run(["iptables", "-w", "-t", table, "-S"], capture_output=True, text=True).stdout
        for rule in listed.splitlines():
            ours = f" md{slot} " in f"{rule} " or f"10.214.{slot}." in rule or f"10.215.{slot}." in rule
            if rule.startswith("-A ") and ours:
                subprocess.run(["iptables", "-w", "-t", table, "-D", *rule.split()[1:]], capture_output=True)
    _ip("link", "del", f"md{slot}")


def _ip(*arguments: str) -> int:
    return subprocess.run(["ip", *arguments], capture_output=True).returncode
