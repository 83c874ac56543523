"""The `ollama` command through an address of a key's own: OLLAMA_HOST with a path is all it is told.

What the command asks is asked here by Ollama's own Go client, built from `go/`: it reads OLLAMA_HOST, joins the paths
and reads the answers as the command does. The command itself drags an engine in C++ along, which takes half an hour
to compile; where OLLAMA_COMMAND names a binary of it, it is run as well (0.9.6 passes).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import PLAIN
from tests.gateway.conftest import Build, House

HERE = Path(__file__).parent / "go"
BUILD_S, RUN_S = 900, 120
NAMED = "OLLAMA_COMMAND"


@pytest.fixture(scope="session")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that asks, built of the versions that go.sum names."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("platform: no Go toolchain is on this machine")
    made = tmp_path_factory.mktemp("go") / "asking"
    command = [go, "build", "-mod=readonly", "-o", str(made), "."]
    done = subprocess.run(
        command,
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
        env=os.environ | {"CGO_ENABLED": "0"},
    )
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"Ollama's Go client could not be built: {done.stderr.strip()[-400:]}")
    assert done.returncode == 0, done.stderr
    return made


async def own_address(house: House) -> str:
    async with house.post("/admin/keys", {"address_of": "first key"}, key=house.operator) as reply:
        return str((await reply.json())["url"])


async def told(program: Path | str, *words: str, host: str, **more: str) -> tuple[int, str, str]:
    """Exit status, output and errors of a program that knows nothing but OLLAMA_HOST."""
    process = await asyncio.create_subprocess_exec(
        program,
        *words,
        env={
            "HOME": more.pop("home", "/nonexistent"),
            "PATH": os.environ["PATH"],
            "OLLAMA_HOST": host,
            **more,
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(RUN_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, out.decode(), err.decode()


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


async def test_list_ps_show_and_run_work_with_nothing_but_an_address(house: House, asking: Path) -> None:
    host = await own_address(house)
    status, out, err = await told(asking, "list", host=host)
    assert (status, err) == (0, "")
    assert PLAIN in [model["name"] for model in lines(out)[0]["models"]]
    assert (await told(asking, "version", host=host))[0] == 0
    status, out, _ = await told(asking, "show", PLAIN, host=host)
    assert status == 0
    assert lines(out)[0]["details"]["family"]
    for verb, text in (("run", "response"), ("talk", "message")):
        status, out, err = await told(asking, verb, PLAIN, "Hello", host=host)
        assert (status, err) == (0, "")
        *parts, last = lines(out)
        assert last["done"]
        said = [part[text]["content"] if text == "message" else part[text] for part in parts]
        assert len(said) > 1, "it is streamed"
        assert "".join(said)
    status, out, _ = await told(asking, "ps", host=host)
    assert [model["name"] for model in lines(out)[0]["models"]] == [PLAIN]
    first = next(key for key in house.gateway.keys.all() if key["label"] == "first key")
    assert {row.key for row in await house.usage()} == {first["id"]}, "billed to its key"


async def test_what_is_not_shared_is_refused_in_words_that_the_client_shows(
    house: House, asking: Path
) -> None:
    host = await own_address(house)
    for words, hint in (
        (("pull", PLAIN), "management endpoints are not shared"),
        (("rm", PLAIN), "management endpoints are not shared"),
        (("show", "nobody:1b"), "not found"),
        (("run", "nobody:1b", "Hello"), "not found"),
    ):
        status, out, err = await told(asking, *words, host=host)
        assert (status, out) == (1, "")
        assert hint in err
    status, _, err = await told(asking, "list", host=f"{house.gateway.address}/k/ma_wrong")
    assert status == 1
    assert "ma_wrong" not in err.replace(f"{house.gateway.address}/k/ma_wrong", "")


async def test_it_works_over_tls_with_the_gateways_own_certificate(build: Build, asking: Path) -> None:
    house = await build(tls="own")
    tls = house.gateway.snapshot().tls
    assert tls is not None
    made = await house.gateway.keys.create_address("first key")
    host = house.gateway.address + str(made["path"])
    status, out, err = await told(asking, "run", PLAIN, "Hello", host=host, SSL_CERT_FILE=tls.path)
    assert (status, err) == (0, "")
    assert lines(out)[-1]["done"]
    assert (await told(asking, "list", host=host))[0] == 1, "nobody vouches for it elsewhere"


async def the_command_itself_lists_shows_runs_and_is_refused(house: House, tmp_path: Path) -> None:
    command, host, home = os.environ[NAMED], await own_address(house), str(tmp_path)

    async def ollama(*words: str) -> tuple[int, str, str]:
        return await told(command, *words, host=host, home=home)

    status, out, err = await ollama("list")
    assert status == 0, err
    assert PLAIN in out
    status, out, _ = await ollama("show", PLAIN)
    assert status == 0
    assert "parameters" in out
    status, out, err = await ollama("run", PLAIN, "Hello")
    assert status == 0, err
    assert len(out.strip()) > 20
    status, out, _ = await ollama("ps")
    assert (status, PLAIN in out) == (0, True)
    for words in (("pull", PLAIN), ("rm", PLAIN)):
        status, _, err = await ollama(*words)
        assert status == 1
        assert "not shared" in err
    [row] = [row for row in await house.usage() if row.tok_out]
    assert row.outcome == "complete"


if NAMED in os.environ:
    test_the_command_itself = the_command_itself_lists_shows_runs_and_is_refused
