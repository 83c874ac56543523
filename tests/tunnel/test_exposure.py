"""What answers in public is told apart, and an engine that others can reach is found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from app.simulator import Simulator
from app.tunnel.exposure import (
    Reach,
    Seen,
    check_engine,
    check_public,
    engine_exposure,
    judge_public,
    own_addresses,
    reachable,
)
from tests.engine import lookalikes as like

OURS = Seen(401, {"x-request-id": "01J"}, {"error": "The key is missing."})
HEALTH = Seen(200, {"x-request-id": "01J"}, {"accepting": True, "engine": {}, "version": "0.1.0"})
ERROR_PAGE = Seen(530, {"server": "cloudflare"})


@pytest.mark.parametrize(
    ("tags", "models", "health", "reach"),
    [
        (OURS, OURS, HEALTH, Reach.GATEWAY),
        (Seen(429, {"x-request-id": "01J"}), OURS, HEALTH, Reach.GATEWAY),
        (Seen(200, {}, {"models": []}), Seen(200, {}, {"data": None}), Seen(404), Reach.ENGINE),
        (Seen(404), Seen(200, {}, {"object": "list", "data": []}), Seen(200), Reach.ENGINE),
        (
            Seen(404),
            Seen(401),
            Seen(200, {}, {"status": "ok"}),
            Reach.OTHER,
        ),  # an engine with a key of its own
        (Seen(302), Seen(302), Seen(302), Reach.OTHER),
        (OURS, OURS, Seen(200, {}, {"status": "ok"}), Reach.OTHER),
        (Seen(401), OURS, HEALTH, Reach.OTHER),
        (ERROR_PAGE, ERROR_PAGE, ERROR_PAGE, Reach.NOBODY),
        (Seen(404), Seen(404), Seen(404), Reach.NOBODY),
        (None, None, None, Reach.NOBODY),
        (None, ERROR_PAGE, None, Reach.NOBODY),
    ],
)
def test_who_answers_in_public_is_told_by_three_answers(
    tags: Seen | None, models: Seen | None, health: Seen | None, reach: Reach
) -> None:
    assert judge_public({"/api/tags": tags, "/v1/models": models, "/health": health}) is reach


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    simulator = Simulator()
    await simulator.start()
    yield simulator
    await simulator.stop()


async def test_an_engine_in_public_is_recognised(simulator: Simulator) -> None:
    assert await check_public(simulator.url) is Reach.ENGINE
    async with like.serving(like.vllm()) as running:
        assert await check_public(running.url) is Reach.ENGINE


async def test_a_gateway_in_public_is_recognised_and_no_redirect_followed(simulator: Simulator) -> None:
    refused: like.Page = (401, {"X-Request-Id": "01J"}, {"error": "The key is missing."})
    health: like.Page = (200, {"X-Request-Id": "01J"}, {"accepting": True, "engine": {}})
    async with like.serving(like.LookAlike({"/health": health}, refused)) as ours:
        assert await check_public(ours.url + "/") is Reach.GATEWAY
    async with like.serving(
        like.LookAlike({}, (307, {"Location": simulator.url + "/api/tags"}, ""))
    ) as elsewhere:
        assert await check_public(elsewhere.url) is Reach.OTHER


async def test_nobody_in_public_is_found_out_in_time() -> None:
    assert await check_public("http://127.0.0.1:1") is Reach.NOBODY
    assert await check_public("https://nonsense..invalid") is Reach.NOBODY


async def test_only_addresses_that_accept_are_reachable_and_all_are_tried_at_once(
    simulator: Simulator,
) -> None:
    port = int(simulator.url.rpartition(":")[2])
    begun = time.monotonic()
    # 192.0.2.0/24 is for documentation: nothing there ever answers.
    silent = [f"192.0.2.{number}" for number in range(101, 121)]
    assert await reachable(port, ["127.0.0.1", "127.0.0.2", *silent], timeout_s=0.3) == ("127.0.0.1",)
    assert time.monotonic() - begun < 1.5


async def test_an_engine_that_listens_on_loopback_only_is_no_exposure(simulator: Simulator) -> None:
    assert await check_engine("ollama", simulator.url) is None


@pytest.mark.parametrize(
    "url", ["http://203.0.113.7:11434", "http://engine.example.com", "nonsense", "http://[::1"]
)
async def test_an_engine_elsewhere_is_not_ours_to_check(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def asked(*_: object) -> tuple[str, ...]:
        raise AssertionError

    monkeypatch.setattr("app.tunnel.exposure.reachable", asked)
    assert await check_engine("ollama", url) is None


async def test_an_engine_that_others_can_reach_is_a_sentence_with_a_fix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def everywhere(port: int, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return addresses

    monkeypatch.setattr("app.tunnel.exposure.own_addresses", lambda: ("192.168.1.20", "fd00::2"))
    monkeypatch.setattr("app.tunnel.exposure.reachable", everywhere)
    found = await check_engine("ollama", "http://127.0.0.1:11434")
    assert found is not None
    assert found.problem == (
        "The engine answers at 192.168.1.20:11434, [fd00::2]:11434, so others in your network can use it past the "
        "gateway."
    )
    assert "OLLAMA_HOST=127.0.0.1" in found.fix
    other = engine_exposure("vllm", 8000, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"])
    assert other is not None
    assert "and more" in other.problem
    assert "OLLAMA_HOST" not in other.fix


def test_this_machines_own_addresses_leave_loopback_out() -> None:
    addresses = own_addresses()
    assert not {"127.0.0.1", "::1"} & set(addresses)


async def test_looking_at_the_addresses_does_not_hold_the_loop() -> None:
    loop = asyncio.get_running_loop()
    took_s = []
    for _ in range(5):
        begun = loop.time()
        own_addresses()
        took_s.append(loop.time() - begun)
    assert min(took_s) < 0.005
