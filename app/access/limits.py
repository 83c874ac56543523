"""What a key may use at most: one value that its principal carries, and its JSON.

Rule 1: only what is enforced can be said. A limit that nobody knows is refused where it is set, and a key whose stored
limits cannot be read does not work, because it might be allowed less than we know. Rule 2: a limit narrows what the
settings allow and never widens it.

The JSON, in the ledger's column and over HTTP: `max_output_tokens`, `models` (names, with or without their tag),
`expires` (seconds since 1970), `requests_per_minute`, `tokens_per_minute` (in and out), `concurrent` (at once), `hours`
(see there), `weight` (so many turns for one of a key that says nothing), `cost_per_day` and `cost_per_month` (money, as
a number or its digits). What is absent or null is not limited. `address_of` alone makes the row an address of a key's
own: it names that key, whose limits then count. A row with `whole_client` is no key either: what it says counts for all
keys of its client together. `former` are secrets of before (see there).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.access.former import FormerError, FormerSecret, former_of
from app.access.hours import Hours, HoursError
from app.billing.money import pico_to_decimal, to_pico
from app.models.names import canonical
from app.settings.values import MONEY, as_json

TOKENS_MOST = 1_000_000
MODELS_MOST = 100
COST_MOST = 9_000_000
COSTS = ("cost_per_day", "cost_per_month")
NAME_MOST = 256
EXPIRES_MOST_S = 253_402_300_799
"""The end of the year 9999, which is as far as dates can be written."""


class LimitError(ValueError):
    """Limits that cannot be; the sentence says which and what is allowed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`expires_us` is wall time in microseconds; None and the empty set stand for «not limited»."""

    max_output_tokens: int | None = None
    models: frozenset[str] = frozenset()
    expires_us: int | None = None
    address_of: str | None = None
    hours: Hours | None = None
    """When it may be used."""
    whole_client: bool = False
    """They are what all keys of a client may use together."""
    former: tuple[FormerSecret, ...] = ()
    """What it opened the door with before, and may for a while."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None
    weight: int | None = None
    """Its share where others wait, too: so many turns for one of theirs; None: one."""
    cost_per_day_pico: int | None = None
    cost_per_month_pico: int | None = None
    """In pico-units of the ledger's currency, by the calendar of the contributor's time zone."""

    @property
    def budgets(self) -> dict[str, int]:
        """How much money a `day`, a `month`, in pico-units of the ledger's currency."""
        both = {"day": self.cost_per_day_pico, "month": self.cost_per_month_pico}
        return {period: amount for period, amount in both.items() if amount is not None}

    @property
    def plain(self) -> bool:
        """Whether it says nothing that only the gateway itself can say of a row."""
        return self.address_of is None and not self.whole_client and not self.former

    @property
    def rated(self) -> bool:
        """Whether anything limits how fast it may ask."""
        return not (
            self.requests_per_minute is None and self.tokens_per_minute is None and self.concurrent is None
        )

    def output_tokens(self, allowed: int) -> int:
        """The longest answer in tokens, where the settings allow `allowed`."""
        return allowed if self.max_output_tokens is None else min(allowed, self.max_output_tokens)

    def expired(self, now_us: int) -> bool:
        """Whether the time is over: at `expires_us` it is."""
        return self.expires_us is not None and now_us >= self.expires_us

    def to_json(self) -> dict[str, Any]:
        """What is limited, and nothing else."""
        said: dict[str, Any] = {}
        if self.max_output_tokens is not None:
            said["max_output_tokens"] = self.max_output_tokens
        if self.models:
            said["models"] = sorted(self.models)
        if self.expires_us is not None:
            whole, rest = divmod(self.expires_us, 1_000_000)
            said["expires"] = whole if not rest else self.expires_us / 1e6
        if self.hours is not None:
            said["hours"] = list(self.hours.said)
        for name in _WHOLES:
            if (rate := getattr(self, name)) is not None:
                said[name] = rate
        for period, amount in self.budgets.items():
            said[f"cost_per_{period}"] = as_json(pico_to_decimal(amount))
        if self.address_of is not None:
            said["address_of"] = self.address_of
        if self.whole_client:
            said["whole_client"] = True
        if self.former:
            said["former"] = [each.to_json() for each in self.former]
        return said

    def dump(self) -> str:
        """As the ledger's column keeps it."""
        return json.dumps(self.to_json(), ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Limits:
        """The inverse of `dump`. Raises LimitError."""
        try:
            said = json.loads(text)
        except ValueError:
            raise LimitError("limits must be a JSON object.") from None
        return cls.of(said)

    @classmethod
    def of(cls, said: object) -> Limits:
        """The limits that a JSON value names. Raises LimitError."""
        if not isinstance(said, Mapping):
            raise LimitError("limits must be a JSON object.")
        unknown = sorted(str(name) for name in said if name not in _FIELDS)
        if unknown:
            raise LimitError(
                f"limits holds {unknown[0][:64]!r}, which this version does not enforce; it knows {', '.join(_FIELDS)}."
            )
        if said.get("address_of") is not None:
            return cls(address_of=_key_of_address(said), former=_former(said.get("former")))
        return cls(
            _whole(said, "max_output_tokens", TOKENS_MOST),
            _models(said.get("models")),
            _expires(said.get("expires")),
            None,
            _hours(said.get("hours")),
            _flag(said, "whole_client"),
            _former(said.get("former")),
            *(_whole(said, name, most) for name, most in _WHOLES.items()),
            *(_cost(said, name) for name in COSTS),
        )


UNLIMITED = Limits()
RATES = {"requests_per_minute": 100_000, "tokens_per_minute": 1_000_000_000, "concurrent": 1000}
"""What limits how fast a key may ask, and the most that each can be."""
WEIGHT_MOST = 1000
_WHOLES = {**RATES, "weight": WEIGHT_MOST}
_FIELDS = (
    "max_output_tokens",
    "models",
    "expires",
    "hours",
    *_WHOLES,
    *COSTS,
    "address_of",
    "whole_client",
    "former",
)


def listed(model: str, names: frozenset[str]) -> bool:
    """Whether an allow-list names the engine's `model`, in any of its spellings; an empty list names every model."""
    return not names or model in names or canonical(model) in {canonical(name) for name in names}


def _whole(said: Mapping[str, object], name: str, most: int) -> int | None:
    value = said.get(name)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        raise LimitError(f"{name} must be a whole number from 1 to {most}.")
    return value


def _flag(said: Mapping[str, object], name: str) -> bool:
    value = said.get(name)
    if value is not None and not isinstance(value, bool):
        raise LimitError(f"{name} must be true or false.")
    return value is True


def _cost(said: Mapping[str, object], name: str) -> int | None:
    """Pico-units of an amount that is written as a number or as its digits."""
    value = said.get(name)
    if value is None:
        return None
    try:
        amount = MONEY.read(value)
    except ValueError:
        amount = None
    if not isinstance(amount, Decimal) or not 0 < amount <= COST_MOST:
        raise LimitError(
            f"{name} must be an amount above 0 and up to {COST_MOST}, with at most 12 decimals, such as 0.50."
        )
    return to_pico(amount)


def _models(value: object) -> frozenset[str]:
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not 1 <= len(value) <= MODELS_MOST or not all(map(_is_name, value)):
        raise LimitError(
            f"models must be a list of 1 to {MODELS_MOST} names of at most {NAME_MOST} printable characters."
        )
    return frozenset(name.strip() for name in value)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value.strip()) <= NAME_MOST and value.isprintable()


def _expires(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= EXPIRES_MOST_S:
        raise LimitError("expires must be a time in seconds since 1970, before the year 10000.")
    return round(value * 1_000_000)


def _hours(value: object) -> Hours | None:
    if value is None:
        return None
    try:
        return Hours.of(value)
    except HoursError as error:
        raise LimitError(str(error)) from None


def _former(value: object) -> tuple[FormerSecret, ...]:
    try:
        return former_of(value)
    except FormerError as error:
        raise LimitError(str(error)) from None


def _key_of_address(said: Mapping[str, object]) -> str:
    key = said["address_of"]
    if (
        not isinstance(key, str)
        or not 1 <= len(key) <= 64
        or any(said[name] for name in said if name not in ("address_of", "former"))
    ):
        raise LimitError("address_of must be the id of a key, whose own limits count for its address.")
    return key
