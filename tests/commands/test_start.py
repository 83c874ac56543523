"""What a command does not need it does not load: it would be waited for at each start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway.processes import environment, gateway, run

LIST = re.compile(r"^import time:.*\|\s+(\S+)$", re.MULTILINE)
ONLY_FOR_LISTS = "rich"
ONLY_SOMETIMES = {"psutil", "numpy", "pyqtgraph", "docker", "qasync", ONLY_FOR_LISTS}


def loaded(stderr: str) -> set[str]:
    """The packages in what `python -X importtime` wrote."""
    return {name.partition(".")[0] for name in LIST.findall(stderr)}


@pytest.mark.parametrize("arguments", [["--help"], ["status"], ["--version"]])
def test_a_short_command_loads_nothing_that_draws_tables(tmp_path: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "app", *arguments],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "argparse" in loaded(done.stderr)
    assert ONLY_FOR_LISTS not in loaded(done.stderr)


def test_serving_loads_nothing_that_is_rarely_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PYTHONPROFILEIMPORTTIME", "1")
    with gateway(tmp_path, "--simulate"):
        pass
    packages = loaded((tmp_path / "stderr.txt").read_text())
    assert "aiohttp" in packages
    assert not packages & ONLY_SOMETIMES


def test_lists_look_the_same_whoever_made_them(tmp_path: Path) -> None:
    with gateway(tmp_path, "--simulate"):
        running = run(tmp_path, "keys", "list", "--vault", "file").stdout
    alone = run(tmp_path, "keys", "list", "--vault", "file").stdout
    assert running == alone
    assert alone.splitlines()[0].split() == ["ID", "LABEL", "CLIENT", "CREATED", "STATE", "LIMITS"]
    assert run(tmp_path, "ledger", "list", "--vault", "file").stdout.split()[0] == "RECORD"


def test_the_desktop_keeps_no_source_of_what_it_imports(tmp_path: Path) -> None:
    """Qt for Python reads the source of each module imported after it: 13 MB with the window, kept for ever."""
    script = (
        "import app.desktop.main, app.desktop.window, app.desktop.cards.plot, linecache, numpy\n"
        "print(sum(len(line) for entry in linecache.cache.values() if len(entry) > 2 for line in entry[2]))\n"
        "print(len([name for name in linecache.cache if 'numpy' in name]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    kept, of_numpy = map(int, done.stdout.split())
    assert of_numpy == 0, "it must be told before the window is imported"
    assert kept < 1_500_000
