"""`POST /v1/estimate`: what a request would take and cost, before it is sent.

Rule 1: it goes by what the ledger says that requests of this model took here, and by the prices of the time at which
it would run; where the ledger knows none, it says so and guesses nothing. Rule 2: nothing runs, is held or is recorded,
and what it says binds nobody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from app.access.identify import Access
from app.access.refusals import Refusal
from app.basics.clock import wall_us
from app.billing.money import pico_to_float
from app.billing.pricing import Pricing
from app.ledger.listing import LedgerRow
from app.ledger.outcomes import RequestOutcome
from app.ledger.sqlite.store import Ledger
from app.proxy.admission import Policy, may_use
from app.proxy.bodies import read_body
from app.proxy.control import reply
from app.proxy.models import Models
from app.proxy.strict_json import parse_object
from app.proxy.token_pace import TokenPace, pace_of

LOOKED_THROUGH = 500
"""So many of the newest records tell how fast a model is here."""
CHARACTERS_A_TOKEN = 4
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_TOKENS_MOST = 10_000_000


class Estimates:
    """The handler. `wait_s` says how long a request of a model that came now would wait for its turn."""

    def __init__(
        self,
        access: Access,
        ledger: Ledger,
        models: Models,
        policy: Callable[[], Policy],
        pricing: Callable[[], Pricing],
        wait_s: Callable[[str], int],
        carbon_g_per_kwh: Callable[[], int],
    ) -> None:
        self._access = access
        self._ledger = ledger
        self._models = models
        self._policy = policy
        self._pricing = pricing
        self._wait_s = wait_s
        self._carbon = carbon_g_per_kwh

    def routes(self) -> dict[str, dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]]]:
        """Path → method → handler."""
        return {"/v1/estimate": {"POST": self.estimate}}

    async def estimate(self, request: web.BaseRequest) -> web.Response:
        """A request as it would be sent, or `{"model", "prompt_tokens"?, "max_tokens"?}` → tokens, seconds, Wh, money
        and wait; null where no record tells."""
        principal = self._access.identify(request.headers, request.remote)
        policy = self._policy()
        asked = parse_object(await read_body(request, policy.max_body_b))
        name = asked.get("model")
        if not isinstance(name, str) or not name:
            raise Refusal(400, "model_required", "model is required")
        found = self._models.known(name) or await self._models.resolve(name)
        if found is None or not may_use(principal, policy, found[0]):
            raise Refusal(404, "model_not_found", f"model '{name[:128]}' not found")
        page = await self._ledger.page(None, LOOKED_THROUGH)
        pace = pace_of([row for row in page.rows if row.model == found[0] and _whole(row)])
        prompt = _prompt_tokens(asked)
        completion = _completion_tokens(asked, pace, principal.limits.output_tokens(policy.max_output_tokens))
        wait_s = self._wait_s(found[0])
        return reply(
            {
                "object": "estimate",
                "model": name,
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "wait_seconds": wait_s,
                **self._told(pace, prompt, completion, wall_us() + wait_s * 1_000_000),
                "based_on_requests": pace.requests,
            }
        )

    def _told(self, pace: TokenPace, prompt: int, completion: int | None, begins_us: int) -> dict[str, Any]:
        pricing = self._pricing()
        told: dict[str, Any] = {
            "seconds": None,
            "energy_wh": None,
            "estimated_cost": None,
            "estimated_cost_pico": None,
            "currency": pricing.tariff.currency,
            "price_per_kwh": pico_to_float(pricing.tariff.price_at(begins_us)),
            "billing_mode": pricing.mode.value,
        }
        if not pace.requests or completion is None:
            return told
        dur_us, energy_uj = pace.dur_us(prompt, completion), pace.energy_uj(prompt, completion)
        spread = pricing.tariff.spread(energy_uj, begins_us, begins_us + dur_us)
        cost = pricing.request_cost(spread, dur_us)
        told |= {
            "seconds": dur_us / 1e6,
            "energy_wh": energy_uj / 3.6e9,
            "estimated_cost": pico_to_float(cost),
            "estimated_cost_pico": str(cost),
        }
        if self._carbon():
            told["carbon_g"] = energy_uj / 3.6e12 * self._carbon()
        return told


def _whole(row: LedgerRow) -> bool:
    return row.kind == "usage" and row.outcome == RequestOutcome.COMPLETE.value and row.tok_src == "engine"


def _count(asked: dict[str, Any], name: str) -> int | None:
    value = asked.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _TOKENS_MOST:
        raise Refusal(
            400, "invalid_value", f"{name} must be a whole number of tokens from 0 to {_TOKENS_MOST}."
        )
    return value


def _prompt_tokens(asked: dict[str, Any]) -> int:
    said = _count(asked, "prompt_tokens")
    if said is not None:
        return said
    characters = sum(
        _characters(asked.get(name)) for name in ("messages", "prompt", "input", "system", "instructions")
    )
    return -(-characters // CHARACTERS_A_TOKEN)


def _characters(value: object) -> int:
    """Of all texts in a body's part, however they are nested; not of roles, kinds and pictures."""
    count, left = 0, [value]
    while left:
        match left.pop():
            case str(text):
                count += len(text)
            case list(items):
                left += items
            case dict(fields):
                left += [fields[name] for name in ("content", "text") if name in fields]
    return count


def _completion_tokens(asked: dict[str, Any], pace: TokenPace, most: int) -> int | None:
    options = asked.get("options")
    limits = [_count(asked, name) for name in _LIMITS]
    if isinstance(options, dict) and options.get("num_predict") not in (None, -1, -2):
        limits.append(_count(options, "num_predict"))
    said = [limit for limit in limits if limit is not None]
    if not said and not pace.requests:
        return None
    return min([most, *(said or [pace.usual_completion])])
