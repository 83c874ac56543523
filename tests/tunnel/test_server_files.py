"""What is said of the server's files holds: the engine stays inside, nothing runs with rights it does not need, and
what the Dockerfile puts together runs without a desktop."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.tunnel.plain_yaml import NotPlain, read

ROOT = Path(__file__).resolve().parents[2]
DESKTOP = {"pyqtgraph", "pyside6-essentials", "qasync"}
SERVER = {
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
    "python_version": "3.13",
    "python_full_version": "3.13.0",
    "platform_machine": "x86_64",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}


def compose(name: str = "docker-compose.yml") -> dict[str, Any]:
    document = read((ROOT / name).read_text())
    assert isinstance(document, dict)
    return document


SERVICES = compose()["services"]


def test_ollama_publishes_nothing_and_has_no_way_out() -> None:
    ollama = SERVICES["ollama"]
    assert "ports" not in ollama
    assert "expose" not in ollama
    assert "network_mode" not in ollama
    assert ollama["networks"] == ["inside"]
    assert compose()["networks"]["inside"] == {"internal": True}


def test_only_the_gateway_publishes_a_port_and_to_this_machine_only() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"gateway": ["127.0.0.1:8434:8434"]}
    for name in ("docker-compose.nvidia.yml", "docker-compose.amd.yml"):
        for service in compose(name)["services"].values():
            assert not {"ports", "networks", "network_mode", "privileged", "cap_add"} & service.keys()


def test_only_the_gateway_reaches_the_engine() -> None:
    inside = {name for name, service in SERVICES.items() if "inside" in service["networks"]}
    assert inside == {"ollama", "gateway"}
    # What pulls models is reached by nobody, and the tunnel reaches the gateway only.
    assert SERVICES["pull"]["networks"] == ["pulling"]
    assert SERVICES["cloudflared"]["networks"] == ["outside"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_service_has_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "ipc", "userns_mode"} & service.keys()
    assert not any(volume.startswith(("/", ".", "~")) for volume in service.get("volumes", []))


def test_nothing_public_and_no_pulling_unless_asked_for() -> None:
    optional = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert optional == {"pull": ["pull"], "cloudflared": ["public"]}


def test_no_secret_is_written_in_the_files() -> None:
    assert SERVICES["cloudflared"]["environment"] == {"TUNNEL_TOKEN": "${TUNNEL_TOKEN:-}"}
    assert "TUNNEL_TOKEN" not in " ".join(SERVICES["cloudflared"]["command"])
    assert "--no-autoupdate" in SERVICES["cloudflared"]["command"]


def test_the_gateway_and_pull_share_what_they_must() -> None:
    assert SERVICES["gateway"]["environment"]["MORTDECAI_UPSTREAM_URL"] == "http://ollama:11434"
    assert SERVICES["pull"]["volumes"] == SERVICES["ollama"]["volumes"] == ["models:/root/.ollama"]


def test_the_model_to_pull_reaches_the_program_and_no_shell(tmp_path: Path) -> None:
    told = tmp_path / "told"
    fake = tmp_path / "ollama"
    fake.write_text(f'#!/bin/sh\nprintf "%s|" "$@" >> {shlex.quote(str(told))}\n')
    fake.chmod(0o755)
    shell, *entrypoint = SERVICES["pull"]["entrypoint"]
    words = [word.replace("$$", "$") for word in entrypoint]  # as Compose does
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    nasty = "llama3.1:8b; touch hacked"
    subprocess.run([shell, *words, nasty], env=environment, cwd=tmp_path, timeout=10, check=True)
    assert f"pull|{nasty}|" in told.read_text()
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    "text", ["a: &x 1\n", "a: |\n  b\n", "a:\n  - b\n   c: d\n", "a: 1\na: 2\n", "a b\n"]
)
def test_yaml_that_our_reader_does_not_know_is_not_taken_for_good(text: str) -> None:
    with pytest.raises(NotPlain):
        read(text)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and their arguments."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text())
    return [
        (line.split(None, 1)[0], line.split(None, 1)[1])
        for line in text.replace("\\\n", " ").splitlines()
        if line.strip()
    ]


def last(name: str) -> str:
    return [arguments for instruction, arguments in instructions() if instruction == name][-1]


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in shlex.split(last("ENV")))


def test_the_image_runs_as_nobody_in_particular_and_checks_its_health() -> None:
    user = last("USER")
    assert user.split(":")[0].isdigit()
    assert int(user.split(":")[0]) > 999
    assert last("VOLUME") == environment()["MORTDECAI_HOME"] == "/data"
    assert environment()["MORTDECAI_VAULT"] == "file"
    assert "install -d -o 10001 -g 10001 -m 700 /data" in last("RUN")
    assert "/health" in last("HEALTHCHECK")


def test_packages_come_from_the_lock_with_their_hashes() -> None:
    installs = [
        arguments for name, arguments in instructions() if name == "RUN" and "pip install" in arguments
    ]
    assert installs
    for line in installs:
        assert "--require-hashes" in line
        assert "--no-deps" in line
        assert "server.lock" in line


def server_lock() -> Any:
    spec = importlib.util.spec_from_file_location("server_lock", ROOT / "installer/linux/server_lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(requirements: list[str], found: set[str], extras: tuple[str, ...] = ("",)) -> set[str]:
    for text in requirements:
        wanted = Requirement(text)
        name = plain(wanted.name)
        marker = wanted.marker
        applies = marker is None or any(marker.evaluate({**SERVER, "extra": extra}) for extra in extras)
        if applies and name not in DESKTOP | found:
            found.add(name)
            needed(importlib.metadata.requires(name) or [], found, tuple(wanted.extras) or ("",))
    return found


def test_the_servers_packages_are_all_that_the_gateway_requires_without_a_desktop() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(server_lock().PACKAGES) == needed(project["dependencies"], set())


def test_the_servers_lock_has_hashes_for_every_package_and_no_qt() -> None:
    part = server_lock().server_part((ROOT / "requirements.lock").read_text())
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", part)[1:]
    assert len(entries) >= len(server_lock().PACKAGES)
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"(?im)^(pyside|shiboken|pytest)", part)
    with pytest.raises(SystemExit, match="has no aiohappyeyeballs"):
        server_lock().server_part("nothing==1 --hash=sha256:0\n")


BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"PySide6", "shiboken6", "pyqtgraph", "numpy", "qasync", "uvloop", "pytest"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
from app.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


def test_what_the_dockerfile_puts_together_serves_and_is_healthy(tmp_path: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    place, home = tmp_path / "gateway", tmp_path / "data"
    place.mkdir()
    for name, arguments in instructions():
        if name != "COPY":
            continue
        *sources, target = arguments.split()
        if sources[0].startswith("--from="):
            continue
        for source in sources:
            assert f"!{source}" in ignored, "the build would not find it"
            assert (ROOT / source).exists()
        if target in ("./app", "./resources"):
            without = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / sources[0], place / target, ignore=without)
    given = {
        **environment(),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(place),
        "MORTDECAI_HOME": str(home),
        "MORTDECAI_HOST": "127.0.0.1",  # the image's 0.0.0.0 is for inside a container
        "MORTDECAI_PORT": "0",
    }
    command = shlex.split(" ".join(json.loads(last("CMD"))))
    process = subprocess.Popen(
        [sys.executable, "-c", BLOCK, *command, "--simulate", "--print-connection"],
        cwd=place,
        env=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate(timeout=10)[1]
        connection = json.loads(line)
        _, *check = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
        port = connection["url"].rpartition(":")[2]
        healthy = subprocess.run(
            [sys.executable, *check], env={**given, "MORTDECAI_PORT": port}, timeout=10, check=False
        )
        assert healthy.returncode == 0
        unhealthy = subprocess.run(
            [sys.executable, *check],
            env={**given, "MORTDECAI_PORT": "1"},
            timeout=10,
            check=False,
            stderr=subprocess.DEVNULL,
        )
        assert unhealthy.returncode != 0
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0
    assert [folder.name for folder in home.iterdir()]
