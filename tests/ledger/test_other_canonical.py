"""Our canonical form against another hand's RFC 8785 (the package rfc8785), on ten thousand generated records."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import rfc8785

from app.ledger.canonical import INT_MAX, canonical, parse_canonical
from app.ledger.drafts import MONEY_MAX, Rule
from app.ledger.ids import uuid7
from app.ledger.records import DRAFTS, RULES, decode, encode

COUNT = 10_000
CHARACTERS = (
    *map(chr, range(0x20)), *'aZ09"\\/ .:_{}[],', "\x7f", "\x80", "ä", "ß", "\u2028", "\u2029", "\ufeff", "\ufb33",
    "\uffff", "\ud7ff", "\ue000", "\U00010000", "\U0001f600", "\U0010ffff",
)  # fmt: skip
"""Escapes of every kind, and both sides of where UTF-16 and code points are sorted differently."""
EDGES = (0, 1, 2**31 - 1, 2**31, 2**32, 10**15 - 1, 10**15, 2**53 - 2, INT_MAX)


def text(dice: random.Random, most: int) -> str:
    return "".join(dice.choices(CHARACTERS, k=dice.randrange(most)))


def count(dice: random.Random) -> int:
    return dice.choice(EDGES) if dice.random() < 0.3 else dice.randrange(1 << dice.randrange(1, 54))


def money(dice: random.Random) -> int:
    return dice.choice((0, 1, -1, 10**18, MONEY_MAX, -MONEY_MAX, dice.randrange(-MONEY_MAX, MONEY_MAX)))


def value(dice: random.Random, rule: Rule) -> Any:
    """Something that the rule accepts, of as many kinds as it does."""
    if rule.money:
        return money(dice)
    kinds = [
        None,
        count(dice),
        text(dice, 60),
        uuid7(dice.randrange(10**15, 2 * 10**15), dice.getrandbits(62)),
        dice.randbytes(32).hex(),
        "".join(dice.choices("ABCXYZ", k=3)),
        "plug_2",
        *rule.says.removeprefix("one of ").split(", "),
    ]
    dice.shuffle(kinds)
    return next(kind for kind in kinds if rule.accepts(kind))


def records(seed: int, amount: int) -> Any:
    """Records of every kind, as bytes."""
    dice = random.Random(seed)
    for _ in range(amount):
        kind = "usage" if dice.random() < 0.5 else dice.choice(sorted(DRAFTS))
        draft = DRAFTS[kind](**{name: value(dice, rule) for name, rule in RULES[kind].items()})
        yield kind, encode(draft, text(dice, 20), count(dice), money(dice))


def test_ten_thousand_records_have_the_bytes_that_another_implementation_gives_them() -> None:
    seen = set()
    for kind, body in records(8785, COUNT):
        seen.add(kind)
        assert body == rfc8785.dumps(json.loads(body))
        assert rfc8785.dumps(parse_canonical(body)) == body
        decode(body)
    assert seen == set(DRAFTS)


def tree(dice: random.Random, depth: int) -> Any:
    kind = dice.randrange(8 if depth else 5)
    if kind < 5:
        return (None, True, False, count(dice) * dice.choice((1, -1)), text(dice, 12))[kind]
    if kind == 5:
        return [tree(dice, depth - 1) for _ in range(dice.randrange(5))]
    return {text(dice, 4): tree(dice, depth - 1) for _ in range(dice.randrange(6))}


def test_ten_thousand_values_of_any_shape_have_the_same_bytes_too() -> None:
    dice = random.Random(6962)
    for _ in range(COUNT):
        made = [tree(dice, 4) for _ in range(4)]
        assert canonical(made) == rfc8785.dumps(made)


@pytest.mark.parametrize("odd", [INT_MAX + 1, -INT_MAX - 1, "\ud800", {"\udfff": 1}])
def test_what_the_other_refuses_we_refuse(odd: object) -> None:
    for write in (canonical, rfc8785.dumps):
        with pytest.raises((ValueError, rfc8785.CanonicalizationError)):
            write(odd)
