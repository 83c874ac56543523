"""Models over HTTP, and the command that asks for them: who may do what, and what they are told."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.access.identify import Access
from app.access.limits import Limits
from app.access.principals import Principal, Role, key_digest, new_key
from app.basics.door import Door
from app.commands import arguments
from app.commands import models as command
from app.commands.common import CommandError
from app.commands.progress import duration, from_line, in_words
from app.engine.host import NoHost
from app.models.download import Downloads
from app.models.shelf import Shelf
from app.models.updates import UpdateReport
from app.proxy.model_admin import ModelAdmin
from app.proxy.server import Server
from app.settings.folders import Folders
from app.settings.instance import InstanceLock
from app.settings.parameters import Settings
from app.simulator import Library, Simulator, SimulatorEngine
from tests.models.file_server import FileServer

NAME = "mortdecai:0.5.0"
KEY, TOKEN, LIMITED = new_key(), new_key(), new_key()


@dataclass
class House:
    """A server with nothing but the models' endpoints, before a simulator."""

    url: str
    shelf: Shelf
    simulator: Simulator
    session: aiohttp.ClientSession
    settings: dict[str, Any]
    reports: list[UpdateReport]

    async def ask(self, method: str, path: str, body: Any = None, *, key: str = TOKEN) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}"}
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        async with self.session.request(method, path, data=data, headers=headers) as reply:
            raw = await reply.read()
            if reply.content_type == "application/x-ndjson":
                return reply.status, [json.loads(line) for line in raw.splitlines()]
            return reply.status, json.loads(raw)


Open = Callable[..., Awaitable[House]]


@pytest.fixture
async def open_door(tmp_path: Path) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def make(*, speed: float = 10_000, empty: bool = False, **settings: Any) -> House:
            simulator = Simulator(speed=speed, library=Library(empty=empty))
            engine = SimulatorEngine(await simulator.start())
            stack.push_async_callback(simulator.stop)
            stack.push_async_callback(engine.close)
            given = {"model_update_http": True, "model_update_hosts": ("127.0.0.1",), **settings}
            known: list[Any] = [(), ()]
            reports: list[UpdateReport] = []

            async def refresh() -> None:
                known[:] = [await engine.models(), await engine.loaded()]

            async def audit(report: UpdateReport) -> None:
                reports.append(report)

            def current() -> Settings:
                return Settings(**given)

            shelf = Shelf(
                engine=engine,
                models=lambda: known[0],
                loaded=lambda: known[1],
                refresh=refresh,
                host=NoHost(),
                gpu_memory_b=lambda: 12 * 2**30,
                settings=current,
                changed=lambda: None,
                folder=tmp_path / "downloads",
                audit=audit,
                downloads=Downloads(tmp_path / "downloads", waits_s=(0.01,)),
                place=lambda url: None,
            )
            stack.push_async_callback(shelf.close)
            await refresh()
            access = Access(lambda: 0, remote_admin=lambda: False)
            access.replace(
                [
                    Principal("k_1", "laptop", Role.CLIENT, "First", "log/1", key_digest(KEY)),
                    Principal(
                        "k_2",
                        "limited",
                        Role.CLIENT,
                        "First",
                        "log/1",
                        key_digest(LIMITED),
                        Limits(models=frozenset({"other:1"})),
                    ),
                    Principal("operator", "operator", Role.OPERATOR, "First", "log/1", key_digest(TOKEN)),
                ]
            )
            server = Server(ModelAdmin(access, shelf, current).routes(), lambda: 1024 * 1024)
            taken = await Door.take("127.0.0.1", 0)
            await server.start(taken)
            stack.push_async_callback(server.stop)
            url = taken.url
            session = await stack.enter_async_context(aiohttp.ClientSession(url))
            return House(url, shelf, simulator, session, given, reports)

        yield make


@pytest.fixture
async def files() -> AsyncIterator[FileServer]:
    server = await FileServer().start()
    yield server
    await server.stop()


UPDATE = "/admin/update-model"


