"""The faces' verbs with a line in the audit trail each: what was done in the window or the tray stands beside what was
done over HTTP.

Rule 1: a verb does here what it does there, and fails as it does; that it was used is noted afterwards, with names and
never a value. Rule 2: looking is no deed: what only reads is not wrapped, except that a key was copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from app.access.deeds import DONE, FAILED, NAMES_MOST, OPERATOR, Deed
from app.face import (
    DutyFace,
    GatewayFace,
    KeysFace,
    LedgerFace,
    PublicFace,
    SettingsFace,
    Snapshot,
    UpstreamFace,
)
from app.models.base import Entry, ModelsFace, Operation
from app.power.history import PowerPoint


class _Pen:
    """Writes lines for one place."""

    def __init__(self, note: Callable[[Deed], None], place: str) -> None:
        self._note = note
        self._place = place

    @contextmanager
    def doing(self, action: str, *names: str) -> Iterator[None]:
        """Note how what is done meanwhile ended; what is cancelled or fails, failed."""
        try:
            yield
        except BaseException:
            self.write(action, names, FAILED, "failed")
            raise
        self.write(action, names)

    def write(self, action: str, names: Iterable[str] = (), status: int = DONE, code: str = "") -> None:
        self._note(Deed(OPERATOR, self._place, action, status, code, ", ".join(names)[:NAMES_MOST]))


class NotedDuty:
    """A `DutyFace`."""

    def __init__(self, duty: DutyFace, pen: _Pen) -> None:
        self._duty = duty
        self._pen = pen

    def contribute(self) -> None:
        """See `DutyFace`."""
        with self._pen.doing("resume"):
            self._duty.contribute()

    def finish_then_pause(self) -> None:
        """See `DutyFace`."""
        with self._pen.doing("finish"):
            self._duty.finish_then_pause()

    def pause_now(self) -> None:
        """See `DutyFace`."""
        with self._pen.doing("pause"):
            self._duty.pause_now()

    def snooze(self, seconds: float) -> None:
        """See `DutyFace`."""
        with self._pen.doing("snooze"):
            self._duty.snooze(seconds)

    def unload_others(self) -> None:
        """See `DutyFace`."""
        with self._pen.doing("pause --others"):
            self._duty.unload_others()

    def stop_request(self, request_id: str) -> None:
        """See `DutyFace`."""
        with self._pen.doing("stop request", request_id):
            self._duty.stop_request(request_id)

    async def released(self) -> str | None:
        """See `DutyFace`."""
        return await self._duty.released()


class NotedUpstream:
    """An `UpstreamFace`."""

    def __init__(self, upstream: UpstreamFace, pen: _Pen) -> None:
        self._upstream = upstream
        self._pen = pen

    async def verb(self, verb: str) -> str:
        """See `UpstreamFace`."""
        with self._pen.doing("engine", verb):
            return await self._upstream.verb(verb)

    async def log_tail(self) -> str:
        """See `UpstreamFace`."""
        return await self._upstream.log_tail()


class NotedModels:
    """A `ModelsFace`. An operation is noted when it begins."""

    def __init__(self, models: ModelsFace, pen: _Pen) -> None:
        self._models = models
        self._pen = pen

    def entries(self) -> tuple[Entry, ...]:
        """See `ModelsFace`."""
        return self._models.entries()

    def operations(self) -> tuple[Operation, ...]:
        """See `ModelsFace`."""
        return self._models.operations()

    def pull(self, name: str) -> Operation:
        """See `ModelsFace`."""
        with self._pen.doing("models pull", name):
            return self._models.pull(name)

    def update(self, url: str, name: str, sha256: str = "") -> Operation:
        """See `ModelsFace`."""
        with self._pen.doing("models update", name):
            return self._models.update(url, name, sha256)

    def load(self, name: str) -> Operation:
        """See `ModelsFace`."""
        with self._pen.doing("models load", name):
            return self._models.load(name)

    def cancel(self, operation: str) -> None:
        """See `ModelsFace`."""
        with self._pen.doing("models cancel", operation):
            self._models.cancel(operation)

    async def unload(self, name: str) -> None:
        """See `ModelsFace`."""
        with self._pen.doing("models unload", name):
            await self._models.unload(name)

    async def delete(self, name: str) -> None:
        """See `ModelsFace`."""
        with self._pen.doing("models rm", name):
            await self._models.delete(name)

    async def show(self, name: str) -> dict[str, Any]:
        """See `ModelsFace`."""
        return await self._models.show(name)


class NotedPublic:
    """A `PublicFace`."""

    def __init__(self, public: PublicFace, pen: _Pen) -> None:
        self._public = public
        self._pen = pen

    async def set_mode(self, mode: str) -> None:
        """See `PublicFace`."""
        with self._pen.doing("public-address", mode):
            await self._public.set_mode(mode)

    async def keep_token(self, pasted: str) -> None:
        """See `PublicFace`."""
        with self._pen.doing("public-address token"):
            await self._public.keep_token(pasted)


class NotedSettings:
    """A `SettingsFace`."""

    def __init__(self, settings: SettingsFace, pen: _Pen) -> None:
        self._settings = settings
        self._pen = pen

    async def set_cap(self, cap_pico: int) -> None:
        """See `SettingsFace`."""
        with self._pen.doing("config", "spending_cap"):
            await self._settings.set_cap(cap_pico)

    async def configure(self, changes: dict[str, Any]) -> Mapping[str, Any]:
        """See `SettingsFace`."""
        try:
            done = await self._settings.configure(changes)
        except BaseException:
            # What they are called came from whoever asked, and may be no names of settings.
            self._pen.write("config", (), FAILED, "failed")
            raise
        self._pen.write("config", done["changed"])
        return done


class NotedKeys:
    """A `KeysFace`."""

    def __init__(self, keys: KeysFace, pen: _Pen) -> None:
        self._keys = keys
        self._pen = pen

    async def plain(self) -> str:
        """See `KeysFace`."""
        with self._pen.doing("copy key"):
            return await self._keys.plain()


class NotedGateway:
    """A `GatewayFace` over `face` for one place, `window` or `tray`; `note` takes the lines."""

    def __init__(self, face: GatewayFace, note: Callable[[Deed], None], place: str) -> None:
        pen = _Pen(note, place)
        self._face = face
        self._note = note
        self.duty = NotedDuty(face.duty, pen)
        self.upstream = NotedUpstream(face.upstream, pen)
        self.models = NotedModels(face.models, pen)
        self.public = NotedPublic(face.public, pen)
        self.settings = NotedSettings(face.settings, pen)
        self.keys = NotedKeys(face.keys, pen)

    @property
    def ledger(self) -> LedgerFace:
        """The ledger: it is only read."""
        return self._face.ledger

    def at(self, place: str) -> GatewayFace:
        """See `GatewayFace`."""
        return NotedGateway(self._face, self._note, place)

    def snapshot(self) -> Snapshot:
        """The present moment."""
        return self._face.snapshot()

    def watching(self, watcher: object, *, active: bool) -> None:
        """See `GatewayFace`."""
        self._face.watching(watcher, active=active)

    def on_changed(self, callback: Callable[[], None]) -> Callable[[], None]:
        """See `GatewayFace`."""
        return self._face.on_changed(callback)

    def history(self, span_us: int) -> Sequence[PowerPoint]:
        """See `GatewayFace`."""
        return self._face.history(span_us)
