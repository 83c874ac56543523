"""The seed's flat form: its hash is over the texts as they stand, and an outsider computes the same one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.drafts import AdjustDraft, HeartbeatDraft, LaborDraft, UptimeDraft, UsageDraft
from app.ledger.errors import RecordError
from app.ledger.records import Record, encode
from app.ledger.seed_form import (
    LINE_MAX_B,
    PARTS,
    TEMPLATE,
    check_template,
    count_hashes,
    flat,
    flat_lines,
    parse_flat,
)
from app.settings.catalogue import parse
from app.settings.parameters import Settings
from app.settings.values import TEMPLATE_PARTS

ID = "01234567-89ab-7def-8123-456789abcdef"
SECRET = "agreed_upon_secret_here"
USAGE = UsageDraft(
    id=ID, t0=1_700_000_000_250_000, t1=1_700_000_003_670_000, dur_us=3_420_000, req=None, key="k_1",
    model="qwen2.5:3b", model_digest=None, endpoint="/api/chat", tok_in=20, tok_out=128, tok_src="engine",
    outcome="complete", e_uj=201_780_000, e_src="nvml", tariff="t", cost=8_407_500,
)  # fmt: skip


def record(draft: Any = USAGE, seq: int = 7, cum: int = 9_000_000) -> Record:
    return Record("g/c", seq, cum, draft)


def outsiders_hash(line: bytes, secret: str = SECRET) -> str:
    """As a receiver of the seed's kind has it: in four lines of Python, knowing nothing of us."""
    said = json.loads(line)
    tokens = said["prompt_tokens"] + said["completion_tokens"]
    return hashlib.sha256(f"{said['id']}{tokens}{said['cost']}{secret}".encode()).hexdigest()


def test_the_flat_form_has_the_seeds_fields_and_the_seeds_hash() -> None:
    line = flat(record(), SECRET)
    assert line is not None
    said = json.loads(line)
    assert said["hash"] == hashlib.sha256(f"{ID}1488.4075e-06{SECRET}".encode()).hexdigest()
    assert {name: said[name] for name in list(said)[:8]} == {
        "id": ID,
        "timestamp": 1_700_000_000.25,
        "model": "qwen2.5:3b",
        "prompt_tokens": 20,
        "completion_tokens": 128,
        "duration_seconds": 3.42,
        "energy_wh": 0.05605,
        "cost": 8.4075e-06,
    }
    assert (said["cost_pico"], said["total_cost_pico"], said["energy_uj"]) == (
        "8407500",
        "9000000",
        "201780000",
    )
    assert (said["log"], said["seq"], said["outcome"]) == ("g/c", 7, "complete")
    assert b"\n" not in line


@given(
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.integers(0, 2**53 - 1),
    st.none() | st.integers(0, 2**52),
    st.text(max_size=40),
    st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=40),
)
def test_an_outsider_and_we_agree_on_the_hash_of_any_record(
    cost: int, dur_us: int, tokens: int | None, model: str, secret: str
) -> None:
    draft = replace(USAGE, cost=cost, dur_us=dur_us, tok_in=tokens, model=model)
    body = encode(draft, "g/c", 0, 0)
    (line,) = flat_lines([body], secret)
    assert json.loads(line)["hash"] == outsiders_hash(line, secret)
    read = parse_flat(line.strip())
    assert read.is_genuine(secret)
    assert not read.is_genuine(secret + "x")


@pytest.mark.parametrize(
    "change",
    [
        {"id": ID[:-1] + "0"},
        {"prompt_tokens": 21},
        {"cost": 8.4076e-06},
        {"hash": "0" * 64},
        {"hash": "é"},
        {"hash": "\ud800"},
    ],
)
def test_a_change_of_what_the_hash_covers_is_noticed(change: dict[str, Any]) -> None:
    line = flat(record(), SECRET)
    assert line is not None
    assert not parse_flat(json.dumps(json.loads(line) | change).encode()).is_genuine(SECRET)


