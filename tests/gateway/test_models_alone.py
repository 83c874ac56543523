"""`models` where no gateway runs: the same work, done by the command itself, and the engine left as it was found."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.managed.names import names_of
from app.settings.folders import Folders
from app.settings.instance import InstanceLock
from app.simulator import Simulator
from tests.engine import lookalikes
from tests.gateway.processes import ROOT
from tests.models.file_server import FileServer
from tests.real.docker_engine import Engine
from tests.real.docker_images import Images

SMALL = "qwen3:0.6b"


class Home:
    """Runs commands of one profile, settings from the environment."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.settings = {"vault": "file", **settings}

    def begin(self, *words: str, **settings: Any) -> subprocess.Popen[str]:
        given = {**self.settings, **settings}
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "app", *words],
            env={
                **os.environ,
                "MORTDECAI_HOME": str(self.folder),
                "PYTHONPATH": str(ROOT),
                **{f"MORTDECAI_{name.upper()}": str(value) for name, value in given.items()},
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    async def run(self, *words: str, **settings: Any) -> tuple[int, str, str]:
        """Exit status, what was said and what was told on the side."""
        process = self.begin(*words, **settings)
        out, err = await asyncio.to_thread(process.communicate, timeout=120)
        assert "Traceback" not in err, err
        return process.returncode, out, err

    async def good(self, *words: str, **settings: Any) -> str:
        status, out, err = await self.run(*words, **settings)
        assert status == 0, err
        return out

    async def bad(self, *words: str, **settings: Any) -> str:
        """The one sentence of a command that could not do it."""
        status, _, err = await self.run(*words, **settings)
        assert status == 2, err
        return err.splitlines()[-1]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    simulator = Simulator(speed=1000.0)
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
async def home(tmp_path: Path, simulator: Simulator) -> Home:
    return Home(tmp_path, upstream_url=simulator.url)


async def test_everything_that_a_gateway_would_do_is_done_without_one(home: Home) -> None:
    assert (await home.good("models", "pull", SMALL)) == f"The model {SMALL} is here.\n"
    listed = [json.loads(line) for line in (await home.good("models", "list", "--json")).splitlines()]
    (entry,) = [entry for entry in listed if entry["name"] == SMALL]
    assert (entry["installed"], entry["loaded"]) == (True, False)
    assert "is loaded" in await home.good("models", "load", SMALL)
    assert any("loaded" in line for line in (await home.good("models")).splitlines() if SMALL in line)
    assert "unloaded" in await home.good("models", "unload", SMALL)
    assert "family: qwen3" in await home.good("models", "show", SMALL)
    assert "removed" in await home.good("models", "rm", SMALL)
    assert SMALL not in await home.good("models")


async def test_an_update_leaves_its_record_in_the_ledger(home: Home) -> None:
    files = await FileServer().start()
    allowed = {"model_update_http": "true", "model_update_hosts": "127.0.0.1"}
    try:
        said = await home.good("models", "update", f"{files.url}?token=secret", "mine:1", **allowed)
        assert said == "The model mine:1 was updated and has answered.\n"
        why = await home.bad("models", "update", files.url, "mine:1", "--sha256", "0" * 64, **allowed)
        assert "SHA-256" in why
    finally:
        await files.stop()
    records = [json.loads(line) for line in (await home.good("ledger", "list", "--json")).splitlines()]
    updates = [record for record in records if record["kind"] == "model"]
    assert [(one["action"], one["model"], one["key"]) for one in updates] == [
        ("updated", "mine:1", "operator"),
        ("failed", "mine:1", "operator"),
    ]
    assert "secret" not in json.dumps(records)
    assert (await home.good("ledger", "verify")).startswith("OK")
    assert "has to be recorded" in await home.bad("models", "update", "https://a/b", "m", vault="memory")


async def test_ctrl_c_cancels_what_is_being_done(tmp_path: Path) -> None:
    slow = Simulator(speed=1.0)
    await slow.start()
    try:
        process = Home(tmp_path, upstream_url=slow.url).begin("models", "pull", "qwen3:4b")
        assert process.stderr is not None
        while "Downloading" not in await asyncio.to_thread(process.stderr.readline):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.to_thread(process.communicate, timeout=30)
    finally:
        await slow.stop()
    assert process.returncode != 0
    assert "Traceback" not in err


async def test_what_goes_wrong_is_one_sentence(home: Home, tmp_path: Path) -> None:
    assert "has no model no-such:model" in await home.bad("models", "pull", "no-such:model")
    assert "start it with" in await home.bad("models", "cancel", SMALL)
    gone = await home.bad("models", "list", upstream_url="http://127.0.0.1:9")
    assert "127.0.0.1:9" in gone
    async with lookalikes.serving(lookalikes.llama_server()) as other:
        why = await home.bad("models", "pull", SMALL, upstream_url=other.url)
        assert "llama-server manages its models itself" in why
        assert await home.good("models", upstream_url=other.url)


async def test_while_one_command_is_at_work_no_other_gets_in_between(home: Home) -> None:
    folders = Folders.for_profile("default", home.folder)
    folders.prepare()
    with InstanceLock.acquire(folders.state):
        assert "Try again in a moment" in await home.bad("models", "pull", SMALL)


@pytest.mark.real
async def test_an_engine_in_docker_is_brought_up_for_it_and_left_as_it_was_found(
    tmp_path: Path, dockerd: Engine, images: Images
) -> None:
    dockerd.clean()
    home = Home(
        tmp_path,
        engine="container",
        engine_image=images.simulator,
        engine_gpu="cpu",
        docker_host=dockerd.socket,
    )

    def status() -> str:
        return str(dockerd.client.containers.get(names_of("default").container).status)

    try:
        assert "never made" in await home.bad("models", "list")
        assert dockerd.client.containers.list(all=True) == []
        assert "is here" in await home.good("models", "pull", SMALL)
        assert status() == "exited", "it did not run before"
        assert SMALL in await home.good("models", "list")
        assert status() == "exited"
        assert "is loaded" in await home.good("models", "load", SMALL)
        assert status() == "running", "a loaded model is there to be used"
        assert "removed" in await home.good("models", "rm", SMALL)
        assert status() == "running", "it ran before"
        assert "library has no model" in await home.bad("models", "pull", "no-such:model")
        await home.good("engine", "stop")
        assert "library has no model" in await home.bad("models", "pull", "no-such:model")
        assert status() == "exited", "also where it went wrong"
    finally:
        dockerd.clean()
