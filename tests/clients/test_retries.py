"""How often the SDKs ask: once where asking again does not help, and with our word for it when it may."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

from tests.clients.conftest import PLAIN, settle
from tests.gateway.conftest import Build, House

ASK: list[Any] = [{"role": "user", "content": "Hi"}]


class Counter:
    """Counts the requests that leave a client."""

    def __init__(self) -> None:
        self.sent = 0

    async def __call__(self, request: object) -> None:
        self.sent += 1


async def ask_openai(
    house: House, key: str, headers: dict[str, str], counter: Counter, retries: int, **call: Any
) -> None:
    carrier = openai.DefaultAsyncHttpxClient(event_hooks={"request": [counter]})
    async with openai.AsyncOpenAI(
        base_url=f"{house.gateway.address}/v1",
        api_key=key,
        default_headers=headers,
        http_client=carrier,
        max_retries=retries,
    ) as client:
        await client.chat.completions.create(**{"model": PLAIN, "messages": ASK, **call})


async def ask_anthropic(
    house: House, key: str, headers: dict[str, str], counter: Counter, retries: int, **call: Any
) -> None:
    carrier = anthropic.DefaultAsyncHttpxClient(event_hooks={"request": [counter]})
    async with anthropic.AsyncAnthropic(
        base_url=house.gateway.address,
        api_key=key,
        default_headers=headers,
        http_client=carrier,
        max_retries=retries,
    ) as client:
        await client.messages.create(**{"model": PLAIN, "messages": ASK, "max_tokens": 8, **call})


SDKS = pytest.mark.parametrize(
    ("sdk", "ask"), [(openai, ask_openai), (anthropic, ask_anthropic)], ids=["openai", "anthropic"]
)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413])
@SDKS
async def test_what_asking_again_does_not_mend_is_asked_once(
    build: Build, sdk: Any, ask: Any, status: int
) -> None:
    house = await build(max_body_mb=1)
    await settle(house, status)
    key = "mg_wrong" if status == 401 else house.key
    headers = {"Origin": "https://elsewhere.example"} if status == 403 else {}
    call: dict[str, Any] = {
        400: {"stream": False, "tools": [{"TYPE": "x"}], "extra_body": {"Max_Tokens": 4, "Messages": []}},
        404: {"model": "no-such-model"},
        413: {"messages": [{"role": "user", "content": "Hi" * 1_000_000}]},
    }.get(status, {})
    counter = Counter()
    with pytest.raises(sdk.APIStatusError) as caught:
        await ask(house, key, headers, counter, 2, **call)
    assert (caught.value.status_code, counter.sent) == (status, 1)
    assert type(caught.value) is {400: sdk.BadRequestError, 401: sdk.AuthenticationError}.get(
        status, {403: sdk.PermissionDeniedError, 404: sdk.NotFoundError}.get(status, type(caught.value))
    )


@pytest.mark.parametrize("status", [429, 503])
@SDKS
async def test_what_passes_says_when_to_ask_again(build: Build, sdk: Any, ask: Any, status: int) -> None:
    house = await build()
    if status == 429:
        for _ in range(25):
            async with house.get("/v1/models", key="mg_wrong") as reply:
                assert reply.status in (401, 429)
    else:
        await house.simulator.stop()
    with pytest.raises(sdk.APIStatusError) as caught:
        await ask(house, "mg_wrong" if status == 429 else house.key, {}, Counter(), 0)
    assert caught.value.status_code == status
    assert int(caught.value.response.headers["retry-after"]) > 0
    if status == 429:
        assert isinstance(caught.value, sdk.RateLimitError)


async def test_an_endpoint_that_the_engine_does_not_have_is_asked_for_once(build: Build) -> None:
    house, counter = await build(), Counter()
    carrier = anthropic.DefaultAsyncHttpxClient(event_hooks={"request": [counter]})
    async with anthropic.AsyncAnthropic(
        base_url=house.gateway.address, api_key=house.key, http_client=carrier
    ) as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await client.messages.count_tokens(model=PLAIN, messages=ASK)
    assert (caught.value.status_code, counter.sent) == (501, 1)
