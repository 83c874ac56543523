"""A real PostgreSQL that the tests start: its own data folder and socket, no port, and nothing of the machine's own.

Rule 1: only what was started here is ended, by its process id. Rule 2: it ends by itself when the tests do, however
they end. Root may not run it, so then it runs as the user `postgres`, whom its package brings along.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

USER = "mortdecai"
_MAIN = "postgres"


class PostgresFailed(Exception):
    """The server did not come up; the text ends with its log."""


def postgres_programs() -> tuple[str, str]:
    """The paths of `postgres` and `initdb`; a skip, or in CI a failure, where they are not installed."""
    if sys.platform != "linux":
        pytest.skip("platform: a PostgreSQL of a test's own runs on Linux only")
    places = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    path = os.pathsep.join([*places, os.environ.get("PATH", "")])
    found = [shutil.which(name, path=path) for name in ("postgres", "initdb")]
    if found[0] is None or found[1] is None:
        sentence = "PostgreSQL is not installed, so this cannot be tested for real: apt install postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)
    return found[0], found[1]


class PostgresServer:
    """One server. `options` are further settings (name=value)."""

    def __init__(self, *options: str) -> None:
        self._postgres, self._initdb = postgres_programs()
        # A socket's path may have 107 characters, and the user `postgres` may not look into pytest's folders.
        self.folder = Path(tempfile.mkdtemp(prefix="md-postgres-", dir="/tmp"))
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = iter(range(1, 10_000))
        self._as: dict[str, object] = {}
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            self._as = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        subprocess.run(
            [
                *(self._initdb, "-D", self.folder / "data", "-U", USER, "-A", "trust"),
                *("-E", "UTF8", "--locale=C", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **self._as,  # type: ignore[call-overload]
        )

    @property
    def log(self) -> str:
        """What the server wrote so far."""
        return (self.folder / "log").read_text(errors="replace")

    def url(self, database: str = _MAIN) -> str:
        """How a client reaches one of its databases."""
        return f"postgresql://{USER}@/{database}?host={quote(str(self.folder), safe='')}"

    def start(self) -> None:
        """Start it and wait until it answers; nothing where it runs."""
        if self._process is not None and self._process.poll() is None:
            return
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "max_connections": "60",
            "logging_collector": "off",
            **dict(option.split("=", 1) for option in self._options),
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        # The shell ends it when the pipe from us closes, which it does also where we are killed.
        script = '"$@" & it=$!; read -r _; kill -INT $it 2>/dev/null; wait $it'
        command = ["/bin/bash", "-c", script, "bash", self._postgres, "-D", str(self.folder / "data"), *words]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._as,  # type: ignore[call-overload]
            )
        deadline = time.monotonic() + 30
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise PostgresFailed(f"postgres did not start:\n{self.log[-4000:]}")
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT rolls back what runs, SIGQUIT is as a crash. Nothing where it is stopped."""
        process, self._process = self._process, None
        if process is None:
            return
        pid_file = self.folder / "data" / "postmaster.pid"
        if pid_file.exists():
            os.kill(int(pid_file.read_text().split("\n", 1)[0]), how)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=30)

    def close(self) -> None:
        """End it and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self) -> str:
        """The URL of a new, empty database."""
        import psycopg

        name = f"t{next(self._numbers)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        return self.url(name)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL for the whole test run, running. A test that stops it starts it again."""
    server = PostgresServer("fsync=off")
    try:
        server.start()
        yield server
    finally:
        server.close()
