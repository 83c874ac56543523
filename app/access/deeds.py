"""What the audit trail is made of: who was refused what, and what was done in the operator's name.

Rule 1: a line names a key by its id, an endpoint by its entry in the table, a setting by its name; it holds nothing
that a client wrote, and no value. Rule 2: what is refused again within the same minute is counted, not written again;
of different refusals a minute has so many lines, and what is beyond that is counted by its code, whoever it was.
Rule 3: what was done has a line of its own each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LINES_A_MINUTE = 64
MOST_WAITING = 4096
"""Lines that wait for a disk that takes none; what comes then is counted as lost."""
NAMES_MOST = 200
"""Letters of what is said beside a deed."""
OPERATOR = "operator"
"""Stands for the operator's own token, and for whoever sits at the machine."""
DONE = 200
"""The status of what was done without a request."""
FAILED = 500
"""The status of what was tried so and failed."""
OTHERS = "others"
"""Stands for the addresses that a minute had no line for."""
_MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody did, or was not let do."""

    key: str
    """The id of the key it was done with; empty where that was no key of ours."""
    address: str
    """Where the request came from; see `origin`. Without a request: `window`, `tray` or `terminal`."""
    action: str
    """Method and endpoint; the method alone where there is no such endpoint. Without a request: the verb, in the
    command line's words."""
    status: int
    code: str
    """The refusal's; empty where it was done."""
    note: str = ""
    """What it was done to: names of settings, the id of a key."""


@dataclass(slots=True, eq=False)
class DeedLine:
    """A deed and how often it was tried, from when to when (wall times, µs)."""

    deed: Deed
    first_us: int
    last_us: int
    count: int
    id: int | None = None
    """Its number in the file, once it is there."""


class DeedLines:
    """Lines that are still counted, and those that wait to be written."""

    def __init__(self) -> None:
        self.lost = 0
        self._minute_us = -_MINUTE_US
        self._counted: dict[Deed, DeedLine] = {}
        self._waiting: dict[DeedLine, None] = {}

    def add(self, deed: Deed, now_us: int) -> None:
        """Count a refusal, or begin a line."""
        line = self._line_of(deed, now_us) if deed.code else None
        if line is None:
            if len(self._waiting) >= MOST_WAITING:
                self.lost += 1
                return
            line = DeedLine(deed, now_us, now_us, 0)
            if deed.code:
                self._counted[deed] = line
        line.count += 1
        line.last_us = now_us
        self._waiting[line] = None

    def take(self) -> list[DeedLine]:
        """What is to be written, oldest first; a line that is counted further comes again."""
        taken, self._waiting = list(self._waiting), {}
        return taken

    def put_back(self, lines: Sequence[DeedLine]) -> None:
        """They could not be written."""
        self._waiting = dict.fromkeys(lines) | self._waiting

    def _line_of(self, deed: Deed, now_us: int) -> DeedLine | None:
        if not 0 <= now_us - self._minute_us < _MINUTE_US:
            self._minute_us = now_us
            self._counted = {}
        line = self._counted.get(deed)
        if line is None and len(self._counted) >= LINES_A_MINUTE:
            deed = Deed("", OTHERS, "", deed.status, deed.code)
            line = self._counted.get(deed)
            if line is None:
                line = self._counted[deed] = DeedLine(deed, now_us, now_us, 0)
        return line