def test_the_cost_counts_as_it_is_written_and_not_as_the_amount_that_it_is() -> None:
    text = "0.0000084075"
    digest = hashlib.sha256(f"{ID}148{text}{SECRET}".encode()).hexdigest()
    line = (
        f'{{"id":"{ID}","timestamp":1,"model":"m","prompt_tokens":20,"completion_tokens":128,'
        f'"duration_seconds":1,"energy_wh":0,"cost":{text},"hash":"{digest}"}}'
    ).encode()
    assert parse_flat(line).is_genuine(SECRET)
    assert not parse_flat(line.replace(text.encode(), b"8.4075e-06")).is_genuine(SECRET)


def test_tokens_are_moved_between_the_counts_unnoticed_unless_the_template_names_both() -> None:
    own = "{id}:{prompt_tokens}:{completion_tokens}:{cost}:{secret}"
    for template, genuine in ((TEMPLATE, True), (own, False)):
        line = flat(record(), SECRET, template)
        assert line is not None
        moved = json.loads(line) | {"prompt_tokens": 21, "completion_tokens": 127}
        assert parse_flat(line).is_genuine(SECRET, template)
        assert parse_flat(json.dumps(moved).encode()).is_genuine(SECRET, template) is genuine


@pytest.mark.parametrize(
    ("template", "clause"),
    [
        ("{id}{tokens}", "{secret} must stand in it"),
        ("{tokens}{secret}", "{id} must stand in it"),
        ("{id}{secret}{price}", "{price} is none of {id}, "),
        ("{id}{secret}{}", "{} is none of {id}, "),
    ],
)
def test_a_template_that_proves_nothing_is_refused(template: str, clause: str) -> None:
    for check in (check_template, lambda text: parse("ledger_template", text)):
        with pytest.raises(ValueError) as caught:
            check(template)
        assert clause in str(caught.value)


def test_the_setting_and_the_hash_know_the_same_parts() -> None:
    assert TEMPLATE_PARTS == PARTS
    assert Settings().ledger_template == TEMPLATE


def test_what_costs_something_is_a_transaction_and_what_only_tells_is_none() -> None:
    t0 = USAGE.t0
    uptime = UptimeDraft(id=ID, t0=t0, t1=t0 + 1, dur_us=1, e_uj=2, e_src="model", tariff="t", cost=3)
    labor = LaborDraft(id=ID, t0=t0, t1=t0 + 1, dur_us=1, note="cleaned", cost=4)
    adjust = AdjustDraft(id=ID, t0=t0, ref=None, reason="too much", cost=-5)
    for draft, cost in ((uptime, "3"), (labor, "4"), (adjust, "-5")):
        line = flat(record(draft), SECRET)
        assert line is not None
        said = json.loads(line)
        assert (said["kind"], said["cost_pico"], said["model"], said["prompt_tokens"]) == (
            draft.kind,
            cost,
            "",
            0,
        )
        assert said["hash"] == outsiders_hash(line)
    plain = {
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "duration_seconds": 0.0,
        "energy_wh": 0.0,
        "energy_uj": "0",
    }
    told = json.loads(flat(record(adjust), SECRET) or b"")
    assert {name: told[name] for name in plain} == plain
    assert (told["ref"], told["reason"]) == (adjust.ref, adjust.reason)
    told = json.loads(flat(record(labor), SECRET) or b"")
    assert (told["note"], told["energy_uj"], told["duration_seconds"]) == (
        labor.note,
        "0",
        labor.dur_us / 1e6,
    )
    told = json.loads(flat(record(uptime), SECRET) or b"")
    assert (told["energy_source"], told["energy_uj"]) == (uptime.e_src, str(uptime.e_uj))
    assert (told["prompt_tokens"], told["completion_tokens"]) == (0, 0)
    assert flat(record(replace(adjust, cost=0)), SECRET) is None
    assert flat(record(HeartbeatDraft(ID, t0)), SECRET) is None
    assert flat(record(replace(USAGE, cost=0)), SECRET) is not None


def test_a_name_stands_there_as_it_was_written() -> None:
    line = flat(record(replace(USAGE, model="mödel:ü")), SECRET)
    assert line is not None
    assert "mödel:ü".encode() in line


