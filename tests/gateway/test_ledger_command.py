"""`ledger verify` says what is wrong with the ledger of a gateway that does not run, and `accept-rollback` goes on."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import pytest

from tests.gateway.processes import gateway, run

VAULT = ("--vault", "file")


def ledger(home: Path, *words: str) -> tuple[int, str, str]:
    done = run(home, "ledger", *words, *VAULT)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The ledger of a gateway that ran for a moment and ended."""
    with gateway(tmp_path, "--simulate", *VAULT):
        pass
    (found,) = tmp_path.rglob("ledger.sqlite3")
    return found


def grow(home: Path) -> None:
    done = run(home, "keys", "create", "guest", *VAULT)
    assert done.returncode == 0, done.stderr


def test_a_damaged_row_is_named_and_not_a_traceback(tmp_path: Path, file: Path) -> None:
    assert ledger(tmp_path, "verify")[:1] == (0,)
    connection = apsw.Connection(str(file))
    connection.execute("UPDATE record SET find = CAST(x'ff' AS TEXT) WHERE seq = 1")
    connection.close()
    status, said, _ = ledger(tmp_path, "verify")
    assert status == 1
    assert said.startswith("TAMPERED: Record 1 of ")


@pytest.mark.parametrize("how", ["older", "empty", "missing"])
def test_an_older_copy_is_said_and_can_be_gone_on_with(tmp_path: Path, file: Path, how: str) -> None:
    older = file.read_bytes()
    grow(tmp_path)
    match how:
        case "older":
            file.write_bytes(older)
        case "empty":
            file.write_bytes(b"")
        case _:
            file.unlink()
    status, said, _ = ledger(tmp_path, "verify")
    assert (status, said.split(":")[0]) == (1, "ROLLBACK")
    refused = run(tmp_path, "keys", "create", "other", *VAULT)
    assert refused.returncode != 0
    assert "accept-rollback" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    status, said, errors = ledger(tmp_path, "accept-rollback")
    assert status == 0, errors
    assert "gone for good" in said
    assert ledger(tmp_path, "verify")[1].startswith("OK")
    grow(tmp_path)
    assert ledger(tmp_path, "verify")[1].startswith("OK")
    listed = [json.loads(line) for line in ledger(tmp_path, "list", "--json")[1].splitlines()]
    reasons = [record["reason"] for record in listed if record["kind"] == "adjust"]
    assert len(reasons) == (how == "older")
    assert all("were lost" in reason for reason in reasons)


def test_a_profile_that_never_ran_has_nothing_to_verify(tmp_path: Path) -> None:
    status, said, _ = ledger(tmp_path, "verify")
    assert (status, said) == (0, "OK: there is no ledger yet.\n")
    assert not list(tmp_path.rglob("ledger.sqlite3"))


def test_a_running_gateways_ledger_is_no_older_copy(tmp_path: Path) -> None:
    with gateway(tmp_path, "--simulate", *VAULT):
        status, _, errors = ledger(tmp_path, "accept-rollback")
    assert status != 0
    assert "runs" in errors


def test_the_signing_key_is_passed_on_and_everything_goes_on(tmp_path: Path, file: Path) -> None:
    grow(tmp_path)
    status, said, errors = ledger(tmp_path, "rotate-key")
    assert status == 0, errors
    old, new = (line.split()[1] for line in said.splitlines() if line.startswith("  "))
    assert old != new
    assert old.split("+")[0] == new.split("+")[0]
    assert ledger(tmp_path, "verify")[1].startswith("OK")
    grow(tmp_path)
    with gateway(tmp_path, "--simulate", *VAULT):
        status, said, errors = ledger(tmp_path, "rotate-key")
        assert status == 2
        assert "stop it" in errors
        assert ledger(tmp_path, "verify")[1].startswith("OK")
    assert ledger(tmp_path, "rotate-key")[0] == 0
    assert ledger(tmp_path, "verify")[1].startswith("OK")


def sizes(home: Path) -> int:
    status, said, errors = ledger(home, "verify")
    assert status == 0, said + errors
    return int(said.split()[2])


def test_a_backup_is_made_beside_a_running_gateway_and_put_back(tmp_path: Path, file: Path) -> None:
    copy, older = tmp_path / "copy.db", tmp_path / "older.db"
    assert ledger(tmp_path, "backup", str(older))[0] == 0
    grow(tmp_path)
    with gateway(tmp_path, "--simulate", *VAULT):
        status, said, errors = ledger(tmp_path, "backup", str(copy))
        assert (status, "exactly as they were signed" in said) == (0, True), errors
        status, _, errors = ledger(tmp_path, "restore", str(copy))
        assert (status, "stop it" in errors) == (2, True)
        assert "exists already" in ledger(tmp_path, "backup", str(copy))[2]
    records = sizes(tmp_path)
    file.unlink()
    status, said, errors = ledger(tmp_path, "restore", str(copy))
    assert (status, said) == (
        0,
        f"The ledger holds {records} records now, all exactly as they were signed.\n",
    )
    assert sizes(tmp_path) == records
    grow(tmp_path)


def test_an_older_copy_is_put_back_and_says_what_it_lacks_and_the_way_on(tmp_path: Path, file: Path) -> None:
    older = tmp_path / "older.db"
    assert ledger(tmp_path, "backup", str(older))[0] == 0
    grow(tmp_path)
    records = sizes(tmp_path)
    status, said, errors = ledger(tmp_path, "restore", str(older))
    assert status == 0, errors
    assert f"What was in its place is {file}.before-restore-1." in said
    assert "lacks the newest 1 records" in said
    assert ledger(tmp_path, "verify")[1].startswith("ROLLBACK")
    # Its better is put back again.
    status, said, errors = ledger(tmp_path, "restore", f"{file}.before-restore-1")
    assert (status, "lacks" in said) == (0, False), errors
    assert sizes(tmp_path) == records
    assert ledger(tmp_path, "restore", str(older))[0] == 0
    assert ledger(tmp_path, "accept-rollback")[0] == 0
    assert ledger(tmp_path, "verify")[1].startswith("OK")


@pytest.mark.parametrize("fault", ["edited", "another's", "no database", "nothing"])
def test_what_is_not_as_it_was_signed_is_never_put_in_place(tmp_path: Path, file: Path, fault: str) -> None:
    copy = tmp_path / "copy.db"
    home = tmp_path
    if fault == "another's":
        home = tmp_path / "other"
        home.mkdir()
        with gateway(home, "--simulate", *VAULT):
            pass
    assert ledger(home, "backup", str(copy))[0] == 0
    if fault == "edited":
        connection = apsw.Connection(str(copy))
        connection.execute("UPDATE record SET t0 = t0 + 1 WHERE seq = 1")
        connection.close()
    elif fault == "no database":
        copy.write_bytes(b"x" * 9000)
    elif fault == "nothing":
        copy.unlink()
    before = file.read_bytes()
    status, said, errors = ledger(tmp_path, "restore", str(copy))
    assert (status, said) == (2, "")
    assert len(errors.strip().splitlines()) == 1
    assert file.read_bytes() == before
    assert sorted(found.name for found in file.parent.iterdir() if "restor" in found.name) == []
