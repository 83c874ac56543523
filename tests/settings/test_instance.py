"""One gateway for each profile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from app.settings.errors import FolderError
from app.settings.instance import (
    LOCK,
    NOTE,
    TOKEN,
    AlreadyRunning,
    InstanceLock,
    RunningInstance,
    running,
    running_token,
)

ROOT = Path(__file__).resolve().parents[2]
URL = "http://127.0.0.1:8434"
HOLD = """\
import sys
from pathlib import Path
from app.settings.instance import AlreadyRunning, InstanceLock
try:
    lock = InstanceLock.acquire(Path(sys.argv[1]))
except AlreadyRunning:
    print("taken", flush=True)
    sys.exit()
lock.announce(sys.argv[2], "mg_token")
print("held", flush=True)
sys.stdin.read()
lock.release()
"""

Start = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Another process that takes the lock and says whether it has it."""
    started: list[subprocess.Popen[str]] = []

    def do() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, os.fspath(tmp_path), URL]
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield do
    for process in started:
        process.kill()
        process.communicate(timeout=30)


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_nobody_runs_where_nobody_ever_ran(tmp_path: Path) -> None:
    assert running(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_second_start_is_told_who_runs_and_where(tmp_path: Path, start: Start) -> None:
    other = start()
    assert answer(other) == "held"
    assert running(tmp_path) == RunningInstance(other.pid, URL)
    with pytest.raises(AlreadyRunning) as caught:
        InstanceLock.acquire(tmp_path)
    assert caught.value.instance == RunningInstance(other.pid, URL)
    assert str(caught.value) == (
        f"Mortdecai Gateway is already running as process {other.pid} at {URL}: use that one, quit it first, or start "
        "a second one beside it with --profile NAME."
    )


def test_the_lock_ends_with_its_process_also_by_kill_9(tmp_path: Path, start: Start) -> None:
    for _ in range(5):
        other = start()
        assert answer(other) == "held"
        other.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        other.wait(timeout=30)
        # The note stays behind and is not believed.
        assert json.loads((tmp_path / NOTE).read_text())["pid"] == other.pid
        assert running(tmp_path) is None
        with InstanceLock.acquire(tmp_path):
            assert running(tmp_path) == RunningInstance(os.getpid(), None)


def test_of_many_that_start_at_once_exactly_one_runs(start: Start) -> None:
    answers = [answer(process) for process in [start() for _ in range(6)]]
    assert sorted(answers) == ["held"] + ["taken"] * 5


def test_looking_leaves_the_lock_free(tmp_path: Path) -> None:
    InstanceLock.acquire(tmp_path).release()
    for _ in range(20):
        assert running(tmp_path) is None
        with InstanceLock.acquire(tmp_path):
            assert running(tmp_path) is not None


@pytest.mark.skipif(os.name != "posix", reason="platform: Windows has no shared locks here")
def test_who_starts_while_somebody_looks_waits_until_he_has_looked(tmp_path: Path) -> None:
    import fcntl

    looking = os.open(tmp_path / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(looking, fcntl.LOCK_SH)
    glance = threading.Timer(0.06, os.close, (looking,))
    glance.start()
    with InstanceLock.acquire(tmp_path):
        assert running(tmp_path) == RunningInstance(os.getpid(), None)
    glance.join()


def test_an_orderly_end_lets_the_next_one_in_and_takes_the_note_away(tmp_path: Path, start: Start) -> None:
    other = start()
    assert answer(other) == "held"
    other.communicate("", timeout=30)
    assert not (tmp_path / NOTE).exists()
    with InstanceLock.acquire(tmp_path) as lock:
        lock.announce(URL, "mg_token")
        assert running(tmp_path) == RunningInstance(os.getpid(), URL)
    assert running(tmp_path) is None


def test_the_token_lies_there_for_its_user_alone_and_goes_with_the_gateway(
    tmp_path: Path, start: Start
) -> None:
    assert running_token(tmp_path) is None
    other = start()
    assert answer(other) == "held"
    assert running_token(tmp_path) == "mg_token"
    if os.name == "posix":
        assert (tmp_path / TOKEN).stat().st_mode & 0o777 == 0o600
    other.communicate("", timeout=30)
    assert not (tmp_path / TOKEN).exists()


def test_the_token_of_one_that_was_killed_is_taken_away_by_the_next(tmp_path: Path, start: Start) -> None:
    other = start()
    assert answer(other) == "held"
    other.kill()
    other.communicate(timeout=30)
    assert (tmp_path / TOKEN).exists()
    with InstanceLock.acquire(tmp_path):
        assert running_token(tmp_path) is None


def test_releasing_twice_does_not_release_somebody_elses(tmp_path: Path) -> None:
    first = InstanceLock.acquire(tmp_path)
    first.release()
    with InstanceLock.acquire(tmp_path):
        first.release()
        assert running(tmp_path) == RunningInstance(os.getpid(), None)


def test_an_error_inside_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyError), InstanceLock.acquire(tmp_path):
        raise KeyError
    assert running(tmp_path) is None


@pytest.mark.parametrize(
    "note",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        "[" * 99999,
        '{"pid": 1}',
        '{"pid": "1", "url": null}',
        '{"pid": -1, "url": null}',
        '{"pid": true, "url": null}',
        '{"pid": 99999999999999999999, "url": null}',
        '{"pid": 4194305, "url": "x"}',
    ],
)
def test_a_note_that_makes_no_sense_says_nothing(tmp_path: Path, note: str) -> None:
    with InstanceLock.acquire(tmp_path):
        (tmp_path / NOTE).write_text(note)
        assert running(tmp_path) == RunningInstance(None, None)
        with pytest.raises(AlreadyRunning, match="already running as another process: use that one"):
            InstanceLock.acquire(tmp_path)


def test_a_note_that_is_gone_says_nothing(tmp_path: Path) -> None:
    with InstanceLock.acquire(tmp_path):
        (tmp_path / NOTE).unlink()
        assert running(tmp_path) == RunningInstance(None, None)


def test_a_child_process_does_not_inherit_the_lock(tmp_path: Path) -> None:
    """Docker's and Ollama's command line tools may outlive us."""
    lock = InstanceLock.acquire(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        lock.release()
        assert running(tmp_path) is None
    finally:
        child.communicate(b"", timeout=30)


def test_a_lock_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / LOCK).mkdir()
    with pytest.raises(FolderError) as caught:
        InstanceLock.acquire(tmp_path)
    assert str(caught.value) == (
        f"The lock file {tmp_path / LOCK} cannot be used because it is a folder: correct that, or name another "
        "place in MORTDECAI_HOME."
    )


def test_a_full_disk_is_said_and_leaves_the_lock_free(
    tmp_path: Path, full_disk: AbstractContextManager[None]
) -> None:
    with full_disk, pytest.raises(FolderError, match="correct that, or name another place in MORTDECAI_HOME"):
        InstanceLock.acquire(tmp_path)
    assert running(tmp_path) is None
