"""How rates are worded for each dialect's clients, and when they hear to come again."""

from __future__ import annotations

import pytest

from app.access.rates import KeyRate, openai_headers
from app.access.refusals import Refusal
from app.proxy.dialects.anthropic import ANTHROPIC
from app.proxy.dialects.base import Dialect
from app.proxy.dialects.ollama import OLLAMA
from app.proxy.dialects.openai import OPENAI
from app.proxy.saying_rates import busy
from app.proxy.server import refuse

NOW_US = 1_763_650_000_000_000
RATES = (KeyRate("requests", 60, 59, 1_000_001), KeyRate("tokens", 1000, 0, 60_000_000))


def test_openais_names_say_how_long_it_takes() -> None:
    assert openai_headers(RATES) == {
        "X-RateLimit-Limit-Requests": "60",
        "X-RateLimit-Remaining-Requests": "59",
        "X-RateLimit-Reset-Requests": "1001ms",
        "X-RateLimit-Limit-Tokens": "1000",
        "X-RateLimit-Remaining-Tokens": "0",
        "X-RateLimit-Reset-Tokens": "60000ms",
    }


def test_anthropics_names_say_when_it_is_over_and_never_too_early() -> None:
    assert ANTHROPIC.rate_headers(RATES, NOW_US) == {
        "Anthropic-RateLimit-Requests-Limit": "60",
        "Anthropic-RateLimit-Requests-Remaining": "59",
        "Anthropic-RateLimit-Requests-Reset": "2025-11-20T14:46:42Z",
        "Anthropic-RateLimit-Tokens-Limit": "1000",
        "Anthropic-RateLimit-Tokens-Remaining": "0",
        "Anthropic-RateLimit-Tokens-Reset": "2025-11-20T14:47:40Z",
    }


def test_a_clock_at_the_end_of_all_dates_breaks_no_answer() -> None:
    said = ANTHROPIC.rate_headers(RATES, 253_402_300_799_000_000)
    assert said["Anthropic-RateLimit-Tokens-Reset"] == "9999-12-31T23:59:59Z"


@pytest.mark.parametrize("dialect", [OPENAI, OLLAMA])
def test_no_other_dialect_hears_anthropics_names(dialect: Dialect) -> None:
    assert dialect.rate_headers(RATES, NOW_US) == {}


def test_a_refusal_says_the_rates_in_both_names() -> None:
    refusal = Refusal(429, "rate_limited", "Later.", retry_after_s=3, rates=RATES)
    headers = refuse(refusal, ANTHROPIC).headers
    assert (headers["Retry-After"], headers["X-RateLimit-Remaining-Requests"]) == ("3", "59")
    assert headers["anthropic-ratelimit-tokens-remaining"] == "0"
    assert "anthropic-ratelimit-tokens-remaining" not in refuse(refusal, OPENAI).headers


def test_an_engine_that_has_too_much_to_do_says_when_to_come_again() -> None:
    assert [bool(busy(status)) for status in (200, 400, 404, 429, 500, 503)] == [
        *(False, False, False),
        *(True, False, True),
    ]
