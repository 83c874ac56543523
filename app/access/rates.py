"""What is said of a rate to whoever asks under it: so many a minute, so many left, all there again in so long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyRate:
    """One of them. `what` is `requests` or `tokens`; `full_in_us`: until all of them are there again."""

    what: str
    most: int
    remaining: int
    full_in_us: int


def openai_headers(rates: Iterable[KeyRate]) -> dict[str, str]:
    """In the names of OpenAI (`x-ratelimit-limit-requests` …), whose clients everybody has."""
    headers = {}
    for rate in rates:
        what = rate.what.capitalize()
        headers[f"X-RateLimit-Limit-{what}"] = str(rate.most)
        headers[f"X-RateLimit-Remaining-{what}"] = str(rate.remaining)
        headers[f"X-RateLimit-Reset-{what}"] = f"{-(-rate.full_in_us // 1000)}ms"
    return headers
