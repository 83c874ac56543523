"""The tariff in force: a new day has new prices, a file may be replaced, and an address is asked every hour.

Rule: a source that fails changes nothing: the prices that are known go on, and the sentence about it is kept for
whoever looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from app.basics.clock import wall_us
from app.basics.zones import clocks
from app.billing.periods import edge_text
from app.billing.series import PriceSeries, SeriesError
from app.gateway.books import Books
from app.gateway.price_files import PRICES_FILE, fetch_prices, import_prices, known_prices
from app.presence.alarm import Alarm
from app.settings.parameters import Settings

log = logging.getLogger(__name__)

LOOK_EVERY_S = 30.0
FETCH_EVERY_S = 3600.0
AFTER_A_FAILURE_S = 300.0


class TariffWatch:
    """Looks after the tariff in force: a new day, a file that was replaced, an address that is asked every hour.

    `renew` is told whenever the terms may be other ones now.
    """

    def __init__(
        self, books: Books, folder: Path, settings: Callable[[], Settings], renew: Callable[[], None]
    ) -> None:
        self.trouble: str | None = None
        """Why prices could not be read or fetched when that was tried last."""
        self._books = books
        self._folder = folder
        self._settings = settings
        self._renew = renew
        self._alarm = Alarm()
        self._alarm.rang.connect(self.new_day)
        self._alarm.set_back.connect(self.new_day)
        self._seen_ns = 0
        self._fetch_at_s = 0.0
        self._fetched_from = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """From now on until `stop`; again is harmless, and wanted when the settings have changed."""
        self._alarm.set(self._books.day.span.to_us)
        if self._settings().tariff == "series":
            if self._task is None:
                self._seen_ns = 0
                self._task = asyncio.get_running_loop().create_task(self._watch())
        elif self._task is not None:
            self._task.cancel()
            self._task = None
            self.trouble = None

    async def stop(self) -> None:
        """Look no more."""
        self._alarm.stop()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def new_day(self) -> None:
        """Go by the prices of today."""
        self._renew()
        self.settled()

    def settled(self) -> None:
        """Other prices may hold: wake for the next day's."""
        self._alarm.set(self._books.day.span.to_us)

    def note(self, now_us: int) -> str | None:
        """A sentence where the price of this moment is a guess; None where it is known."""
        from_us = self._books.day.guessed_from_us
        if from_us is None or now_us < from_us:
            return None
        since = edge_text(from_us, now_us, clocks(self._settings().time_zone))
        why = self.trouble or "Import newer ones: mortdecai-gateway tariff import FILE."
        return f"No electricity price is known since {since}; the last known one is billed. {why}"

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            settings = self._settings()
            try:
                path = self._folder / PRICES_FILE
                changed_ns = await asyncio.to_thread(_changed_ns, path)
                zone = clocks(settings.time_zone)
                if changed_ns != self._seen_ns:
                    self._seen_ns = changed_ns
                    self._take(await asyncio.to_thread(known_prices, self._folder, zone))
                if settings.tariff_url and (
                    settings.tariff_url != self._fetched_from or loop.time() >= self._fetch_at_s
                ):
                    self._fetched_from = settings.tariff_url
                    self._fetch_at_s = loop.time() + AFTER_A_FAILURE_S
                    newer = await fetch_prices(settings.tariff_url, settings.tariff_token, zone)
                    self._take(await asyncio.to_thread(import_prices, self._folder, newer, zone, wall_us()))
                    self._seen_ns = await asyncio.to_thread(_changed_ns, path)
                    self._fetch_at_s = loop.time() + FETCH_EVERY_S
            except (SeriesError, OSError) as error:
                if self.trouble != str(error):
                    self.trouble = str(error)
                    log.warning("Electricity prices: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    def _take(self, series: PriceSeries) -> None:
        self.trouble = None
        if series != self._books.series:
            self._books.series = series
            self.new_day()


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
