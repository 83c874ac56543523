"""Every log's way to whoever keeps a copy of it: which there are, what becomes of them, and what is shown of it.

Rule 1: a client's own receiver is enrolled for its log and cosigns; CALLBACK_URL gets every log's transactions, and
cosigns nothing. Rule 2: what is shown and what is kept is what the couriers say; nothing is counted here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from app.basics.clock import wall_us
from app.basics.signal import Signal
from app.face import ReceiptState, ReceiptsView
from app.gateway.delivery.ahead import Ahead
from app.gateway.delivery.courier import Courier, Pusher, Refiller, cannot_refill
from app.gateway.delivery.enrolling import forget_receiver, keep_receiver, receiver_secret, require_allowed
from app.gateway.delivery.guard import Guard, ReceiverRefused, place_of
from app.gateway.delivery.outgoing import Outgoing
from app.gateway.delivery.pushing import LedgerPush
from app.gateway.delivery.reconciling import reconcile
from app.gateway.delivery.refilling import TailFetch
from app.gateway.delivery.telling import SeedPush, SeedTerms
from app.ledger.comparing import Comparison
from app.ledger.cosignature import CosignerKey
from app.ledger.delivery import DeliveryEvent, DeliveryRow, DeliveryTrouble, DeliveryWay, Refill, Standing
from app.ledger.errors import CheckpointError
from app.ledger.invitation import Invitation
from app.ledger.parties import Client
from app.ledger.sqlite.store import Ledger
from app.settings.parameters import Settings
from app.vault.base import Vault

log = logging.getLogger(__name__)

_Key = tuple[str, DeliveryWay]


class Deliveries:
    """Begin with `begin`, and `close` before the ledger. `never` gives the URLs whose ports are no receivers; `lost` is
    what receivers have shown to have that is missing here."""

    def __init__(
        self,
        ledger: Ledger,
        vault: Vault,
        settings: Callable[[], Settings],
        never: Callable[[], Sequence[str]],
        lost: Sequence[Ahead] = (),
    ) -> None:
        self.moved: Signal[[]] = Signal()
        """Told when something was acknowledged."""
        self.changed: Signal[[]] = Signal()
        """Told when something else of what is shown is different."""
        self.refilled: Signal[[int]] = Signal()
        """Told what records that had been lost and are back cost, in pico-units."""
        self._ledger = ledger
        self._vault = vault
        self._settings = settings
        self._lost = {one.log: one for one in lost}
        self._typed = Outgoing(Guard(private=lambda: True, never=never))
        self._enrolled = Outgoing(Guard(private=lambda: settings().private_receivers, never=never))
        self._couriers: dict[_Key, Courier] = {}
        self._kept: dict[_Key, DeliveryRow] = {}
        """What was kept of the deliveries that do not go on now."""
        self._unsubscribe: Callable[[], None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Go on with what was kept. Raises LedgerError."""
        self._kept = {(row.log, row.way): row for row in await self._ledger.deliveries()}
        for client in self._ledger.clients():
            row = self._kept.get((client.log, DeliveryWay.LEDGER))
            if row is not None:
                self._start_ledger(client, row)
        self._unsubscribe = self._ledger.on_committed(self._grew)
        self._tell_all()

    async def close(self) -> None:
        """End everything, and keep how far it is. Again is harmless."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        for courier in self._couriers.values():
            await courier.stop()
        if self._ending:
            await asyncio.wait(self._ending)
        self._couriers.clear()
        await self._typed.close()
        await self._enrolled.close()

    def settings_changed(self, before: Settings, now: Settings) -> None:
        """CALLBACK_URL goes to another place, or is new, or gone; or what stood in the way may be allowed now."""
        if before.callback_url and not now.callback_url:
            for key in [key for key in self._couriers if key[1] is DeliveryWay.SEED]:
                self._end(key)
            self.changed()
        self._tell_all()
        if _terms(before) != _terms(now) or before.private_receivers != now.private_receivers:
            for courier in self._couriers.values():
                courier.hurry()

    async def enrol(self, client: Client, invitation: Invitation) -> None:
        """Deliver this client's log to the receiver of `invitation`, in place of another one. Raises NoInvitation where
        no receiver may be there, VaultUnavailable, LedgerError."""
        await require_allowed(self._enrolled, invitation)
        courier = self._couriers.pop((client.log, DeliveryWay.LEDGER), None)
        if courier is not None:
            await courier.stop()
        known = None if courier is None else courier.row
        row = await keep_receiver(self._ledger, self._vault, client, invitation, known)
        self._start_ledger(client, row, hurry=True)
        self.changed()
        self.moved()

    async def withdraw(self, client: Client) -> bool:
        """Deliver this client's log to no receiver of its own any more; False where it had none. Raises
        VaultUnavailable, LedgerError."""
        key = client.log, DeliveryWay.LEDGER
        courier = self._couriers.pop(key, None)
        if courier is None:
            return False
        await courier.stop()
        self._kept.pop(key, None)
        await forget_receiver(self._ledger, self._vault, client)
        self.changed()
        self.moved()
        return True

    async def reconcile(self, client: Client, *, every_record: bool) -> Comparison | None:
        """This client's log held against its receiver's copy; None where it has none. Raises LedgerError."""
        courier = self._couriers.get((client.log, DeliveryWay.LEDGER))
        if courier is None:
            return None

        async def credentials() -> dict[str, str]:
            return {"Authorization": f"Bearer {await receiver_secret(self._vault, client.id)}"}

        return await reconcile(
            self._ledger,
            self._ledger.vkey,
            courier.row,
            self._enrolled,
            credentials,
            every_record=every_record,
        )

    # What is shown.

    def receipts(self) -> tuple[ReceiptsView, ...]:
        """What each receiver has acknowledged, the clients' own ones first."""
        now_us = wall_us()
        return tuple(self._view(courier, now_us) for courier in self._sorted())

    def tail_lost(self) -> str | None:
        """A sentence where a receiver has newer records of ours than we have; None where none has, or where they are
        not to be had from it."""
        for (name, way), courier in self._couriers.items():
            trouble = courier.standing.trouble
            if trouble is DeliveryTrouble.AHEAD:
                return f"{name}: {courier.standing.said}"
            if way is DeliveryWay.LEDGER and trouble is DeliveryTrouble.NONE:
                # It has shown our own signature; that it cannot be reached since does not make it wrong. One that takes
                # our records from here on (it was put back itself, or is another) has nothing more of ours.
                shown = self._lost.get(name)
                if shown is not None and courier.size < shown.there and not courier.agreed:
                    return f"{shown}."
        return None

    async def first_word(self, patience_s: float) -> None:
        """Wait until every client's own receiver has said how many records it has, or failed to; at most `patience_s`,
        for nobody has to answer."""
        asked = [courier.heard for key, courier in self._couriers.items() if key[1] is DeliveryWay.LEDGER]
        if asked:
            await asyncio.wait(asked, timeout=patience_s)

    def unacked_pico(self) -> int:
        """What is recorded and not acknowledged costs this much: by the client's own receiver where it has one, else
        by CALLBACK_URL's; what nobody keeps a copy of counts for nothing."""
        sums = 0
        for (name, way), courier in self._couriers.items():
            if way is DeliveryWay.LEDGER or (name, DeliveryWay.LEDGER) not in self._couriers:
                sums += max(0, self._ledger.totals(name).cost_pico - courier.acked_pico)
        return sums

    def _sorted(self) -> Iterator[Courier]:
        for way in DeliveryWay:
            yield from (courier for key, courier in self._couriers.items() if key[1] is way)

    def _view(self, courier: Courier, now_us: int) -> ReceiptsView:
        row, standing = courier.row, courier.standing
        waits = standing.acked < courier.size
        if standing.trouble is not DeliveryTrouble.NONE:
            state = ReceiptState.DISPUTED
        elif courier.overdue(now_us):
            state = ReceiptState.OVERDUE
        else:
            state = ReceiptState.WAITING if waits else ReceiptState.ACKNOWLEDGED
        return ReceiptsView(
            log=row.log,
            way=row.way.value,
            where=_where(row.url or self._settings().callback_url),
            acked=standing.acked,
            size=courier.size,
            state=state,
            trouble=standing.trouble.value,
            sentence=standing.said,
            since_us=standing.since_us,
            next_us=standing.next_us if standing.failures else 0,
            unacked_pico=max(0, self._ledger.totals(row.log).cost_pico - courier.acked_pico),
            checkpoint=standing.note,
            vkey=row.vkey,
        )

    # Couriers.

    def _grew(self, grown: Mapping[str, int]) -> None:
        for name, size in grown.items():
            for way in DeliveryWay:
                courier = self._couriers.get((name, way))
                if courier is not None:
                    courier.grew(size)
        if self._settings().callback_url and any(
            (name, DeliveryWay.SEED) not in self._couriers for name in grown
        ):
            self._tell_all()

    def _tell_all(self) -> None:
        """A courier of the seed's way for every log, where there is an address for them."""
        if not self._settings().callback_url:
            return
        sizes = self._sizes()
        for client in self._ledger.clients():
            key = client.log, DeliveryWay.SEED
            if key not in self._couriers and client.log in sizes:
                row = self._kept.get(key) or DeliveryRow(*key, "", "", Standing())
                pusher = SeedPush(self._ledger, self._typed, client.log, lambda: _terms(self._settings()))
                self._start(key, row, sizes[client.log], pusher, cannot_refill)

    def _start_ledger(self, client: Client, row: DeliveryRow, *, hurry: bool = False) -> None:
        try:
            key = CosignerKey.parse(row.vkey)
        except CheckpointError as error:
            log.error("%s is not delivered, for what is kept of its receiver is damaged: %s", row.log, error)
            return
        pusher = LedgerPush(
            self._ledger,
            self._enrolled,
            row.log,
            row.url,
            key,
            partial(receiver_secret, self._vault, client.id),
        )
        size = self._sizes()[row.log]
        fetch = TailFetch(self._ledger, self._enrolled, row.log, row.url, pusher.credentials)
        self._start((row.log, DeliveryWay.LEDGER), row, size, pusher, partial(self._refill, fetch))
        if hurry:
            self._couriers[row.log, DeliveryWay.LEDGER].hurry()

    def _start(self, key: _Key, row: DeliveryRow, size: int, pusher: Pusher, refill: Refiller) -> None:
        courier = Courier(row, size, self._ledger, pusher, refill, moved=self.moved, changed=self.changed)
        self._couriers[key] = courier
        courier.start()

    def _end(self, key: _Key) -> None:
        courier = self._couriers.pop(key)

        async def stop() -> None:
            await courier.stop()
            self._kept[key] = courier.row

        self._kept[key] = courier.row
        task = asyncio.get_running_loop().create_task(stop())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _refill(self, fetch: TailFetch, wish: Refill) -> DeliveryEvent:
        before = self._ledger.totals().cost_pico
        try:
            return await fetch.refill(wish)
        finally:
            # Also where it broke off in the middle: what is back counts.
            self.refilled(self._ledger.totals().cost_pico - before)

    def _sizes(self) -> dict[str, int]:
        return {claim.origin: claim.size for claim in self._ledger.newest()}


def _terms(settings: Settings) -> SeedTerms:
    return SeedTerms(settings.callback_url, settings.ledger_secret, settings.ledger_template)


def _where(url: str) -> str:
    try:
        place = place_of(url)
    except ReceiverRefused:
        return ""
    return f"{place.host}:{place.port}"
