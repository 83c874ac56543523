"""Before anything is signed: has a client's receiver newer records of ours than the ledger that lies here?

Who puts back a whole machine puts back its vault too, and what that remembers is then as old as the ledger is. The
receivers alone know better; and the start after a crash records anew what was under way, which would be signed over
sizes that they have cosigned.

Rule 1: only our own signature counts, over more records than there are here. Rule 2: nobody has to answer, and none is
waited for longer than the caller's patience: what is not known is said as such, and what follows from it is the
caller's to decide. A start opens the ledger as it lies; giving records up for good does not go on without a word.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import apsw

from app.basics.threads import in_thread
from app.gateway.delivery.enrolling import receiver_secret, secret_name
from app.gateway.delivery.guard import Guard
from app.gateway.delivery.holdings import LOST_KEY, SEARCH_S, before_the_key_passed_on, newest_note, passed_on
from app.gateway.delivery.outgoing import NoAnswer, Outgoing
from app.gateway.delivery.pushing import NoSecret
from app.ledger.checkpoint import VerifierKey, verify_checkpoint
from app.ledger.delivery import DeliveryRow, DeliveryWay
from app.ledger.errors import CheckpointError, LedgerError, UnsignedCheckpoint
from app.ledger.sqlite.deliveries import stored_deliveries
from app.ledger.sqlite.rows import stored_parties
from app.ledger.sqlite.schema import open_reader
from app.settings.parameters import Settings
from app.vault.base import Vault

log = logging.getLogger(__name__)

PATIENCE_S = 1.0
READ_S = 5.0


@dataclass(frozen=True, slots=True)
class Ahead:
    """The receiver of `log` shows our signature over `there` records, of which `here` lie here. `outlived`: it is that
    of a key to which the one in the vault has passed on since."""

    log: str
    here: int
    there: int
    outlived: bool = False

    @property
    def remedy(self) -> str:
        """What can be done, without its full stop."""
        return LOST_KEY if self.outlived else "fetch them with `mortdecai-gateway ledger refill`"

    def __str__(self) -> str:
        if self.outlived:
            return before_the_key_passed_on(self.log, self.here, self.there)
        return (
            f"ROLLBACK: the ledger is an older copy, with {self.here} of the {self.there} records of {self.log} that"
            " its receiver shows our signature over"
        )


@dataclass(frozen=True, slots=True)
class Unheard:
    """How many records the receiver of `log` has is not known: `why` is a sentence."""

    log: str
    why: str

    def __str__(self) -> str:
        return f"{self.log}: {self.why}"


@dataclass(frozen=True, slots=True)
class _Delivered:
    row: DeliveryRow
    client_id: str
    size: int


def receivers_of(settings: Callable[[], Settings]) -> Outgoing:
    """Who asks clients' receivers while no gateway runs, by the same rules. Close it."""

    def never() -> tuple[str, str]:
        return f"http://127.0.0.1:{settings().port}", settings().upstream_url

    return Outgoing(Guard(private=lambda: settings().private_receivers, never=never))


async def ahead(path: Path, vkey: str, vault: Vault, settings: Callable[[], Settings]) -> list[Ahead]:
    """The logs of the ledger at `path`, which nobody writes to now, whose receivers have more of them."""
    said = await ask_receivers(path, vkey, vault, settings)
    for one in said:
        if isinstance(one, Unheard):
            log.info("Whether the receiver of %s has newer records is not known yet: %s", one.log, one.why)
    return [one for one in said if isinstance(one, Ahead)]


async def ask_receivers(
    path: Path,
    vkey: str,
    vault: Vault,
    settings: Callable[[], Settings],
    *,
    patience_s: float = PATIENCE_S,
    logs: Iterable[str] = (),
) -> list[Ahead | Unheard]:
    """What clients' receivers say against the ledger at `path`, which nobody writes to now; those that have no more
    than it say nothing. `logs` are others that there were: a receiver of one of these, whose address is not in this
    copy, is Unheard where the vault still has its secret. Raises VaultUnavailable for `logs` alone."""
    try:
        delivered = await in_thread(lambda: _delivered(path), READ_S, name="who is delivered to")
    except (TimeoutError, RuntimeError):
        delivered = []
    outgoing = receivers_of(settings)
    try:
        said = await asyncio.gather(*[_ask(one, vkey, vault, outgoing, patience_s) for one in delivered])
    finally:
        await outgoing.close()
    found = [one for one in said if one is not None]
    for name in sorted(set(logs) - {one.row.log for one in delivered}):
        if await vault.get(secret_name(name.rpartition("/")[2])) is not None:
            found.append(
                Unheard(name, "It went to a receiver whose address is not in this copy of the ledger.")
            )
    return found


async def _ask(
    one: _Delivered, vkey: str, vault: Vault, outgoing: Outgoing, patience_s: float
) -> Ahead | Unheard | None:
    name, url, key = one.row.log, one.row.url, VerifierKey.parse(vkey)

    async def credentials() -> dict[str, str]:
        return {"Authorization": f"Bearer {await receiver_secret(vault, one.client_id)}"}

    try:
        async with asyncio.timeout(patience_s):
            note = await newest_note(outgoing, url, await credentials(), name)
        try:
            there = verify_checkpoint(note, key, name).size
        except UnsignedCheckpoint:
            async with asyncio.timeout(SEARCH_S):
                passed = await passed_on(outgoing, url, credentials, key, note, name, one.size)
            if passed is None:
                raise
            return Ahead(name, one.size, passed.there, outlived=True)
    except TimeoutError:
        return Unheard(name, f"Its receiver does not answer within {patience_s:g} s.")
    except CheckpointError as error:
        return Unheard(name, f"Its receiver does not show our signature over what it has: {error}.")
    except (NoAnswer, NoSecret) as error:
        return Unheard(name, str(error))
    return Ahead(name, one.size, there) if there > one.size else None


def _delivered(path: Path) -> list[_Delivered]:
    """What is delivered to whom. What cannot be read is said by who opens the ledger."""
    with suppress(LedgerError, apsw.Error, AttributeError, TypeError, ValueError):
        connection = open_reader(path)
        try:
            rows = connection.execute("SELECT name, size FROM log")
            sizes = {str(name): int(str(size)) for name, size in rows}
            owners = {client.log: client.id for client in stored_parties(connection).clients}
            return [
                _Delivered(row, owners[row.log], sizes[row.log])
                for row in stored_deliveries(connection)
                if row.way is DeliveryWay.LEDGER and row.log in owners and row.log in sizes
            ]
        finally:
            connection.close()
    return []