async def test_a_client_updates_a_model_where_that_is_allowed(open_door: Open, files: FileServer) -> None:
    door = await open_door(allow_model_updates=True)
    body = {"url": files.url, "name": NAME, "sha256": files.sha256}
    status, lines = await door.ask("POST", UPDATE, body, key=KEY)
    assert status == 200
    assert lines[-1]["status"] == "success"
    assert lines[-1]["message"] == f"The model {NAME} was updated and has answered."
    assert all({"status", "completed", "total"} <= line.keys() for line in lines)
    assert door.reports[0].by == "k_1"


async def test_a_client_may_not_where_it_is_off_and_the_operator_may_always(
    open_door: Open, files: FileServer
) -> None:
    door = await open_door()
    status, answer = await door.ask("POST", UPDATE, {"url": files.url, "name": NAME}, key=KEY)
    assert (status, answer["error"]) == (
        403,
        "Model updates are off here. Ask the contributor to turn on «Model updates» (allow_model_updates).",
    )
    status, lines = await door.ask("POST", UPDATE, {"url": files.url, "name": NAME})
    assert (status, lines[-1]["status"]) == (200, "success")
    assert door.reports[0].by == "operator"


async def test_an_update_that_fails_ends_with_its_reason(open_door: Open, files: FileServer) -> None:
    door = await open_door()
    files.content = b"<html>no model</html>"
    status, lines = await door.ask("POST", UPDATE, {"url": files.url, "name": NAME})
    assert status == 200
    assert lines[-1]["error"] == "The file is not a GGUF model: its first bytes say something else."


async def test_only_shared_models_are_updated(open_door: Open, files: FileServer) -> None:
    door = await open_door(allow_model_updates=True, allowed_models=("mortdecai:0.5.0",))
    status, answer = await door.ask("POST", UPDATE, {"url": files.url, "name": "other:1"}, key=KEY)
    assert (status, "not shared here" in answer["error"]) == (403, True)
    status, lines = await door.ask(
        "POST", UPDATE, {"url": files.url, "name": "library/Mortdecai:0.5.0"}, key=KEY
    )
    assert (status, lines[-1]["status"]) == (200, "success")


async def test_a_key_updates_only_what_it_may_use(open_door: Open, files: FileServer) -> None:
    door = await open_door(allow_model_updates=True)
    status, answer = await door.ask("POST", UPDATE, {"url": files.url, "name": NAME}, key=LIMITED)
    assert (status, "not shared here" in answer["error"]) == (403, True)
    assert door.shelf.operations() == ()


async def test_a_second_update_waits_and_the_same_one_joins(open_door: Open, files: FileServer) -> None:
    door = await open_door()
    files.pause_s = 0.02
    first = asyncio.create_task(door.ask("POST", UPDATE, {"url": files.url, "name": NAME}))
    async with asyncio.timeout(10):
        while not door.shelf.operations():
            await asyncio.sleep(0.005)
    status, answer = await door.ask("POST", UPDATE, {"url": files.url, "name": "other:1"})
    assert (status, answer["error"]) == (
        409,
        f"The model {NAME} is being updated: wait until that has ended.",
    )
    status, lines = await door.ask("POST", UPDATE, {"url": files.url, "name": NAME})
    assert lines[-1] == (await first)[1][-1]
    assert len(door.reports) == 1


