"""The gateway's side of a simulation: its real file, its real delivery; the loop and the writer's thread are left out.

Its coroutines never wait for anything, so they are run to their end where they stand, without a loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from app.gateway.delivery.pushing import LedgerPush
from app.gateway.delivery.refilling import TailFetch
from app.ledger.checkpoint import Checkpoint, Signer, parse_checkpoint
from app.ledger.delivery import (
    Beat,
    Delivery,
    DeliveryEvent,
    DeliveryRow,
    DeliveryWay,
    Grew,
    Push,
    Refill,
    Standing,
)
from app.ledger.drafts import (
    AdjustDraft,
    DisputeDraft,
    Draft,
    GenesisDraft,
    HeartbeatDraft,
    LaborDraft,
    ModelDraft,
    TariffDraft,
    UptimeDraft,
    UsageDraft,
)
from app.ledger.findings import AuditReport
from app.ledger.ids import uuid7
from app.ledger.merkle import Frontier
from app.ledger.parties import Client, Key
from app.ledger.remembered import pack, unpack
from app.ledger.sqlite.audit import audit
from app.ledger.sqlite.deliveries import PutDelivery
from app.ledger.sqlite.journal import Journal
from app.ledger.sqlite.membership import CreateClient, CreateKey, RevokeKey
from app.ledger.sqlite.reader import Reader
from app.ledger.sqlite.refill import PutBack
from app.ledger.sqlite.rotation import RotateKey
from app.ledger.sqlite.transaction import Append, Write
from tests.twoparty.client import COSIGNER
from tests.twoparty.wire import Wire

NAME, LOG = "gw_sim", "gw_sim/c_1"
AT_ONCE = 5
"""Records in one push, so that a few of them need several."""

T = TypeVar("T")


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """What `work` brings, which waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("it waits for something")


