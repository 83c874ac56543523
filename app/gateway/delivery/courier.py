"""One log on its way to one receiver: carries out what `ledger.delivery` wishes, and keeps how far it is.

Rule 1: one thing at a time, in one task; whatever goes wrong in it is a failed try. Rule 2: what comes while something
is under way goes with the next push, and pushes keep a distance, so that under load one carries many records. Rule 3:
the loop's timers stand still while a machine sleeps and know nothing of a clock that is set, so a wait is never longer
than `LOOK_S`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from app.basics.clock import mono_us, wall_us
from app.ledger.delivery import (
    Beat,
    Came,
    Delivery,
    DeliveryEvent,
    DeliveryRow,
    DeliveryTrouble,
    DeliveryWay,
    DeliveryWish,
    Failed,
    Grew,
    Hurry,
    Progressed,
    Push,
    Refill,
    Standing,
)
from app.ledger.drafts import HeartbeatDraft
from app.ledger.errors import LedgerClosed, LedgerError
from app.ledger.records import decode
from app.ledger.sqlite.store import Ledger

log = logging.getLogger(__name__)

DISTANCE_S = 0.25
"""Between the beginnings of two pushes; the first record after a quiet moment goes at once."""
CROWD = 1024
"""With so many records waiting nobody waits for more."""
LOOK_S = 30.0
KEPT_S = 2.0
"""So long the end waits for a disk to keep how far it was."""
SAVE_S = 1.0
"""How far it is, while all goes well, is kept so often: losing that costs a question."""


class Pusher(Protocol):
    """How records get to the receiver."""

    async def push(self, old: int, tell: Callable[[Progressed], None]) -> DeliveryEvent:
        """Tell the records from `old` on. Raises LedgerClosed."""


Refiller = Callable[[Refill], Awaitable[DeliveryEvent]]
"""Fetches a lost tail. Raises LedgerClosed."""


async def cannot_refill(wish: Refill) -> DeliveryEvent:
    """For the seed's receivers, which hold no records."""
    return Failed("The receiver says that it has more records than we have, which no such receiver knows.")


