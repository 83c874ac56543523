"""What is opened, and what is refused with a sentence."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import apsw
import pytest

from app.ledger.checkpoint import Signer
from app.ledger.drafts import KeyDraft
from app.ledger.errors import LedgerBusy, LedgerCorrupt, LedgerError, LedgerTampered
from app.ledger.sqlite import membership
from app.ledger.sqlite.schema import MIGRATIONS

HOLD_THE_LOCK = """
import sys
from pathlib import Path
from app.ledger.sqlite.schema import Ownership
with Ownership(Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


async def used(opening, drafts):
    """A closed ledger of one client with ten requests."""
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    await asyncio.gather(*[ledger.append(log, drafts()) for _ in range(10)])
    await ledger.close()
    return log


async def test_a_second_ledger_on_the_same_file_is_refused(ledger, opening):
    with pytest.raises(LedgerBusy, match="another profile"):
        await opening()


async def test_a_file_that_another_process_owns_is_refused_until_that_process_ends(opening, path):
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert owner.stdout.readline() == "mine\n"
        with pytest.raises(LedgerBusy):
            await opening()
    finally:
        owner.kill()
        owner.communicate()
    assert (await opening()).clients() == ()


async def test_what_is_no_database_is_refused_and_left_alone(opening, path):
    path.write_text("dear diary " * 1000)
    with pytest.raises(LedgerCorrupt, match="damaged"):
        await opening()
    assert path.read_text() == "dear diary " * 1000


async def test_a_database_of_another_program_is_refused_and_left_alone(opening, path, rows):
    rows("CREATE TABLE cookie (name)")
    with pytest.raises(LedgerCorrupt, match="another program"):
        await opening()
    assert rows("SELECT name FROM sqlite_schema") == [("cookie",)]


async def test_a_ledger_of_the_future_is_refused(opening, drafts, rows):
    await used(opening, drafts)
    rows(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(LedgerError, match="newer version"):
        await opening()


async def test_the_schema_has_a_version(opening, drafts, rows):
    await used(opening, drafts)
    assert rows("PRAGMA user_version") == [(len(MIGRATIONS),)]


async def test_a_folder_that_is_missing_is_named(opening, tmp_path):
    with pytest.raises(LedgerError, match="nowhere"):
        await opening(path=tmp_path / "nowhere" / "ledger.db")


@pytest.mark.parametrize("gateway", ["", "a b", "a+b", "a/b", "a\nb"])
async def test_a_gateways_name_that_a_checkpoint_cannot_carry_is_refused(opening, gateway):
    with pytest.raises(LedgerError, match="gateway"):
        await opening(gateway_id=gateway)


async def test_a_ledger_signed_with_another_key_is_not_signed_over(opening, drafts):
    await used(opening, drafts)
    with pytest.raises(LedgerTampered, match="vault"):
        await opening(signer=Signer(bytes(32), "gw_test"))
    assert (await opening()).totals().requests == 10


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM record WHERE seq = (SELECT max(seq) FROM record)",
        "UPDATE log SET size = size - 1",
        "UPDATE log SET frontier = zeroblob(8)",
        "UPDATE log SET frontier = x'00'",
        "UPDATE log SET checkpoint = ''",
        "UPDATE log SET checkpoint = (SELECT checkpoint FROM kept)",
        "INSERT INTO record SELECT n + 1, log, seq + 1, t0, zeroblob(16), find, leaf, body FROM record"
        " ORDER BY n DESC LIMIT 1",
    ],
)
async def test_a_state_that_was_never_signed_is_not_signed_over(opening, drafts, rows, statement):
    await used(opening, drafts)
    rows(statement)
    with pytest.raises(LedgerTampered, match="verification"):
        await opening()


async def test_a_failed_opening_leaves_the_file_free(opening, drafts, rows, path):
    await used(opening, drafts)
    note = rows("SELECT checkpoint FROM log")[0][0]
    rows("UPDATE log SET checkpoint = ''")
    with pytest.raises(LedgerTampered):
        await opening()
    rows("UPDATE log SET checkpoint = ?", note)
    assert (await opening()).totals().requests == 10


async def test_a_database_browser_in_the_way_is_waited_for_and_then_named(opening, drafts, path):
    await used(opening, drafts)
    browser = apsw.Connection(str(path))
    browser.execute("PRAGMA locking_mode = EXCLUSIVE")
    browser.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(LedgerBusy, match="Another program"):
            await opening()
    finally:
        browser.close()
    assert (await opening()).totals().requests == 10


async def test_a_ledger_of_the_first_schema_keeps_its_keys_which_then_have_no_limits(
    opening, drafts, rows, monkeypatch
):
    monkeypatch.setattr(membership, "KeyDraft", lambda *said: KeyDraft(*said[:7]))  # as it was recorded then
    ledger = await opening()
    client = await ledger.create_client("Anna")
    key = await ledger.create_key(
        label="laptop", sha256=b"1" * 32, client=client.id, limits='{"models":["a:b"]}'
    )
    await ledger.close()
    ledger = await opening()
    assert ledger.keys() == (key,)
    assert key.limits == '{"models":["a:b"]}'
    await ledger.close()
    rows("DROP TABLE delivery")
    rows("DROP INDEX record_key")
    rows("DROP INDEX record_spent; DROP INDEX record_labor")
    rows("ALTER TABLE key DROP COLUMN limits")
    rows("PRAGMA user_version = 1")
    (found,) = (await opening()).keys()
    assert (found.id, found.sha256, found.limits) == (key.id, key.sha256, "{}")
