"""`ledger export`: the bytes that were hashed, a table, or the seed's form; whether the gateway runs or not."""

from __future__ import annotations

import csv
import io
import json
import urllib.request
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import apsw
import pytest

from app.commands.ledger_export import _cells
from app.ledger.drafts import AdjustDraft
from app.ledger.records import Record, decode
from app.ledger.seed_form import count_hashes
from tests.gateway.processes import gateway, run

VAULT = ("--vault", "file")
MODEL = "qwen2.5:3b"


def ask(connection: dict[str, str]) -> None:
    body = {"model": MODEL, "prompt": "Hello", "stream": False, "options": {"num_predict": 5}}
    request = urllib.request.Request(
        connection["url"] + "/api/generate",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {connection['api_key']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        reply.read()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[tuple[str, ...], str]]:
    """The home of a gateway with two clients, one of which made requests, and what it exported while it ran."""
    home = tmp_path_factory.mktemp("home")
    with gateway(home, "--simulate", *VAULT) as process:
        for _ in range(3):
            ask(process.connection)
        assert run(home, "keys", "create", "laptop", "--client", "Ben", *VAULT).returncode == 0
        words = [(), ("--csv",), ("--log", "Ben"), ("--format", "seed", "--set", "ledger_secret=s3cret")]
        said = {form: export(home, *form)[1] for form in words}
    return home, said


def export(home: Path, *words: str) -> tuple[int, str, str]:
    done = run(home, "ledger", "export", *words, *VAULT)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def home(told: tuple[Path, dict[tuple[str, ...], str]]) -> Path:
    return told[0]


def test_a_gateway_that_runs_exports_the_same_as_one_that_does_not(
    told: tuple[Path, dict[tuple[str, ...], str]],
) -> None:
    home, said = told
    for words, text in said.items():
        assert text
        assert export(home, *words) == (0, text, "")


def test_the_lines_are_the_bytes_that_were_hashed(home: Path) -> None:
    (path,) = home.rglob("ledger.sqlite3")
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    bodies = [body for (body,) in connection.execute("SELECT body FROM record ORDER BY log, seq")]
    connection.close()
    _, said, _ = export(home, "--jsonl")
    assert said.encode() == b"".join(body + b"\n" for body in bodies)
    _, ben, _ = export(home, "--jsonl", "--log", "Ben")
    assert said.endswith(ben)
    assert 0 < len(ben) < len(said)


def test_the_table_has_exact_money_and_energy_and_every_record(home: Path) -> None:
    bodies = [line.encode() for line in export(home)[1].splitlines()]
    rows = list(csv.DictReader(io.StringIO(export(home, "--csv")[1])))
    assert len(rows) == len(bodies)
    usage = [row for row in rows if row["kind"] == "usage"]
    assert len(usage) == 3
    for row, body in zip(rows, bodies, strict=True):
        record = json.loads(body)
        assert (row["log"], row["seq"], row["id"]) == (record["log"], str(record["seq"]), record["id"])
        assert Decimal(row["cost"]) * 10**12 == int(record["cost"])
        assert Decimal(row["total_cost"]) * 10**12 == int(record["cum"])
        assert row["energy_uj"] == str(record.get("e_uj", ""))
        assert row["start"].endswith("Z")
        assert "E" not in row["cost"]
    assert Decimal(usage[0]["duration_seconds"]) * 10**6 == next(
        json.loads(body)["dur_us"] for body in bodies if b'"usage"' in body
    )


def test_the_seeds_form_has_hashes_that_an_old_receiver_can_check(home: Path) -> None:
    _, said, _ = export(home, "--format", "seed", "--set", "ledger_secret=s3cret")
    counted = count_hashes(said.encode().splitlines(), "s3cret")
    assert (counted.total, counted.valid) == (3, 3)
    status, said, errors = export(home, "--format", "seed")
    assert (status, said) == (2, "")
    assert "LEDGER_SECRET" in errors


def test_a_period_leaves_out_what_began_outside_it(home: Path) -> None:
    everything = export(home)[1]
    assert export(home, "--from", "2020-01", "--to", "2020-12")[1] == ""
    assert export(home, "--from", "2020-01")[1] == everything
    assert export(home, "--csv", "--to", "2020-12")[1].count("\n") == 1
    second = [line for line in everything.splitlines() if '"usage"' in line][1]
    at_us = json.loads(second)["t0"]
    moment = datetime.fromtimestamp(at_us // 10**6, UTC) + timedelta(microseconds=at_us % 10**6)
    before, after = moment.isoformat(), (moment + timedelta(microseconds=1)).isoformat()
    assert export(home, "--from", before, "--to", after)[1] == second + "\n"


def test_a_file_is_whole_or_not_there(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "ledger.jsonl"
    status, said, _ = export(home, "--out", str(out))
    assert status == 0
    assert out.read_text() == export(home)[1]
    assert said == f"{out} holds {len(out.read_text().splitlines())} records.\n"
    assert list(tmp_path.iterdir()) == [out]
    for bad in (tmp_path, tmp_path / "missing" / "file"):
        status, said, errors = export(home, "--out", str(bad))
        assert (status, said) == (2, "")
        assert "cannot be written" in errors


def test_a_damaged_ledger_is_said_and_leaves_no_file(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with gateway(home, "--simulate", *VAULT):
        pass
    (path,) = home.rglob("ledger.sqlite3")
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE record SET body = zeroblob(9) WHERE seq = 2")
    connection.close()
    out = tmp_path / "ledger.jsonl"
    status, _, errors = export(home, "--out", str(out))
    assert status == 2
    assert "Record 2 " in errors
    assert not out.exists()
    assert not out.with_name("ledger.jsonl.part").exists()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_no_text_of_anybodys_becomes_a_formula_in_a_spreadsheet(home: Path, text: str) -> None:
    body = export(home)[1].splitlines()[0].encode()
    draft = AdjustDraft(decode(body).draft.id, 5, None, text, -7)
    cells = _cells(Record("log", 1, -7, draft))
    assert cells[-1] == "'" + text
    assert cells[-3] == "-0.000000000007"
