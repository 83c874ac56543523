"""The tray's verbs from a terminal, spoken to a gateway in another process."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.commands.common import CommandError
from app.commands.verbs import duration_s
from tests.gateway.processes import gateway, run


class Running:
    """A gateway with the simulator, and the commands of its profile."""

    def __init__(self, home: Path, connection: dict[str, Any]) -> None:
        self.home = home
        self.connection = connection

    def say(self, *words: str) -> str:
        done = run(self.home, *words, "--vault", "file")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def chat(self) -> None:
        body = {"model": "qwen2.5:3b", "messages": [{"role": "user", "content": "Hi"}], "stream": False}
        request = urllib.request.Request(
            f"{self.connection['url']}/api/chat",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.connection['api_key']}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            assert reply.status == 200

    def engine_url(self) -> str:
        request = urllib.request.Request(
            f"{self.connection['url']}/admin/engine",
            headers={"Authorization": f"Bearer {self.connection['operator_token']}"},
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            return str(json.load(reply)["url"])

    def accepting(self) -> bool:
        with urllib.request.urlopen(f"{self.connection['url']}/health", timeout=10) as reply:
            return bool(json.load(reply)["accepting"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("home")
    with gateway(home, "--simulate") as process:
        yield Running(home, process.connection)


def test_pause_gives_the_gpu_back_and_says_how_much(running: Running) -> None:
    running.say("resume")
    running.chat()
    assert "qwen2.5:3b" in running.say("status")
    said = running.say("pause")
    assert said.startswith("Paused. Released ")
    assert "GB of the GPU's memory." in said
    assert not running.accepting()
    assert "Not serving: Paused." in running.say("status")


def test_what_else_lies_in_that_ollama_is_named_with_the_way_to_unload_it(running: Running) -> None:
    running.say("resume")
    engine = running.engine_url()
    body = json.dumps({"model": "llama3.1:8b"}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{engine}/api/generate", body), timeout=30) as reply:
        reply.read()
    said = running.say("pause")
    assert "llama3.1:8b" in said
    assert "To unload that as well: mortdecai-gateway pause --others" in said
    said = running.say("pause", "--others")
    assert "Released " in said
    assert "--others" not in said
    assert "llama3.1:8b" not in running.say("status")


def test_a_tiny_amount_is_told_in_plain_digits(running: Running) -> None:
    running.say("resume")
    running.chat()
    spent, cap = r"(\$\d+\.\d+|0\.\d+ ¢)", r"\$10\.00"
    assert re.search(rf"Spent {spent} of {cap}, \d+ requests", running.say("status"))
    assert re.fullmatch(rf"OK: \d+ records, {spent} in all\.\n", running.say("ledger", "verify"))


def test_resume_serves_again(running: Running) -> None:
    running.say("pause")
    assert running.say("resume") == "Contributing.\n"
    running.chat()


def test_finish_pauses_at_once_where_nothing_runs(running: Running) -> None:
    running.say("resume")
    assert running.say("finish") == "Paused.\n"
    assert not running.accepting()


def test_snooze_says_until_when(running: Running) -> None:
    assert "Paused until " in running.say("snooze", "3h")
    assert not running.accepting()
    running.say("resume")
    assert running.accepting()


def test_a_verb_without_a_gateway_says_how_to_start_one(tmp_path: Path) -> None:
    done = run(tmp_path, "pause", "--vault", "file")
    assert done.returncode == 2
    assert "Start it with mortdecai-gateway" in done.stderr


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("3h", 10_800), ("1 d", 86_400), ("90 MIN", 5400), ("7d", 604_800)]
)
def test_durations_are_read_as_people_write_them(text: str, seconds: int) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "3", "soon", "0h", "8d", "-1h", "1h30", "²h"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(CommandError, match="30m, 3h or 1d"):
        duration_s(text)


def test_time_of_ones_own_is_logged_from_a_terminal_and_stands_after_a_restart(tmp_path: Path) -> None:
    home = tmp_path
    words = ("--vault", "file")
    with gateway(home, "--simulate", "--set", "labor_rate_per_hour=2.4"):
        done = run(home, "labor", "1.25", "--note", "new fan", *words)
        assert re.match(r"1\.25 h for First client: \$3\.00, recorded as [0-9a-f-]{36}\.$", done.stdout), done
        refused = run(home, "labor", "two", *words)
        assert refused.returncode != 0
        assert "hours must be a number above 0" in refused.stderr
        assert run(home, "labor", "1", "--client", "Nobody", *words).returncode != 0
    with gateway(home, "--simulate", "--set", "labor_rate_per_hour=2.4"):
        assert run(home, "labor", *words).stdout.splitlines() == [
            "First client: 1.25 h, $3.00",
            "all: 1.25 h, $3.00",
        ]
        assert "Spent $3.00 of" in run(home, "status", *words).stdout
    verified = run(home, "ledger", "verify", *words)
    assert verified.returncode == 0, verified
