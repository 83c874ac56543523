"""The log: a file that rotates and, where there is one, stderr.

Rule 1: no key, no prompt and no secret is ever written. Callers do not log them; if one slips through, as in a
library's message or a traceback, it is blotted out here, in the finished text. Rule 2: one record, one line, besides
its traceback: what a client sends cannot forge a line.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
import sys
from functools import cache
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType

from app.settings.errors import FolderError, reason

FILE = "gateway.log"
MAX_FILE_B = 1 << 20
KEPT_FILES = 4
LONGEST_TEXT = 16_000
"""Characters of one record; searching a megabyte for secrets would hold up the loop for half a second."""
BLOT = "[hidden]"

# Both kinds of quotes, also where a JSON text was quoted once more; what is cut off in the middle has no end.
_QUOTED = r"""\\*(?:"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?)"""
_KEYS = r"(?:api[_-]?key|x-api-key|ledger_secret|secret|password|passwd|private_key|token)"
_PROSE = (
    r"(?:prompt|content|system|input|instructions|suffix|response|thinking|arguments|template|messages|images"
    r"|text)"
)
_PATTERNS = (
    # Keys of ours and of the SDKs that clients use.
    (r"\b(?:mg_|mr_|sk-)[A-Za-z0-9_-]{6,}", BLOT),
    (r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{4,}", rf"\1 {BLOT}"),
    # An Authorization header of any other scheme, as a header, in a dict and in a tuple of bytes.
    (r"""(\bauthorization(?:["']?\s*[:=]|["']\s*,)\s*(?:b?["'])?)[^\r\n"']+""", rf"\1{BLOT}"),
    # The user and password in an address.
    (r"(://)[^/\s@'\"]+@", rf"\1{BLOT}@"),
    # Fields that hold what people wrote or what was answered, in JSON and in reprs.
    (
        rf"""((?:["']{_PROSE}\\*["']\s*:|\b{_PROSE}=)\s*)(?:\[\s*{_QUOTED}(?:\s*,\s*{_QUOTED})*|{_QUOTED})""",
        rf"\1{BLOT}",
    ),
    # name=value, name: value, "name": "value"; (b'name', b'value')
    (
        rf"""(\b{_KEYS}\\*["']?\s*[:=]\s*)(?:b?{_QUOTED}|(?!\[hidden)[^\s,;&}}\])"']+)""",
        rf"\1{BLOT}",
    ),
    (rf"""(\b{_KEYS}["']\s*,\s*)b?{_QUOTED}""", rf"\1{BLOT}"),
)
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}


# Without one of these nothing can match; most lines have none, and need neither the search nor its compilation.
_SUSPICIOUS = (
    "mg_",
    "mr_",
    "sk-",
    "bearer",
    "basic",
    "authorization",
    "@",
    '"',
    "'",
    "key",
    "secret",
    "passw",
    "token",
)


@cache
def _compiled() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(pattern, re.IGNORECASE), replacement) for pattern, replacement in _PATTERNS)


def redact(text: str) -> str:
    """`text` without anything that looks like a key, a secret, a prompt or an answer."""
    lower = text.lower()
    if not any(mark in lower for mark in _SUSPICIOUS):
        return text
    for pattern, replacement in _compiled():
        text = pattern.sub(replacement, text)
    return text


class Logs:
    """The handlers as long as they are in place; `close` puts everything back."""

    def __init__(
        self, directory: Path, level: str, *, stderr: bool = True, max_file_b: int = MAX_FILE_B
    ) -> None:
        """Log to `directory`/gateway.log and to stderr. `level` counts for our own code; of libraries, warnings are
        written. Raises FolderError."""
        self.file = directory / FILE
        self._formatter = _Formatter()
        self._handlers: list[logging.Handler] = [self._open(max_file_b)]
        # pythonw and frozen windowed programs have none.
        if stderr and sys.stderr is not None:
            self._handlers.append(logging.StreamHandler(sys.stderr))
        self._root = logging.getLogger()
        self._ours = logging.getLogger("app")
        self._before = (self._root.level, self._ours.level)
        self._root.setLevel(logging.WARNING)
        for handler in self._handlers:
            handler.setFormatter(self._formatter)
            self._root.addHandler(handler)
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """One of DEBUG, INFO, WARNING, ERROR."""
        self._ours.setLevel(level)

    def hide(self, secret: str) -> None:
        """Blot out this text from now on; for secrets that do not look like one."""
        if secret:
            self._formatter.secrets.add(secret)

    def close(self) -> None:
        """Write what is left and take the handlers away."""
        for handler in self._handlers:
            self._root.removeHandler(handler)
            handler.close()
        self._handlers = []
        self._root.setLevel(self._before[0])
        self._ours.setLevel(self._before[1])

    def _open(self, max_file_b: int) -> logging.Handler:
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return _PrivateFile(self.file, maxBytes=max_file_b, backupCount=KEPT_FILES, encoding="utf-8")
        except OSError as error:
            raise FolderError(
                f"The log {self.file} cannot be written because {reason(error)}: correct that, or name another place "
                "in MORTDECAI_HOME."
            ) from error

    def __enter__(self) -> Logs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Formatter(logging.Formatter):
    """Redacts the finished text, and so also the arguments, the traceback and the stack."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S%z")
        self.secrets: set[str] = set()

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record).translate(_CONTROL)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        # The longest first: one secret may be part of another.
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, BLOT)
        if len(text) > LONGEST_TEXT:
            text = text[:LONGEST_TEXT] + "… (cut)"
        return redact(text)


class _PrivateFile(logging.handlers.RotatingFileHandler):
    """A rotating file that only its owner may read, every generation of it."""

    def _open(self) -> TextIOWrapper:
        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        # A lone surrogate in a client's text must not end the logging.
        return open(self.baseFilename, "a", encoding="utf-8", errors="backslashreplace", opener=private)
