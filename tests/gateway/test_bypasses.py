"""Every known way around a limit: a relay that checks what it reads lets it through, and the gateway does not.

The engine here reads as Ollama does, which is written in Go: of several keys the last counts, whatever its case
(encoding/json folds as Unicode does); a compressed body is unpacked; a model has many spellings.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from tests.gateway.conftest import Build
from tests.gateway.speaking import ASKED

CLOUDS = ("glm:cloud", "big:120B-Cloud")
"""What is asked of a model of such a name leaves the machine, also where the engine's list does not say so."""
MANAGED = {
    "/api/create": "POST", "/api/copy": "POST", "/api/push": "POST", "/api/me": "POST", "/api/signout": "POST",
    "/api/blobs/sha256:0": "POST", "/api/user/keys": "DELETE", "/api/experimental/aliases": "DELETE",
    "/api/status": "GET", "/api/delete?x": "DELETE", "/api/pull?x=1": "POST",
}  # fmt: skip
"""The engine's management, as its own client asks for it: two by a target that a list of paths does not hold."""
UNNAMED = (
    "/api/web_search",
    "/api/web_fetch",
    "/v1/images/generations",
    "/v1/audio/transcriptions",
    "/v2/pull",
)
KEY = "mg_the-relays-own"
LONGEST = 100
RUNNER = frozenset("num_ctx num_batch num_gpu main_gpu use_mmap num_thread draft_num_predict".split())


# The engine.


@dataclass
class Understood:
    """One request as the engine takes it."""

    path: str
    headers: dict[str, str]
    call: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        name = str(self.call.get("model", "")).lower()
        name = name.partition("://")[2] or name
        name = name.removeprefix("registry.ollama.ai/").removeprefix("library/")
        return name if ":" in name else name + ":latest"

    @property
    def options(self) -> dict[str, Any]:
        found = self.call.get("options")
        return found if isinstance(found, dict) else {}

    @property
    def longest(self) -> float:
        """How many tokens it would write, as far as anything bounds them."""
        names = ("max_completion_tokens", "max_output_tokens", "max_tokens")
        said = [self.options.get("num_predict"), *(self.call.get(name) for name in names)]
        bounds = [number for number in said if isinstance(number, int | float) and number >= 1]
        # Ollama's OpenAI dialect takes the newer name where both are there.
        newer = self.call.get("max_completion_tokens")
        return float(newer if newer is not None else min(bounds, default=float("inf")))


def as_go_reads(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name.casefold(): value for name, value in pairs}


class GoEngine:
    """Answers anything in one piece, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Understood] = []

    async def serve(self, request: web.Request) -> web.Response:
        known = {"/api/version": {"version": "0.32.0"}, "/api/ps": {"models": []}, "/": {}}
        known["/api/tags"] = {
            "models": [
                {"name": name, "model": name, "digest": "0" * 64}
                for name in ("small:latest", "secret:latest", *CLOUDS)
            ]
            + [
                {
                    "name": "far:latest",
                    "model": "far:latest",
                    "digest": "0" * 64,
                    "remote_host": "https://ollama.com",
                }
            ]
        }
        if request.method == "GET" and request.path in known:
            return web.json_response(known[request.path])
        body = await request.read()
        call = json.loads(body, object_pairs_hook=as_go_reads) if body else {}
        self.asked.append(Understood(request.path, dict(request.headers), call))
        answer = {"model": "small:latest", "done": True, "message": {"role": "assistant", "content": "x"}}
        choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
        return web.json_response(
            {**answer, "choices": [choice], "status": "completed", "stop_reason": "end_turn"}
        )


# A relay as one writes it in an afternoon.


class NaiveRelay:
    """Knows a key, a model that is not shared and a longest answer; everything else it hands on as it came."""

    def __init__(self, engine: str) -> None:
        self.engine = engine

    async def serve(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.Response(status=401)
        if request.raw_path in ("/api/delete", "/api/pull"):
            return web.Response(status=403)
        body = await request.read()
        try:
            call = json.loads(body)
        except ValueError:
            call = {}
        if call.get("model") in ("secret:latest", "far:latest"):
            return web.Response(status=404)
        asked = call.get("options", {}).get("num_predict", call.get("max_tokens", 0))
        if (asked or 0) > LONGEST:
            return web.Response(status=400)
        url = URL(self.engine + request.raw_path, encoded=True)
        async with aiohttp.request(request.method, url, data=body, headers=request.headers) as reply:
            return web.Response(status=reply.status, body=await reply.read())


# What goes around it.


@dataclass(frozen=True)
class Bypass:
    """A request, and what would be wrong with what the engine makes of it."""

    path: str
    body: bytes
    harm: Callable[[Understood], bool]
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "POST"
    allowed: str = "small:latest"
    """The gateway's list of models; empty: all are shared."""


