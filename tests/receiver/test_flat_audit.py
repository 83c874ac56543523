"""Transactions in the seed's form hashed anew: what was changed is found, and what nobody can check is not guessed."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest

from app.ledger.seed_form import TEMPLATE
from app.receiver.flat_audit import AT_ONCE, FlatAudit, FlatReport, audit_flat
from app.receiver.parties import FlatRow

SECRET = "agreed"
MINE = 9_000_000


def body(name: str, secret: str = SECRET, cost: str = "0.000009", **changes: object) -> bytes:
    said = {
        "id": name, "timestamp": "2026-11-27T01:00:00Z", "model": "m", "prompt_tokens": 2, "completion_tokens": 3,
        "duration_seconds": 1.5, "energy_wh": 0.02,
    }  # fmt: skip
    digest = hashlib.sha256(f"{name}5{cost}{secret}".encode()).hexdigest()
    text = json.dumps(said | changes)
    return f'{text[:-1]},"cost":{cost},"hash":"{digest}"}}'.encode()


def row(name: str, genuine: bool | None = True, *, secret: str = SECRET, **changes: object) -> FlatRow:
    return FlatRow("e", name, 1, genuine, MINE, body(name, secret, **changes))  # type: ignore[arg-type]


def checked(*rows: FlatRow, secret: str = SECRET) -> FlatReport:
    audit = FlatAudit(secret, TEMPLATE)
    audit.take(rows)
    return audit.report()


def test_what_is_as_it_came_holds_and_is_added_up() -> None:
    assert checked(row("a"), row("b")) == FlatReport(2, 2, 0, 2 * MINE, ())
    assert checked() == FlatReport(0, 0, 0, 0, ())


@pytest.mark.parametrize(
    "held",
    [
        dataclasses.replace(row("a"), body=body("a").replace(b'"prompt_tokens": 2', b'"prompt_tokens": 1')),
        dataclasses.replace(row("a"), body=body("a").replace(b'"cost":0.000009', b'"cost":0.0000090')),
        dataclasses.replace(row("a"), body=body("a").replace(b'"cost":0.000009', b'"cost":0.000008')),
        dataclasses.replace(row("a"), cost_pico=MINE - 1),
        dataclasses.replace(row("a"), body=body("b")),
        dataclasses.replace(row("a"), body=b"{}"),
        dataclasses.replace(row("a"), body=b"\xff"),
        row("a", secret="another"),
    ],
)
def test_what_was_changed_after_it_came_is_named(held: FlatRow) -> None:
    report = checked(row("x"), held, row("y"))
    assert (report.total, report.valid, report.invalid) == (3, 2, 1)
    assert report.findings == (
        "The hash of 1 transaction in the seed's form (a) held when it came and does not now: it was changed here,"
        " or LEDGER_SECRET was.",
    )


@pytest.mark.parametrize("noted", [False, None])
def test_what_never_held_is_the_secrets_fault_and_not_the_copys(noted: bool | None) -> None:
    report = checked(row("a", noted, secret="theirs"))
    assert (report.valid, report.invalid) == (0, 1)
    assert report.findings == (
        "The hash of 1 transaction in the seed's form (a) does not hold: compare LEDGER_SECRET on both sides.",
    )


def test_a_secret_that_was_named_later_makes_what_came_before_valid() -> None:
    assert checked(row("a", None), row("b", False)) == FlatReport(2, 2, 0, 2 * MINE, ())


def test_without_a_secret_the_note_of_the_arrival_stands_but_not_for_what_does_not_fit_together() -> None:
    changed = dataclasses.replace(row("c"), cost_pico=1)
    report = checked(row("a"), row("b", None), row("d", False), changed, secret="")
    assert (report.total, report.valid, report.invalid) == (4, 1, 2)
    assert [("(c)" in said, "(d)" in said) for said in report.findings] == [(False, True), (True, False)]


def test_the_first_ones_are_named_and_the_others_counted() -> None:
    report = checked(*(row(name, False, secret="x") for name in ("one", "two", "three", "four", "five")))
    assert "5 transactions in the seed's form (one, two, three and 2 more)" in report.findings[0]
    long = checked(row("z" * 500, False, secret="x"))
    assert f"({'z' * 64})" in long.findings[0]


def test_a_whole_store_is_read_in_its_order_to_the_end() -> None:
    held = [(number, row(f"t{number}")) for number in range(3, 3 * AT_ONCE, 2)]
    asked: list[int] = []

    def read(after: int, limit: int) -> list[tuple[int, FlatRow]]:
        asked.append(after)
        return [each for each in held if each[0] > after][:limit]

    report = audit_flat(read, SECRET, TEMPLATE)
    assert (report.total, report.valid, report.cost_pico) == (len(held), len(held), len(held) * MINE)
    assert asked == [0, held[AT_ONCE - 1][0], held[-1][0]]
