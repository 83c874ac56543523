"""One update of a model from a GGUF file: fetch, push, make it under a passing name, try it out, and only then swap.

Rule 1: until the new one has answered twice, under a passing name and under its own, the old one can be had back, and
after any failure, or when it is cancelled, it answers as before; once the new one has the name for good, cancelling
comes too late. Rule 2: what a crash leaves is found by a note in the folder and put in order before the next update.
Rule 3: how it ended is reported once, whoever asked and however it ended (twice only where the gateway was killed
between the report and its note). Rule 4: what changes the engine's models is never cut short: a request that was
cancelled on its way might be carried out after the one that was to undo it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from app.basics.threads import Aside
from app.basics.traces import where
from app.engine.base import Engine, EngineError
from app.models import names
from app.models.base import ModelError
from app.models.carry import carried
from app.models.client import ManagementClient
from app.models.download import Downloads, Fetched, Tell
from app.models.note import Note, read_note, remove_note, throw_away_stale, write_note
from app.models.part import PartFile
from app.models.said import NoMemory, Passing
from app.models.source import Refused, Rules, shown

log = logging.getLogger(__name__)

_TRY_KEEP = "30s"
_PATIENCE_S = 60.0
"""How long a cancelled update may take to put things back."""

_KILLED = "The gateway ended before the update did; the model is what it was."

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


@dataclass(slots=True)
class _Course:
    """How one update is getting on."""

    note: Note
    """As it is in the folder."""
    noted: bool = False
    """It may be in the folder."""
    file: Fetched | None = None
    kept: tuple[str, ...] = ()
    """What the new one has of the old one's."""


Audit = Callable[[UpdateReport], Awaitable[None]]


