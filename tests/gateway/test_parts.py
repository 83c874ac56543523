"""What a gateway does not use is not imported, and what it comes to use is not imported by its loop."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
