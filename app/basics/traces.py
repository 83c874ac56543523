"""An exception in the log without its words.

Libraries put into an exception's message what they could not read, and that may be a prompt; the type and the lines of
code it passed say what a maintainer needs.
"""

from __future__ import annotations

import traceback
from pathlib import PurePath


def where(error: BaseException | None) -> str:
    """An exception in the log: its type, the lines it passed, and what it came from; not its message."""
    said: list[str] = []
    while error is not None and len(said) < 4:
        frames = traceback.extract_tb(error.__traceback__)[-6:]
        places = " > ".join(f"{PurePath(frame.filename).name}:{frame.lineno}" for frame in frames)
        said.append(f"{type(error).__name__} at {places or 'no line of ours'}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return ", after ".join(said) or "no exception"
