"""Two sides in a folder of their own, and the program itself run on each as a person would run it.

Rule 1: nothing of the user's is read or changed: folders, settings and secrets of both sides lie below the stage, and
settings in the user's environment are left out. Rule 2: what is shown is the very command that was run and the very
words it said.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import textwrap
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.commands.common import CommandError
from app.receiver.settings import RECEIVER_PARAMETERS
from app.settings.catalogue import PARAMETERS
from app.settings.folders import APP, Folders

READY_S = 60.0
END_S = 20.0
COMMAND_S = 120.0
_LONGEST = 360
_WRAP = textwrap.TextWrapper(110, initial_indent="   | ", subsequent_indent="   |   ", break_on_hyphens=False)

Running = AbstractAsyncContextManager[Mapping[str, Any]]
"""A program that runs inside it; gives what it said when it was ready."""


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended and what it wrote."""

    status: int
    text: str

    @property
    def verdicts(self) -> frozenset[str]:
        """What its lines begin with, such as OK or FORK."""
        return frozenset(line.partition(":")[0] for line in self.text.splitlines())


@dataclass(slots=True)
class Side:
    """One party's home on the stage. `given` are the settings it has in its environment."""

    home: Path
    given: dict[str, str] = field(default_factory=dict)

    @property
    def folders(self) -> Folders:
        """Where its profile keeps its files."""
        return Folders.for_profile(root=self.home)

    def environment(self) -> dict[str, str]:
        """Its programs' environment."""
        ours = _settings_names()
        theirs = {name: value for name, value in os.environ.items() if name not in ours}
        vaults = {"MORTDECAI_VAULT": "file", "MORTDECAI_RECEIVER_VAULT": "file"}
        return {**theirs, **vaults, "MORTDECAI_HOME": str(self.home), "PYTHONUTF8": "1", **self.given}


class TwoSides:
    """Both sides below `root`, and what is run on them. Raises CommandError where a program does not do its part."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sides: list[Side] = []
        self.names: dict[str, str] = {}
        """Words that are shown by a name of theirs."""

    def side(self, name: str, **given: str) -> Side:
        """One more party."""
        made = Side(self.root / name, dict(given))
        made.home.mkdir()
        self.sides.append(made)
        return made

    def remember(self, name: str) -> None:
        """Keep both sides' files as they are now, while nothing runs, under `name`."""
        for side in self.sides:
            shutil.copytree(side.home, self.root / f"{side.home.name}.{name}")

    def recall(self, name: str) -> None:
        """Put them back as they were."""
        for side in self.sides:
            shutil.rmtree(side.home)
            shutil.copytree(self.root / f"{side.home.name}.{name}", side.home)

    async def show(self, side: Side, *words: str, typed: str = "") -> Said:
        """Run a command, showing it and what it says; long lines, which are whole records, not to their end."""
        shown = " ".join(self.names.get(word) or (f"'{word}'" if " " in word else word) for word in words)
        print(f"   $ {APP} {shown}", flush=True)
        said = await self.run(side, *words, typed=typed)
        for line in said.text.splitlines():
            line = line if len(line) <= _LONGEST else line[:_LONGEST] + " …"
            print(_WRAP.fill(line), flush=True)
        return said

    async def run(self, side: Side, *words: str, typed: str = "") -> Said:
        """Run a command to its end; `typed` is what it reads from standard input."""
        process = await self._start(side, words, asyncio.subprocess.STDOUT)
        try:
            text, _ = await asyncio.wait_for(process.communicate(typed.encode()), COMMAND_S)
        except TimeoutError:
            raise CommandError(f"`{APP} {' '.join(words)}` did not end in {COMMAND_S:g} s.") from None
        finally:
            await _ended(process)
        return Said(process.returncode or 0, text.decode(errors="replace").strip())

    @asynccontextmanager
    async def running(self, side: Side, *words: str) -> AsyncIterator[Mapping[str, Any]]:
        """A program that runs meanwhile, from its `--print-connection` line on."""
        errors = side.home.with_suffix(".errors")
        with errors.open("wb") as stderr:
            process = await self._start(side, (*words, "--print-connection"), stderr)
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), READY_S)
            yield json.loads(line)
        except (TimeoutError, ValueError):
            why = errors.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise CommandError(f"`{APP} {' '.join(words)}` did not start: {why[0]}") from None
        finally:
            await _ended(process)

    async def _start(self, side: Side, words: tuple[str, ...], stderr: Any) -> asyncio.subprocess.Process:
        # A bundle is the program itself; from a checkout Python runs it.
        program = () if getattr(sys, "frozen", False) else ("-m", "app")
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *program,
            *words,
            cwd=self.root,
            env=side.environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )


async def _ended(process: asyncio.subprocess.Process) -> None:
    """See it end, if need be by force."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), END_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def _settings_names() -> frozenset[str]:
    """Every name in the environment by which a setting can be given."""
    known = (*PARAMETERS.values(), *RECEIVER_PARAMETERS.values())
    return frozenset(name for parameter in known for name in parameter.env)
