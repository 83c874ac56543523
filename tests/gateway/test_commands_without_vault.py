"""Every command against a gateway that keeps its secrets in memory, from a shell that names no vault."""

from __future__ import annotations

import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings.folders import Folders
from app.settings.instance import TOKEN
from tests.gateway.processes import Process, gateway, run


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Process]]:
    home = tmp_path_factory.mktemp("home")
    with gateway(home, "--simulate", "--vault", "memory") as process:
        yield home, process


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("status",), "Contributing at http://127.0.0.1:"),
        (("models",), "qwen2.5:3b"),
        (("models", "list", "--json"), '"qwen2.5:3b"'),
        (("models", "show", "qwen2.5:3b"), "family"),
        (("models", "unload", "qwen2.5:3b"), "qwen2.5:3b"),
        (("keys", "list"), "first key"),
        (
            ("keys", "create", "guest", "--max-output-tokens", "5", "--model", "tiny", "--expires", "30d"),
            "mg_",
        ),
        (("keys", "list"), "5 tokens, tiny, until "),
        (("keys", "revoke", "guest"), "Revoked guest"),
        (("keys", "create", "quick", "--requests-per-minute", "20", "--tokens-per-minute", "9000"), "mg_"),
        (("keys", "list"), "20 requests/min, 9000 tokens/min"),
        (("keys", "create", "alone", "--concurrent", "1"), "mg_"),
        (("keys", "list"), "1 at once"),
        (("ledger", "list"), "tariff"),
        (("ledger", "verify"), "OK"),
        (("public-address", "status"), "Off"),
        (("snooze", "3h"), "Paused until "),
        (("finish",), "Paused."),
        (("pause",), "Paused."),
        (("resume",), "Contributing."),
    ],
    ids=" ".join,
)
def test_the_command_needs_no_vault(running: tuple[Path, Process], words: tuple[str, ...], said: str) -> None:
    done = run(running[0], *words)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


@pytest.mark.parametrize(
    "limit", ["max_output_tokens", "requests_per_minute", "tokens_per_minute", "concurrent"]
)
def test_what_the_key_command_would_not_enforce_is_refused_here(
    running: tuple[Path, Process], limit: str
) -> None:
    done = run(running[0], "keys", "create", "guest", "--" + limit.replace("_", "-"), "0")
    assert done.returncode == 2
    assert f"{limit} must be" in done.stderr


def config(process: Process, token: str) -> int:
    """The status of an operator's question."""
    request = urllib.request.Request(
        f"{process.connection['url']}/config", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        error.close()
        return int(error.code)


def test_the_token_of_a_killed_gateway_opens_nothing_of_the_next(tmp_path: Path) -> None:
    file = Folders.for_profile("default", tmp_path).state / TOKEN
    with gateway(tmp_path, "--simulate") as first:
        left = file.read_text()
        assert left not in (first.connection["operator_token"], first.connection["api_key"])
        first.popen.send_signal(signal.SIGKILL)
        first.popen.wait(30)
    assert file.read_text() == left
    with gateway(tmp_path, "--simulate") as second:
        assert file.read_text() != left
        assert config(second, file.read_text()) == 200
        assert config(second, left) == 401
        second.popen.terminate()
        second.popen.wait(30)
    assert not file.exists()
