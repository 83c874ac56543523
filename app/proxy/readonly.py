"""The engine's questions that cost nothing: which models, which are loaded, what is this one, how long is that text.

They need a key, reach the engine as new requests, and leave no record, because no inference happens. Models that the
settings do not share, and those the engine would run elsewhere, are left out of every answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from app.access.allowances import Allowances
from app.access.identify import Access
from app.access.principals import Principal
from app.access.refusals import Refusal
from app.engine.base import Engine, EngineError
from app.engine.evidence import has_no_such_path
from app.proxy.admission import PARSE_IN_THREAD_B, Policy, may_use, require_dialect
from app.proxy.bodies import read_body
from app.proxy.dialects.anthropic import ANTHROPIC, COUNT_TOKENS, model_card, model_page, prepare_count
from app.proxy.dialects.base import JSON, dump, json_object
from app.proxy.dialects.ollama import OLLAMA
from app.proxy.models import Models
from app.proxy.saying_rates import busy, rate_headers
from app.proxy.spoken import Spoken
from app.proxy.strict_json import crowded, dump_object, parse_object, refuse_case_variants

_SHOW_FIELDS = frozenset({"model", "name", "verbose", "system", "template", "options"})
_SMALL_BODY_B = 64 * 1024
_MODEL_FIELDS = ("id", "object", "created", "owned_by", "max_model_len")


class ReadOnly:
    """Handlers that ask the engine without using the GPU."""

    def __init__(
        self,
        access: Access,
        models: Models,
        engine: Callable[[], Engine],
        policy: Callable[[], Policy],
        engine_failed: Callable[[EngineError], None],
        spoken: Spoken,
        allowances: Allowances,
    ) -> None:
        self._access = access
        self._models = models
        self._engine = engine
        self._policy = policy
        self._engine_failed = engine_failed
        self._spoken = spoken
        self._allowances = allowances

    def routes(self) -> dict[str, dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]]]:
        """Path → method → handler."""
        return {
            "/api/version": {"GET": self.version},
            "/api/tags": {"GET": self.tags},
            "/api/ps": {"GET": self.tags},
            "/api/show": {"POST": self.show},
            "/v1/models": {"GET": self.list_models},
            "/v1/models/*": {"GET": self.one_model},
            COUNT_TOKENS: {"POST": self.count_tokens},
        }

    async def version(self, request: web.BaseRequest) -> web.Response:
        """The engine's version."""
        self._native(request)
        return self._answer(*await self._ask("/api/version"))

    async def tags(self, request: web.BaseRequest) -> web.Response:
        """The models there are, or those that are loaded."""
        principal = self._native(request)
        status, answer = await self._ask(request.raw_path.partition("?")[0])
        models = answer.get("models")
        if isinstance(models, list):
            answer["models"] = [entry for entry in models if self._shared(principal, _name(entry, "name"))]
        return self._answer(status, answer)

    async def show(self, request: web.BaseRequest) -> web.Response:
        """Details of one model."""
        principal = self._native(request)
        call = parse_object(await read_body(request, _SMALL_BODY_B))
        refuse_case_variants(call, _SHOW_FIELDS)
        asked = call.get("model") or call.get("name")
        if not isinstance(asked, str):
            raise Refusal(400, "model_required", "model is required")
        body = dump_object(
            {
                "model": self._models.sent_as(asked, await self._resolve(principal, asked)),
                "verbose": bool(call.get("verbose")),
            }
        )
        return self._answer(*await self._ask("/api/show", body))

    async def list_models(self, request: web.BaseRequest) -> web.Response:
        """The models in OpenAI's shape, or in Anthropic's where its clients ask."""
        principal = self._access.identify(request.headers, request.remote)
        status, answer = await self._ask("/v1/models")
        entries = answer.get("data")
        if isinstance(entries, list):
            answer["data"] = [
                self._public(entry) for entry in entries if self._shared(principal, _name(entry, "id"))
            ]
        if status == 200 and not self._engine().native:
            answer = {"object": "list", "data": answer.get("data") or []}
        if status == 200 and _is_anthropics(request):
            answer = model_page(answer.get("data") or [])
        return self._answer(status, answer)

    async def one_model(self, request: web.BaseRequest) -> web.Response:
        """One model, in the shape of the list."""
        principal = self._access.identify(request.headers, request.remote)
        asked = unquote(request.raw_path.partition("?")[0].removeprefix("/v1/models/"))
        name = await self._resolve(principal, asked)
        status, answer = await self._ask("/v1/models")
        for entry in answer.get("data") or []:
            if _name(entry, "id") == name:
                card = self._public(entry) | {"id": self._models.sent_as(asked, name)}
                return self._answer(status, model_card(card) if _is_anthropics(request) else card)
        raise Refusal(404, "model_not_found", f"model '{asked[:128]}' not found")

    async def count_tokens(self, request: web.BaseRequest) -> web.Response:
        """How many tokens a message to come would be, where the engine can tell; nothing is guessed where it cannot."""
        principal = self._access.identify(request.headers, request.remote)
        self._spoken.require(COUNT_TOKENS)
        policy = self._policy()
        body = await read_body(request, policy.max_body_b)
        large = len(body) > PARSE_IN_THREAD_B or crowded(body)
        call = await asyncio.to_thread(policy.read, body, in_steps=True) if large else policy.read(body)
        asked = call.get("model")
        if not isinstance(asked, str) or not asked:
            raise Refusal(400, "model_required", "model is required")
        call["model"] = self._models.sent_as(asked, await self._resolve(principal, asked))
        prepare_count(call)
        body = await asyncio.to_thread(dump_object, call, in_steps=True) if large else dump_object(call)
        # The engine works for it, if not on the GPU: it is one of the requests that the key has in a minute.
        with self._allowances.take(principal, 0) as grant:
            response = self._answer(*await self._ask(COUNT_TOKENS, body))
            grant.counts(0)
        response.headers.update(rate_headers(grant, ANTHROPIC))
        return response

    def _native(self, request: web.BaseRequest) -> Principal:
        principal = self._access.identify(request.headers, request.remote)
        require_dialect(OLLAMA, self._engine())
        return principal

    def _public(self, entry: dict[str, Any]) -> dict[str, Any]:
        """What a client may see of a model: other engines than Ollama also tell paths and command lines of the
        machine they run on."""
        if self._engine().native:
            return entry
        return {name: entry[name] for name in _MODEL_FIELDS if name in entry}

    async def _resolve(self, principal: Principal, asked: str) -> str:
        found = self._models.known(asked) or await self._models.resolve(asked)
        if found is None or not self._shared(principal, found[0]):
            raise Refusal(404, "model_not_found", f"model '{asked[:128]}' not found")
        return found[0]

    def _shared(self, principal: Principal, name: str) -> bool:
        found = self._models.known(name)
        return found is not None and may_use(principal, self._policy(), found[0])

    async def _ask(self, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
        engine = self._engine()
        try:
            reply = await (engine.get(path) if body is None else engine.post(path, body))
            try:
                answer = json_object(await reply.read())
            finally:
                reply.release()
        except EngineError as error:
            self._engine_failed(error)
            raise Refusal(503, "engine_unreachable", str(error), retry_after_s=10) from None
        if has_no_such_path(reply.status, answer):
            raise self._spoken.missing(path)
        if answer is None:
            raise Refusal(502, "engine_broken", "The engine's answer was not JSON.")
        return reply.status, answer

    @staticmethod
    def _answer(status: int, answer: dict[str, Any]) -> web.Response:
        return web.Response(body=dump(answer), status=status, headers={"Content-Type": JSON, **busy(status)})


def _name(entry: object, field: str) -> str:
    value = entry.get(field) if isinstance(entry, dict) else None
    return value if isinstance(value, str) else ""


def _is_anthropics(request: web.BaseRequest) -> bool:
    """Whether Anthropic's API is spoken: its clients name the version of it in each request, and no others do."""
    return "anthropic-version" in request.headers