async def test_an_update_goes_on_when_whoever_asked_goes_away(open_door: Open, files: FileServer) -> None:
    door = await open_door()
    files.pause_s = 0.01
    headers = {"Authorization": f"Bearer {TOKEN}"}
    body = {"url": files.url, "name": NAME}
    async with door.session.post(UPDATE, json=body, headers=headers) as reply:
        await reply.content.readline()
    async with asyncio.timeout(10):
        while not door.reports:
            await asyncio.sleep(0.01)
    assert door.reports[0].outcome == "updated"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"url":"https://huggingface.co/a","name":"m","name":"n"}', 400),
        ({"URL": "https://huggingface.co/a", "name": "m"}, 400),
        ({"url": "https://huggingface.co/a"}, 400),
        ({"url": 5, "name": "m"}, 400),
        ({"url": "https://huggingface.co/a", "name": ""}, 400),
        ({"url": "https://huggingface.co/a", "name": "m", "sha256": "abc"}, 400),
        ({"url": "https://huggingface.co/a", "name": "m", "sha256": 5}, 400),
        ({"url": "https://huggingface.co/a", "name": "m", "force": True}, 400),
        ({"url": "https://evil.org/a", "name": "m"}, 403),
        ({"url": "file:///etc/passwd", "name": "m"}, 403),
        ({"url": "https://huggingface.co/a", "name": "../m"}, 400),
        (b'{"url":"https://huggingface.co/a","name":"\\ud800"}', 400),
        (b'{"url":"https://huggingface.co/\\ud800","name":"m"}', 400),
        ({"url": "https://huggingface.co/a", "name": "m\x1b[2J"}, 400),
        ({"url": "https://huggingface.co/a", "name": "m:1-GATEWAY-OLD"}, 400),
        ({"url": "https://huggingface.co/" + "a" * 20_000, "name": "m"}, 413),
    ],
)
async def test_bad_input_begins_nothing_and_is_said(open_door: Open, body: Any, status: int) -> None:
    door = await open_door(model_update_hosts=("huggingface.co",))
    found, answer = await door.ask("POST", UPDATE, body)
    assert found == status
    assert answer["error"].endswith(".")
    assert door.shelf.operations() == ()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/models"),
        ("DELETE", "/admin/models"),
        ("GET", "/admin/models/operations"),
        ("POST", "/admin/models/pull"),
        ("POST", "/admin/models/load"),
        ("POST", "/admin/models/unload"),
        ("POST", "/admin/models/show"),
        ("POST", "/admin/models/cancel"),
    ],
)
async def test_everything_else_is_the_operators(open_door: Open, method: str, path: str) -> None:
    door = await open_door(allow_model_updates=True)
    body = None if method == "GET" else {"model": "qwen2.5:3b"}
    assert (await door.ask(method, path, body, key=KEY))[0] == 403
    assert (await door.ask(method, path, body, key="mg_wrong"))[0] == 401
    assert len(door.shelf.entries()) > 4
    assert door.shelf.operations() == ()


async def test_the_operator_lists_pulls_shows_loads_unloads_and_removes(open_door: Open) -> None:
    door = await open_door()
    _, lines = await door.ask("POST", "/admin/models/pull", {"model": "qwen3:0.6b"})
    assert lines[-1]["status"] == "success"
    _, listed = await door.ask("GET", "/admin/models")
    (entry,) = [entry for entry in listed["models"] if entry["name"] == "qwen3:0.6b"]
    assert (entry["installed"], entry["size_b"], entry["estimate"]["fit"]) == (True, 523_000_000, "fits")
    assert listed["suggested"] == "qwen3:0.6b"
    assert (await door.ask("POST", "/admin/models/show", {"model": "qwen3:0.6b"}))[1]["details"][
        "family"
    ] == "qwen3"
    assert (await door.ask("POST", "/admin/models/load", {"model": "qwen3:0.6b"}))[1][-1][
        "status"
    ] == "success"
    assert (await door.ask("POST", "/admin/models/unload", {"model": "qwen3:0.6b"}))[0] == 200
    assert (await door.ask("DELETE", "/admin/models", {"model": "qwen3:0.6b"}))[0] == 200
    _, listed = await door.ask("GET", "/admin/models")
    (entry,) = [entry for entry in listed["models"] if entry["name"] == "qwen3:0.6b"]
    assert not entry["installed"]
    _, told = await door.ask("GET", "/admin/models/operations")
    assert [one["doing"] for one in told["operations"]] == ["load", "pull"]
    assert (await door.ask("DELETE", "/admin/models", {"model": "qwen3:0.6b"}))[0] == 400


async def test_a_pull_is_cancelled_by_its_id(open_door: Open) -> None:
    door = await open_door(speed=1)
    pulling = asyncio.create_task(door.ask("POST", "/admin/models/pull", {"model": "qwen3:4b"}))
    async with asyncio.timeout(10):
        while not door.shelf.operations():
            await asyncio.sleep(0.005)
    operation = door.shelf.operations()[0].id
    assert (await door.ask("POST", "/admin/models/cancel", {"operation": operation}))[0] == 200
    assert (await pulling)[1][-1]["error"] == "Cancelled; what has come is kept."
    assert (await door.ask("POST", "/admin/models/cancel", {"operation": "gone"}))[0] == 400


async def test_an_engine_that_is_gone_is_a_gateway_error(open_door: Open) -> None:
    door = await open_door()
    await door.simulator.stop()
    status, answer = await door.ask("POST", "/admin/models/show", {"model": "qwen2.5:3b"})
    assert (status, answer["error"]) == (502, "The engine does not answer: see that it runs, then try again.")


