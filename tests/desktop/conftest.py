"""What the desktop's tests share: Qt draws to memory, and each loop test runs on both loops."""

from __future__ import annotations

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # before Qt is imported

import importlib
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(params=["unix", "windows"])
def loop(request: pytest.FixtureRequest, qapp: Any) -> Iterator[Any]:
    """A QtLoop, closed afterwards: the one for this platform, and the one for Windows over qasync's unix loop."""
    module = importlib.import_module(f"app.desktop.loop_{request.param}")
    quits_with_last_window = qapp.quitOnLastWindowClosed()
    qapp.setQuitOnLastWindowClosed(False)
    loop = module.QtLoop(qapp)
    yield loop
    loop.close()
    qapp.setQuitOnLastWindowClosed(quits_with_last_window)
