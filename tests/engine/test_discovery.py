"""What runs on this machine is told by its answers, quickly, whatever else listens there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import pytest

from app.commands.engines import lines
from app.engine.discovery import FoundEngine, scan
from app.engine.evidence import PATHS, ProbeAnswer, Software, judge
from app.engine.identify import identify
from app.simulator import Simulator
from tests.engine import lookalikes as like
from tests.engine.conftest import Serve


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


@pytest.mark.parametrize(
    ("server", "software", "version", "models"),
    [
        (like.ollama, Software.OLLAMA, "0.12.3", 2),
        (like.llama_server, Software.LLAMA_SERVER, "b8681-abc", 1),
        (like.llama_router, Software.LLAMA_SERVER, "b8681-abc", 2),
        (like.vllm, Software.VLLM, "0.11.0", 2),
        (like.lm_studio, Software.LM_STUDIO, "", 2),
        (lambda: like.lm_studio(newer=False), Software.LM_STUDIO, "", 2),
        (like.litellm, Software.LITELLM, "1.80.0", 2),
        (like.something_else, Software.OPENAI, "", 1),
    ],
)
async def test_each_software_is_told_by_what_it_answers(
    server: Callable[[], like.LookAlike], software: Software, version: str, models: int
) -> None:
    async with like.serving(server()) as running:
        found = await identify(running.url)
    assert found is not None
    assert (found.software, found.version, len(found.models)) == (software, version, models)
    assert found.healthy
    assert not found.locked
    assert found.native == (software is Software.OLLAMA)


async def test_the_simulator_is_never_taken_for_ollama(simulator: Simulator) -> None:
    found = await identify(simulator.url)
    assert found is not None
    assert found.software is Software.SIMULATOR
    assert found.native
    assert found.unloads


async def test_llama_server_is_not_ollama_though_it_copies_its_list_of_models() -> None:
    server = like.llama_server()
    server.headers = {}
    async with like.serving(server) as running:
        found = await identify(running.url)
    assert found is not None
    assert found.software is Software.LLAMA_SERVER


async def test_a_server_that_answers_every_path_with_an_error_and_200_is_not_taken_for_what_was_asked() -> (
    None
):
    studio = like.lm_studio()
    del studio.pages["/api/v0/models"], studio.pages["/api/v1/models"]
    async with like.serving(studio) as running:
        found = await identify(running.url)
    assert found is not None
    assert found.software is Software.LM_STUDIO


async def test_nothing_that_costs_is_asked_of_litellm() -> None:
    async with like.serving(like.litellm()) as running:
        await identify(running.url)
    assert "/health" not in {path for _, path, _ in running.asked}
    assert {method for method, _, _ in running.asked} == {"GET"}


async def test_a_gateway_is_asked_once_and_not_offered() -> None:
    async with like.serving(like.gateway()) as running:
        found = await identify(running.url)
        assert found is not None
        assert found.software is Software.GATEWAY
        assert [path for _, path, _ in running.asked] == [
            "/"
        ]  # every other question would count as a wrong key
        assert await scan((port_of(running.url),), usual=()) == ()


@pytest.mark.parametrize(
    "server",
    [lambda: like.vllm(key=True), lambda: like.litellm(key=True), lambda: like.llama_server(key=True)],
)
async def test_an_engine_with_a_key_of_its_own_is_found_and_says_so(
    server: Callable[[], like.LookAlike],
) -> None:
    async with like.serving(server()) as running:
        (finding,) = await scan((port_of(running.url),), usual=())
    assert finding.found.locked
    assert not finding.usable
    assert "wants a key of its own" in finding.sentence


async def test_an_engine_that_still_loads_its_model_is_found_and_not_ready() -> None:
    async with like.serving(like.llama_server(loading=True)) as running:
        (finding,) = await scan((port_of(running.url),), usual=())
    assert finding.found.software is Software.LLAMA_SERVER
    assert not finding.usable
    assert "not ready" in finding.sentence


@pytest.mark.parametrize(
    "server",
    [
        lambda: like.LookAlike({}),
        lambda: like.LookAlike({}, (200, {}, "<html>A router's page for everything</html>")),
        lambda: like.LookAlike({}, (401, {"WWW-Authenticate": "Basic"}, "Log in")),
        lambda: like.LookAlike({}, (200, {}, b"\xff\xfe\x00")),
        lambda: like.LookAlike({}, (200, {}, {"data": [1, 2]})),
        lambda: like.LookAlike({}, (302, {"Location": "http://192.0.2.1/"}, "")),
        lambda: like.LookAlike({}, (200, {}, b"[" * 100_000)),
        lambda: like.LookAlike({"/v1/models": (200, {}, b" " * 2_000_000)}),
    ],
)
async def test_other_web_servers_are_not_engines(server: Callable[[], like.LookAlike]) -> None:
    async with like.serving(server()) as running:
        assert await identify(running.url) is None


async def test_redirects_are_not_followed() -> None:
    async with like.serving(like.ollama()) as elsewhere, like.serving(like.LookAlike({})) as here:
        here.otherwise = (307, {"Location": elsewhere.url + "/v1/models"}, "")
        assert await identify(here.url) is None
        assert elsewhere.asked == []


async def test_a_scan_lists_everything_in_order_and_leaves_the_gateways_own_port_out() -> None:
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(like.serving(make()))
            for make in (like.ollama, like.llama_server, like.something_else)
        ]
        ports = [port_of(server.url) for server in servers]
        findings = await scan(ports[1:], usual=ports[:1], own=(ports[2],))
    assert [finding.url for finding in findings] == [server.url for server in servers[:2]]
    assert findings[0].sentence == f"Ollama 0.12.3 at {servers[0].url} with 2 models."
    assert findings[1].sentence == f"llama-server at {servers[1].url} with 1 model: clients can use /v1 only."


async def test_a_scan_ends_in_two_seconds_whatever_hangs(serve: Serve) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await reader.read()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"1\r\n \r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    ports = [port_of(await serve(handler)) for handler in (silent, drop, drip)]
    async with like.serving(like.vllm()) as healthy:
        begun = time.monotonic()
        findings = await scan((*ports, port_of(healthy.url), 1), usual=())
        took_s = time.monotonic() - begun
    assert [finding.url for finding in findings] == [healthy.url]
    assert took_s < 2.0


async def test_a_scan_of_closed_ports_is_over_at_once() -> None:
    begun = time.monotonic()
    assert await scan(usual=(1, 2, 3)) == ()
    assert time.monotonic() - begun < 1.0


def test_an_ollama_without_any_model_is_still_an_engine() -> None:
    found = judge(
        {
            "/": ProbeAnswer(200, {}, b"Ollama is running"),
            "/v1/models": ProbeAnswer(200, {}, b'{"object":"list","data":null}'),
        }
    )
    assert found is not None
    assert found.healthy
    assert FoundEngine("http://127.0.0.1:1", found).sentence.startswith(
        "Ollama at http://127.0.0.1:1 has no model yet"
    )


def test_one_weak_sign_gives_nobody_a_name() -> None:
    answers = {"/version": ProbeAnswer(200, {}, b'{"version":"1.0"}')}
    assert judge(answers) is None
    answers["/v1/models"] = ProbeAnswer(200, {}, b'{"object":"list","data":[{"id":"m","owned_by":"me"}]}')
    found = judge(answers)
    assert found is not None
    assert found.software is Software.OPENAI


async def test_the_command_prints_a_sentence_and_the_models_and_marks_the_engine_in_use() -> None:
    async with like.serving(like.ollama()) as one, like.serving(like.llama_server()) as other:
        findings = await scan((port_of(one.url), port_of(other.url)), usual=())
    printed = lines(findings, in_use=other.url)
    assert printed[0] == f"  Ollama 0.12.3 at {one.url} with 2 models."
    assert printed[1:3] == ["      llama3.1:8b", "      qwen2.5:3b"]
    assert printed[3].startswith(f"* llama-server at {other.url}")
    (nothing,) = lines((), in_use=other.url)
    assert nothing.startswith("No engine answers on this machine.")


async def test_answers_are_read_once_and_each_in_a_step_of_its_own() -> None:
    entries = [{"id": f"m{number}", "object": "model", "owned_by": "me"} for number in range(4000)]
    large = json.dumps({"object": "list", "data": entries}).encode()
    server = like.LookAlike({}, otherwise=(200, {"Content-Type": "application/json"}, large))
    times_read: list[bytes] = []
    real = json.loads

    def counting(text: bytes) -> object:
        times_read.append(text)
        return real(text)

    async with like.serving(server) as running:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("app.engine.evidence.json.loads", counting)
            found = await identify(running.url)
    assert found is not None
    assert len(found.models) == 4000
    assert len(times_read) == len(PATHS)
