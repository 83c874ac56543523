"""Imported prices as a file of the profile, and as what somebody publishes at an address.

Rule 1: `prices.csv` in the profile's data folder is all that is known; whatever is fetched or imported is merged into
it, newer words over older ones, and what is long past is dropped. Rule 2: whatever is wrong with a file or an address
is one sentence, a SeriesError.
"""

from __future__ import annotations

import asyncio
from datetime import tzinfo
from pathlib import Path

import aiohttp

from app.billing.series import PriceSeries, SeriesError, read_series
from app.settings.files import write_private

PRICES_FILE = "prices.csv"
MOST_B = 32 << 20
FETCH_WITHIN_S = 20.0
KEPT_US = 35 * 86_400_000_000


def read_price_file(path: Path, zone: tzinfo) -> PriceSeries:
    """The prices in a file of any shape that `read_series` knows. Blocks. Raises SeriesError."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_B + 1)
    except OSError as error:
        raise SeriesError(f"{path} cannot be read: {error.strerror or error}.") from None
    if len(data) > MOST_B:
        raise SeriesError(f"{path} is larger than {MOST_B >> 20} MiB.")
    return _read(data, zone, str(path))


def known_prices(folder: Path, zone: tzinfo) -> PriceSeries:
    """What the profile's own file holds; nothing where there is none. Blocks. Raises SeriesError."""
    path = folder / PRICES_FILE
    return read_price_file(path, zone) if path.exists() else PriceSeries()


def import_prices(folder: Path, newer: PriceSeries, zone: tzinfo, now_us: int) -> PriceSeries:
    """Merge `newer` into the profile's own file; what that holds then. Blocks. Raises SeriesError, OSError."""
    merged = known_prices(folder, zone).merged(newer).since(now_us - KEPT_US)
    write_private(folder / PRICES_FILE, merged.text)
    return merged


async def fetch_prices(url: str, token: str, zone: tzinfo) -> PriceSeries:
    """Ask the publisher once. Raises SeriesError with a sentence, whatever happens there."""
    headers = {"Accept": "application/json, text/csv"} | (
        {"Authorization": f"Bearer {token}"} if token else {}
    )
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_WITHIN_S)) as session,
            session.get(url, headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise SeriesError(
                    f"{url} answered {answer.status}, not prices: look at its address and token."
                )
            data = b""
            async for part in answer.content.iter_any():
                data += part
                if len(data) > MOST_B:
                    raise SeriesError(f"{url} answers with more than {MOST_B >> 20} MiB.")
    except TimeoutError:
        raise SeriesError(f"{url} did not answer within {FETCH_WITHIN_S:g} s.") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        if isinstance(error, SeriesError):
            raise
        raise SeriesError(f"{url} cannot be asked: {error}.") from None
    return await asyncio.to_thread(_read, data, zone, url)


def _read(data: bytes, zone: tzinfo, where: str) -> PriceSeries:
    try:
        return read_series(data.decode("utf-8-sig"), zone)
    except UnicodeDecodeError:
        raise SeriesError(f"{where} is no text in UTF-8.") from None
    except SeriesError as error:
        raise SeriesError(f"{where} cannot be used. {error}") from None
