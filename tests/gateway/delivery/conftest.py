"""What the tests of delivery share: a ledger with a log, receivers on real sockets, couriers that are stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from app.basics.clock import wall_us
from app.gateway.delivery import courier as courier_module
from app.gateway.delivery.courier import Courier, Pusher, cannot_refill
from app.gateway.delivery.guard import Guard
from app.gateway.delivery.outgoing import Outgoing
from app.gateway.delivery.pushing import LedgerPush
from app.gateway.delivery.telling import SeedPush, SeedTerms
from app.ledger.checkpoint import Signer
from app.ledger.cosignature import Cosigner
from app.ledger.delivery import DeliveryRow, DeliveryWay, Standing
from app.ledger.drafts import UsageDraft
from app.ledger.merkle import leaf_hash, root_from_leaves
from app.ledger.records import uuid7
from app.ledger.seed_form import TEMPLATE
from app.ledger.sqlite.store import Ledger
from app.receiver.submission import parse_submission
from tests.gateway.delivery.strange import Receiver, receiver

SIGNER = Signer(bytes(range(32)), "gw_test")
COSIGNER = Cosigner(bytes(32), "client.example")
SECRET = "mr_" + "a" * 43


async def until(met: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(seconds):
        while not met():
            await asyncio.sleep(0.005)


@dataclass
class Copy:
    """An honest receiver, as far as a push goes: it keeps the leaves and cosigns what follows from them."""

    cosigner: Cosigner = COSIGNER
    leaves: list[bytes] = field(default_factory=list)
    note: str = ""
    pushes: list[tuple[int, int]] = field(default_factory=list)
    """Each push as (from, how many)."""

    async def __call__(self, request: web.Request, body: bytes) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {SECRET}":
            return web.Response(status=401)
        if request.method == "GET":
            return self._told(request)
        sent = parse_submission(body)
        self.pushes.append((sent.old, len(sent.leaves)))
        if sent.old > len(self.leaves) or sent.claim.size < len(self.leaves):
            return web.Response(status=409, text=f"{len(self.leaves)}\n", content_type="text/x.tlog.size")
        grown = [*self.leaves[: sent.old], *sent.leaves]
        same = grown[: len(self.leaves)] == self.leaves
        if not same or root_from_leaves(map(leaf_hash, grown)) != sent.claim.root:
            return web.json_response(
                {"error": {"code": "fork", "message": "Record 1 is another."}}, status=422
            )
        self.leaves, self.note = grown, sent.note
        return web.Response(text=self.cosigner.cosign(sent.note, wall_us() // 1_000_000))

    def _told(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/ledger/checkpoint":
            return web.Response(text=self.note)
        begin, limit = int(request.query["from"]), int(request.query["limit"])
        return web.Response(body=b"".join(leaf + b"\n" for leaf in self.leaves[begin : begin + limit]))


def draft(number: int, **changes: Any) -> UsageDraft:
    """A request of its own."""
    t0 = wall_us() + number
    fields: dict[str, Any] = {
        "id": uuid7(t0, number), "t0": t0, "t1": t0 + 1, "dur_us": 400_000, "req": None, "key": "k", "model": "m",
        "model_digest": None, "endpoint": "/api/chat", "tok_in": 2, "tok_out": 3, "tok_src": "engine",
        "outcome": "complete", "e_uj": 1000, "e_src": "nvml", "tariff": "t", "cost": 100 + number,
    }  # fmt: skip
    return UsageDraft(**fields | changes)


@dataclass
class Bench:
    """A ledger with one log, and everything that delivers it."""

    ledger: Ledger
    log: str
    outgoing: Outgoing
    strange: Receiver
    couriers: list[Courier] = field(default_factory=list)
    moved: int = 0
    changed: int = 0

    @property
    def size(self) -> int:
        return {claim.origin: claim.size for claim in self.ledger.newest()}[self.log]

    async def append(self, count: int = 1) -> None:
        """So many requests."""
        begin = self.size
        await asyncio.gather(*(self.ledger.append(self.log, draft(begin + at)) for at in range(count)))

    def ledger_push(self, cosigner: Cosigner = COSIGNER, secret: str = SECRET) -> LedgerPush:
        async def told() -> str:
            return secret

        return LedgerPush(self.ledger, self.outgoing, self.log, self.strange.url, cosigner.verifier, told)

    def seed_push(self, secret: str = "s") -> SeedPush:
        terms = SeedTerms(self.strange.url + "/transaction", secret, TEMPLATE)
        return SeedPush(self.ledger, self.outgoing, self.log, lambda: terms)

    async def deliver(
        self, pusher: Pusher, way: DeliveryWay = DeliveryWay.LEDGER, refill: Any = cannot_refill
    ) -> Courier:
        """A courier that has begun."""
        kept = {row.way: row.standing for row in await self.ledger.deliveries()}

        def moved() -> None:
            self.moved += 1

        def changed() -> None:
            self.changed += 1

        row = DeliveryRow(self.log, way, "", "", kept.get(way, Standing()))
        courier = Courier(row, self.size, self.ledger, pusher, refill, moved=moved, changed=changed)
        self.couriers.append(courier)
        self.ledger.on_committed(lambda grown: courier.grew(grown[self.log]) if self.log in grown else None)
        courier.start()
        return courier


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(courier_module, "SAVE_S", 0.02)
    ledger = await Ledger.open(tmp_path / "l.db", signer=SIGNER, gateway_id="gw_test", clock_us=wall_us)
    client = await ledger.create_client("Anna")
    guard = Guard(private=lambda: True, never=lambda: ())
    outgoing = Outgoing(guard, deadline_s=2.0)
    async with receiver() as strange:
        made = Bench(ledger, client.log, outgoing, strange)
        yield made
        for courier in made.couriers:
            await courier.stop()
        await outgoing.close()
    await ledger.close()