class Courier:
    """Delivers from `start` to `stop`. `moved` is called whenever the receiver has acknowledged something, `changed`
    where something else of what is shown is different."""

    def __init__(
        self,
        row: DeliveryRow,
        size: int,
        ledger: Ledger,
        pusher: Pusher,
        refill: Refiller,
        *,
        moved: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._row = row
        self._life = Delivery(row.standing, size, asks=row.way is DeliveryWay.LEDGER)
        self._ledger = ledger
        self._pusher = pusher
        self._refill = refill
        self._moved = moved
        self._changed = changed
        self._size = size
        self._wake = asyncio.Event()
        self._hurry = False
        self.heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the receiver was asked for the first time, or is not to be asked now."""
        self._task: asyncio.Task[None] | None = None
        self._saver: asyncio.TimerHandle | None = None
        self._saved = row.standing
        self._keeping: asyncio.Future[None] | None = None
        self._begun_us: int | None = None
        self._shown: tuple[object, ...] = ()
        self.acked_pico = 0
        """What the acknowledged records cost in all."""
        self._priced = 0

    @property
    def row(self) -> DeliveryRow:
        """Where it goes, and how far it is."""
        return replace(self._row, standing=self._life.standing)

    @property
    def standing(self) -> Standing:
        """How far it is."""
        return self._life.standing

    @property
    def agreed(self) -> bool:
        """Whether the receiver has acknowledged what there was, since the start or since what was lost came back."""
        return self._life.agreed

    @property
    def size(self) -> int:
        """How many records the log has."""
        return max(self._size, self._life.size)

    def overdue(self, now_us: int) -> bool:
        """Whether something waits for longer than it should, or is contested."""
        return self._life.overdue(now_us)

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End at once, and keep how far it is. Again is harmless."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._save()
        if self._keeping is not None:
            await asyncio.wait([self._keeping], timeout=KEPT_S)

    def grew(self, size: int) -> None:
        """The log has so many records now; called after every commit."""
        self._size = size
        self._wake.set()

    def hurry(self) -> None:
        """Try at once."""
        self._hurry = True
        self._wake.set()

    async def _run(self) -> None:
        try:
            await self._price()
            wishes = self._told(Hurry())
            while True:
                for wish in wishes:
                    wishes = self._told(await self._carry_out(wish))
                    await self._price()
                    break
                else:
                    wishes = await self._next()
                if not self.heard.done():
                    self.heard.set_result(None)
        except LedgerClosed:
            return
        except Exception:
            log.exception("The delivery of %s has ended; it goes on with the next start.", self._row.log)
        finally:
            if not self.heard.done():
                self.heard.set_result(None)

    async def _next(self) -> tuple[DeliveryWish, ...]:
        """What is to be done once something has happened, or time has passed."""
        look_us, now_us = self._life.look_us(wall_us()), wall_us()
        wait_s = LOOK_S if look_us is None else min(LOOK_S, max(0, look_us - now_us) / 1e6)
        try:
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
        hurry, self._hurry = self._hurry, False
        wishes = self._told(Grew(self._size))
        return self._told(Hurry()) if hurry and not wishes else wishes

    async def _carry_out(self, wish: DeliveryWish) -> DeliveryEvent:
        try:
            match wish:
                case Push(old):
                    await self._keep_distance(old)
                    return await self._pusher.push(old, self._progress)
                case Refill():
                    return await self._refill(wish)
                case Beat():
                    return await self._beat()
        except LedgerClosed:
            raise
        except Exception as error:
            log.exception("A delivery of %s failed in itself.", self._row.log)
            return Failed(f"The delivery itself failed ({error!r:.100}): report this.")

    async def _keep_distance(self, old: int) -> None:
        if self._begun_us is not None and self._size - old < CROWD:
            await asyncio.sleep(DISTANCE_S - (mono_us() - self._begun_us) / 1e6)
        self._begun_us = mono_us()

    async def _beat(self) -> DeliveryEvent:
        draft = HeartbeatDraft(self._ledger.new_id(), wall_us())
        try:
            receipt = await self._ledger.append(self._row.log, draft)
        except LedgerClosed:
            raise
        except LedgerError as error:
            log.warning("No heartbeat was written: %s", error)
            return Came()
        return Grew(receipt.size)

    def _progress(self, event: Progressed) -> None:
        self._told(event)

    def _told(self, event: DeliveryEvent) -> tuple[DeliveryWish, ...]:
        before, now_us = self._life.standing, wall_us()
        wishes = self._life.told(event, now_us)
        if self._life.size < self._size:
            # It grew while a push was under way.
            wishes += self._life.told(Grew(self._size), now_us)
        after = self._life.standing
        self._say(before, after)
        if after != self._saved:
            urgent = (after.trouble, bool(after.failures)) != (before.trouble, bool(before.failures))
            self._save_soon(0 if urgent else SAVE_S)
        shown = (after.trouble, after.said, self.overdue(now_us), self.agreed)
        if shown != self._shown:
            self._shown = shown
            self._changed()
        return wishes

    def _say(self, before: Standing, after: Standing) -> None:
        what = f"Delivery of {self._row.log}"
        if after.said and after.said != before.said:
            log.log(logging.ERROR if after.trouble else logging.WARNING, "%s: %s", what, after.said)
        elif before.said and not after.said:
            log.info("%s: the receiver has taken records again.", what)
        if after.trouble is DeliveryTrouble.NONE is not before.trouble:
            log.warning("%s: what was wrong is mended.", what)

    async def _price(self) -> None:
        """What is acknowledged in money, from the last record of it."""
        acked = self._life.standing.acked
        if acked == self._priced:
            return
        try:
            bodies = await self._ledger.entries(self._row.log, acked - 1, 1) if acked else ()
            self.acked_pico = decode(bodies[0]).cum_pico if bodies else 0
        except LedgerClosed:
            raise
        except LedgerError as error:
            log.warning("What is acknowledged of %s cannot be added up: %s", self._row.log, error)
        self._priced = acked
        self._moved()

    def _save_soon(self, wait_s: float) -> None:
        if self._saver is not None:
            if wait_s:
                return
            self._saver.cancel()
        self._saver = asyncio.get_running_loop().call_later(wait_s, self._save)

    def _save(self) -> None:
        if self._saver is not None:
            self._saver.cancel()
            self._saver = None
        if self._life.standing == self._saved:
            return
        try:
            self._keeping = self._ledger.keep_delivery(self.row)
        except LedgerClosed:
            return
        self._keeping.add_done_callback(_not_kept)
        self._saved = self._life.standing


def _not_kept(done: asyncio.Future[None]) -> None:
    if not done.cancelled() and done.exception() is not None:
        log.warning("How far a delivery is was not kept: %s", done.exception())
