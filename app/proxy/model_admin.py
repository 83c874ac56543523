"""Models over HTTP: a client may push a new version where the contributor allows it; the operator may do everything.

Rule 1: what is begun here goes on when whoever asked goes away, and asking again joins it. Rule 2: progress is told as
Ollama tells a pull's, one JSON object a line; the last line says `success` or `error`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from aiohttp import web

from app.access.identify import Access
from app.access.limits import listed
from app.access.principals import Role
from app.access.refusals import Refusal
from app.basics.compact import compact
from app.models.base import Entry, ModelError, Operation, Outcome
from app.models.names import spelled
from app.models.said import Passing
from app.models.shelf import Busy, Shelf
from app.models.source import Refused
from app.proxy.bodies import read_body
from app.proxy.control import reply
from app.proxy.strict_json import parse_object, refuse_case_variants
from app.proxy.witness import told
from app.settings.parameters import Settings

_BODY_B = 16 * 1024
_NDJSON = "application/x-ndjson"
_UPDATE = frozenset({"url", "name", "sha256"})
_MODEL = frozenset({"model"})
_OPERATION = frozenset({"operation"})

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class ModelAdmin:
    """Handlers of /admin/update-model and /admin/models."""

    def __init__(self, access: Access, shelf: Shelf, settings: Callable[[], Settings]) -> None:
        self._access = access
        self._shelf = shelf
        self._settings = settings

    def routes(self) -> dict[str, dict[str, Handler]]:
        """Path → method → handler."""
        return {
            "/admin/update-model": {"POST": self.update},
            "/admin/models": {"GET": self.entries, "DELETE": self.delete},
            "/admin/models/operations": {"GET": self.operations},
            "/admin/models/pull": {"POST": self.pull},
            "/admin/models/load": {"POST": self.load},
            "/admin/models/unload": {"POST": self.unload},
            "/admin/models/show": {"POST": self.show},
            "/admin/models/cancel": {"POST": self.cancel},
        }

    async def update(self, request: web.BaseRequest) -> web.StreamResponse:
        """`{"url", "name", "sha256"?}`: make the GGUF file at `url` the model `name`, and tell how far it is."""
        principal = self._access.identify(request.headers, request.remote)
        settings = self._settings()
        if principal.role is not Role.OPERATOR and not settings.allow_model_updates:
            raise Refusal(
                403,
                "model_updates_off",
                "Model updates are off here. Ask the contributor to turn on «Model updates» (allow_model_updates).",
            )
        body = await _object(request, _UPDATE)
        url, name = _text(body, "url"), _text(body, "name")
        sha256 = _text(body, "sha256") if body.get("sha256") is not None else ""
        with _in_http():
            # The spelling that will be updated is the one that is looked up in the list.
            name = spelled(name)
        if not (listed(name, frozenset(settings.allowed_models)) and principal.may_use(name)):
            raise Refusal(
                403,
                "model_not_allowed",
                f"The model {name[:80]} is not shared here, so it is not updated either. Ask the contributor to add it "
                "to allowed_models.",
            )
        with _in_http():
            operation = self._shelf.update(url, name, sha256, by=principal.key)
        return await self._tell(request, operation)

    async def entries(self, request: web.BaseRequest) -> web.StreamResponse:
        """The engine's models, then the catalogue's that are not there."""
        self._access.operator(request.headers, request.remote)
        listed = [as_entry(entry) for entry in self._shelf.entries()]
        return reply({"models": listed, "suggested": self._shelf.suggested()})

    async def operations(self, request: web.BaseRequest) -> web.StreamResponse:
        """What runs now and what has ended lately, the newest first."""
        self._access.operator(request.headers, request.remote)
        return reply({"operations": [_operation(operation) for operation in self._shelf.operations()]})

    async def pull(self, request: web.BaseRequest) -> web.StreamResponse:
        """`{"model"}`: pull it, and tell how far it is."""
        name = await self._model(request)
        with _in_http():
            operation = self._shelf.pull(name)
        return await self._tell(request, operation)

    async def load(self, request: web.BaseRequest) -> web.StreamResponse:
        """`{"model"}`: load it into the GPU's memory."""
        name = await self._model(request)
        with _in_http():
            operation = self._shelf.load(name)
        return await self._tell(request, operation)

    async def unload(self, request: web.BaseRequest) -> web.StreamResponse:
        """`{"model"}`: give its memory back."""
        name = await self._model(request)
        with _in_http():
            await self._shelf.unload(name)
        return reply({"model": name, "unloaded": True})

    async def delete(self, request: web.BaseRequest) -> web.StreamResponse:
        """`{"model"}`: remove it from the disk."""
        name = await self._model(request)
        with _in_http():
            await self._shelf.delete(name)
        return reply({"model": name, "deleted": True})

    async def show(self, request: web.BaseRequest) -> web.StreamResponse:
        """`{"model"}`: what the engine tells of it."""
        name = await self._model(request)
        with _in_http():
            return reply(await self._shelf.show(name))

    async def cancel(self, request: web.BaseRequest) -> web.StreamResponse:
        """`{"operation"}`: stop it; what has come is kept."""
        self._access.operator(request.headers, request.remote)
        operation = _text(await _object(request, _OPERATION), "operation")
        with _in_http():
            self._shelf.cancel(operation)
        return reply({"operation": operation, "cancelled": True})

    async def _tell(self, request: web.BaseRequest, operation: Operation) -> web.StreamResponse:
        """The operation's progress, a line at a time, until it has ended."""
        response = web.StreamResponse(headers={"Content-Type": _NDJSON})
        await response.prepare(request)
        async for state in self._shelf.follow(operation.id):
            await response.write(compact(as_line(state)) + b"\n")
        await response.write_eof()
        return response

    async def _model(self, request: web.BaseRequest) -> str:
        self._access.operator(request.headers, request.remote)
        name = _text(await _object(request, _MODEL), "model")
        told(request, (name,))
        return name