# The command.


def options(profile_home: Path, *given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    arguments.models(parser)
    parsed = parser.parse_args(given)
    parsed.profile, parsed.vault, parsed.env_file, parsed.set = "default", "file", None, []
    return parsed


Say = Callable[..., Awaitable[int]]


@pytest.fixture
async def say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Awaitable[Say]]]:
    """Commands against a door that stands where the profile's gateway would."""
    folders = Folders.for_profile("default", tmp_path / "home")
    monkeypatch.setattr(Folders, "for_profile", lambda *_: folders)
    folders.prepare()
    with InstanceLock.acquire(folders.state) as lock:

        async def at(door: House) -> Say:
            lock.announce(door.url, TOKEN)

            async def run(*given: str) -> int:
                return await asyncio.to_thread(command.models, options(tmp_path, *given))

            return run

        yield at


async def test_the_command_does_what_it_says(
    open_door: Open, say: Any, files: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    run = await say(await open_door())
    assert await run() == 0
    listed = capsys.readouterr().out
    assert listed.splitlines()[0].split() == ["MODEL", "SIZE", "STATE", "FITS"]
    assert "llama3.1:8b" in listed
    assert "gpt-oss:20b" not in listed
    assert await run("list", "--all") == 0
    assert "gpt-oss:20b" in capsys.readouterr().out
    assert await run("list", "--json") == 0
    assert {json.loads(line)["installed"] for line in capsys.readouterr().out.splitlines()} == {True}
    assert await run("pull", "qwen3:0.6b") == 0
    said = capsys.readouterr()
    assert said.out == "The model qwen3:0.6b is here.\n"
    assert "Asking the library" in said.err
    assert await run("load", "qwen3:0.6b") == 0
    assert await run("unload", "qwen3:0.6b") == 0
    assert await run("show", "qwen3:0.6b") == 0
    assert "family: qwen3" in capsys.readouterr().out
    assert await run("rm", "qwen3:0.6b") == 0
    assert await run("update", files.url, NAME, "--sha256", files.sha256) == 0
    assert f"The model {NAME} was updated and has answered." in capsys.readouterr().out


async def test_the_command_says_what_went_wrong(open_door: Open, say: Any, files: FileServer) -> None:
    run = await say(await open_door())
    for given, why in (
        (("pull", "no-such:model"), "The library has no model no-such:model"),
        (("rm", "no-such:model"), "has no model"),
        (("cancel", "qwen3:0.6b"), "Nothing is being done with"),
        (("update", "https://evil.org/m", NAME), "may not come from"),
        (("pull",), "models pull wants the name of one model"),
        (("list", "x"), "models list wants no name"),
        (("update", "x"), "an address and the name"),
    ):
        with pytest.raises(CommandError, match=why):
            await run(*given)


async def test_the_command_cancels_by_name(
    open_door: Open, say: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    door = await open_door(speed=1)
    run = await say(door)
    door.shelf.pull("qwen3:4b")
    assert await run("cancel", "qwen3:4b") == 0
    assert "Cancelled: pull" in capsys.readouterr().out


async def test_without_a_gateway_there_is_nothing_to_cancel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = Folders.for_profile("default", tmp_path / secrets.token_hex(4))
    monkeypatch.setattr(Folders, "for_profile", lambda *_: folders)
    with pytest.raises(CommandError, match="start it with «mortdecai-gateway serve»"):
        await asyncio.to_thread(command.models, options(tmp_path, "cancel", "m"))


def test_progress_is_said_in_words() -> None:
    line = {
        "status": "Downloading",
        "completed": 1_200_000_000,
        "total": 4_900_000_000,
        "bytes_per_second": 48e6,
    }
    assert in_words(from_line(line | {"seconds_left": 77.2})) == (
        "Downloading: 1.2 of 4.9 GB (24 %), 48.0 MB/s, 1 min 17 s left"
    )
    assert in_words(from_line({"status": "Loading", "completed": 0, "total": 0})) == "Loading"
    assert [duration(seconds) for seconds in (0.4, 59, 3600)] == ["0 s", "59 s", "1 h 0 min"]
