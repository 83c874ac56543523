"""A ledger that is older than what the vault remembers, from the command line: it is said in one line, and each way out
that the line names works.

One gateway is run, and its folders are copied for each test: `older` is its ledger of before, and `crashed` its
ledger as a kill would have left it, with the newest records in the write-ahead log alone.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from pathlib import Path

import aiohttp
import apsw
import pytest

from tests.gateway.conftest import chat
from tests.gateway.processes import gateway, program, run

VAULT = ("--vault", "file")
PRIVATE = ("--set", "private_receivers=true")
SERVE = ("serve", "--simulate", "--port", "0", "--contribute", "--print-connection", *VAULT, *PRIVATE)
LOST = ("older", "emptied", "missing", "damaged WAL", "cut WAL", "missing WAL")
NAMED = LOST[:4]
SAID = "mortdecai-gateway: ROLLBACK: "
WAYS_OUT = ("ledger restore", "ledger refill", "ledger accept-rollback")


def ledger(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = run(home, "ledger", *words, *VAULT, *PRIVATE)
    assert "Traceback" not in done.stderr
    return done


def the_ledger(home: Path) -> Path:
    (found,) = [path for path in home.rglob("ledger.sqlite3") if "kept" not in path.parts]
    return found


def records(home: Path) -> list[dict[str, object]]:
    done = ledger(home, "list", "--json", "--limit", "1000")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


async def ask(connection: dict[str, str], count: int) -> None:
    headers = {"Authorization": f"Bearer {connection['api_key']}"}
    async with aiohttp.ClientSession(connection["url"], headers=headers) as session:
        for _ in range(count):
            async with session.post("/api/chat", json=chat(stream=False, tokens=2)) as reply:
                assert reply.status == 200


def keep(home: Path, name: str) -> None:
    """A copy of the ledger's files as they lie."""
    target = home / "kept" / name
    target.mkdir(parents=True)
    for file in the_ledger(home).parent.glob("ledger.sqlite3*"):
        if file.suffix not in (".lock", ".reserve"):
            shutil.copyfile(file, target / file.name)


def lay(home: Path, name: str) -> Path:
    """Put such a copy in the ledger's place."""
    file = the_ledger(home)
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    for kept in (home / "kept" / name).iterdir():
        shutil.copyfile(kept, file.with_name(kept.name))
    return file