def ask(
    harm: Callable[[Understood], bool], path: str = "/api/chat", *, allowed: str = "small:latest", **more: Any
) -> Bypass:
    """A usual request with something in it."""
    length = {"max_tokens": 5} if path.startswith("/v1/") else {"options": {"num_predict": 5}}
    call = {"model": "small:latest", "stream": False, "messages": [], **length, **more}
    return Bypass(path, json.dumps(call).encode(), harm, allowed=allowed)


def raw(harm: Callable[[Understood], bool], body: bytes, **headers: str) -> Bypass:
    return Bypass(
        "/api/chat", body, harm, tuple((name.replace("_", "-"), value) for name, value in headers.items())
    )


def secret(seen: Understood) -> bool:
    return seen.model == "secret:latest"


def far(seen: Understood) -> bool:
    return seen.model == "far:latest"


def endless(seen: Understood) -> bool:
    return seen.longest > LONGEST


def reloads(seen: Understood) -> bool:
    return bool(seen.options.keys() & RUNNER)


def pins(seen: Understood) -> bool:
    return "keep_alive" in seen.call


def cloudy(seen: Understood) -> bool:
    return seen.model.endswith("cloud")


def manages(seen: Understood) -> bool:
    return any(seen.path.endswith(path.partition("?")[0]) for path in (*MANAGED, "pull", "delete"))


def unnamed(seen: Understood) -> bool:
    return seen.path in UNNAMED


def has(name: str) -> Callable[[Understood], bool]:
    return lambda seen: name in seen.call


SMALL = b'"stream":false,"messages":[],"options":{"num_predict":5}'
BYPASSES: dict[str, Bypass] = {
    "a key in another case behind the one that is checked": raw(
        secret, b'{"model":"small:latest","MODEL":"secret:latest",%b}' % SMALL
    ),
    "a key that folds to a known one": raw(
        reloads, '{"model":"small:latest","stream":false,"messages":[],"optionſ":{"num_ctx":131072}}'.encode()
    ),
    "an option in another case": raw(
        endless,
        b'{"model":"small:latest","stream":false,"messages":[],"options":{"num_predict":5,"Num_Predict":-1}}',
    ),
    "an object that is named twice": raw(
        reloads,
        b'{"model":"small:latest","Options":{"num_gpu":0},"options":{"num_predict":5,"num_gpu":0},"stream":false}',
    ),
    "a model without its tag": ask(secret, model="secret"),
    "a model in another case": ask(secret, model="SECRET:Latest"),
    "a model by its registry": ask(secret, model="registry.ollama.ai/library/secret"),
    "a model by its namespace": ask(secret, model="library/secret:latest"),
    "a model by an address": ask(secret, model="https://registry.ollama.ai/library/secret"),
    **{
        f"a model without its tag, at {path}": ask(secret, path, model="secret", input="x", prompt="x")
        for path in (*ASKED, "/api/show")
    },
    "a model that runs elsewhere": ask(far, model="far"),
    **{
        f"a model that runs elsewhere by its name, {model}, at {path}": ask(
            cloudy, path, model=model, allowed=allowed, input="x", prompt="x"
        )
        for path in ("/api/chat", "/v1/chat/completions", "/v1/messages", "/api/embed", "/api/show")
        for model, allowed in (("glm:cloud", ""), ("GLM:Cloud", "glm:cloud"), ("big:120b-cloud", ""))
    },
    "a model that runs elsewhere and is in no list": ask(cloudy, model="kimi:1t-cloud", allowed=""),
    "a compressed body": raw(
        secret, gzip.compress(b'{"model":"secret:latest",%b}' % SMALL), Content_Encoding="gzip"
    ),
    "a deflated body": raw(
        secret, zlib.compress(b'{"model":"secret:latest",%b}' % SMALL), Content_Encoding="deflate"
    ),
    "an answer without end": ask(endless, options={"num_predict": -1}),
    "an answer of no said length": ask(endless, options={}),
    "the newer name of the length": ask(endless, "/v1/chat/completions", max_completion_tokens=10**6),
    "a length below one, of a message": ask(endless, "/v1/messages", max_tokens=-1),
    "a length below one, of a response": ask(
        endless, "/v1/responses", max_output_tokens=-1, max_tokens=None, input="x"
    ),
    "a length below one": ask(endless, "/v1/chat/completions", max_tokens=0),
    "another dialect's length": ask(
        endless, "/v1/responses", max_tokens=None, max_output_tokens=10**6, input="x"
    ),
    "several answers": ask(has("n"), "/v1/chat/completions", n=50),
    "a drafts' length": ask(reloads, options={"num_predict": 5, "draft_num_predict": 10**6}),
    **{
        f"a model that is loaded anew: {name}": ask(reloads, options={"num_predict": 5, name: 1})
        for name in sorted(RUNNER)
    },
    **{
        f"a model that is loaded anew, at {path}": ask(
            reloads, path, input="x", prompt="x", options={"num_predict": 5, "num_ctx": 131072}
        )
        for path in ASKED
    },
    **{
        f"a model that is kept for ever, at {path}": ask(pins, path, input="x", prompt="x", keep_alive=-1)
        for path in ASKED
    },
    "a model that is kept for ever": ask(pins, keep_alive=-1),
    "a model that is kept for ever, as text": ask(pins, "/api/generate", keep_alive="-1s", prompt="x"),
    "a model that is thrown out": ask(pins, "/api/generate", keep_alive=0, prompt=""),
    "a model that is thrown out, in OpenAI's dialect": ask(pins, "/v1/chat/completions", keep_alive=0),
    "a prompt that is shown and not answered": ask(has("_debug_render_only"), _debug_render_only=True),
    "a prompt that is shown and not answered, elsewhere": ask(
        has("_debug_render_only"), "/api/generate", prompt="x", _debug_render_only=True
    ),
    "a search of the web by an option": ask(
        has("web_search_options"), "/v1/chat/completions", web_search_options={}
    ),
    "a page of the web": ask(
        lambda seen: "web_fetch" in json.dumps(seen.call),
        "/v1/messages",
        tools=[{"type": "web_fetch_20250910", "name": "web_fetch"}],
    ),
    "a search of the web": ask(
        lambda seen: "web_search" in json.dumps(seen.call),
        "/v1/messages",
        tools=[{"type": "web_search_20250305", "name": "web_search"}],
    ),
    "a search of the web, in OpenAI's words": ask(
        lambda seen: "web_search" in json.dumps(seen.call),
        "/v1/responses",
        input="x",
        tools=[{"type": "web_search"}],
    ),
    "an answer that belongs to somebody else": ask(
        has("previous_response_id"), "/v1/responses", input="x", previous_response_id="resp_1"
    ),
    "an address inside the contributor's network": ask(
        lambda seen: "169.254.169.254" in json.dumps(seen.call),
        "/v1/chat/completions",
        messages=[
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}],
            }
        ],
    ),
    "management by a path that is written otherwise": ask(manages, "/api/%70ull"),
    "management below a path": ask(manages, "/api/x/../pull"),
    "management by two slashes": ask(manages, "//api/pull"),
    **{
        f"management: {method} {path}": Bypass(
            path, b'{"model":"small","name":"small"}', manages, method=method
        )
        for path, method in MANAGED.items()
    },
    **{f"what nobody named: {path}": Bypass(path, b'{"model":"small"}', unnamed) for path in UNNAMED},
    "a field that another engine reads": ask(has("n_predict"), "/v1/chat/completions", n_predict=10**6),
    "the key itself": ask(lambda seen: "Authorization" in seen.headers),
}


