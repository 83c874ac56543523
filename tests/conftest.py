"""Rules for every test: Qt draws to memory, and under CI a skipped test fails the run.

A skip is only accepted in CI where its reason starts with «platform:», that is, where it names a platform that this
machine is not.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

# A real Docker Engine, images and a registry, and a real PostgreSQL, for the tests of every room.
pytest_plugins = ["tests.real.docker_fixtures", "tests.real.postgres_server"]

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# A developer's own gateway, settings and keyring are none of the tests' business.
for name in [name for name in os.environ if name.startswith("MORTDECAI_")]:
    del os.environ[name]

if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    # Hundreds of tests start the program as a process of its own, and where nothing that is compiled may be kept beside
    # the source, as many containers have it, each of them would compile some four hundred modules first. For as long as
    # the tests run they share a folder elsewhere.
    _compiled = tempfile.TemporaryDirectory(prefix="bytecode-")
    atexit.register(_compiled.cleanup)
    os.environ.setdefault("PYTHONPYCACHEPREFIX", _compiled.name)

_skipped: list[str] = []


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """What a test writes lies in a folder of its own: files in the checkout were committed by mistake before."""
    before = set(Path.cwd().iterdir())
    yield
    left = [path.name for path in Path.cwd().iterdir() if path not in before and path.name[0] != "."]
    assert not left, f"the tests left {left} behind in the folder that they ran in"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not reason.removeprefix("Skipped: ").startswith("platform:"):
            _skipped.append(f"{report.nodeid}: {reason}")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests marked `both_loops` run on Python's own loop and on uvloop, which `serve` prefers."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.get_closest_marker("both_loops") is not None and os.name != "nt":
        import uvloop

        loops["uvloop"] = uvloop.new_event_loop
    return loops


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport() -> None:
    """Lift what a test that failed may have left: pytest writes its letter, perhaps to a file, before fixtures end."""
    if os.name == "posix":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if os.environ.get("CI") == "true" and _skipped and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if os.environ.get("CI") == "true" and _skipped:
        terminalreporter.section("Skipped tests fail this run, because CI has everything they need")
        for line in _skipped:
            terminalreporter.line(line)
