"""One update of a model from a GGUF file: fetch, push, make it under a passing name, try it out, and only then swap.

Rule 1: until the new one has answered twice, under a passing name and under its own, the old one can be had back, and
after any failure it answers as before. Rule 2: what a crash leaves is found by a note in the folder and put in order
before the next update. Rule 3: how it ended is reported once, whoever asked and however it ended.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from app.engine.base import Engine, EngineError
from app.engine.models import names
from app.engine.models.aside import Aside
from app.engine.models.base import ModelError
from app.engine.models.client import ManagementClient
from app.engine.models.download import Downloads, Fetched, Tell
from app.engine.models.part import PartFile
from app.engine.models.said import NoMemory, Passing
from app.engine.models.source import Refused, Rules, shown

log = logging.getLogger(__name__)

_NOTE = "update.json"
_STALE_S = 14 * 86_400.0
"""Parts that nobody has gone on with for so long are thrown away."""
_TRY_KEEP = "30s"
_PATIENCE_S = 60.0
"""How long a cancelled update may take to put things back."""

_T = TypeVar("_T")


class Ended(StrEnum):
    """How an update ended."""

    UPDATED = "updated"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """For the audit trail."""

    model: str
    url: str
    """Without its query and without names or passwords."""
    sha256: str
    """Of the file, as it came; empty where it did not come whole."""
    size_b: int
    outcome: Ended
    reason: str
    """One sentence; empty where it was updated."""
    by: str
    """The key that asked, or `operator`."""
    digest: str = ""
    """The engine's own, of the model that came of it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for."""

    url: str
    name: str
    sha256: str
    by: str


@dataclass(frozen=True, slots=True)
class Note:
    """What an update is about to do to the engine's models, kept in a file while it does."""

    wanted: Wanted
    sha256: str
    size_b: int
    swapping: bool = False
    """The new one may have the name already, and has not answered under it."""


Audit = Callable[[UpdateReport], Awaitable[None]]