class Updates:
    """Runs updates, one at a time; the caller sees to that. `copies`: see `Downloads.fetch`; `refresh` has the
    engine's models looked at anew; `require` hears name and size when they are known, and may raise ModelError."""

    def __init__(
        self,
        client: ManagementClient,
        engine: Engine,
        downloads: Downloads,
        folder: Path,
        *,
        copies: Callable[[], int],
        refresh: Callable[[], Awaitable[object]],
        require: Callable[[str, int], None],
    ) -> None:
        self._client = client
        self._engine = engine
        self._downloads = downloads
        self._folder = folder
        self._copies = copies
        self._refresh = refresh
        self._require = require
        self._one = asyncio.Lock()
        """Putting in order what was left happens once, whoever asks for it."""

    async def run(self, wanted: Wanted, rules: Rules, tell: Tell, audit: Audit) -> str:
        """Do it all; a sentence about what came of it. Raises ModelError, or CancelledError where it is cancelled."""
        course = _Course(Note(wanted.name, shown(wanted.url), wanted.by))
        outcome, reason = Ended.CANCELLED, "It was cancelled."
        try:
            try:
                await self._run(course, wanted, rules, tell, audit)
            except Refused as error:
                outcome, reason = Ended.REFUSED, str(error)
                raise
            except ModelError as error:
                outcome, reason = Ended.FAILED, str(error)
                raise
            except Exception:
                outcome, reason = Ended.FAILED, "It failed for a reason that nobody had thought of."
                raise
            finally:
                if course.note.answered:
                    outcome, reason = Ended.UPDATED, ""
                await to_the_end(self._finish(course, outcome, reason, audit))
        except asyncio.CancelledError:
            # Too late: the new one has the name, and the old one is gone.
            if not course.note.answered:
                raise
        said = f"The model {wanted.name} was updated and has answered."
        return said if not course.kept else f"{said[:-1]}; kept of the one before: {', '.join(course.kept)}."

    async def _run(self, course: _Course, wanted: Wanted, rules: Rules, tell: Tell, audit: Audit) -> None:
        await self.recover(audit)
        await self._aside(lambda: throw_away_stale(self._folder, rules.most_b))
        course.noted = True
        await self._note(course)
        file = await self._downloads.fetch(
            wanted.url,
            rules,
            tell,
            copies=self._copies(),
            require=lambda size_b: self._require(wanted.name, size_b),
        )
        course.file = file
        if wanted.sha256 and wanted.sha256 != file.sha256:
            await self._remove(file.part)
            raise ModelError("The file's SHA-256 is not the one that was given: it was thrown away.")
        try:
            await self._install(course, file, tell)
        except Passing:
            # Nothing is wrong with the file: the next try begins with it.
            raise
        except ModelError:
            await self._remove(file.part)
            raise
        try:
            await self._remove(file.part)
        except ModelError as error:
            log.warning("A model was updated, and its file stays for two weeks: %s", error)

    async def _install(self, course: _Course, file: Fetched, tell: Tell) -> None:
        name, blob = course.note.model, f"sha256:{file.sha256}"
        new = names.passing(name, names.NEW)
        if not await self._client.has_blob(blob):
            what = "Handing the file to the engine"
            tell(what, 0, file.size_b)
            await self._client.push_blob(blob, file.part.path, lambda sent_b: tell(what, sent_b, file.size_b))
        await self._note(course, sha256=file.sha256, size_b=file.size_b)
        try:
            tell("Making the model", file.size_b, file.size_b)
            await to_the_end(self._client.create(new, "model.gguf", blob))
            course.kept = await self._carry_over(name, new)
            tell("Trying the model out", file.size_b, file.size_b)
            await self._try_out(new)
            await self._swap(course, new)
        finally:
            # Also when cancelled: half an update is nobody's wish.
            await to_the_end(self._tidy(course.note))

    async def _carry_over(self, name: str, new: str) -> tuple[str, ...]:
        """Give the new one what only the old one has; its names."""
        if await self._digest(name) is None:
            return ()
        fields = carried(await self._client.show(name), await self._client.show(new))
        if fields:
            await to_the_end(self._client.complete(new, fields))
        return tuple(fields)

    async def _try_out(self, name: str) -> None:
        """Ask it something; where the GPU's memory is full, once more after everything else was unloaded."""
        try:
            await self._client.answers(name, keep_alive=_TRY_KEEP)
        except NoMemory:
            for loaded in await asked(self._engine.loaded()):
                with suppress(EngineError):
                    await self._engine.unload(loaded.name)
            await self._client.answers(name, keep_alive=_TRY_KEEP)

    async def _swap(self, course: _Course, new: str) -> None:
        """The new one takes the name; where it does not answer under it, the old one has it back."""
        name = course.note.model
        old = names.passing(name, names.OLD)
        before = await self._digest(name)
        if before is not None:
            await to_the_end(self._client.copy(name, old))
        try:
            await self._note(course, swapping=True, replaces=before is not None)
            await to_the_end(self._client.copy(new, name))
            # From now on requests are answered by the new one, and their records must say so.
            await asked(self._refresh())
            await self._client.answers(name, keep_alive="0")
            digest = await self._digest(name) or ""
            await self._note(course, swapping=False, answered=True, digest=digest)
        except BaseException:
            await to_the_end(self._back(course, old))
            raise

    async def _back(self, course: _Course, old: str) -> None:
        """The old one has its name again, or nothing has it where there was none."""
        with suppress(ModelError):
            # The folder may hold what was never felt here; a full disk is no reason to leave the new one in place.
            await self._note(course, swapping=True, answered=False, digest="")
        await self._put_back(course.note, old)
        await self._note(course, swapping=False)

    async def _put_back(self, note: Note, old: str) -> None:
        present = await self._present()
        if note.replaces:
            if old.lower() in present:
                await self._client.copy(old, note.model)
        elif note.model.lower() in present:
            await self._client.delete(present[note.model.lower()])

    async def _tidy(self, note: Note) -> None:
        """Take the passing names away."""
        if note.swapping:
            # The old one could not be given its name back; it is tried again before the next update.
            return
        try:
            present = await self._present()
            for mark in (names.NEW, names.OLD):
                passing = present.get(names.passing(note.model, mark).lower())
                if passing is not None:
                    with suppress(EngineError):
                        await self._engine.unload(passing)
                    await self._client.delete(passing)
        except ModelError as error:
            log.warning("What an update of %s left is removed before the next one: %s", note.model, error)

    async def _finish(self, course: _Course, outcome: Ended, reason: str, audit: Audit) -> None:
        """Into the audit trail, and the note away where nothing is left to do. Raises nothing."""
        note = course.note
        if course.file is not None:
            note = replace(note, sha256=course.file.sha256, size_b=course.file.size_b)
        told = note.told
        if not told:
            try:
                await audit(_report(note, outcome, reason))
                told = True
            except Exception as error:  # noqa: BLE001 (its text may be a client's)
                log.error("How the update of %s ended could not be recorded: %s.", note.model, where(error))
        if not course.noted:
            return
        try:
            if told and await self._is_clean(course.note):
                await self._aside(lambda: remove_note(self._folder))
            else:
                await self._note(course, told=told)
        except ModelError as error:
            log.warning("The note of an update stays until the next one: %s", error)

    async def _is_clean(self, note: Note) -> bool:
        """Whether the engine has nothing of this update's but a model that has answered."""
        if not note.sha256:
            return True
        try:
            present = await self._present()
        except ModelError:
            return False
        passing = {names.passing(note.model, mark).lower() for mark in (names.NEW, names.OLD)}
        return not note.swapping and present.keys().isdisjoint(passing)

    async def recover(self, audit: Audit) -> None:
        """Put in order what an update left that did not end: the model that it was to replace has its name back.

        Raises ModelError where the engine cannot be asked.
        """
        async with self._one:
            note = await self._aside(lambda: read_note(self._folder))
            await self._aside(lambda: throw_away_stale(self._folder))
            if note is None:
                return
            course = _Course(note, noted=True)
            if note.swapping:
                await to_the_end(self._back(course, names.passing(note.model, names.OLD)))
            if note.sha256:
                await to_the_end(self._tidy(course.note))
            outcome = Ended.UPDATED if note.answered else Ended.FAILED
            await to_the_end(self._finish(course, outcome, "" if note.answered else _KILLED, audit))

    async def _note(self, course: _Course, **changes: Any) -> None:
        """Keep how far it is, also when cancelled meanwhile."""
        note = replace(course.note, **changes)
        await to_the_end(self._aside(lambda: write_note(self._folder, note)))
        course.note = note

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


async def to_the_end(work: Awaitable[_T]) -> _T:
    """See something through although we are cancelled meanwhile; the cancelling is felt afterwards."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait([task], timeout=_PATIENCE_S)
        if not task.done():
            task.cancel()
        elif not task.cancelled() and (error := task.exception()) is not None:
            log.warning("An update could not be cleaned up: %s", error)
        raise


def _report(note: Note, outcome: Ended, reason: str) -> UpdateReport:
    return UpdateReport(
        model=note.model,
        url=note.url,
        sha256=note.sha256,
        size_b=note.size_b,
        outcome=outcome,
        reason=reason,
        by=note.by,
        digest=note.digest,
    )
