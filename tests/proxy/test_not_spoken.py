"""An engine that does not have an endpoint: one clear error in the endpoint's own dialect, and nothing to pay."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from app.engine.evidence import has_no_such_path
from app.gateway.routes import ENDPOINTS
from app.proxy.dialects.anthropic import COUNT_TOKENS
from tests.engine import lookalikes as like
from tests.proxy.test_v1_only import MODEL, Build, build

__all__ = ["build"]

OURS = [endpoint for endpoint in ENDPOINTS if endpoint.path.startswith("/v1/")]
NOWHERE: dict[str, like.Page] = {
    "Ollama": (404, {}, "404 page not found"),
    "vLLM and LiteLLM": (404, {}, {"detail": "Not Found"}),
    "a path without POST": (405, {}, {"detail": "Method Not Allowed"}),
    "llama-server": (
        404,
        {},
        {"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}},
    ),
    "LM Studio": (200, {}, {"error": "Unexpected endpoint or method. (POST /v1/messages)"}),
    "a web server": (404, {}, "<html>no</html>"),
}


@pytest.fixture
async def engine() -> AsyncIterator[like.LookAlike]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(like.serving(like.vllm()))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("page", NOWHERE.values(), ids=NOWHERE)
@pytest.mark.parametrize("endpoint", OURS, ids=lambda endpoint: endpoint.path)
async def test_it_is_said_in_the_dialect_of_the_path_and_costs_nothing(
    build: Build, engine: like.LookAlike, endpoint: object, page: like.Page, stream: bool
) -> None:
    path = endpoint.path  # type: ignore[attr-defined]
    engine.pages[path] = page
    house = await build(engine.url)
    sent = {"model": MODEL, "messages": [], "prompt": "Hi", "input": "Hi", "max_tokens": 5, "stream": stream}
    async with house.session.post(path, json=sent) as reply:
        assert reply.status == 501
        answer = await reply.json()
    assert f"does not have {path}" in answer["error"]["message"]
    (row,) = await house.usage()
    assert (row.outcome, row.cost_pico, row.tok_src) == ("refused", 0, "none")
    asked = len(engine.asked)
    async with house.session.post(path, json=sent) as reply:
        assert (reply.status, await reply.json()) == (501, answer), (
            "the same again, and the engine is not asked"
        )
    assert not [one for one in engine.asked[asked:] if one[1] == path]
    assert len(await house.usage()) == 1


@pytest.mark.parametrize("page", NOWHERE.values(), ids=NOWHERE)
async def test_tokens_are_not_guessed_where_the_engine_does_not_count(
    build: Build, engine: like.LookAlike, page: like.Page
) -> None:
    engine.pages[COUNT_TOKENS] = page
    house = await build(engine.url)
    async with house.session.post(COUNT_TOKENS, json={"model": MODEL, "messages": []}) as reply:
        assert reply.status == 501
        answer = await reply.json()
    assert (answer["type"], answer["error"]["code"]) == ("error", "not_spoken")
    assert await house.usage() == []


async def test_an_engine_that_counts_is_asked_with_what_is_counted_only(
    build: Build, engine: like.LookAlike
) -> None:
    engine.pages[COUNT_TOKENS] = (200, {}, {"input_tokens": 12})
    house = await build(engine.url, allowed_models=MODEL)
    asked = {"model": MODEL, "system": "Be brief.", "messages": [{"role": "user", "content": "Hi"}]}
    async with house.session.post(COUNT_TOKENS, json={**asked, "lora": 1, "max_tokens": 5}) as reply:
        assert (reply.status, await reply.json()) == (200, {"input_tokens": 12})
    assert next(body for _, path, body in reversed(engine.asked) if path == COUNT_TOKENS) == asked
    for body, status in (({"model": "my-lora", "messages": []}, 404), ({"Model": MODEL}, 400), ({}, 400)):
        async with house.session.post(COUNT_TOKENS, json=body) as reply:
            assert (reply.status, (await reply.json())["type"]) == (status, "error")
    assert await house.usage() == []


async def test_counting_is_one_of_the_requests_that_a_key_has_in_a_minute(
    build: Build, engine: like.LookAlike
) -> None:
    engine.pages[COUNT_TOKENS] = (200, {}, {"input_tokens": 12})
    house = await build(engine.url)
    operator = {"Authorization": f"Bearer {house.gateway.identity.operator_token}"}
    wanted = {"label": "slow", "limits": {"requests_per_minute": 1, "tokens_per_minute": 5}}
    async with house.session.post("/admin/keys", json=wanted, headers=operator) as reply:
        slow = {"Authorization": f"Bearer {(await reply.json())['key']}"}
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Hi " * 100}]}
    async with house.session.post(COUNT_TOKENS, json=asked, headers=slow) as reply:
        assert reply.status == 200, "what is counted is not used"
        assert reply.headers["X-RateLimit-Remaining-Requests"] == "0"
    async with house.session.post(COUNT_TOKENS, json=asked, headers=slow) as reply:
        assert (reply.status, (await reply.json())["error"]["type"]) == (429, "rate_limit_error")
        assert int(reply.headers["Retry-After"]) <= 60


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (404, {"error": "model 'x' not found"}),
        (404, {"error": {"message": "model 'x' not found", "type": "not_found_error"}}),
        (404, {"object": "error", "message": "The model `x` does not exist.", "code": 404}),
        (400, {"error": {"message": "model is required"}}),
        (500, None),
        (200, None),
        (200, {"error": None, "choices": []}),
    ],
)
def test_a_missing_model_or_any_other_failure_is_not_a_missing_path(
    status: int, answer: dict[str, object] | None
) -> None:
    assert not has_no_such_path(status, answer)