def lose(home: Path, how: str) -> None:
    """What happened to the ledger's files."""
    file = the_ledger(home)
    wal = file.with_name(file.name + "-wal")
    match how:
        case "older":
            lay(home, "older")
        case "emptied":
            lay(home, "crashed")
            file.write_bytes(b"")
        case "missing":
            file.unlink()
        case "damaged WAL":
            lay(home, "crashed")
            data = bytearray(wal.read_bytes())
            data[40] ^= 1
            wal.write_bytes(data)
        case "cut WAL":
            lay(home, "crashed")
            data = bytearray(wal.read_bytes())
            wal.write_bytes(data[: len(data) // 2])
        case "missing WAL":
            lay(home, "crashed")
            wal.unlink()
            file.with_name(file.name + "-shm").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of a gateway that ran and ended in order."""
    home = tmp_path_factory.mktemp("grown")
    with gateway(home, "--simulate"):
        pass
    keep(home, "older")
    with gateway(home, "--simulate") as process:
        asyncio.run(ask(process.connection, 6))
        keep(home, "crashed")
        assert ledger(home, "backup", str(home / "kept" / "newest.db")).returncode == 0
    return home


@pytest.fixture
def home(grown: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(grown, tmp_path / "home", ignore=shutil.ignore_patterns("stderr.txt")))


def what_it_holds(home: Path) -> list[tuple[object, ...]]:
    """Its records and holds. SQLite may move them from one of its files to the other."""
    file = next(home.glob("data/*/ledger.sqlite3"), None)
    if file is None or not file.stat().st_size:
        return [] if file is None else [("empty",)]
    connection = apsw.Connection(str(file))
    try:
        held = connection.execute("SELECT * FROM hold").fetchall()
        return [*connection.execute("SELECT * FROM record").fetchall(), *held]
    finally:
        connection.close()


def serves_and_verifies(home: Path) -> None:
    with gateway(home, "--simulate", *PRIVATE) as process:
        asyncio.run(ask(process.connection, 1))
    verified = ledger(home, "verify")
    assert verified.stdout.startswith("OK: "), verified.stdout


@pytest.mark.parametrize("how", LOST)
def test_whatever_is_lost_is_said_by_serve_and_verify_in_one_line_with_the_ways_out(
    home: Path, how: str
) -> None:
    lose(home, how)
    before = what_it_holds(home)
    refused = run(home, *SERVE)
    assert refused.returncode != 0
    assert refused.stdout == ""
    (line,) = refused.stderr.strip().splitlines()
    assert line.startswith(SAID)
    assert all(way in line for way in WAYS_OUT), line
    verified = ledger(home, "verify")
    assert verified.returncode == 1
    first = verified.stdout.splitlines()[0]
    assert first.startswith("ROLLBACK: ")
    assert all(way in first for way in WAYS_OUT), first
    assert verified.stderr == ""
    assert what_it_holds(home) == before


@pytest.mark.parametrize("how", NAMED)
def test_a_copy_that_has_everything_is_put_back_and_all_is_as_it_was(home: Path, how: str) -> None:
    before = records(home)
    lose(home, how)
    restored = ledger(home, "restore", str(home / "kept" / "newest.db"))
    assert restored.returncode == 0, restored.stderr
    assert "lacks" not in restored.stdout
    serves_and_verifies(home)
    assert records(home)[: len(before)] == before


@pytest.mark.parametrize("how", NAMED)
def test_going_on_without_them_is_recorded_and_serving_goes_on(home: Path, how: str) -> None:
    lose(home, how)
    accepted = ledger(home, "accept-rollback")
    assert accepted.returncode == 0, accepted.stderr
    assert "gone for good" in accepted.stdout
    serves_and_verifies(home)
    adjusted = [record for record in records(home) if record["kind"] == "adjust"]
    assert len(adjusted) == (how not in ("missing", "emptied"))


def test_what_an_older_copy_lacks_comes_back_from_the_receiver_and_all_is_as_it_was(tmp_path: Path) -> None:
    home, client = tmp_path / "gateway", tmp_path / "client"
    home.mkdir()
    client.mkdir()
    with program(client, "app", "receiver", "run", *VAULT, "--port", "0", "--print-connection"):
        line = json.loads(run(client, "receiver", "enrol", "garage", *VAULT, "--json").stdout)["line"]
        with gateway(home, "--simulate", *PRIVATE):
            assert ledger(home, "deliver", "First client", line).returncode == 0
        keep(home, "older")
        with gateway(home, "--simulate", *PRIVATE) as process:
            asyncio.run(ask(process.connection, 5))
            assert run(home, "keys", "create", "late", *VAULT).returncode == 0
            delivered(home)
        before = records(home)
        lay(home, "older")
        refused = run(home, *SERVE)
        assert refused.stderr.startswith(SAID), refused.stderr
        back = ledger(home, "refill")
        assert back.returncode == 0, back.stdout + back.stderr
        assert "are back, each as it was signed" in back.stdout
        assert "lacks nothing that this profile remembers" in back.stdout
        assert records(home) == before
        assert "late" in run(home, "keys", "list", *VAULT).stdout
        # Nothing is there that could say where the receiver is: a copy first, then what it lacks.
        the_ledger(home).unlink()
        nothing = ledger(home, "refill")
        assert nothing.returncode != 0
        assert "ledger restore" in nothing.stderr
        assert ledger(home, "restore", str(home / "kept" / "older" / "ledger.sqlite3")).returncode == 0
        assert ledger(home, "refill").returncode == 0
        serves_and_verifies(home)
    lay(home, "older")
    unreachable = ledger(home, "refill")
    assert unreachable.returncode == 1
    assert "cannot be reached" in unreachable.stderr
    assert ledger(home, "verify").stdout.startswith("ROLLBACK: ")


def test_a_copy_from_before_the_signing_key_passed_on_is_refilled_like_any_other(tmp_path: Path) -> None:
    """Of the old key nothing is left, and none is needed: today's has signed everything that the receiver holds."""
    home, client = tmp_path / "gateway", tmp_path / "client"
    home.mkdir()
    client.mkdir()
    with program(client, "app", "receiver", "run", *VAULT, "--port", "0", "--print-connection"):
        line = json.loads(run(client, "receiver", "enrol", "garage", *VAULT, "--json").stdout)["line"]
        with gateway(home, "--simulate", *PRIVATE) as process:
            assert ledger(home, "deliver", "First client", line).returncode == 0
            asyncio.run(ask(process.connection, 2))
            delivered(home)
        keep(home, "older")
        for _ in range(2):
            assert ledger(home, "rotate-key").returncode == 0
        with gateway(home, "--simulate", *PRIVATE) as process:
            asyncio.run(ask(process.connection, 2))
            delivered(home)
        before = records(home)
        lay(home, "older")
        refused = run(home, *SERVE)
        assert refused.stderr.startswith(SAID), refused.stderr
        assert "before the signing key passed on" in refused.stderr
        assert "ledger refill" in refused.stderr
        assert ledger(home, "verify").stdout.startswith("ROLLBACK: ")
        assert ledger(home, "accept-rollback").returncode != 0
        the_ledger(home).unlink()
        restored = ledger(home, "restore", str(home / "kept" / "older" / "ledger.sqlite3"))
        assert restored.returncode == 0, restored.stderr
        assert "only so, for it is from before the signing key passed on" in restored.stdout
        back = ledger(home, "refill")
        assert back.returncode == 0, back.stdout + back.stderr
        assert records(home) == before
        serves_and_verifies(home)
    # A copy that is not as the key of before signed it is none, though only the newest could prove it.
    forged = home / "kept" / "forged.sqlite3"
    shutil.copyfile(home / "kept" / "older" / "ledger.sqlite3", forged)
    connection = apsw.Connection(str(forged))
    connection.execute("UPDATE record SET body = CAST(replace(body, 'complete', 'timeout') AS BLOB)")
    connection.close()
    refused = ledger(home, "restore", str(forged))
    assert refused.returncode != 0
    assert "Nothing was changed" in refused.stderr


def delivered(home: Path) -> None:
    """Wait until the receiver has everything."""
    until = time.monotonic() + 20
    while json.loads(ledger(home, "deliver", "--json").stdout)["waiting"]:
        assert time.monotonic() < until
        time.sleep(0.2)


def test_a_copy_that_is_made_while_requests_are_recorded_is_one_moment_of_the_ledger(
    home: Path, tmp_path: Path
) -> None:
    answered = asyncio.Event()

    async def go_on_asking(connection: dict[str, str]) -> None:
        while True:
            await ask(connection, 1)
            answered.set()

    async def busily(connection: dict[str, str]) -> list[subprocess.CompletedProcess[str]]:
        asking = [asyncio.create_task(go_on_asking(connection)) for _ in range(3)]
        made = []
        try:
            for number in range(3):
                answered.clear()
                await answered.wait()
                copy = str(tmp_path / f"copy{number}.db")
                made.append(await asyncio.to_thread(ledger, home, "backup", copy))
            return made
        finally:
            assert not any(task.done() for task in asking)
            for task in asking:
                task.cancel()
            await asyncio.wait(asking)

    with gateway(home, "--simulate") as process:
        made = asyncio.run(busily(process.connection))
    counts = []
    for done in made:
        assert done.returncode == 0, done.stderr
        assert "all exactly as they were signed" in done.stdout
        counts.append(int(done.stdout.split(": ")[1].split()[0]))
    assert counts == sorted(set(counts)), "each has more than the one before"
    last = len(records(home))
    assert counts[-1] <= last
    assert ledger(home, "restore", str(tmp_path / "copy2.db")).returncode == 0
    assert (
        len(records(home)) if counts[-1] == last else ledger(home, "verify").stdout.startswith("ROLLBACK: ")
    )


def test_a_copy_of_another_history_by_the_same_key_is_not_put_in_place(
    grown: Path, home: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(grown, tmp_path / "other", ignore=shutil.ignore_patterns("stderr.txt")))
    lay(other, "older")
    assert ledger(other, "accept-rollback").returncode == 0
    with gateway(other, "--simulate") as process:
        asyncio.run(ask(process.connection, 8))
    assert ledger(other, "backup", str(tmp_path / "forked.db")).returncode == 0
    before = the_ledger(home).read_bytes()
    refused = ledger(home, "restore", str(tmp_path / "forked.db"))
    assert refused.returncode != 0
    assert "another history" in refused.stderr
    assert the_ledger(home).read_bytes() == before


def test_a_memory_that_is_illegible_is_said_before_anything_is_put_in_place(home: Path) -> None:
    (vault,) = home.rglob("vault.json")
    kept = json.loads(vault.read_text())
    assert kept["secrets"]["ledger-newest-0"]
    kept["secrets"]["ledger-newest-0"] = "nonsense"
    vault.write_text(json.dumps(kept))
    before = the_ledger(home).read_bytes()
    for done in (
        run(home, *SERVE),
        ledger(home, "verify"),
        ledger(home, "refill"),
        ledger(home, "restore", str(home / "kept" / "newest.db")),
    ):
        assert done.returncode != 0
        (line,) = done.stderr.strip().splitlines()
        assert line.startswith(SAID), line
    assert the_ledger(home).read_bytes() == before
    assert ledger(home, "accept-rollback").returncode == 0
    serves_and_verifies(home)
