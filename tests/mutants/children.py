"""One child process for each mutant.

Rule 1: the parent imports libraries and never the app, so that what a child imports is the mutated text. Rule 2: a
child is a process group of its own, and nothing of it outlives its time.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

_LIBRARIES = (
    "pytest pytest_asyncio.plugin pytestqt.plugin hypothesis hypothesis.stateful hypothesis.extra._patching"
    " aiohttp aiohttp.web apsw cryptography.hazmat.primitives.asymmetric.ed25519 docker keyring psutil"
    " platformdirs tomli_w PySide6.QtCore PySide6.QtGui PySide6.QtWidgets PySide6.QtTest"
    " _pytest.assertion.rewrite _pytest.unraisableexception _pytest.threadexception anyio.pytest_plugin"
).split()
_MEMORY = 6 << 30
_REWRITE = "ignore::pytest.PytestAssertRewriteWarning"
"""The plugins were imported before the child had a pytest to rewrite them."""


@dataclass(frozen=True)
class Task:
    """Tests to run with one module's text replaced; `text` None runs them as they are."""

    file: str
    text: str | None
    tests: tuple[str, ...]
    but: str = ""
    """A word in the names of tests that are left out."""


@dataclass(frozen=True)
class Outcome:
    """`killed` says why: `failed`, `time`, `signal`; None where every test passed."""

    killed: str | None
    seconds: float
    output: Path


def import_libraries() -> None:
    """What every child needs, once; a library that is not there is not needed."""
    for name in _LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers for one module with a text of ours."""

    def __init__(self, root: Path, file: str, text: str) -> None:
        self._name = file.removesuffix(".py").replace("/", ".")
        self._path = str(root / file)
        self._text = text

    def find_spec(
        self, name: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        return importlib.machinery.ModuleSpec(name, self, origin=self._path)

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = self._path
        exec(compile(self._text, self._path, "exec"), module.__dict__)


def _child(root: Path, task: Task, output: Path) -> None:
    """Runs the tests and ends the process; never returns."""
    os.setsid()
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.chdir(root)
    os.environ |= {
        "HYPOTHESIS_STORAGE_DIRECTORY": str(output.parent / "hypothesis"),
        "QT_QPA_PLATFORM": "offscreen",
    }
    sys.path.insert(0, str(root))
    if task.text is not None:
        sys.meta_path.insert(0, _Mutated(root, task.file, task.text))
    import hypothesis
    import pytest

    # What fails is enough: nobody reads the smallest example of a mutant.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile(
        "mutants", phases=phases, derandomize=True, database=None, deadline=None, print_blob=False
    )
    hypothesis.settings.load_profile("mutants")
    words = ["-x", "-q", "--tb=line", "-W", _REWRITE, "--hypothesis-profile=mutants", *task.tests]
    code = pytest.main(words + (["-k", f"not {task.but}"] if task.but else []))
    sys.stdout.flush()
    os._exit(int(code))


class Children:
    """At most `at_once` children at a time, each for at most `time_out_s(task)`."""

    def __init__(self, root: Path, at_once: int, time_out_s: Callable[[Task], float]) -> None:
        self._root = root
        self._at_once = at_once
        self._time_out_s = time_out_s
        self._folder = tempfile.TemporaryDirectory(prefix="mutants-")
        self._started = 0

    def run(self, tasks: Iterable[Task], until: float) -> Iterator[tuple[Task, Outcome]]:
        """Outcomes as they come. No task is begun after `until` (monotonic seconds)."""
        waiting = iter(tasks)
        running: dict[int, tuple[Task, float, Path]] = {}
        try:
            while True:
                while len(running) < self._at_once and time.monotonic() < until:
                    task = next(waiting, None)
                    if task is None:
                        break
                    self._started += 1
                    output = Path(self._folder.name, f"{self._started}.txt")
                    sys.stdout.flush()
                    pid = os.fork()
                    if not pid:
                        try:
                            _child(self._root, task, output)
                        except BaseException:
                            traceback.print_exc()
                        finally:
                            sys.stderr.flush()
                            os._exit(70)
                    running[pid] = (task, time.monotonic(), output)
                if not running:
                    return
                yield from self._ended(running)
                time.sleep(0.005)
        finally:
            for pid in running:
                _end(pid)

    def _ended(self, running: dict[int, tuple[Task, float, Path]]) -> Iterator[tuple[Task, Outcome]]:
        for pid, (task, since, output) in list(running.items()):
            spent = time.monotonic() - since
            found, status = os.waitpid(pid, os.WNOHANG)
            killed: str | None
            if found:
                # What a test left running belongs to the child's group.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                code = os.waitstatus_to_exitcode(status)
                killed = None if code == 0 else "signal" if code < 0 else "failed"
            elif spent > self._time_out_s(task):
                _end(pid)
                killed = "time"
            else:
                continue
            del running[pid]
            yield task, Outcome(killed, spent, output)

    def close(self) -> None:
        """Remove what the children wrote."""
        self._folder.cleanup()


def _end(pid: int) -> None:
    for send in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            send(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def output_of(outcome: Outcome, lines: int) -> Sequence[str]:
    """The last lines that the tests printed."""
    return outcome.output.read_text(errors="replace").splitlines()[-lines:]