class Updates:
    """Runs updates, one at a time; the caller sees to that. `copies`: see `Downloads.fetch`; `require` hears name and
    size as soon as they are known, and may raise ModelError."""

    def __init__(
        self,
        client: ManagementClient,
        engine: Engine,
        downloads: Downloads,
        folder: Path,
        *,
        copies: Callable[[], int],
        require: Callable[[str, int], None],
    ) -> None:
        self._client = client
        self._engine = engine
        self._downloads = downloads
        self._folder = folder
        self._copies = copies
        self._require = require

    async def run(self, wanted: Wanted, rules: Rules, tell: Tell, audit: Audit) -> str:
        """Do it all; a sentence about what came of it. Raises ModelError, or CancelledError where it is cancelled."""
        fetched: list[Fetched] = []
        outcome, reason, digest = Ended.FAILED, "The gateway ended before the update did.", ""
        try:
            digest = await self._run(wanted, rules, tell, fetched, audit)
            outcome, reason = Ended.UPDATED, ""
        except Refused as error:
            outcome, reason = Ended.REFUSED, str(error)
            raise
        except ModelError as error:
            outcome, reason = Ended.FAILED, str(error)
            raise
        except asyncio.CancelledError:
            outcome, reason = Ended.CANCELLED, "It was cancelled."
            raise
        finally:
            report = UpdateReport(
                model=wanted.name,
                url=shown(wanted.url),
                sha256=fetched[0].sha256 if fetched else "",
                size_b=fetched[0].size_b if fetched else 0,
                outcome=outcome,
                reason=reason,
                by=wanted.by,
                digest=digest,
            )
            await _to_the_end(audit(report))
        return f"The model {wanted.name} was updated and has answered."

    async def _run(
        self,
        wanted: Wanted,
        rules: Rules,
        tell: Tell,
        fetched: list[Fetched],
        audit: Audit,
    ) -> str:
        await self.recover(audit)
        file = await self._downloads.fetch(
            wanted.url,
            rules,
            tell,
            copies=self._copies(),
            require=lambda size_b: self._require(wanted.name, size_b),
        )
        fetched.append(file)
        if wanted.sha256 and wanted.sha256.lower() != file.sha256:
            await self._remove(file.part)
            raise ModelError("The file's SHA-256 is not the one that was given: it was thrown away.")
        try:
            digest = await self._install(wanted, file, tell)
        except Passing:
            # Nothing is wrong with the file: the next try begins with it.
            raise
        except ModelError:
            await self._remove(file.part)
            raise
        await self._remove(file.part)
        return digest

    async def _install(self, wanted: Wanted, file: Fetched, tell: Tell) -> str:
        blob = f"sha256:{file.sha256}"
        new = names.passing(wanted.name, names.NEW)
        if not await self._client.has_blob(blob):
            what = "Handing the file to the engine"
            tell(what, 0, file.size_b)
            await self._client.push_blob(blob, file.part.path, lambda sent_b: tell(what, sent_b, file.size_b))
        note = Note(wanted, file.sha256, file.size_b)
        await self._write(note)
        try:
            tell("Making the model", file.size_b, file.size_b)
            await self._client.create(new, "model.gguf", blob)
            tell("Trying the model out", file.size_b, file.size_b)
            await self._try_out(new)
            return await self._swap(note, new)
        finally:
            # Also when cancelled: half an update is nobody's wish.
            await _to_the_end(self._tidy(wanted.name))

    async def _try_out(self, name: str) -> None:
        """Ask it something; where the GPU's memory is full, once more after everything else was unloaded."""
        try:
            await self._client.answers(name, keep_alive=_TRY_KEEP)
        except NoMemory:
            for loaded in await asked(self._engine.loaded()):
                with suppress(EngineError):
                    await self._engine.unload(loaded.name)
            await self._client.answers(name, keep_alive=_TRY_KEEP)

    async def _swap(self, note: Note, new: str) -> str:
        """The new one takes the name; where it does not answer under it, the old one has it back. Its digest."""
        name = note.wanted.name
        old = names.passing(name, names.OLD)
        before = await self._digest(name)
        if before is not None:
            await self._client.copy(name, old)
        await self._write(replace(note, swapping=True))
        try:
            await self._client.copy(new, name)
            await self._client.answers(name, keep_alive="0")
            await self._write(note)
        except BaseException:
            await _to_the_end(self._back(note, old, existed=before is not None))
            raise
        return await self._digest(name) or ""

    async def _back(self, note: Note, old: str, *, existed: bool) -> None:
        if existed:
            await self._client.copy(old, note.wanted.name)
        elif await self._digest(note.wanted.name) is not None:
            await self._client.delete(note.wanted.name)
        await self._write(note)

    async def _tidy(self, name: str) -> None:
        """Take the passing names away, and the note once nothing is left of them."""
        try:
            kept = await self._read()
            present = await self._present()
            if kept is not None and kept.swapping:
                # The old one could not be given its name back; it is tried again before the next update.
                return
            for mark in (names.NEW, names.OLD):
                passing = present.get(names.passing(name, mark).lower())
                if passing is not None:
                    with suppress(EngineError):
                        await self._engine.unload(passing)
                    await self._client.delete(passing)
            await self._aside(lambda: (self._folder / _NOTE).unlink(missing_ok=True))
        except (ModelError, EngineError) as error:
            log.warning("What an update of %s left is removed before the next one: %s", name, error)

    async def recover(self, audit: Audit) -> None:
        """Put in order what an update left that did not end: the model that it was to replace has its name back.

        Raises ModelError where the engine cannot be asked.
        """
        note = await self._read()
        await self._aside(lambda: _throw_away_stale(self._folder))
        if note is None:
            return
        name, old = note.wanted.name, names.passing(note.wanted.name, names.OLD)
        if note.swapping and old.lower() in await self._present():
            await self._client.copy(old, name)
        await self._write(replace(note, swapping=False))
        await self._tidy(name)
        await audit(
            UpdateReport(
                model=name,
                url=shown(note.wanted.url),
                sha256=note.sha256,
                size_b=note.size_b,
                outcome=Ended.FAILED,
                reason="The gateway ended before the update did; the model is what it was.",
                by=note.wanted.by,
            )
        )

    async def _read(self) -> Note | None:
        def read() -> Note | None:
            try:
                kept = json.loads((self._folder / _NOTE).read_text())
                return Note(**{**kept, "wanted": Wanted(**kept["wanted"])})
            except FileNotFoundError:
                return None
            except (ValueError, TypeError, KeyError):
                # Torn: it was being written when everything ended, before anything else was done.
                return None

        return await self._aside(read)

    async def _write(self, note: Note) -> None:
        def write() -> None:
            draft = self._folder / f"{_NOTE}.new"
            draft.write_text(json.dumps(asdict(note)))
            os.replace(draft, self._folder / _NOTE)

        await self._aside(write)

    async def _present(self) -> dict[str, str]:
        """Names in lower case → as the engine spells them."""
        return {model.name.lower(): model.name for model in await asked(self._engine.models())}

    async def _digest(self, name: str) -> str | None:
        """None where there is no such model."""
        models = await asked(self._engine.models())
        return next((model.digest for model in models if names.same(model.name, name)), None)

    async def _remove(self, part: PartFile) -> None:
        await self._aside(part.remove)

    async def _aside(self, call: Callable[[], _T]) -> _T:
        aside = Aside("files of an update")
        try:
            return await aside.run(call)
        except OSError as error:
            raise ModelError(
                f"The folder for downloads cannot be used: {error.strerror or error}."
            ) from error
        finally:
            aside.close()


async def asked(question: Awaitable[_T]) -> _T:
    """The engine's answer; what it raises as a ModelError."""
    try:
        return await question
    except EngineError as error:
        raise Passing(str(error)) from error


async def _to_the_end(work: Awaitable[None]) -> None:
    """See something through although we are cancelled meanwhile; the cancelling is felt afterwards."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=_PATIENCE_S)
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            log.warning("An update could not be cleaned up: %s", error)
        raise


def _throw_away_stale(folder: Path) -> None:
    """Parts of files that nobody has gone on with for weeks."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.suffix in (".part", ".note") and time.time() - path.stat().st_mtime > _STALE_S:
            path.unlink(missing_ok=True)
