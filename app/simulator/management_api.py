"""Getting, making and removing models: /api/pull, /api/create, /api/copy, /api/delete and /api/blobs.

Rule: shapes and words are those of Ollama's server/routes.go, create.go and download.go; errors that come up while
progress is being told are lines of it, under status 200.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from aiohttp import web

from app.simulator.exchange import Fields, SimulatedRefusal, Stream, reply
from app.simulator.faults import Faults
from app.simulator.gojson import Json, dumps
from app.simulator.library import Library, WrongDigest
from app.simulator.models import REGISTRY, SimulatedModel, spelled
from app.simulator.scheduler import Scheduler

_LINE_B_PER_S = 100e6
"""What a pull brings a second, at a speed of 1."""
_STEP_S = 0.06
"""How often progress is told, as Ollama does."""
_SMALL_LAYERS = (("license", 11_358), ("template", 1_482), ("params", 96), ("config", 487))
_GGUF = b"GGUF"

_part = "[a-z0-9_][a-z0-9._-]{0,79}"
_is_name = re.compile(f"({_part}/){{0,2}}{_part}:{_part}").fullmatch
_is_digest = re.compile("sha256:[0-9a-f]{64}").fullmatch

Tell = Callable[[Json], Awaitable[None]]


class _InBand(Exception):
    """An error after the first line of progress."""


class ManagementApi:
    """The handlers. `speed` makes pulls that much faster than real."""

    def __init__(
        self, library: Library, scheduler: Scheduler, *, speed: float, faults: Callable[[], Faults]
    ) -> None:
        self._library = library
        self._scheduler = scheduler
        self._speed = speed
        self._faults = faults

    async def pull(self, request: web.BaseRequest) -> web.StreamResponse:
        """POST /api/pull."""
        fields = Fields(await request.read(), "PullRequest")
        name = _name(fields.text("model") or fields.text("name"), "invalid model name")

        async def work(tell: Tell) -> None:
            await tell({"status": "pulling manifest"})
            model = REGISTRY.get(name)
            if model is None:
                raise _InBand("pull model manifest: file does not exist")
            present = self._library.find(name)
            layers = _layers(model)
            if present is None or present.digest != model.digest:
                try:
                    await self._download(layers, tell)
                finally:
                    self._library.save()
            else:
                for digest, size_b in layers:
                    await tell({**_layer_line(digest, size_b), "completed": size_b})
            await tell({"status": "verifying sha256 digest"})
            await tell({"status": "writing manifest"})
            for digest, _ in layers:
                self._library.partial.pop(digest, None)
            self._library.put(name, model)
            await tell({"status": "success"})

        return await _progress(request, fields, work)

    async def _download(self, layers: list[tuple[str, int]], tell: Tell) -> None:
        """Let the layers come; what has come is noted at once, so that it stays when the client goes."""
        partial = self._library.partial
        left_b = self._faults().pull_breaks_after_b
        clock_s = asyncio.get_running_loop().time
        for digest, size_b in layers:
            line = _layer_line(digest, size_b)
            begun_b = partial.setdefault(digest, 0)
            # Go leaves a zero out.
            await tell({**line, "completed": begun_b} if begun_b else line)
            began_s = clock_s()
            while (came_b := partial[digest]) < size_b:
                await asyncio.sleep(min(_STEP_S, (size_b - came_b) / (_LINE_B_PER_S * self._speed)))
                due_b = begun_b + int((clock_s() - began_s) * _LINE_B_PER_S * self._speed)
                partial[digest] = min(size_b, max(due_b, came_b + 1))
                if left_b is not None and partial[digest] - begun_b >= left_b:
                    partial[digest] = begun_b + left_b
                    raise _InBand("max retries exceeded: unexpected EOF")
                await tell({**line, "completed": partial[digest]})
            if left_b is not None:
                left_b -= size_b - begun_b

    async def create(self, request: web.BaseRequest) -> web.StreamResponse:
        """POST /api/create, from one GGUF file that was pushed."""
        fields = Fields(await request.read(), "CreateRequest")
        name = _name(fields.text("model") or fields.text("name"), "invalid model name")
        source = self._library.find(fields.text("from")) if fields.text("from") else None
        if source is not None:
            given = fields.object("parameters")
            listed = "\n".join(f"{key} {json.dumps(value)}" for key, value in given.items())
            changed = replace(
                source,
                template=fields.text("template") or source.template,
                system=fields.text("system") or source.system,
                license=_license(fields.raw("license")) or source.license,
                renderer=fields.text("renderer") or source.renderer,
                parser=fields.text("parser") or source.parser,
                parameters_said=listed or source.parameters_said,
            )
            self._library.put(name, changed)
            return reply({"status": "success"})
        files = fields.object("files")
        if not files:
            raise SimulatedRefusal(400, "neither 'from' or 'files' was specified")
        digests = [str(digest) for digest in files.values()]
        for digest in digests:
            if not _is_digest(digest):
                raise SimulatedRefusal(400, "invalid digest format")
            if self._library.blob(digest) is None:
                raise SimulatedRefusal(
                    400, f"open blobs/{digest.replace(':', '-')}: no such file or directory"
                )

        async def work(tell: Tell) -> None:
            await tell({"status": "parsing GGUF"})
            blob = self._library.blob(digests[0])
            if blob is None or blob.head != _GGUF or len(digests) > 1:
                raise _InBand("supplied file was not in GGUF format")
            if self._faults().create_says:
                raise _InBand(self._faults().create_says)
            if self._faults().create_fails:
                raise _InBand("simulated failure: the model could not be created")
            await tell({"status": f"using existing layer {digests[0]}"})
            await tell({"status": "writing manifest"})
            self._library.create(name, digests[0])
            await tell({"status": "success"})

        return await _progress(request, fields, work)

    async def copy(self, request: web.BaseRequest) -> web.StreamResponse:
        """POST /api/copy; what was called so before is replaced."""
        fields = Fields(await request.read(), "CopyRequest")
        source, destination = fields.text("source"), fields.text("destination")
        _name(source, f'source "{source}" is invalid')
        name = _name(destination, f'destination "{destination}" is invalid')
        model = self._library.find(source)
        if model is None:
            raise SimulatedRefusal(404, f'model "{source}" not found')
        self._library.put(name, model)
        return web.Response()

    async def delete(self, request: web.BaseRequest) -> web.StreamResponse:
        """DELETE /api/delete."""
        fields = Fields(await request.read(), "DeleteRequest")
        asked = fields.text("model") or fields.text("name")
        name = _name(asked, f'name "{asked}" is invalid')
        model = self._library.find(name)
        if model is None:
            raise SimulatedRefusal(404, f"model '{asked}' not found")
        self._scheduler.unload(model)
        self._library.remove(name)
        return web.Response()

    async def has_blob(self, request: web.BaseRequest, digest: str) -> web.StreamResponse:
        """HEAD /api/blobs/{digest}."""
        _check_digest(digest)
        if self._library.blob(digest) is None:
            raise SimulatedRefusal(404, f'blob "{digest}" not found')
        return web.Response()

    async def push_blob(self, request: web.BaseRequest, digest: str) -> web.StreamResponse:
        """POST /api/blobs/{digest}: 201 where it is new, 200 where it is not."""
        _check_digest(digest)
        if self._library.blob(digest) is not None:
            return web.Response()
        try:
            await self._library.receive(digest, _body(request))
        except WrongDigest as wrong:
            raise SimulatedRefusal(400, f'digest mismatch, expected "{digest}", got "{wrong}"') from wrong
        except OSError as error:
            raise SimulatedRefusal(
                500, f"write blobs/{digest.replace(':', '-')}: {error.strerror}"
            ) from error
        return web.Response(status=201)


async def _body(request: web.BaseRequest) -> AsyncIterator[bytes]:
    async for chunk in request.content.iter_any():
        yield chunk


async def _progress(
    request: web.BaseRequest, fields: Fields, work: Callable[[Tell], Awaitable[None]]
) -> web.StreamResponse:
    """The lines of `work`, or, where `stream` is false, only how it ended."""
    stream = Stream(request, "application/x-ndjson")
    last: list[Json] = [{}]

    async def tell(line: Json) -> None:
        last[0] = line
        if fields.flag("stream") is not False:
            await stream.write(dumps(line) + b"\n")

    try:
        await work(tell)
    except _InBand as error:
        if not stream.begun:
            raise SimulatedRefusal(500, str(error)) from error
        await tell({"error": str(error)})
    return await stream.end() if stream.begun else reply(last[0])


def _layer_line(digest: str, size_b: int) -> Json:
    return {"status": f"pulling {digest[7:19]}", "digest": digest, "total": size_b}


def _layers(model: SimulatedModel) -> list[tuple[str, int]]:
    """Digest and size of each layer; together they are as large as the model."""
    small = [(_layer_digest(model, kind), size_b) for kind, size_b in _SMALL_LAYERS]
    weights_b = model.size_b - sum(size_b for _, size_b in small)
    return [(_layer_digest(model, "model"), weights_b), *small]


def _layer_digest(model: SimulatedModel, kind: str) -> str:
    return "sha256:" + hashlib.sha256(f"simulated {kind} of {model.name}".encode()).hexdigest()


def _license(given: object) -> str:
    """One text or several, as /api/show puts them together."""
    texts = given if isinstance(given, list) else [given]
    return "\n".join(text for text in texts if isinstance(text, str))


def _name(asked: str, refusal: str) -> str:
    """`asked` with its tag; refuses what Ollama would not take for a name."""
    name = spelled(asked)
    if not _is_name(name):
        raise SimulatedRefusal(400, refusal)
    return name


def _check_digest(digest: str) -> None:
    if not _is_digest(digest):
        raise SimulatedRefusal(400, "invalid digest format")
