"""Step 2, admit: may this request be served, and what exactly goes to the engine?

In this order: no blocker (503), an endpoint that the engine has (501), no Content-Encoding (415), a body within bounds
(413), strict JSON (400), a model this key may use (404), and everything clamped that could cost or disturb more than
one answer. What comes out is
a `Call`; the client's own bytes go no further.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from app.access.limits import listed
from app.access.principals import Principal
from app.access.refusals import Refusal
from app.basics.clock import wall_us
from app.engine.base import Engine
from app.presence.blockers import Blocker
from app.proxy.bodies import read_body
from app.proxy.dialects.base import Dialect, Endpoint, Frames
from app.proxy.dialects.sizes import refuse_crowds
from app.proxy.models import Models
from app.proxy.spoken import Spoken
from app.proxy.strict_json import crowded, dump_object, parse_object

PARSE_IN_THREAD_B = 512 * 1024
"""A larger body is parsed in a thread: it would hold the loop for more than 5 ms."""

_FIELD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


@dataclass(frozen=True, slots=True)
class Policy:
    """The bounds of a request, from the settings."""

    max_body_b: int
    max_output_tokens: int
    allowed_models: frozenset[str]
    """Empty: every model of the engine."""
    extra_fields: frozenset[str] = frozenset()
    """Fields of a body that pass besides those the dialect knows."""
    max_messages: int = sys.maxsize
    max_images: int = sys.maxsize

    def read(self, body: bytes, *, in_steps: bool = False) -> dict[str, Any]:
        """The JSON object in `body`, where it holds no more than it may. Refusal 400. `in_steps` is for threads."""
        parsed = parse_object(body, in_steps=in_steps)
        refuse_crowds(parsed, self.max_messages, self.max_images)
        return parsed


@dataclass(slots=True)
class Call:
    """An admitted request. Not frozen, because freezing costs on every request; nobody changes it."""

    principal: Principal
    endpoint: Endpoint
    model: str
    digest: str | None
    body: bytes
    frames: Frames | None
    """The reader of a streamed answer; None where the client wants it whole."""
    client_reference: str | None
    """The client's own X-Request-Id, where it sent a usable one."""
    ignored: str = ""
    """The names of fields that did not go on to the engine, for a header."""


class Answered(Exception):
    """The request is answered without the engine: `body`, under status 200."""

    def __init__(self, body: bytes) -> None:
        super().__init__("answered by the gateway itself")
        self.body = body


class Admission:
    """Decides on one request; keeps nothing between requests but which endpoints the engine lacks."""

    def __init__(
        self,
        blocker: Callable[[], Blocker | None],
        models: Models,
        policy: Callable[[], Policy],
        spoken: Spoken,
    ) -> None:
        self.spoken = spoken
        self._blocker = blocker
        self._models = models
        self._policy = policy

    def require_serving(self) -> None:
        """Refusal 503, or 402 at the cap, while something stands in the way."""
        blocker = self._blocker()
        if blocker is not None:
            self._models.wanted()
            status = 402 if blocker.code == "cap_reached" else 503
            raise Refusal(status, blocker.code, blocker.sentence, retry_after_s=blocker.wait_s(wall_us()))

    async def admit(self, request: web.BaseRequest, endpoint: Endpoint, principal: Principal) -> Call:
        """The call to make for `request`; raises Refusal, or Answered where the engine need not be asked."""
        self.require_serving()
        self.spoken.require(endpoint.path)
        policy = self._policy()
        headers = request.headers
        body = await read_body(request, policy.max_body_b)
        large = len(body) > PARSE_IN_THREAD_B or crowded(body)
        parsed = await asyncio.to_thread(policy.read, body, in_steps=True) if large else policy.read(body)
        asked = parsed.get("model")
        if not isinstance(asked, str) or not asked:
            raise Refusal(400, "model_required", "model is required")
        found = self._models.known(asked) or await self._models.resolve(asked)
        if found is None or not may_use(principal, policy, found[0]):
            raise Refusal(404, "model_not_found", f"model '{asked[:128]}' not found")
        # From here on nobody sees a name that is not the engine's own, or another spelling of it that it understands.
        parsed["model"], digest = self._models.sent_as(asked, found[0]), found[1]
        answer = endpoint.own_answer(parsed)
        if answer is not None:
            raise Answered(answer)
        passing = _parts(parsed)
        longest = principal.output_tokens(policy.max_output_tokens)
        frames = (
            await asyncio.to_thread(endpoint.prepare, parsed, longest)
            if large
            else endpoint.prepare(parsed, longest)
        )
        kept = _parts(parsed)
        left_out = [name for name in passing if name not in kept]
        left_out += _leave_out(parsed, endpoint.fields, policy.extra_fields)
        reference = headers.get("X-Request-Id")
        if reference is not None and not _REQUEST_ID.fullmatch(reference):
            reference = None
        return Call(
            principal=principal,
            endpoint=endpoint,
            model=found[0],
            digest=digest,
            body=await asyncio.to_thread(dump_object, parsed, in_steps=True)
            if large
            else dump_object(parsed),
            frames=frames,
            client_reference=reference,
            ignored=", ".join([name for name in left_out if _FIELD.fullmatch(name)][:16]) if left_out else "",
        )


def _parts(parsed: dict[str, Any]) -> list[str]:
    """The parts of a body that a dialect takes apart: the engine's options by name, tools by their type."""
    options, tools = parsed.get("options"), parsed.get("tools")
    parts = [f"options.{name}" for name in options] if isinstance(options, dict) else []
    if isinstance(tools, list):
        parts += [f"tools.{tool.get('type')}" for tool in tools if isinstance(tool, dict)]
    return parts


def _leave_out(parsed: dict[str, Any], known: frozenset[str], extra: frozenset[str]) -> list[str]:
    """Take away every field that is not known to be harmless; their names.

    What an unknown field costs depends on the engine (llama-server lets `n_predict` override `max_tokens`), so it does
    not pass. It is not refused either: SDKs and frameworks send fields of other vendors along as a habit, and Ollama
    itself overlooks what it does not know.
    """
    if parsed.keys() <= known:
        return []
    names = [name for name in parsed if name not in known and name not in extra]
    for name in names:
        del parsed[name]
    return names


def may_use(principal: Principal, policy: Policy, model: str) -> bool:
    """Whether the settings and the key's own limits both share `model`, which is named as the engine names it."""
    return listed(model, policy.allowed_models) and principal.may_use(model)


def require_dialect(dialect: Dialect, engine: Engine) -> None:
    """Refusal 501 for what is asked in Ollama's own API where the engine has none.

    Not 404: Ollama's clients take that for a missing model, and pull it. Not 503 either: waiting does not help.
    """
    if dialect.native and not engine.native:
        raise Refusal(
            501,
            "openai_dialect_only",
            "This gateway's engine speaks the OpenAI dialect only: ask below /v1, as in /v1/chat/completions.",
        )
