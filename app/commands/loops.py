"""The event loop of `serve`: uvloop where it is installed and not switched off, Python's own everywhere else.

A relay spends more of its time in the loop than in anything else; uvloop is libuv's, in C, with the same interface.
The tray has a loop of its own (`desktop/loop.py`), which is Qt's as well.

Rule: whatever runs on the one runs on the other; nothing but this file knows which it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


def run(main: Coroutine[Any, Any, int], *, fast: bool) -> int:
    """Run `main` to its end on a new loop; what it returns. `fast`: on uvloop, if there is one."""
    with asyncio.Runner(loop_factory=_uvloop() if fast else None) as runner:
        return runner.run(main)


def _uvloop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes uvloop's loops; None where it is not installed, as on Windows and in the program as one folder."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