class Vault:
    """The signing keys, the newest last, and what is remembered of the ledger."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.signers = [self._made(0)]
        self.newest: list[str] = []

    def _made(self, number: int) -> Signer:
        return Signer(hashlib.sha256(f"{self._seed}/{number}".encode()).digest(), NAME)

    def next_signer(self) -> Signer:
        """A key to pass the log on to."""
        return self._made(len(self.signers))


class GatewaySide:
    """A gateway at `path` whose wall clock is `now_us`; `empty` is a ledger's file with nothing in it."""

    def __init__(self, path: Path, empty: bytes, vault: Vault, wire: Wire, now_us: Callable[[], int]) -> None:
        path.write_bytes(empty)
        self.path = path
        self.vault = vault
        self.acked: list[Checkpoint] = []
        """Everything that a verified receipt was ever given for."""
        self.said: list[str] = []
        """Every sentence about the delivery."""
        self.troubles: set[str] = set()
        self._wire = wire
        self._now_us = now_us
        self._number = 0
        self._open()

    # The ledger, as `LedgerPush` and `TailFetch` see it.

    async def entries(self, log: str, begin: int, limit: int) -> tuple[bytes, ...]:
        """See `Ledger.entries`."""
        return self.reader.entries(log, begin, limit)

    async def checkpoint(self, log: str, size: int | None = None) -> str:
        """See `Ledger.checkpoint`."""
        return self.reader.checkpoint(log, size)

    async def checkpoint_for(self, log: str, known: int, size: int) -> str:
        """See `Ledger.checkpoint_for`."""
        return self.reader.checkpoint_for(log, known, size)

    async def put_back(self, log: str, bodies: Sequence[bytes]) -> object:
        """See `Ledger.put_back`."""
        return self.write(PutBack(log, bodies, None))  # type: ignore[arg-type]

    def frontier(self, log: str) -> Frontier:
        """See `Ledger.frontier`."""
        return self.journal.heads[log].frontier.copy()

    @property
    def vkey(self) -> str:
        """See `Ledger.vkey`."""
        return self.vault.signers[-1].vkey

    # Its life.

    def _open(self, *, refilling: bool = False) -> None:
        signer = self.vault.signers[-1]
        remembered = () if refilling else unpack(self.vault.newest)
        self.journal = Journal(self.path, signer, None, remembered, refilling=refilling)
        self._closed = False
        self.reader = Reader(self.path, signer)
        kept = {row.way: row.standing for row in self.reader.deliveries()}
        self.life = Delivery(kept.get(DeliveryWay.LEDGER, Standing()), self.size, asks=True)
        self._pusher = LedgerPush(
            self,  # type: ignore[arg-type]
            self._wire,  # type: ignore[arg-type]
            LOG,
            "http://receiver",
            COSIGNER.verifier,
            _secret,
        )
        self._pusher._most = AT_ONCE
        self._fetch = TailFetch(self, self._wire, LOG, "http://receiver", self._pusher.credentials)  # type: ignore[arg-type]

    def close(self) -> None:
        """Let go of the file. Again is harmless."""
        self.reader.close()
        if not self._closed:
            self._closed = True
            self.journal.close()

    def die(self) -> None:
        """Be killed between two commits, and be started again: what was not kept is forgotten."""
        self.close()
        self._open()

    def copied(self) -> bytes:
        """The file as a backup has it."""
        self.close()
        data = self.path.read_bytes()
        self._open()
        return data

    def restore(self, data: bytes) -> None:
        """Another file in place of this one. Raises LedgerError where it is not to be opened."""
        self.close()
        self.path.write_bytes(data)
        self._open()

    def refill(self, data: bytes) -> DeliveryEvent:
        """A file in place of this one, and what it lacks fetched from the receiver: as `ledger refill` does it."""
        self.close()
        self.path.write_bytes(data)
        self._open(refilling=True)
        have, there = self.size, at_once(self._fetch.size())
        event = at_once(self._fetch.refill(Refill(have, there)))
        self.die()
        return event

    # What it records.

    @property
    def size(self) -> int:
        """How many records the log has."""
        head = self.journal.heads.get(LOG)
        return 0 if head is None else head.size

    def bodies(self) -> tuple[bytes, ...]:
        """All of them."""
        return self.reader.entries(LOG, 0, 1024)

    def new_id(self) -> str:
        """A name of this moment that nobody else has."""
        self._number += 1
        return uuid7(self._now_us(), self._number)

    def write(self, *operations: Write) -> list[object]:
        """One commit of all of them."""
        outcomes = [outcome for _, outcome in self.journal.commit(operations).outcomes]
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return outcomes

    def begin(self) -> None:
        """The log with its first record."""
        now_us = self._now_us()
        genesis = GenesisDraft(self.new_id(), now_us, NAME, "Anna", self.vkey)
        self.write(CreateClient(Client("c_1", "Anna", LOG, now_us), genesis, None))  # type: ignore[arg-type]

    def usage(self, cost: int, t0_us: int | None = None) -> UsageDraft:
        """A request of its own."""
        t1 = self._now_us() if t0_us is None else t0_us + 400_000
        return UsageDraft(
            id=self.new_id(), t0=t1 - 400_000, t1=t1, dur_us=400_000, req=None, key="k_1", model="llama3.1:8b",
            model_digest=None, endpoint="/api/chat", tok_in=26, tok_out=None if cost % 5 else 298,
            tok_src="none" if cost % 5 else "engine", outcome="complete", e_uj=1000 + cost, e_src="nvml", tariff="t_1",
            cost=cost,
        )  # fmt: skip

    def other(self, number: int) -> Draft:
        """A record of another kind."""
        name, now_us, cost = self.new_id(), self._now_us(), number * 1_000
        others: tuple[Draft, ...] = (
            UptimeDraft(name, now_us - 5, now_us, 5, 7, "nvml", "t_1", cost),
            LaborDraft(name, now_us - 5, now_us, 5, "a new fan", cost),
            AdjustDraft(name, now_us, None, "a courtesy", -min(cost, self.journal.heads[LOG].cum)),
            TariffDraft(name, now_us, f"t_{number}", "EUR", "0.31", "nvml", 0, 0, 0),
            ModelDraft(name, now_us, "k_1", "llama3.1:8b", None, "hub", None, "removed", "no room"),
            DisputeDraft(name, now_us, None, "that was not us"),
        )
        return others[number % len(others)]

    def revoke_key(self) -> None:
        """The newest of the client's keys is worth nothing any more. Again changes nothing."""
        if self.journal.parties.keys:
            key = self.journal.parties.keys[-1]
            self.write(RevokeKey(key.id, self._now_us(), self.new_id(), None))  # type: ignore[arg-type]

    def append(self, *drafts: Draft) -> None:
        """Record them in one commit."""
        self.write(*(Append(LOG, draft, None, None) for draft in drafts))

    def new_key(self) -> None:
        """One more key of the client's."""
        number = self._number
        sha256 = hashlib.sha256(str(number).encode()).digest()
        key = Key(f"k_{number}", sha256, f"key {number}", "client", "c_1", self._now_us(), None, "{}")
        self.write(CreateKey(key, self.new_id(), None))  # type: ignore[arg-type]

    def rotate(self) -> None:
        """Pass the log on to the next signing key; the vault has it before."""
        old, new = self.vault.signers[-1], self.vault.next_signer()
        self.vault.signers.append(new)
        self.write(RotateKey(old, new, self._now_us(), self.new_id, Reader(self.path, old), None))
        self.reader.signer = new

    def remember(self) -> None:
        """What the vault gets told every few seconds, and at the end."""
        heads = self.journal.heads.values()
        self.vault.newest = pack([Checkpoint(head.name, head.size, head.frontier.root()) for head in heads])

    def keep_standing(self) -> None:
        """What the courier keeps now and then."""
        row = DeliveryRow(LOG, DeliveryWay.LEDGER, "http://receiver", COSIGNER.vkey, self.life.standing)
        self.write(PutDelivery(row, None))  # type: ignore[arg-type]

    # How it delivers: what `Courier` does, without waiting.

    def deliver(self, event: DeliveryEvent) -> None:
        """Tell the delivery `event`, and carry out all that comes of it."""
        wishes = self._told(Grew(self.size)) or self._told(event)
        for _ in range(200):
            if not wishes:
                return
            wishes = self._told(self._carry_out(wishes[0]))
        raise AssertionError("the delivery never comes to rest")

    def _carry_out(self, wish: object) -> DeliveryEvent:
        match wish:
            case Push(old):
                return at_once(self._pusher.push(old))
            case Refill():
                return at_once(self._fetch.refill(wish))
            case Beat():
                self.append(HeartbeatDraft(self.new_id(), self._now_us()))
                return Grew(self.size)
        raise AssertionError(wish)

    def _told(self, event: DeliveryEvent) -> tuple[object, ...]:
        before, now_us = self.life.standing, self._now_us()
        wishes: tuple[object, ...] = self.life.told(event, now_us)
        if self.life.size < self.size:
            wishes += self.life.told(Grew(self.size), now_us)
        after = self.life.standing
        if after.said and after.said != before.said:
            self.said.append(after.said)
        if after.note and after.note != before.note:
            self.acked.append(parse_checkpoint(after.note)[0])
        self.troubles.add(after.trouble.value)
        return wishes

    def root_at(self, size: int) -> bytes:
        """The root over the first `size` records."""
        return parse_checkpoint(self.reader.checkpoint(LOG, size))[0].root

    def audit(self) -> AuditReport:
        """As `ledger verify` has it."""
        return audit(self.path, self.vault.signers[-1].verifier, remembered=unpack(self.vault.newest))


async def _secret() -> str:
    return "mr_secret"


def empty_ledger(path: Path) -> bytes:
    """The file that every gateway's side begins with."""
    Journal(path, Signer(bytes(32), NAME)).close()
    return path.read_bytes()
