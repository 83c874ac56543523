"""`ledger accept-rollback` where a client keeps a copy: its receiver is asked before anything is given up for good."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.gateway.processes import gateway, program, run
from tests.gateway.test_rollback_command import (
    PRIVATE,
    SERVE,
    VAULT,
    ask,
    delivered,
    keep,
    lay,
    ledger,
    records,
    serves_and_verifies,
    the_ledger,
    what_it_holds,
)


class Client:
    """A client's receiver, which comes and goes and is always at the same address."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = 0
        self.line = ""
        """What the contributor pastes."""

    @contextmanager
    def up(self) -> Iterator[None]:
        words = ("receiver", "run", *VAULT, "--port", str(self.port), "--print-connection")
        with program(self.home, "app", *words) as process:
            self.port = int(process.connection["url"].rpartition(":")[2])
            yield

    def enrol(self) -> None:
        self.line = json.loads(run(self.home, "receiver", "enrol", "garage", *VAULT, "--json").stdout)["line"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folders of a gateway."""
    made = tmp_path / "gateway"
    made.mkdir()
    return made


@pytest.fixture
def client(home: Path, tmp_path: Path) -> Client:
    """A receiver that has all that `home` recorded when its ledger was kept as `older`."""
    folder = tmp_path / "client"
    folder.mkdir()
    made = Client(folder)
    with made.up(), gateway(home, "--simulate", *PRIVATE) as process:
        made.enrol()
        assert ledger(home, "deliver", "First client", made.line).returncode == 0
        asyncio.run(ask(process.connection, 2))
        delivered(home)
    keep(home, "older")
    return made


def go_on(home: Path, client: Client, *, delivering: bool) -> None:
    """Two requests more, which the receiver hears of or does not."""
    with ExitStack() as stack:
        if delivering:
            stack.enter_context(client.up())
        process = stack.enter_context(gateway(home, "--simulate", *PRIVATE))
        asyncio.run(ask(process.connection, 2))
        if delivering:
            delivered(home)


def test_a_receiver_that_is_down_is_waited_for_and_one_that_agrees_lets_it_go_on(
    home: Path, client: Client
) -> None:
    go_on(home, client, delivering=False)
    lay(home, "older")
    before = what_it_holds(home)
    refused = ledger(home, "accept-rollback")
    assert refused.returncode != 0
    (line,) = refused.stderr.strip().splitlines()
    assert "Nothing was changed" in line
    assert "cannot be reached" in line
    assert "--despite-receivers" in line
    assert what_it_holds(home) == before
    with client.up():
        accepted = ledger(home, "accept-rollback")
        assert accepted.returncode == 0, accepted.stderr
        assert "gone for good" in accepted.stdout
        serves_and_verifies(home)
        with gateway(home, "--simulate", *PRIVATE):
            delivered(home)


def test_a_receiver_that_has_the_lost_records_is_in_the_way_until_they_are_fetched_or_given_up(
    home: Path, client: Client
) -> None:
    go_on(home, client, delivering=True)
    newest = records(home)
    lay(home, "older")
    before = what_it_holds(home)
    with client.up():
        refused = ledger(home, "accept-rollback")
        assert refused.returncode != 0
        (line,) = refused.stderr.strip().splitlines()
        assert "Nothing was changed. ROLLBACK: " in line
        assert "ledger refill" in line
        assert "--despite-receivers" in line
        assert what_it_holds(home) == before
        assert ledger(home, "refill").returncode == 0
        assert records(home) == newest
        lay(home, "older")
        given_up = ledger(home, "accept-rollback", "--despite-receivers")
        assert given_up.returncode == 0, given_up.stderr
        assert "gone for good" in given_up.stdout
        assert "The log of First client goes to its receiver no more" in given_up.stdout
        assert ledger(home, "deliver", "--json").stdout == ""
        serves_and_verifies(home)
    (adjusted,) = [record for record in records(home) if record["kind"] == "adjust"]
    assert f"to {newest[-1]['seq']} were lost" in str(adjusted["reason"])


def test_a_ledger_that_is_gone_with_the_address_of_its_receiver_is_not_given_up_without_a_word(
    home: Path, client: Client
) -> None:
    the_ledger(home).unlink()
    with client.up():
        refused = ledger(home, "accept-rollback")
    assert refused.returncode != 0
    assert "whose address is not in this copy of the ledger" in refused.stderr
    assert ledger(home, "accept-rollback", "--despite-receivers").returncode == 0
    serves_and_verifies(home)


def test_ledger_and_vault_from_before_the_key_passed_on_are_said_to_be_older_copies(
    home: Path, client: Client
) -> None:
    """The vault is as old as the ledger, and remembers nothing newer: the receiver alone can prove it."""
    (vault,) = home.rglob("vault.json")
    older = vault.read_text()
    for _ in range(2):
        assert ledger(home, "rotate-key").returncode == 0
    go_on(home, client, delivering=True)
    newest, newer = records(home), vault.read_text()
    vault.write_text(older)
    lay(home, "older")
    before = what_it_holds(home)
    with client.up():
        for refused in (
            run(home, *SERVE),
            run(home, "keys", "create", "x", *VAULT, *PRIVATE),
            ledger(home, "refill"),
            ledger(home, "accept-rollback"),
        ):
            assert refused.returncode != 0
            (line,) = refused.stderr.strip().splitlines()
            assert "ROLLBACK: the ledger and the vault are older copies, from before the signing key" in line
            assert "put back a copy of the vault that has the newest key" in line
            assert "ledger refill" in line
        assert what_it_holds(home) == before
        # The way that the sentence names.
        vault.write_text(newer)
        assert ledger(home, "refill").returncode == 0
        assert records(home) == newest
        serves_and_verifies(home)
        # The other one, where that key is lost for good.
        vault.write_text(older)
        lay(home, "older")
        assert ledger(home, "accept-rollback", "--despite-receivers").returncode == 0
        serves_and_verifies(home)


def test_a_gateway_that_began_on_such_copies_while_the_receiver_was_away_stops_once_it_hears(
    home: Path, client: Client
) -> None:
    (vault,) = home.rglob("vault.json")
    older = vault.read_text()
    assert ledger(home, "rotate-key").returncode == 0
    go_on(home, client, delivering=True)
    vault.write_text(older)
    lay(home, "older")
    with gateway(home, "--simulate", *PRIVATE), client.up():
        # The same line again: a word that the receiver is to be asked at once.
        assert ledger(home, "deliver", "First client", client.line).returncode == 0
        until = time.monotonic() + 20
        while "ROLLBACK" not in (said := ledger(home, "verify").stdout):
            assert time.monotonic() < until, said
            time.sleep(0.2)
    assert said.startswith("ROLLBACK: ")
    assert "the ledger and the vault are older copies, from before the signing key passed on" in said
