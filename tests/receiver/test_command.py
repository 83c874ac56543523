"""`mortdecai-gateway receiver` as a person or a service manager starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.ledger.cosignature import CosignerKey, find_cosignature
from app.ledger.invitation import parse_invitation
from app.settings.logs import redact
from tests.real.postgres_server import PostgresServer
from tests.receiver.sending import SendingLog, usage
from tests.receiver.test_server import flat

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return os.environ | {"MORTDECAI_HOME": str(tmp_path), "MORTDECAI_RECEIVER_VAULT": "file"}


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def do(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "app", "receiver", *words]
        return subprocess.run(command, env=environment | more, capture_output=True, text=True, timeout=60)

    return do


class Started:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        self.said: dict[str, Any] = json.loads(line)

    def ask(self, path: str, key: str, body: bytes | None = None) -> tuple[int, str]:
        request = urllib.request.Request(self.said["url"] + path, body, {"Authorization": f"Bearer {key}"})
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[..., Started]]:
    running: list[subprocess.Popen[str]] = []

    def do(*words: str) -> Started:
        command = [sys.executable, "-m", "app", "receiver", "--port", "0", "--print-connection", *words]
        running.append(
            subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
        return Started(running[-1])

    yield do
    for process in running:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=20)


def test_it_listens_says_where_and_stops_when_it_is_told(start: Callable[..., Started], run: Run) -> None:
    started = start()
    assert started.said["profile"] == "default"
    assert json.loads(started.ask("/health", "")[1])["vkey"] == started.said["vkey"]
    again = run("--port", "0")
    assert (again.returncode, again.stdout) == (2, "")
    assert "already running" in again.stderr
    started.process.send_signal(signal.SIGTERM)
    assert started.process.wait(20) == 0


def test_who_was_enrolled_while_it_runs_may_send_at_once_and_who_was_removed_may_not(
    start: Callable[..., Started], run: Run
) -> None:
    started = start()
    told = run("enrol", "garage")
    assert told.returncode == 0, told.stderr
    line = told.stdout.strip().splitlines()[-1]
    invitation = parse_invitation(line)
    assert (invitation.url, invitation.vkey) == (started.said["url"], started.said["vkey"])
    gateway = SendingLog(records=5)
    status, lines = started.ask("/ledger", invitation.secret, gateway.push())
    assert status == 200, lines
    assert find_cosignature(gateway.note(), lines, CosignerKey.parse(invitation.vkey)).checkpoint.size == 6
    listed = json.loads(run("list", "--json").stdout)
    assert (listed["name"], listed["logs"], listed["records"], listed["removed"]) == ("garage", 1, 6, None)
    renewed = json.loads(run("enrol", "garage", "--renew", "--json").stdout)
    assert started.ask("/ledger/entries", renewed["secret"])[1].encode().splitlines() == gateway.bodies
    assert run("remove", "garage").returncode == 0
    assert "removed" in run("list").stdout


def test_a_kill_loses_nothing_that_was_cosigned(start: Callable[..., Started], run: Run) -> None:
    started = start()
    secret = json.loads(run("enrol", "garage", "--json").stdout)["secret"]
    gateway = SendingLog(records=3)
    for _ in range(5):
        assert started.ask("/ledger", secret, gateway.push(max(0, len(gateway.bodies) - 1)))[0] in (200, 409)
        size = len(gateway.bodies)
        assert started.ask("/ledger", secret, gateway.push(0))[0] == 200
        started.process.kill()
        started.process.wait(20)
        started = start()
        assert started.ask("/ledger", secret, gateway.push(size))[0] == 200
        gateway.append(usage())
    told = run("verify")
    assert told.returncode == 0
    assert told.stdout.startswith(f"OK: {gateway.log}: all 8 records are as they were signed.\n")


def test_enrolling_needs_no_receiver_that_runs(run: Run) -> None:
    told = run("enrol", "garage", "--public-url", "https://client.example/copy/", "--json")
    first = json.loads(told.stdout)
    assert first["address"] == "https://client.example/copy"
    assert parse_invitation(first["line"]).vkey == first["vkey"]
    second = run("enrol", "attic", "--vkey", SendingLog(2).signer.vkey)
    assert parse_invitation(second.stdout.strip().splitlines()[-1]).url == "http://127.0.0.1:8435"
    assert first["vkey"] in second.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("enrol",), "wants the gateway's name"),
        (("enrol", " "), "1 to 64 printable characters"),
        (("enrol", "x", "--vkey", "nonsense"), "The gateway's key cannot be read"),
        (("enrol", "x", "--renew"), "No gateway is called x"),
        (("enrol", "x", "--port", "0"), "has no address yet"),
        (("remove", "x"), "No gateway is called x"),
        (("verify", "x"), "No gateway is called x"),
        (("--database", "mysql://x"), "postgresql://"),
        (("--set", "prot=1"), "port may be meant"),
        (("--port", "99999"), "from 0 to 65535"),
        (("enrol", "x", "--vault", "memory"), "memory vault"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_one_sentence(run: Run, words: tuple[str, ...], sentence: str) -> None:
    told = run(*words)
    assert (told.returncode, told.stdout) == (2, "")
    assert sentence in told.stderr
    assert told.stderr.count("\n") == 1


def test_a_name_is_enrolled_once(run: Run) -> None:
    assert run("enrol", "garage").returncode == 0
    told = run("enrol", "garage")
    assert told.returncode == 2
    assert "enrolled already" in told.stderr


def test_whoever_changed_the_copy_is_told_by_verify(
    start: Callable[..., Started], run: Run, tmp_path: Path
) -> None:
    import apsw

    started = start()
    secret = json.loads(run("enrol", "garage", "--json").stdout)["secret"]
    gateway = SendingLog(records=3)
    assert started.ask("/ledger", secret, gateway.push())[0] == 200
    with apsw.Connection(str(tmp_path / "data" / "default" / "receiver" / "receiver.sqlite3")) as file:
        file.execute("UPDATE record SET body = CAST('{}' AS BLOB) WHERE seq = 2")
    told = run("verify", "garage")
    assert told.returncode == 1
    assert told.stdout.startswith(f"TAMPERED: {gateway.log}: Record 2")
    assert "2 of 4 are in order" in told.stdout


def test_verify_hashes_the_seeds_transactions_anew_and_says_where_it_cannot(
    start: Callable[..., Started], run: Run, tmp_path: Path
) -> None:
    import apsw

    assert (run("verify").returncode, run("verify").stdout) == (0, "Nothing is held yet.\n")
    started = start("--set", "ledger_secret=shh")
    secret = json.loads(run("enrol", "garage", "--json").stdout)["secret"]
    for number in range(2):
        assert started.ask("/transaction", secret, flat("shh", id=f"tx-{number}"))[0] == 200
    told = run("verify", LEDGER_SECRET="shh")
    assert told.returncode == 0
    assert told.stdout == "OK: The transactions in the seed's form carry their own hash, all 2.\n"
    told = run("verify", "garage")
    assert (told.returncode, told.stdout.split(":")[0]) == (0, "UNCHECKED")
    with apsw.Connection(str(tmp_path / "data" / "default" / "receiver" / "receiver.sqlite3")) as file:
        file.execute(
            "UPDATE flat SET body = CAST(replace(CAST(body AS TEXT), '298', '29') AS BLOB) WHERE id = 'tx-1'"
        )
    told = run("verify", LEDGER_SECRET="shh")
    assert told.returncode == 1
    assert told.stdout.startswith(
        "TAMPERED: The hash of 1 transaction in the seed's form (tx-1) held when it came"
    )
    assert told.stdout.endswith(" 1 of 2 carry their own hash.\n")


@pytest.mark.parametrize("words", [("enrol", "garage"), ("list",), ("remove", "garage"), ("verify",)])
def test_a_command_that_would_work_on_another_store_than_the_receiver_that_runs_is_refused(
    start: Callable[..., Started], run: Run, postgres_server: PostgresServer, words: tuple[str, ...]
) -> None:
    database = postgres_server.database()
    start("--database", database)
    told = run(*words)
    assert (told.returncode, told.stdout) == (2, "")
    assert "keeps its copy in PostgreSQL: name the same one, with --database" in told.stderr
    if words[0] == "enrol":
        assert run(*words, "--database", database).returncode == 0
        assert run("list", MORTDECAI_RECEIVER_DATABASE=database).stdout.count("garage") == 1


def test_a_database_that_the_receiver_that_runs_does_not_use_is_refused(
    start: Callable[..., Started], run: Run
) -> None:
    start()
    told = run("list", "--database", "postgresql://nobody@127.0.0.1:1/nothing")
    assert told.returncode == 2
    assert told.stderr.endswith("keeps its copy in SQLite: leave out the database.\n")


def test_secrets_are_in_no_log_and_files_are_private(
    start: Callable[..., Started], run: Run, tmp_path: Path
) -> None:
    started = start()
    secret = json.loads(run("enrol", "garage", "--json").stdout)["secret"]
    started.ask("/ledger", secret, b"nonsense")
    started.process.terminate()
    started.process.wait(20)
    everything = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*.log"))
    assert everything
    assert secret.encode() not in everything
    assert secret.encode() not in (tmp_path / "data/default/receiver/receiver.sqlite3").read_bytes()
    for path in tmp_path.rglob("*"):
        if "receiver" in path.parts:
            assert not path.stat().st_mode & 0o077, path


def test_a_receivers_key_that_slips_into_a_log_is_blotted_out() -> None:
    assert redact("refused mr_" + "A1b2-_" * 7) == "refused [hidden]"
