"""A refusal is worded in the dialect that the table of routes names for its path, whatever the path looks like."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from app.access.rates import KeyRate
from app.access.refusals import Refusal
from app.proxy.dialects.base import Dialect
from app.proxy.dialects.ollama import OLLAMA
from app.proxy.dialects.openai import OPENAI
from app.proxy.server import Server


class Shouting:
    """A dialect of the test's own."""

    name = "shouting"

    def error(self, refusal: Refusal) -> bytes:
        return json.dumps({"NO": refusal.sentence.upper()}).encode()

    def rate_headers(self, rates: Sequence[KeyRate], now_us: int) -> dict[str, str]:
        return {f"Shouted-{rate.what.upper()}": str(rate.remaining) for rate in rates}


@pytest.mark.parametrize(
    ("path", "spoken"),
    [
        ("/v1/messages", lambda mine: mine),
        ("/v1/chat/completions", lambda mine: OPENAI),
        ("/v1/no/such", lambda mine: OPENAI),
        ("/v1", lambda mine: OLLAMA),
        ("/api/chat", lambda mine: OLLAMA),
        ("/shout/very/loud", lambda mine: mine),
    ],
)
def test_the_table_says_what_a_path_speaks(path: str, spoken: Callable[[Dialect], Dialect]) -> None:
    mine = Shouting()
    server = Server({}, lambda: 1, dialects={"/v1/messages": mine, "/v1/*": OPENAI, "/shout/*": mine})
    assert server._dialect(path) is spoken(mine)
