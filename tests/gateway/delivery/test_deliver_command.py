"""`ledger deliver` from the command line, with the gateway and the receiver as two processes and without."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.processes import Process, environment, gateway, program, run

VAULT = ("--vault", "file")
PRIVATE = ("--set", "private_receivers=true")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def line(home: Path) -> Iterator[str]:
    """What `receiver enrol` printed; the receiver runs."""
    client = home / "client"
    client.mkdir()
    with program(client, "app", "receiver", "run", *VAULT, "--port", "0", "--print-connection"):
        done = run(client, "receiver", "enrol", "garage", *VAULT, "--json")
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout)["line"]


def deliver(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = run(home, "ledger", "deliver", *words, *VAULT, *PRIVATE)
    assert "Traceback" not in done.stderr
    assert "mr_" not in done.stdout + done.stderr
    return done


def listed(home: Path) -> dict[str, Any]:
    (said,) = deliver(home, "--json").stdout.splitlines()
    return dict(json.loads(said))


def acknowledged(home: Path) -> dict[str, Any]:
    """The one delivery, once nothing waits."""
    until = time.monotonic() + 15
    while (said := listed(home))["waiting"] and time.monotonic() < until:
        time.sleep(0.1)
    assert said["waiting"] == 0, said
    return said


def runs(home: Path) -> Any:
    return gateway(home, "--simulate", *PRIVATE)


def test_a_line_given_to_a_running_gateway_delivers_at_once(home: Path, line: str) -> None:
    with runs(home) as process:
        assert isinstance(process, Process)
        done = deliver(home, "First client", line)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("The log of First client goes to http://127.0.0.1:")
        assert acknowledged(home)["state"] == "acknowledged"
        done = deliver(home, "First client", "--stop")
        assert done.returncode == 0
        assert deliver(home, "--json").stdout == ""


def test_a_line_written_down_before_is_delivered_with_the_next_start(home: Path, line: str) -> None:
    with runs(home):
        pass
    done = deliver(home, "First client", line)
    assert done.returncode == 0, done.stderr
    assert listed(home)["state"] == "stopped"
    with runs(home):
        assert acknowledged(home)["state"] == "acknowledged"
    assert listed(home)["waiting"] == 0
    assert "RECEIVER" in deliver(home).stdout
    assert deliver(home, "First client", "--stop").returncode == 0
    refused = deliver(home, "First client", "--stop")
    assert refused.returncode != 0
    assert "has no receiver of its own" in refused.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Nobody", "LINE"), "There is no client 'Nobody'"),
        (("First client", "nonsense"), "must begin with mortdecai-receiver:"),
    ],
)
def test_what_is_wrong_is_one_sentence(home: Path, line: str, words: tuple[str, str], said: str) -> None:
    with runs(home):
        pass
    done = deliver(home, *(line if word == "LINE" else word for word in words))
    assert done.returncode != 0
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_line_may_come_through_standard_input_so_that_no_other_user_sees_it(
    home: Path, line: str
) -> None:
    with runs(home):
        pass
    done = subprocess.run(
        [sys.executable, "-m", "app", "ledger", "deliver", "First client", *VAULT, *PRIVATE],
        env=environment(home), input=line + "\n", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert listed(home)["client"] == "First client"
