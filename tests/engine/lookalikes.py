"""Small servers that answer as other inference software does, shape for shape; each listens on 127.0.0.1."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Page = tuple[int, dict[str, str], object]
"""Status, headers, and the body: bytes, text, or anything for JSON."""
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

UNKNOWN: Page = (404, {}, {"detail": "Not Found"})


class LookAlike:
    """Answers each path with a page of `pages`, all others with `otherwise`; `asked` keeps what was asked."""

    def __init__(
        self,
        pages: dict[str, Page | Handler],
        otherwise: Page = UNKNOWN,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.pages = pages
        self.otherwise = otherwise
        self.headers = headers or {}
        self.asked: list[tuple[str, str, Any]] = []
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.asked.append((request.method, request.path, json.loads(body) if body else None))
        page = self.pages.get(request.path, self.otherwise)
        if callable(page):
            return await page(request)
        status, headers, value = page
        if isinstance(value, bytes):
            content, kind = value, "application/octet-stream"
        elif isinstance(value, str):
            content, kind = value.encode(), "text/plain; charset=utf-8"
        else:
            content, kind = json.dumps(value).encode(), "application/json"
        return web.Response(
            status=status, body=content, headers={"Content-Type": kind, **self.headers, **headers}
        )


@asynccontextmanager
async def serving(like: LookAlike, port: int = 0) -> AsyncIterator[LookAlike]:
    """The server, listening until the end of the block."""
    runner = web.ServerRunner(web.Server(like.handle, access_log=None), shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    like.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield like
    finally:
        await runner.cleanup()


def listing(*entries: dict[str, Any]) -> Page:
    return 200, {}, {"object": "list", "data": list(entries)}


def entry(name: str, owner: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1767225600, "owned_by": owner, **more}


def ollama() -> LookAlike:
    return LookAlike(
        {
            "/": (200, {}, "Ollama is running"),
            "/api/version": (200, {}, {"version": "0.12.3"}),
            "/v1/models": listing(entry("llama3.1:8b", "library"), entry("qwen2.5:3b", "library")),
        },
        (404, {}, "404 page not found"),
    )


def llama_server(*, key: bool = False, loading: bool = False) -> LookAlike:
    """llama.cpp's server with one model. It copies /api/tags of Ollama, and lists models also without its key."""
    refused: Page = (
        401,
        {},
        {"error": {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}},
    )
    name = "Qwen3-8B-Q4_K_M.gguf"
    meta = {
        "vocab_type": 2,
        "n_vocab": 151936,
        "n_ctx_train": 40960,
        "n_params": 8190735360,
        "size": 5021776896,
    }
    like = LookAlike(
        {
            "/": (200, {}, "<!doctype html><html><title>llama.cpp</title></html>"),
            "/health": (200, {}, {"status": "ok"}),
            "/props": refused
            if key
            else (
                200,
                {},
                {
                    "default_generation_settings": {"n_ctx": 4096},
                    "total_slots": 4,
                    "model_path": "/home/somebody/models/" + name,
                    "build_info": "b8681-abc",
                },
            ),
            "/api/tags": (200, {}, {"models": [{"name": name, "model": name, "digest": "", "size": ""}]}),
            "/v1/models": (
                200,
                {},
                {
                    "models": [{"name": name, "model": name, "digest": ""}],
                    "object": "list",
                    "data": [entry(name, "llamacpp", meta=meta)],
                },
            ),
        },
        (404, {}, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}),
        {"Server": "llama.cpp"},
    )
    if loading:
        busy: Page = (
            503,
            {},
            {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
        )
        like.pages = dict.fromkeys(like.pages, busy)
    return like


def llama_router() -> LookAlike:
    """llama.cpp's server with several models, of which one is loaded."""
    like = llama_server()
    like.pages["/v1/models"] = listing(
        entry(
            "ggml-org/gemma-3-4b-it-GGUF:Q4_K_M", "llamacpp", status={"value": "loaded", "args": ["-m", "/x"]}
        ),
        entry("ggml-org/Qwen3-4B-GGUF", "llamacpp", status={"value": "unloaded"}),
    )
    like.pages["/models/unload"] = (200, {}, {"success": True})
    return like


def vllm(*, key: bool = False) -> LookAlike:
    """vLLM with a model and an adapter. With a key, only /v1 asks for it."""
    more = {"root": "/home/somebody/models/Mistral", "parent": None, "max_model_len": 8192, "permission": []}
    models = listing(
        entry("mistralai/Mistral-7B-Instruct-v0.3", "vllm", **more),
        entry("my-lora", "vllm", **{**more, "parent": "mistralai/Mistral-7B-Instruct-v0.3"}),
    )
    return LookAlike(
        {
            "/health": (200, {}, b""),
            "/version": (200, {}, {"version": "0.11.0"}),
            "/v1/models": (401, {}, {"error": "Unauthorized"}) if key else models,
        },
        headers={"Server": "uvicorn"},
    )


def lm_studio(*, newer: bool = True) -> LookAlike:
    """LM Studio with one model loaded and one not; every unknown path is status 200 with an error."""
    older = [
        entry("qwen2-vl-7b", "x", type="vlm", compatibility_type="mlx", state="not-loaded"),
        entry("meta-llama-3.1-8b", "x", type="llm", compatibility_type="gguf", state="loaded"),
    ]
    like = LookAlike(
        {
            "/v1/models": listing(
                entry("qwen2-vl-7b", "organization_owner"), entry("meta-llama-3.1-8b", "organization_owner")
            ),
            "/api/v0/models": listing(*older),
        },
        (200, {}, {"error": "Unexpected endpoint or method. (GET /x)"}),
        {"X-Powered-By": "Express"},
    )
    if newer:
        like.pages["/api/v1/models"] = (
            200,
            {},
            {
                "models": [
                    {"type": "llm", "key": "qwen2-vl-7b", "size_bytes": 5_000, "loaded_instances": []},
                    {
                        "type": "llm",
                        "key": "meta-llama-3.1-8b",
                        "size_bytes": 4_920_000_000,
                        "loaded_instances": [
                            {"id": "meta-llama-3.1-8b", "config": {"context_length": 4096}},
                            {"id": "meta-llama-3.1-8b:2", "config": {"context_length": 4096}},
                        ],
                    },
                ]
            },
        )
        like.pages["/api/v1/models/unload"] = (200, {}, {"instance_id": "meta-llama-3.1-8b"})
    return like


def litellm(*, key: bool = False) -> LookAlike:
    """LiteLLM's proxy. Its /health asks every model behind it, and must never be asked."""
    refused: Page = (
        401,
        {},
        {
            "error": {
                "message": "Authentication Error, No api key passed in.",
                "type": "auth_error",
                "code": "401",
            }
        },
    )
    return LookAlike(
        {
            "/": (200, {}, "LiteLLM: RUNNING"),
            "/health/liveliness": (200, {}, "I'm alive!"),
            "/v1/models": refused if key else listing(entry("gpt-4o", "openai"), entry("claude", "openai")),
        },
        headers={"Server": "uvicorn", "x-litellm-version": "1.80.0"},
    )


def gateway() -> LookAlike:
    """A gateway of ours: everything but its front page wants a key."""
    return LookAlike(
        {"/": (200, {}, "Mortdecai Gateway is running")},
        (401, {"WWW-Authenticate": 'Bearer realm="mortdecai-gateway"'}, {"error": "The key is missing."}),
    )


def something_else() -> LookAlike:
    """A plain OpenAI-compatible server without any mark of its own."""
    return LookAlike({"/v1/models": listing(entry("org/Model-7B", "me"))})
