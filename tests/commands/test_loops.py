"""`serve` runs on uvloop where that is there and not switched off; nobody sees a difference but in speed."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from app.commands import loops
from tests.gateway.processes import gateway

UVLOOP = re.compile(r"^import time:.*\|\s+uvloop$", re.MULTILINE)
no_uvloop = pytest.mark.skipif(sys.platform == "win32", reason="platform: no uvloop")


async def which() -> int:
    """1 on uvloop, 0 on a loop of Python's own."""
    return int(type(asyncio.get_running_loop()).__module__ == "uvloop")


@no_uvloop
def test_it_is_uvloop_unless_that_is_switched_off() -> None:
    assert loops.run(which(), fast=True) == 1
    assert loops.run(which(), fast=False) == 0


def test_where_uvloop_is_not_installed_pythons_own_loop_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loops.run(which(), fast=True) == 0


@no_uvloop
@pytest.mark.parametrize(("arguments", "loaded"), [((), True), (("--set", "uvloop=false"), False)])
def test_serve_follows_the_setting_and_ends_with_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], loaded: bool
) -> None:
    monkeypatch.setitem(os.environ, "PYTHONPROFILEIMPORTTIME", "1")
    with gateway(tmp_path, "--simulate", *arguments) as serving:
        serving.popen.terminate()
        assert serving.popen.wait(20) == 0
    assert bool(UVLOOP.search((tmp_path / "stderr.txt").read_text())) is loaded


@no_uvloop
@pytest.mark.both_loops
async def test_what_is_marked_for_both_loops_runs_on_both(request: pytest.FixtureRequest) -> None:
    assert ("uvloop" in request.node.name) == await which()