@contextmanager
def _in_http() -> Iterator[None]:
    """What goes wrong about a model, as a refusal with a status."""
    try:
        yield
    except Busy as error:
        raise Refusal(409, "model_busy", str(error)) from error
    except Refused as error:
        raise Refusal(403, "source_refused", str(error)) from error
    except Passing as error:
        raise Refusal(502, "engine_unavailable", str(error)) from error
    except ModelError as error:
        raise Refusal(400, "model_error", str(error)) from error


async def _object(request: web.BaseRequest, known: frozenset[str]) -> dict[str, Any]:
    body = parse_object(await read_body(request, _BODY_B))
    refuse_case_variants(body, known)
    unknown = sorted(body.keys() - known)
    if unknown:
        raise Refusal(400, "unknown_field", f"The body holds {unknown[0][:64]!r}, which means nothing here.")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > 4096:
        raise Refusal(400, "invalid_value", f"{name} must be a text of at most 4096 characters.")
    return value.strip()


def as_line(operation: Operation) -> dict[str, Any]:
    """One line of progress, in the words of Ollama's where it has them."""
    progress = operation.progress
    if operation.outcome is Outcome.RUNNING:
        return {
            "status": progress.what,
            "operation": operation.id,
            "model": operation.model,
            "completed": progress.done,
            "total": progress.total,
            "bytes_per_second": round(progress.rate_b_per_s),
            "seconds_left": None if progress.seconds_left is None else round(progress.seconds_left, 1),
        }
    if operation.outcome is Outcome.DONE:
        return {
            "status": "success",
            "operation": operation.id,
            "model": operation.model,
            "completed": progress.done,
            "total": progress.total,
            "message": operation.sentence,
        }
    return {"error": operation.sentence, "operation": operation.id, "model": operation.model}


def _operation(operation: Operation) -> dict[str, Any]:
    return {
        "operation": operation.id,
        "doing": operation.doing.value,
        "model": operation.model,
        "outcome": operation.outcome.value,
        "what": operation.progress.what,
        "completed": operation.progress.done,
        "total": operation.progress.total,
        "bytes_per_second": round(operation.progress.rate_b_per_s),
        "seconds_left": operation.progress.seconds_left,
        "message": operation.sentence,
    }


def as_entry(entry: Entry) -> dict[str, Any]:
    """A model as it is listed."""
    shown = asdict(entry)
    shown["estimate"]["fit"] = entry.estimate.fit.value
    shown["estimate"]["total_b"] = entry.estimate.total_b
    return shown
