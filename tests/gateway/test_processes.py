"""The gateway as its users start it: as a process, killed, stopped, started twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.settings.folders import Folders
from tests.gateway.conftest import chat
from tests.gateway.processes import ROOT, Process, gateway, run, simulator

LONG = "[simulate: 3000 tokens]"


def client(process: Process) -> aiohttp.ClientSession:
    connection = process.connection
    return aiohttp.ClientSession(
        connection["url"], headers={"Authorization": f"Bearer {connection['api_key']}"}
    )


async def usage(session: aiohttp.ClientSession) -> list[dict[str, Any]]:
    async with session.get("/ledger?limit=500") as reply:
        entries = (await reply.json())["transactions"]
    return [entry for entry in entries if entry["kind"] == "usage"]


async def begin(session: aiohttp.ClientSession, tokens: int = 3000) -> tuple[str, aiohttp.ClientResponse]:
    """Start a long stream and read its first byte: from now on it must be in the ledger, whatever happens."""
    reply = await session.post("/api/chat", json=chat(LONG, tokens=tokens))
    assert reply.status == 200
    await reply.content.readline()
    return reply.headers["X-Request-Id"], reply


@pytest.mark.slow
async def test_after_kill_9_every_request_of_which_a_byte_was_seen_has_exactly_one_record(
    tmp_path: Path,
) -> None:
    seen: set[str] = set()
    for _ in range(4):
        with gateway(tmp_path, "--simulate", "--set", "engine_parallel=8") as process:
            async with client(process) as session:
                begun = await asyncio.gather(*(begin(session) for _ in range(6)))
                async with session.post("/api/chat", json=chat(stream=False, tokens=3)) as reply:
                    seen.add((await reply.json())["_gateway"]["request_id"])
                seen |= {request_id for request_id, _ in begun}
                process.popen.send_signal(signal.SIGKILL)
                process.popen.wait()
                for _, reply in begun:
                    reply.close()
    with gateway(tmp_path, "--simulate") as process:
        async with client(process) as session:
            entries = await usage(session)
            async with session.get("/reconcile") as reply:
                verdict = await reply.json()
    ids = [entry["id"] for entry in entries]
    assert sorted(ids) == sorted(seen)
    assert [entry["outcome"] for entry in entries].count("crash_recovered") == 24
    assert verdict["status"] == "OK"


@pytest.mark.parametrize("command", ["serve", "tray"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_settles_what_runs_tells_the_client_and_exits_cleanly(
    tmp_path: Path, number: signal.Signals, command: str
) -> None:
    with gateway(tmp_path, "--simulate", command=command) as process, clean_log(tmp_path):
        async with client(process) as session:
            request_id, reply = await begin(session)
            process.popen.send_signal(number)
            last = json.loads((await reply.content.read()).splitlines()[-1])
            assert last["done"] is True
            assert last["_gateway"]["outcome"] == "stopped"
            assert await asyncio.to_thread(process.popen.wait, 20) == 0
    listed = run(tmp_path, "ledger", "list", "--json", "--vault", "file")
    records = [json.loads(line) for line in listed.stdout.splitlines()]
    assert [record["outcome"] for record in records if record["id"] == request_id] == ["stopped"]
    verified = run(tmp_path, "ledger", "verify", "--vault", "file")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "OK" in verified.stdout


@contextlib.contextmanager
def clean_log(home: Path) -> Iterator[None]:
    """Whatever a test does, no key and no prompt may be in the log."""
    yield
    for file in home.rglob("*.log"):
        text = file.read_text()
        assert "mg_" not in text
        assert "simulate:" not in text


async def test_an_engine_that_is_killed_in_mid_stream_leaves_one_record_for_each_request(
    tmp_path: Path,
) -> None:
    (tmp_path / "engine").mkdir()
    with simulator(tmp_path / "engine") as engine:
        url = engine.said.split()[-1]
        with gateway(tmp_path, "--upstream", url, "--set", "engine_parallel=8") as process:
            async with client(process) as session:
                begun = await asyncio.gather(*(begin(session) for _ in range(5)))
                engine.popen.send_signal(signal.SIGKILL)
                for _, reply in begun:
                    last = json.loads((await reply.content.read()).splitlines()[-1])
                    assert "error" in last
                    assert last["_gateway"]["outcome"] == "upstream_error"
                entries = await usage(session)
                async with session.get("/health") as reply:
                    assert (await reply.json())["code"] == "engine_down"
    assert sorted(entry["id"] for entry in entries) == sorted(request_id for request_id, _ in begun)
    assert {entry["outcome"] for entry in entries} == {"upstream_error"}


async def test_a_full_disk_is_said_keeps_the_record_and_serving_goes_on_when_there_is_room(
    tmp_path: Path,
) -> None:
    with gateway(tmp_path, "--simulate", "--set", "engine_parallel=8") as process:
        async with client(process) as session:
            async with session.post("/api/chat", json=chat(stream=False, tokens=3)) as reply:
                assert reply.status == 200
            begun = [await begin(session)]
            pid = process.popen.pid
            soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            # No file of this process may grow from now on: what a full disk does, without needing to be root.
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
            refused = None
            async with asyncio.timeout(30):
                while refused is None or refused["status"] not in (503, 507):
                    async with session.post("/api/chat", json=chat(stream=False, tokens=3)) as reply:
                        refused = {"status": reply.status, **await reply.json()}
            assert "error" in refused
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
            for _, reply in begun:
                reply.close()
            async with asyncio.timeout(60):
                while True:
                    async with session.post("/api/chat", json=chat(stream=False, tokens=3)) as reply:
                        if reply.status == 200:
                            break
                    await asyncio.sleep(0.2)
            entries = await usage(session)
            async with session.get("/reconcile") as reply:
                assert (await reply.json())["status"] == "OK"
    ids = [entry["id"] for entry in entries]
    assert len(ids) == len(set(ids))
    assert {request_id for request_id, _ in begun} <= set(ids)


def test_a_port_that_is_taken_is_said_with_by_whom(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(tmp_path, "serve", "--simulate", "--vault", "memory", "--port", str(port))
    assert done.returncode == 2
    assert f"Port {port} is already in use by" in done.stderr
    assert "process" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_start_of_a_profile_says_who_runs(tmp_path: Path) -> None:
    with gateway(tmp_path, "--simulate") as process:
        done = run(tmp_path, "serve", "--simulate", "--vault", "file", "--port", "0")
        assert done.returncode == 2
        assert str(process.popen.pid) in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "--set", "port=99999"], "port"),
        (["serve", "--set", "nonsense=1"], "nonsense"),
        (["serve", "--set", "port"], "NAME=VALUE"),
        (["serve", "--profile", "../up"], "profile"),
        (["serve", "--env-file", "no-such-file"], "no-such-file"),
        (["keys", "create"], "label"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_broken_settings_file_stops_the_start_with_one_sentence(tmp_path: Path) -> None:
    file = Folders.for_profile("default", tmp_path).settings_file
    file.parent.mkdir(parents=True)
    file.write_text("version = 1\nspending_cap = = 3\n")
    done = run(tmp_path, "serve", "--simulate", "--vault", "memory", "--port", "0")
    assert done.returncode == 2
    assert "settings.toml" in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_never_imports_qt(tmp_path: Path) -> None:
    script = (
        "import sys, app.cli, app.commands.run, app.gateway.gateway, app.simulator\n"
        "sys.exit(any(name.split('.')[0] in ('PySide6', 'qasync', 'pyqtgraph') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_keys_can_be_made_listed_and_revoked_whether_or_not_the_gateway_runs(tmp_path: Path) -> None:
    made = run(tmp_path, "keys", "create", "laptop", "--vault", "file")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("mg_")
    with gateway(tmp_path, "--simulate"):
        listed = run(tmp_path, "keys", "list", "--vault", "file")
        assert "laptop" in listed.stdout, listed.stderr
        assert run(tmp_path, "keys", "revoke", "laptop", "--vault", "file").returncode == 0
    again = run(tmp_path, "keys", "list", "--vault", "file")
    assert [line for line in again.stdout.splitlines() if "laptop" in line and "revoked" in line]


def test_the_demo_sends_three_requests_verifies_the_ledger_and_exits(tmp_path: Path) -> None:
    done = run(tmp_path, "demo", "--once", "--headless", "--port", "0")
    assert done.returncode == 0, done.stderr
    for words in ("energy_wh", "estimated_cost", "401", "exactly as they were signed", "/dashboard", "mg_"):
        assert words in done.stdout
    assert done.stdout.count("curl ") == 5
