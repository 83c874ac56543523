"""`tariff`: what electricity costs now and next, tariffs known by name, and prices from a file or an address.

Rule: `show` and `import` need no running gateway; a running one notices an imported file by itself. `set` goes through
the running gateway where there is one, so that its records name the new terms at once.
"""

from __future__ import annotations

import argparse
import asyncio
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any

from app.basics.clock import wall_us
from app.basics.price_hours import parse_price
from app.basics.zones import clocks
from app.billing.money import format_money
from app.billing.plan import DayTariff
from app.billing.presets import PRESETS, Preset, preset_named
from app.billing.series import PriceSeries, SeriesError
from app.commands.common import CommandError, Ground, ground
from app.commands.operator import ask_running
from app.gateway.price_files import PRICES_FILE, fetch_prices, import_prices, known_prices, read_price_file
from app.gateway.terms import plan_of, pricing_of
from app.settings.parameters import Settings

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def tariff(options: argparse.Namespace) -> int:
    """`mortdecai-gateway tariff [show|presets|set|import]`."""
    if options.action == "presets":
        for preset in PRESETS:
            print(f"{preset.name:<18} {preset.title} [{_bands(preset)}]")
        print("Take one with your own prices: mortdecai-gateway tariff set NAME --price usual=0.30")
        return 0
    base = ground(options)
    if options.action == "set":
        return asyncio.run(_set(base, options))
    if options.action == "import":
        return asyncio.run(_import(base, options))
    for line in _shown(base):
        print(line)
    return 0


def _bands(preset: Preset) -> str:
    amounts = " ".join(f"{band}={price}" for band, price in preset.bands.items())
    return f"{amounts} {preset.currency}".rstrip()


async def _change(base: Ground, changes: dict[str, Any]) -> None:
    url = base.running_url()
    if url is None:
        done = await asyncio.to_thread(base.store.update, changes)
        notes = [override.sentence for override in done.overridden]
    else:
        notes = (await ask_running(base, url, "POST", "/config", changes))["notes"]
    for note in notes:
        print(note)


async def _set(base: Ground, options: argparse.Namespace) -> int:
    preset = preset_named(options.what or "")
    if preset is None:
        known = ", ".join(each.name for each in PRESETS)
        raise CommandError(f"tariff set wants the name of a tariff: {known}.")
    try:
        changes = preset.settings(_prices(options.price))
    except ValueError as error:
        raise CommandError(str(error)) from None
    await _change(base, changes)
    for name, value in changes.items():
        print(f"{name} = {value}")
    currency = base.store.current.currency
    missing = [band for band in preset.bands if band not in _prices(options.price)]
    if missing:
        print(
            f"These prices are examples; give your own: {' '.join(f'--price {band}=…' for band in missing)}"
        )
    if preset.currency and preset.currency != currency:
        print(f"They are meant in {preset.currency}, and this gateway counts in {currency}.")
    return 0


def _prices(said: list[str] | None) -> dict[str, Decimal]:
    prices = {}
    for each in said or ():
        band, equals, price = each.partition("=")
        if not equals:
            raise CommandError(
                f"--price wants NAME=PRICE, such as night=0.18, and {each!r} has no equals sign."
            )
        try:
            prices[band.strip().lower()] = parse_price(price.strip())
        except ValueError as error:
            raise CommandError(f"{error}.") from None
    return prices


async def _import(base: Ground, options: argparse.Namespace) -> int:
    where, settings = options.what, base.store.current
    if not where:
        raise CommandError("tariff import wants a file or an address: CSV, or JSON as suppliers publish it.")
    zone = clocks(settings.time_zone)
    try:
        if where.startswith(("http://", "https://")):
            newer = await fetch_prices(where, settings.tariff_token, zone)
        else:
            newer = await asyncio.to_thread(read_price_file, Path(where), zone)
        base.folders.prepare()
        known = await asyncio.to_thread(import_prices, base.folders.data, newer, zone, wall_us())
    except SeriesError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"The prices cannot be kept: {error.strerror or error}.") from None
    first, last = newer.slots[0], newer.slots[-1]
    print(f"{len(newer.slots)} prices from {_time(first.start_us, zone)} to {_time(last.end_us, zone)}.")
    print(
        f"Prices are known until {_time(known.slots[-1].end_us, zone)}."
        if known.slots
        else "All of them are past."
    )
    if settings.tariff != "series":
        await _change(base, {"tariff": "series"})
        print("From now on they are what is billed (tariff = series).")
    return 0


def _shown(base: Ground) -> list[str]:
    settings, now_us = base.store.current, wall_us()
    zone = clocks(settings.time_zone)
    series, trouble = PriceSeries(), None
    if settings.tariff == "series":
        try:
            series = known_prices(base.folders.data, zone)
        except SeriesError as error:
            trouble = str(error)
    day = plan_of(settings, series).on(now_us)
    lines = [
        f"Tariff: {settings.tariff} ({day.tariff.id})",
        f"Now: {_price(day.tariff.price_at(now_us), settings)}",
        *_next(day, now_us, settings, zone),
    ]
    if settings.tariff == "series":
        end = f"until {_time(series.slots[-1].end_us, zone)}" if series.slots else "none"
        lines.append(f"Published prices: {end} ({base.folders.data / PRICES_FILE})")
    if day.guessed_from_us is not None and day.guessed_from_us <= now_us:
        lines.append("The price of this moment is not known; the last known one is billed.")
    if trouble:
        lines.append(trouble)
    pricing = pricing_of(settings, day.tariff)
    time = f" + time × {format_money(pricing.base_rate_pico_per_hour, settings.currency)} an hour"
    lines.append(
        f"A bill: (energy × AC factor {settings.ac_factor} × price{time if pricing.charges_time else ''})"
        f" × {1 + settings.profit_margin} for the margin"
    )
    if settings.carbon_intensity:
        lines.append(f"Carbon: {settings.carbon_intensity} g/kWh")
    return lines


def _next(day: DayTariff, now_us: int, settings: Settings, zone: tzinfo) -> list[str]:
    lines: list[str] = []
    for interval in day.tariff.intervals:
        if interval.start_us is not None and interval.start_us > now_us and len(lines) < 6:
            lines.append(f"{_time(interval.start_us, zone)}: {_price(interval.price_pico_per_kwh, settings)}")
    return lines


def _price(pico: int, settings: Settings) -> str:
    return f"{format_money(pico, settings.currency)} per kWh"


def _time(at_us: int, zone: tzinfo) -> str:
    return f"{(_EPOCH + timedelta(microseconds=at_us)).astimezone(zone):%a %d %b %Y %H:%M}"
