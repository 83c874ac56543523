"""A real registry on 127.0.0.1, and a line to it that a test can make slow or break.

The Docker Engine only knows the line: image names hold its port, so that what a pull fetched can be counted, and a
connection broken off after so many bytes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import docker

from tests.real.docker_engine import Engine, until


class Line:
    """A TCP proxy: everything through it is counted, and cut where the test says so."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.carried_b = 0
        """Bytes that the registry sent."""
        self._left_b: int | None = None
        self._rate_b_per_s: float | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._ended = False
        threading.Thread(target=self._accept, daemon=True).start()

    def throttle(self, after_b: int | None = None, rate_b_per_s: float | None = None) -> None:
        """Break every connection once `after_b` more bytes came from the registry, and every later one at once; carry
        at most `rate_b_per_s` on each. Without arguments: let everything through again."""
        with self._lock:
            self._left_b, self._rate_b_per_s = after_b, rate_b_per_s

    def close(self) -> None:
        """End it, and every connection."""
        self._ended = True
        self._server.close()
        for end in list(self._open):
            _shut(end)

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._server.accept()
            except OSError:
                return
            if self._ended or self._left_b == 0:
                here.close()
                continue
            try:
                there = socket.create_connection(("127.0.0.1", self.target_port), 5)
            except OSError:
                here.close()
                continue
            there.settimeout(None)
            self._open |= {here, there}
            threads = [
                threading.Thread(target=self._carry, args=ends, daemon=True)
                for ends in ((here, there, False), (there, here, True))
            ]
            for thread in threads:
                thread.start()
            threading.Thread(target=self._forget, args=(threads, here, there), daemon=True).start()

    def _forget(self, threads: list[threading.Thread], *ends: socket.socket) -> None:
        for thread in threads:
            thread.join()
        for end in ends:
            self._open.discard(end)
            end.close()

    def _carry(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(32768):
                if counted:
                    piece = self._count(piece)
                sink.sendall(piece)
                if counted and self._left_b == 0:
                    break
                if counted and (rate := self._rate_b_per_s):
                    time.sleep(len(piece) / rate)
        _shut(source)
        _shut(sink)

    def _count(self, piece: bytes) -> bytes:
        with self._lock:
            if self._left_b is not None:
                piece = piece[: self._left_b]
                self._left_b -= len(piece)
            self.carried_b += len(piece)
        return piece


class Registry:
    """Debian's docker-registry with a folder of its own."""

    def __init__(self, program: str, engine: Engine) -> None:
        self._program = program
        self._engine = engine
        self._folder = tempfile.TemporaryDirectory(prefix="md-registry-")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.line = Line(self._port)
        self.start()

    @property
    def address(self) -> str:
        """`127.0.0.1:port`, the first part of its images' names."""
        return f"127.0.0.1:{self.line.port}"

    @property
    def carried_b(self) -> int:
        """Bytes it has sent so far."""
        return self.line.carried_b

    def throttle(self, after_b: int | None = None, rate_b_per_s: float | None = None) -> None:
        """See `Line.throttle`."""
        self.line.throttle(after_b, rate_b_per_s)

    def push(self, image: str, name: str) -> str:
        """Put an image of the engine there as `name` (with a tag or without); the reference to pull. The name in the
        engine is taken away again, so that a pull has something to do."""
        repository, _, tag = name.partition(":")
        full = f"{self.address}/{repository}"
        client = self._engine.client
        assert client.api.tag(image, full, tag or "latest")
        for line in client.api.push(full, tag or "latest", stream=True, decode=True):
            assert "error" not in line, line
        client.api.remove_image(f"{full}:{tag or 'latest'}")
        return f"{full}:{tag or 'latest'}"

    def start(self) -> None:
        """Start it; nothing where it runs."""
        if self._process is not None:
            return
        folder = Path(self._folder.name)
        (folder / "config.yml").write_text(
            f"version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n"
            f"    rootdirectory: {folder}/data\n  delete:\n    enabled: true\n"
            f"http:\n  addr: 127.0.0.1:{self._port}\n"
        )
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "serve", str(folder / "config.yml")],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": os.environ.get("PATH", ""), "OTEL_TRACES_EXPORTER": "none"},
            )
        until(self._listens, "the registry listens")

    def stop(self) -> None:
        """Stop it; what was pushed stays."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)
            self._process = None

    def close(self) -> None:
        """End it for good."""
        self.stop()
        self.line.close()
        self._folder.cleanup()

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
            return True
        return False


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def pull_all(client: docker.DockerClient, reference: str) -> None:
    """Pull with the SDK alone; AssertionError where the daemon reports an error."""
    repository, _, tag = reference.rpartition(":")
    for line in client.api.pull(repository, tag, stream=True, decode=True):
        assert "error" not in line, line
