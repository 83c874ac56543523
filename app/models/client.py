"""Ollama's management of models over HTTP: pulling, making, copying, removing, loading, trying out.

Rule 1: inference of clients never passes here; it has the wire. Rule 2: whatever goes wrong is a ModelError, one
sentence for a person; what the engine said is translated in `said.py`. Rule 3: the engine's address is asked for anew
each time, because a container may come back on another port.

Shapes: Ollama's docs/api.md and server/routes.go.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.http import HttpProcessingError

from app.basics.threads import Aside
from app.models.base import ModelError
from app.models.said import Passing, broken_off, in_words

_CREATE = "/api/create"
_CONNECT_S = 10.0
_QUESTION_S = 30.0
_SILENCE_S = 600.0
"""How long the engine may say nothing while it verifies a large file or loads a large model."""
_CHUNK_B = 256 * 1024
_LINE_B = 256 * 1024
_MOST_B = 32 * 2**20
"""What a model's details may take: vocabularies are among them."""
_TRIED_TOKENS = 8


@dataclass(frozen=True, slots=True)
class PullLine:
    """One line of a pull's progress. `digest` is empty where no layer is meant."""

    status: str
    digest: str
    total_b: int
    completed_b: int


class ManagementClient:
    """`url` tells where the engine answers at the moment. Use it on one loop."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url
        self._http: aiohttp.ClientSession | None = None

    async def pull(self, name: str) -> AsyncGenerator[PullLine, None]:
        """Pull a model; lines as they come, until it is there. Closing it early keeps what has come."""
        async with self._lines("/api/pull", {"model": name}, name) as lines:
            async for line in lines:
                yield PullLine(
                    status=str(line.get("status", "")),
                    digest=str(line.get("digest", "")),
                    total_b=_number(line.get("total")),
                    completed_b=_number(line.get("completed")),
                )

    async def create(self, name: str, file: str, digest: str) -> None:
        """Make the model `name` of the pushed file `sha256:…`; `file` is what it is called inside."""
        body = {"model": name, "files": {file: digest}}
        async with self._lines(_CREATE, body, name) as lines:
            async for _ in lines:
                pass

    async def complete(self, name: str, fields: dict[str, Any]) -> None:
        """Give the model `name` what `fields` say, such as a template; see /api/create."""
        async with self._lines(_CREATE, {"model": name, "from": name, **fields}, name) as lines:
            async for _ in lines:
                pass

    async def copy(self, source: str, destination: str) -> None:
        """Call a model by another name too, whatever was called so before."""
        await self._ask("POST", "/api/copy", {"source": source, "destination": destination}, source)

    async def delete(self, name: str) -> None:
        """Remove a model from the engine's disk. Raises ModelError also where there is none of that name."""
        await self._ask("DELETE", "/api/delete", {"model": name}, name)

    async def show(self, name: str) -> dict[str, Any]:
        """What the engine tells of it: `details`, `model_info`, `parameters`, `template`, `license` …"""
        return await self._ask("POST", "/api/show", {"model": name}, name)

    async def load(self, name: str) -> None:
        """Bring a model into memory and leave it there as long as the engine keeps models."""
        body = {"model": name, "stream": False}
        try:
            await self._ask("POST", "/api/generate", body, name, silence_s=_SILENCE_S)
        except _CannotGenerate:
            await self._ask("POST", "/api/embed", {"model": name, "input": []}, name, silence_s=_SILENCE_S)

    async def answers(self, name: str, *, keep_alive: str) -> None:
        """Ask it something short; raises ModelError where nothing sensible comes. Models that embed are asked to.

        `keep_alive`: how long it stays loaded afterwards, as Ollama writes it; `0` not at all.
        """
        body: dict[str, Any] = {
            "model": name,
            "prompt": "Say hello.",
            "stream": False,
            "keep_alive": 0 if keep_alive == "0" else keep_alive,
            "options": {"num_predict": _TRIED_TOKENS, "temperature": 0},
        }
        try:
            answer = await self._ask("POST", "/api/generate", body, name, silence_s=_SILENCE_S)
            fine = answer.get("done") is True and bool(
                _number(answer.get("eval_count")) or answer.get("response")
            )
        except _CannotGenerate:
            body = {"model": name, "input": "hello", "keep_alive": body["keep_alive"]}
            answer = await self._ask("POST", "/api/embed", body, name, silence_s=_SILENCE_S)
            fine = bool(answer.get("embeddings"))
        if not fine:
            raise ModelError(
                f"The model {name} gave no answer when it was tried out: the file may be damaged."
            )

    async def has_blob(self, digest: str) -> bool:
        """Whether the engine has the file `sha256:…` already."""
        async with self._request("HEAD", f"/api/blobs/{digest}", silence_s=_QUESTION_S) as reply:
            return reply.status == 200

    async def push_blob(self, digest: str, path: Path, on_sent: Callable[[int], None]) -> None:
        """Give the engine a file, a piece at a time; `on_sent` hears how many bytes have left so far."""
        aside = Aside("reading a model")
        try:
            size_b = await aside.run(lambda: path.stat().st_size)
            data = _pieces(aside, path, on_sent)
            headers = {"Content-Length": str(size_b), "Content-Type": "application/octet-stream"}
            async with self._request(
                "POST", f"/api/blobs/{digest}", data=data, headers=headers, silence_s=_SILENCE_S
            ) as reply:
                if reply.status not in (200, 201):
                    raise in_words(await _error_of(reply), "")
        except OSError as error:
            raise ModelError(f"The downloaded file cannot be read: {error.strerror or error}.") from error
        finally:
            aside.close()

    async def close(self) -> None:
        """Close every connection."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    async def _ask(
        self, method: str, path: str, body: object, name: str, *, silence_s: float = _QUESTION_S
    ) -> dict[str, Any]:
        async with self._request(method, path, json=body, silence_s=silence_s) as reply:
            if reply.status == 200:
                raw = await _whole(reply)
                try:
                    answer = json.loads(raw) if raw.strip() else {}
                except (ValueError, RecursionError):
                    answer = None
                if isinstance(answer, dict):
                    return answer
                raise _senseless()
            raise _translated(await _error_of(reply), name)

    @asynccontextmanager
    async def _lines(
        self, path: str, body: object, name: str
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The objects of an NDJSON answer that must end with `success`; an error in band raises."""

        async def read(reply: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
            last = ""
            while raw := await reply.content.readline():
                try:
                    line = json.loads(raw)
                except (ValueError, RecursionError):
                    line = None
                if not isinstance(line, dict):
                    raise _senseless()
                if "error" in line:
                    raise _translated(str(line["error"]), name, of_file=path == _CREATE)
                last = str(line.get("status", ""))
                yield line
            if last != "success":
                raise broken_off()

        async with self._request("POST", path, json=body, silence_s=_SILENCE_S) as reply:
            if reply.status != 200:
                raise _translated(await _error_of(reply), name, of_file=path == _CREATE)
            yield read(reply)

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, *, silence_s: float, **more: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._http is None:
            # No proxy of the environment's: the engine is this machine's, or one that was named.
            self._http = aiohttp.ClientSession(trust_env=False, read_bufsize=_LINE_B, auto_decompress=False)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=silence_s)
        try:
            async with self._http.request(method, self._url() + path, timeout=timeout, **more) as reply:
                yield reply
        except aiohttp.ClientConnectorError as error:
            raise Passing("The engine does not answer: see that it runs, then try again.") from error
        except TimeoutError as error:
            raise Passing(
                f"The engine said nothing for {silence_s:.0f} s: look at its log, then try again."
            ) from error
        except HttpProcessingError as error:
            # A line without an end. Where it lies in the head, it comes as one of the ClientErrors below.
            raise _senseless() from error
        except (aiohttp.ClientError, ValueError) as error:
            raise broken_off() from error


