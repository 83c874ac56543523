"""The audit trail's line for what a command has done by itself, while no gateway ran that would have noted it.

Rule: as in the gateway, nothing fails with the trail: where it cannot be written, that is said, and what was done
stays.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import apsw

from app.access.deeds import DONE, NAMES_MOST, OPERATOR, Deed, DeedLine
from app.access.trail import TRAIL_FILE, TrailFile
from app.basics.clock import wall_us
from app.basics.traces import where
from app.commands.common import Ground

TERMINAL = "terminal"
"""Stands where the address of a request does."""
_DAY_US = 86_400_000_000


def leave_trace(base: Ground, action: str, names: Iterable[str] = ()) -> None:
    """Note that `action`, in the command line's words, was done to what `names` says: ids and names, no value."""
    now_us = wall_us()
    deed = Deed(OPERATOR, TERMINAL, action, DONE, "", ", ".join(names)[:NAMES_MOST])
    file = TrailFile(base.folders.data / TRAIL_FILE)
    try:
        base.folders.prepare()
        file.write([DeedLine(deed, now_us, now_us, 1)], base.store.current.audit_days * _DAY_US, now_us)
    except (apsw.Error, OSError) as error:
        print(
            f"This was done, and is not in the audit trail, which cannot be written ({where(error)}).",
            file=sys.stderr,
        )
    finally:
        file.close()
