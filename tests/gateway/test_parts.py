"""What a gateway does not use is not imported, and what it comes to use is not imported by its loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.commands import doctor, parts
from app.power.sensors.base import NullSensor

_LOOK = """
import asyncio, json, pathlib, sys, threading
where = {}
def heard(event, arguments):
    if event == "import" and arguments[0] in ("docker", "requests", "urllib3"):
        where.setdefault(arguments[0], threading.current_thread() is threading.main_thread())
sys.addaudithook(heard)
import app.cli, app.commands.run
from app.commands.common import Ground
from app.commands.parts import finder
from app.containers.base import ContainerError
from app.settings.folders import Folders
from app.settings.store import SettingsStore
before = sorted(where)
store = SettingsStore.load(cli={"docker_host": "unix:///no/such.sock"}, env={}, file=pathlib.Path(sys.argv[1]))
async def find():
    try:
        await finder(Ground(None, store, "default"))()
    except ContainerError:
        return
asyncio.run(find())
print(json.dumps({"before": before, "on_the_loop": where}))
"""


def test_dockers_sdk_is_imported_when_a_daemon_is_looked_for_and_not_by_the_loop(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOOK, str(tmp_path / "settings.json")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["before"] == []
    assert seen["on_the_loop"] == {"docker": False, "requests": False, "urllib3": False}


_RUN = """
import atexit, json, os, sys
def told():
    print("MODULES", json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), flush=True)
atexit.register(told)
from app.cli import main
sys.exit(main(sys.argv[1:]))
"""


def modules_of_a_run(tmp_path: Path, *arguments: str) -> set[str]:
    """What a command had imported when it was told to end, once it served."""
    command = [
        sys.executable,
        "-c",
        _RUN,
        *arguments,
        "--vault",
        "memory",
        "--port",
        "0",
        "--print-connection",
    ]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen", "MORTDECAI_HOME": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith("MODULES "):
                    return set(json.loads(line.removeprefix("MODULES ")))
                process.terminate()
        finally:
            process.kill()
    pytest.fail("it ended without a word")


@pytest.mark.parametrize(
    "engine", [("--simulate",), ("--upstream", "http://127.0.0.1:9")], ids=["simulator", "endpoint"]
)
@pytest.mark.parametrize("command", ["serve", "tray"])
def test_without_a_container_and_a_public_address_no_sdk_of_dockers_is_read(
    tmp_path: Path, command: str, engine: tuple[str, ...]
) -> None:
    seen = modules_of_a_run(tmp_path, command, *engine)
    unused = {"docker", "requests", "urllib3"} | ({"qasync", "PySide6"} if command == "serve" else set())
    if sys.platform != "win32":
        unused.add("qasync")
    assert seen & unused == set()
    assert "aiohttp" in seen


@pytest.mark.parametrize("command", ["serve", "doctor"])
async def test_a_driver_that_hangs_keeps_nobody_from_starting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    module = parts if command == "serve" else doctor
    go_on = threading.Event()
    monkeypatch.setattr(module, "PROBE_S", 0.05)
    monkeypatch.setattr(module, "probe_sensors", lambda: go_on.wait(30))
    try:
        if command == "serve":
            assert isinstance(await parts.probed(), NullSensor)
            assert "driver does not answer" in caplog.text
        else:
            check = await doctor._sensor()
            assert (check.good, check.fix) == (False, "Restart this computer.")
    finally:
        go_on.set()