@dataclass
class Street:
    """The engine, and the way to the relay."""

    engine: GoEngine
    engine_url: str
    relay_url: str


@pytest.fixture
async def street() -> AsyncIterator[Street]:
    runners: list[web.AppRunner] = []

    async def listen(handler: Any, **more: Any) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, **more)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return site.name

    engine = GoEngine()
    engine_url = await listen(engine.serve)
    relay_url = await listen(NaiveRelay(engine_url).serve, auto_decompress=False)
    yield Street(engine, engine_url, relay_url)
    for runner in reversed(runners):
        await runner.cleanup()


async def send(url: str, key: str, bypass: Bypass) -> int:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **dict(bypass.headers)}
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            bypass.method, URL(url + bypass.path, encoded=True), data=bypass.body, headers=headers
        ) as reply,
    ):
        await reply.read()
        return reply.status


@pytest.mark.parametrize("name", BYPASSES)
async def test_a_naive_relay_lets_it_through_and_the_gateway_does_not(
    build: Build, street: Street, name: str
) -> None:
    bypass, asked = BYPASSES[name], street.engine.asked
    assert await send(street.relay_url, KEY, bypass) == 200
    assert any(bypass.harm(seen) for seen in asked), "the way around a naive relay"
    asked.clear()
    house = await build(upstream=street.engine_url, allowed_models=bypass.allowed, max_output_tokens=LONGEST)
    asked.clear()
    status = await send(house.gateway.address, house.key, bypass)
    assert status < 500
    assert not any(bypass.harm(seen) for seen in asked)
    if "management: " in name:
        assert status == 403


async def test_an_honest_request_passes_both(build: Build, street: Street) -> None:
    honest = ask(lambda seen: True)
    assert await send(street.relay_url, KEY, honest) == 200
    house = await build(upstream=street.engine_url, allowed_models="small:latest", max_output_tokens=LONGEST)
    street.engine.asked.clear()
    assert await send(house.gateway.address, house.key, honest) == 200
    (seen,) = street.engine.asked
    assert (seen.path, seen.model, seen.longest) == ("/api/chat", "small:latest", 5)
