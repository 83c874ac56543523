"""What is said of the receiver's server files holds: the service is valid and shut in, the image has what it needs."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.tunnel.test_server_files import BLOCK, needed

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "installer" / "receiver"


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"(?m)^#.*\n", "", (FILES / "Dockerfile").read_text()).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def last(name: str) -> str:
    return [arguments for instruction, arguments in instructions() if instruction == name][-1]


def server_lock() -> Any:
    spec = importlib.util.spec_from_file_location("server_lock", ROOT / "installer/linux/server_lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_image_has_what_postgresql_needs_from_the_lock_with_hashes() -> None:
    lock = server_lock()
    assert needed(["psycopg[binary]"], set()) == set(lock.RECEIVER)
    part = lock.server_part((ROOT / "requirements.lock").read_text(), lock.PACKAGES + lock.RECEIVER)
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", part)[1:]
    assert sum(entry.startswith("psycopg") for entry in entries) == 2
    assert all("--hash=sha256:" in entry for entry in entries)
    (install,) = [line for name, line in instructions() if name == "RUN" and "pip install" in line]
    assert "--receiver > server.lock" in install
    assert "--require-hashes" in install


def test_the_image_runs_as_nobody_in_particular() -> None:
    assert last("USER") == "10001:10001"
    assert "install -d -o 10001 -g 10001 -m 700 /data" in last("RUN")
    assert "/health" in last("HEALTHCHECK")


def test_what_the_dockerfile_puts_together_receives(tmp_path: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    place = tmp_path / "receiver"
    for name, arguments in instructions():
        if name != "COPY" or arguments.startswith("--from="):
            continue
        *sources, target = arguments.split()
        for source in sources:
            assert f"!{source}" in ignored, "the build would not find it"
        if target == "./app":
            shutil.copytree(ROOT / sources[0], place / target, ignore=shutil.ignore_patterns("__pycache__"))
    given = dict(pair.split("=", 1) for pair in shlex.split(last("ENV"))) | {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(place),
        "MORTDECAI_HOME": str(tmp_path / "data"),
        "MORTDECAI_RECEIVER_HOST": "127.0.0.1",
        "MORTDECAI_RECEIVER_PORT": "0",
    }
    words = ["receiver", *json.loads(last("CMD")), "--print-connection"]
    process = subprocess.Popen(
        [sys.executable, "-c", BLOCK, *words], cwd=place, env=given, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        with urllib.request.urlopen(said["url"] + "/health", timeout=10) as reply:
            assert json.load(reply)["accepting"] is True
    finally:
        process.terminate()
        process.communicate(timeout=20)


def service() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (FILES / "mortdecai-receiver.service").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            found.setdefault(name, []).append(value)
    return found


def test_the_service_starts_the_command_that_there_is_and_has_no_rights_to_lose() -> None:
    found = service()
    program, *words = found["ExecStart"][0].split()
    assert program.endswith("/.venv/bin/mortdecai-gateway")
    assert words == ["receiver", "run"]
    assert found["NoNewPrivileges"] == found["PrivateTmp"] == found["ProtectHome"] == ["yes"]
    assert (found["ProtectSystem"], found["CapabilityBoundingSet"]) == (["strict"], [""])
    homes = [value for value in found["Environment"] if value.startswith("MORTDECAI_HOME=")]
    assert homes == [f"MORTDECAI_HOME=/var/lib/{found['StateDirectory'][0]}"]
    assert not any("SECRET" in value or "DATABASE" in value for value in found["Environment"])


def test_systemd_finds_nothing_wrong_with_the_service(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("platform: there is no systemd here")
    unit = (FILES / "mortdecai-receiver.service").read_text()
    command = service()["ExecStart"][0].split()[0]
    copy = tmp_path / "mortdecai-receiver.service"
    copy.write_text(unit.replace(command, sys.executable).replace("User=mortdecai-receiver", "User=root"))
    told = subprocess.run([program, "verify", str(copy)], capture_output=True, text=True, timeout=60)
    ours = [line for line in told.stderr.splitlines() if "mortdecai-receiver" in line]
    assert ours == []
