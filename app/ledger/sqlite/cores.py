"""Skimming a large ledger on several cores: helpers of our own, processes that look at stretches ahead of the audit.

Rule 1: helpers save time and decide nothing: what they do not say, the audit finds out itself.
Rule 2: a helper ends with its standard input, so it outlives nobody.

Processes, not threads, for nearly all of an audit is Python, which one lock allows to one thread at a time. With them
the audit of a running gateway takes that lock for a tenth of the time, too.
"""

from __future__ import annotations

import logging
import os
import pickle
import struct
import subprocess
import sys
from collections import deque
from itertools import pairwise
from pathlib import Path
from types import TracebackType

from app.ledger.errors import LedgerError
from app.ledger.sqlite.schema import SPAN_RECORDS, open_reader
from app.ledger.sqlite.skim import Skim, skim

logger = logging.getLogger(__name__)

WORTH_RECORDS = 64 * SPAN_RECORDS
"""With fewer the audit is over before helpers have started."""
STRETCHES_AT_ONCE = 8
HELPERS_MAX = 4
Found = tuple[int, Skim | None]
"""The n after which a stretch begins, and what there is."""
_RANGE = struct.Struct("<qq")
_LENGTH = struct.Struct("<I")
_ROOT = Path(__file__).resolve().parents[3]


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def helpers_for(records: int) -> int:
    """How many helpers are worth starting for so many records."""
    if (
        records < WORTH_RECORDS or cores() < 2 or getattr(sys, "frozen", False)
    ):  # a frozen program is no Python
        return 0
    return min(HELPERS_MAX, cores())


class _Helper:
    """One process. OSError, EOFError or ValueError where it does not answer as it should."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(  # noqa: S603  (ourselves)
            [sys.executable, "-m", "app.ledger.sqlite.cores", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )

    def ask(self, after: int, upto: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(_RANGE.pack(after, upto))
        self._process.stdin.flush()

    def answer(self) -> list[Found]:
        assert self._process.stdout is not None
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        found: list[Found] = pickle.loads(self._read(length))  # noqa: S301  (our own process said it)
        return found

    def _read(self, count: int) -> bytes:
        assert self._process.stdout is not None
        data = self._process.stdout.read(count)
        if len(data) != count:
            raise EOFError("the helper has ended")
        return data

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:
                logger.debug("A helper of the audit had ended by itself.")


class Skims:
    """The skims of the records 1 to `end` of the ledger at `path`, in order, from `count` helpers.

    Use it as a context; `next` says each stretch of SPAN_RECORDS once.
    """

    def __init__(self, path: Path, end: int, count: int) -> None:
        self._end = end
        self._asked = 0
        self._waiting: deque[_Helper] = deque()
        self._found: deque[Found] = deque()
        self._helpers: list[_Helper] = []
        try:
            for _ in range(count):
                self._helpers.append(_Helper(path))
            for helper in (*self._helpers, *self._helpers):
                self._ask(helper)
        except OSError as error:
            self._give_up(error)

    def __enter__(self) -> Skims:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for helper in self._helpers:
            helper.end()

    def next(self, after: int) -> Skim | None:
        """What was found out of the stretch that begins after the record number `after`; None where nothing was."""
        if after > self._asked:
            self._waiting.clear()  # so large a gap is in no good ledger
        while self._waiting or self._found:
            if not self._found:
                self._hear()
            while self._found and self._found[0][0] < after:
                self._found.popleft()
            if self._found:
                return self._found.popleft()[1] if self._found[0][0] == after else None
        return None

    def _ask(self, helper: _Helper) -> None:
        after = self._asked
        if after < self._end:
            self._asked = min(after + STRETCHES_AT_ONCE * SPAN_RECORDS, self._end)
            helper.ask(after, self._asked)
            self._waiting.append(helper)

    def _hear(self) -> None:
        helper = self._waiting.popleft()
        try:
            found = helper.answer()
            self._ask(helper)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
            self._give_up(error)
            return
        self._found += found

    def _give_up(self, error: Exception) -> None:
        logger.info("The audit goes on alone: a helper of its failed (%r).", error)
        self._waiting.clear()


def _help(path: Path) -> None:
    """Answer ranges on the standard input with pickled skims on the standard output, until there are no more."""
    answer, ask = sys.stdout.buffer, sys.stdin.buffer
    connection = open_reader(path)
    while len(asked := ask.read(_RANGE.size)) == _RANGE.size:
        begin, end = _RANGE.unpack(asked)
        bounds = [*range(begin, end, SPAN_RECORDS), end]
        found = [(after, skim(connection, after, upto)) for after, upto in pairwise(bounds)]
        said = pickle.dumps(found, pickle.HIGHEST_PROTOCOL)
        answer.write(_LENGTH.pack(len(said)) + said)
        answer.flush()


if __name__ == "__main__":
    try:
        _help(Path(sys.argv[1]))
    except (LedgerError, KeyboardInterrupt, BrokenPipeError):
        sys.exit(1)