def test_unknown_counts_are_zero_and_said_to_be_unknown() -> None:
    line = flat(record(replace(USAGE, tok_in=None, tok_out=None, tok_src="none")), SECRET)
    assert line is not None
    said = json.loads(line)
    assert (said["prompt_tokens"], said["completion_tokens"], said["token_source"]) == (0, 0, "none")


GOOD = json.dumps(
    {"id": "1", "timestamp": "2026-08-01T00:00:00", "model": "m", "prompt_tokens": 1, "completion_tokens": 2,
     "duration_seconds": 1.5, "energy_wh": 0.1, "cost": 0.5, "hash": "x"}
)  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (GOOD, "[]", "A transaction is a JSON object."),
        (GOOD, "{", "The transaction is not JSON."),
        (GOOD, "[" * 60_000, "The transaction is not JSON."),
        (GOOD, "\x00", "The transaction is not JSON."),
        ('"id": "1"', '"id": ""', "The transaction has no id."),
        ('"id": "1"', '"no": "1"', "The transaction's id must be a text of at most 1024 characters."),
        ('"cost": 0.5', '"cost": "0.5"', "The transaction's cost must be a number of at most 64 digits."),
        ('"cost": 0.5', '"cost": NaN', "The transaction is not JSON."),
        (
            '"cost": 0.5',
            '"cost": ' + "1" * 65,
            "The transaction's cost must be a number of at most 64 digits.",
        ),
        (
            '"prompt_tokens": 1',
            '"prompt_tokens": -1',
            "The transaction's prompt_tokens must be a whole number of at most 16 digits.",
        ),
        (
            '"prompt_tokens": 1',
            '"prompt_tokens": 1.0',
            "The transaction's prompt_tokens must be a whole number of at most 16 digits.",
        ),
        ('"model": "m"', '"model": "' + "m" * 70_000 + '"', "A transaction has at most 65536 bytes."),
    ],
)
def test_what_is_no_transaction_is_said_in_a_sentence(before: str, after: str, sentence: str) -> None:
    parse_flat(GOOD.encode())
    with pytest.raises(RecordError) as caught:
        parse_flat(GOOD.replace(before, after).encode())
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("before", "kept", "refused"),
    [
        ('"id": "1"', '"id": "%s"' % ("i" * 1024), '"id": "%s"' % ("i" * 1025)),
        ('"cost": 0.5', f'"cost": 0.{"5" * 62}', f'"cost": 0.{"5" * 63}'),
        ('"prompt_tokens": 1', f'"prompt_tokens": {"1" * 16}', f'"prompt_tokens": {"1" * 17}'),
    ],
)
def test_what_is_longest_is_kept_and_one_more_is_refused(before: str, kept: str, refused: str) -> None:
    assert before in GOOD
    parse_flat(GOOD.replace(before, kept).encode())
    with pytest.raises(RecordError, match="of at most"):
        parse_flat(GOOD.replace(before, refused).encode())


def test_a_line_of_the_longest_kind_is_read() -> None:
    padded = GOOD.encode() + b" " * (LINE_MAX_B - len(GOOD))
    assert parse_flat(padded).id == "1"
    with pytest.raises(RecordError, match="at most 65536 bytes"):
        parse_flat(padded + b" ")


def test_a_sender_may_count_its_transactions() -> None:
    assert parse_flat(GOOD.replace('"id": "1"', '"id": 17').encode()).id == "17"


def test_a_file_is_counted_and_its_bad_lines_are_named() -> None:
    drafts = [replace(USAGE, id=f"{ID[:-2]}{number:02x}") for number in range(20)]
    lines = list(flat_lines([encode(draft, "g/c", 0, 0) for draft in drafts], SECRET))
    assert count_hashes(lines, SECRET).valid == 20
    lines[3] = lines[3].replace(b'"prompt_tokens":20', b'"prompt_tokens":19')
    lines[5] = b"garbage\n"
    lines.insert(0, b"\n")
    counted = count_hashes(lines, SECRET)
    assert (counted.total, counted.valid, counted.invalid) == (20, 18, (drafts[3].id, "line 7"))
    wrong = count_hashes(lines, "another secret")
    assert (wrong.valid, len(wrong.invalid)) == (0, 10)
