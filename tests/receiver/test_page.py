"""docs/receiver.md is true, and so is what docs/ledger.md has two sides do: the commands do what they say."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli import parser
from app.ledger.invitation import parse_invitation
from tests.gateway.processes import gateway
from tests.gateway.processes import run as run_command
from tests.real.postgres_server import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "receiver.md").read_text()
LEDGER_PAGE = (ROOT / "docs" / "ledger.md").read_text()
PROGRAM = Path(sys.executable).with_name("mortdecai-gateway")
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
ELSEWHERE = ("sudo", "docker", "pip")
"""What needs a machine to spoil; `test_installing.py` tries the files that these commands use."""


def commands(block: str) -> list[list[str]]:
    """A block's commands as words, without what they are said to do."""
    text = block.replace("\\\n", " ")
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


class Reader:
    """Somebody who types what stands on the page."""

    def __init__(self, home: Path, database: str = "") -> None:
        self.home = home
        self._environment = os.environ | {
            "MORTDECAI_HOME": str(home),
            "MORTDECAI_RECEIVER_VAULT": "file",
            "MORTDECAI_RECEIVER_PORT": "0",
            "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}",
        }
        if database:
            self._environment["MORTDECAI_RECEIVER_DATABASE"] = database

    def types(self, *words: str, given: str = "") -> str:
        """The output of a command that succeeds."""
        done = subprocess.run(
            words,
            input=given,
            env=self._environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    @contextlib.contextmanager
    def starts(self, *words: str) -> Iterator[str]:
        """The address of a receiver that was started so."""
        process = subprocess.Popen(
            words, env=self._environment, cwd=self.home, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("Receiving at "):
                    yield line.split()[2].rstrip(".")
                    break
            else:
                pytest.fail("it ended without a word")
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)


def ask(url: str, key: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        url, data, {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)


def test_every_command_of_the_page_is_either_tried_here_or_needs_a_machine_of_its_own() -> None:
    told = [words for block in BLOCKS for words in commands(block)]
    ours = [" ".join(words[1:3]) for words in told if words[0] == "mortdecai-gateway"]
    assert ours == [
        "receiver", "receiver enrol", "receiver list", "receiver remove", "receiver verify", "receiver pull",
        "receiver reconcile",
        "ledger deliver", "ledger deliver", "receiver --database",
    ]  # fmt: skip
    assert {words[0] for words in told} == {"mortdecai-gateway", *ELSEWHERE}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_reader_who_types_what_stands_there_ends_with_a_cosigned_copy(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    database = ""
    if kind == "postgres":
        database = request.getfixturevalue("postgres_server").database()
    for place in ("client", "contributor"):
        (tmp_path / place).mkdir()
    client = Reader(tmp_path / "client", database)
    run, enrol, listing, remove, verify, pull, reconcile = commands(BLOCKS[0])
    deliver, delivered = commands(BLOCKS[1])
    with (
        client.starts(*run) as url,
        gateway(tmp_path / "contributor", "--simulate", "--set", "private_receivers=true") as lender,
    ):
        line = client.types(*enrol).strip().splitlines()[-1]
        assert parse_invitation(line).url == url
        told = contributor(tmp_path, deliver, CLIENT="First client", LINE=line)
        assert told == f"The log of First client goes to {url} from now on.\n"
        connection = lender.connection
        question = {"model": "qwen2.5:3b", "messages": [{"role": "user", "content": "Hi"}], "stream": False}
        ask(connection["url"] + "/api/chat", connection["api_key"], question)
        records = ask(connection["url"] + "/reconcile", connection["api_key"])["ledger_entries"]
        secret = parse_invitation(line).secret
        deadline = time.monotonic() + 30
        while ask(url + "/reconcile", secret)["ledger_entries"] < records:
            assert time.monotonic() < deadline
        assert "acknowledged" in contributor(tmp_path, delivered)
        assert re.search(rf"garage +\S+ \S+ +active +1 +{records} ", client.types(*listing))
        assert f"all {records} records are as they were signed.\n" in client.types(*verify)
        assert " ".join(reconcile) in LEDGER_PAGE, "where it is tried"
        at = pull.index("--url") + 1
        there = [*pull[:at], connection["url"], *pull[at + 1 :]]
        assert ": nothing new; " in client.types(*there, given=connection["api_key"])
        both_sides_prove(tmp_path, client, connection, parse_invitation(line).vkey)
        assert "Removed garage" in client.types(*remove)
        assert "removed" in client.types(*listing)
    assert client.types(*verify).startswith("OK: "), "without a receiver that runs, too"


def both_sides_prove(tmp_path: Path, client: Reader, connection: dict[str, Any], cosigner: str) -> None:
    """What docs/ledger.md says of one record and of two copies."""
    blocks = re.findall(r"```bash\n(.*?)```", LEDGER_PAGE, re.DOTALL)
    (record,) = (block for block in blocks if "ledger prove" in block)
    prove, check = commands(record)
    (compared,) = (block for block in blocks if "ledger reconcile" in block)
    reconcile, theirs = commands(compared)
    proof = client.home / prove[-1]
    assert contributor(tmp_path, [*prove[:-1], str(proof)]).startswith(
        f"{proof} proves that record 1 is among"
    )
    vkey = contributor(tmp_path, ["mortdecai-gateway", "ledger", "vkey"]).strip()
    told = client.types(*(vkey if word == "$VKEY" else word for word in check), "--cosigner", cosigner)
    assert told.startswith("OK: record 1 is among the first ")
    assert f"{cosigner.split('+')[0]} has cosigned it" in told
    assert contributor(tmp_path, reconcile).startswith("OK: Both sides hold the same")
    at = theirs.index("--url") + 1
    there = [*theirs[:at], connection["url"], *theirs[at + 1 :]]
    assert client.types(*there, given=connection["api_key"]).startswith("OK: Both sides hold the same")


def contributor(tmp_path: Path, words: list[str], **given: str) -> str:
    """What the contributor's command says, with the page's stand-ins replaced."""
    typed = words[1:]
    if given:
        typed = [given["CLIENT"] if word == "CLIENT" else word for word in typed]
        assert typed[-1].startswith("mortdecai-receiver:https://")
        typed[-1] = given["LINE"]
    done = run_command(tmp_path / "contributor", *typed)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_fleets_command_keeps_the_copy_in_its_database(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    database = postgres_server.database()
    (words,) = [words for words in commands(BLOCKS[2]) if words[0] == "mortdecai-gateway"]
    assert words[-1].startswith("postgresql://")
    reader = Reader(tmp_path)
    with reader.starts(*words[:-1], database) as url:
        assert ask(url + "/health", "")["store"] == "PostgreSQL"
    # And as the page says for a service: in the settings' file, where every command finds it.
    settings = tmp_path / "config" / "default" / "receiver" / "settings.toml"
    assert str(settings.relative_to(tmp_path)) in PAGE
    settings.write_text(f"database = {json.dumps(database)}\n")
    with reader.starts("mortdecai-gateway", "receiver") as url:
        assert ask(url + "/health", "")["store"] == "PostgreSQL"
        line = reader.types("mortdecai-gateway", "receiver", "enrol", "garage").strip().splitlines()[-1]
        assert ask(url + "/ledger/logs", parse_invitation(line).secret)["logs"] == []


@pytest.mark.parametrize("command", re.findall(r"(?m)^\| `ledger ([a-z-]+)", LEDGER_PAGE))
def test_every_command_in_the_ledgers_table_is_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["ledger", command, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")


def test_the_pages_example_of_a_push_is_the_form_that_is_taken() -> None:
    (example,) = re.findall(r"```\n(old 41\n.*?)```", PAGE, re.DOTALL)
    head, _, note = example.partition("\n\n")
    old, *leaves = head.splitlines()
    assert old == "old 41"
    assert [int(re.search(r'"seq":(\d+)', leaf)[1]) for leaf in leaves] == [41, 42]  # type: ignore[index]
    origin, size, _, empty, signature = note.rstrip("\n").split("\n")
    assert (size, empty) == ("43", "")
    assert signature.startswith("— mortdecai-gateway/")
    assert re.fullmatch(r"[0-9a-f]{16}/c_…", origin)
