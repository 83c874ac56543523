"""One HTTP exchange with the simulator: a body taken apart as Go would, an answer sent as Ollama would.

Rule 1: what cannot be served is a `SimulatedRefusal`; each dialect has its own words for it.
Rule 2: a stream's status line leaves with its first token, not before: until then a failure still has a status.
"""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from app.simulator.gojson import Json, dumps

_GO_TYPES: dict[type, str] = {str: "string", bool: "bool", int: "int", list: "[]any", dict: "map[string]any"}
_JSON_KINDS: dict[type, str] = {
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


class SimulatedRefusal(Exception):
    """The request ends with `status` and `str()`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Fields:
    """A request's JSON object. Like Go it takes keys in any case, the last of several, and null for absent."""

    __slots__ = ("_struct", "_values")

    def __init__(self, raw: bytes, struct: str) -> None:
        if not raw.strip():
            raise SimulatedRefusal(400, "missing request body")
        try:
            body = json.loads(raw)
        except json.JSONDecodeError as error:
            at = raw.decode("utf-8", "replace")[error.pos : error.pos + 1]
            raise SimulatedRefusal(
                400, f"invalid character {at!r} looking for beginning of value" if at else "unexpected EOF"
            ) from error
        except (UnicodeDecodeError, RecursionError) as error:
            raise SimulatedRefusal(400, "invalid character in string literal") from error
        if not isinstance(body, dict):
            raise SimulatedRefusal(
                400, f"json: cannot unmarshal {_JSON_KINDS[type(body)]} into Go value of type api.{struct}"
            )
        self._struct = struct
        self._values: Json = {key.lower(): value for key, value in body.items()}

    def raw(self, name: str) -> Any:
        """Whatever it is."""
        return self._values.get(name)

    def text(self, name: str) -> str:
        """A string, or ""."""
        value = self._get(name, str)
        return value if isinstance(value, str) else ""

    def flag(self, name: str) -> bool | None:
        """A boolean, where there is one."""
        value = self._get(name, bool)
        return value if isinstance(value, bool) else None

    def number(self, name: str) -> int | None:
        """A whole number, where there is one."""
        value = self._get(name, int)
        return value if isinstance(value, int) else None

    def items(self, name: str) -> list[Any]:
        """A list, or an empty one."""
        value = self._get(name, list)
        return value if isinstance(value, list) else []

    def object(self, name: str) -> Json:
        """An object, or an empty one."""
        value = self._get(name, dict)
        return value if isinstance(value, dict) else {}

    def _get(self, name: str, wanted: type) -> Any:
        value = self._values.get(name)
        if value is None or type(value) is wanted:
            return value
        kind = _JSON_KINDS[type(value)]
        raise SimulatedRefusal(
            400,
            f"json: cannot unmarshal {kind} into Go struct field {self._struct}.{name} of type {_GO_TYPES[wanted]}",
        )


class Stream:
    """A chunked answer whose head is sent with its first bytes."""

    __slots__ = ("_request", "_response")

    def __init__(self, request: web.BaseRequest, content_type: str) -> None:
        self._request = request
        self._response = web.StreamResponse(headers={"Content-Type": content_type})

    @property
    def begun(self) -> bool:
        """Whether the status line has left."""
        return self._response.prepared

    async def write(self, data: bytes) -> None:
        """Send `data` at once."""
        if not self._response.prepared:
            await self._response.prepare(self._request)
        await self._response.write(data)

    async def end(self) -> web.StreamResponse:
        """Send the end."""
        if not self._response.prepared:
            await self._response.prepare(self._request)
        await self._response.write_eof()
        return self._response


def reply(value: object, *, status: int = 200, newline: bool = False) -> web.Response:
    """A JSON answer; Go's encoder ends it with a newline, gin's does not."""
    body = dumps(value)
    return web.Response(
        body=body + b"\n" if newline else body,
        status=status,
        headers={"Content-Type": "application/json" if newline else "application/json; charset=utf-8"},
    )