class _CannotGenerate(ModelError):
    """It is a model that embeds."""


def _senseless() -> ModelError:
    return ModelError("The engine answered something that makes no sense: check that it is Ollama.")


def _translated(text: str, name: str, *, of_file: bool = False) -> ModelError:
    if "does not support generate" in text:
        return _CannotGenerate(f"The model {name} writes no text.")
    return in_words(text, name, of_file=of_file)


async def _whole(reply: aiohttp.ClientResponse) -> bytes:
    raw = bytearray()
    async for piece in reply.content.iter_any():
        raw += piece
        if len(raw) > _MOST_B:
            raise ModelError(f"The engine's answer is longer than {_MOST_B // 2**20} MB: look at its log.")
    return bytes(raw)


async def _error_of(reply: aiohttp.ClientResponse) -> str:
    raw = await reply.content.read(64 * 1024)
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        answer = None
    said = answer.get("error") if isinstance(answer, dict) else None
    return str(said) if said else f"status {reply.status}"


async def _pieces(aside: Aside, path: Path, on_sent: Callable[[int], None]) -> AsyncIterator[bytes]:
    file = await aside.run(lambda: path.open("rb"))
    sent_b = 0
    try:
        while piece := await aside.run(lambda: file.read(_CHUNK_B)):
            yield piece
            sent_b += len(piece)
            on_sent(sent_b)
            # The peer may take everything at once; others on this loop get their turn all the same.
            await asyncio.sleep(0)
    finally:
        await asyncio.shield(aside.run(file.close))


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
