"""Records: the closed schema of each kind, and the fast way of usage held to the slow one."""

from __future__ import annotations

import dataclasses
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger import records, usage
from app.ledger.canonical import INT_MAX, canonical, parse_canonical
from app.ledger.drafts import MODEL_ACTIONS, MONEY_MAX, OUTCOMES, TEXT_MAX, TOKEN_SOURCES
from app.ledger.errors import RecordError
from app.ledger.ids import id_bytes, is_id
from app.ledger.records import (
    AdjustDraft,
    DisputeDraft,
    GenesisDraft,
    HeartbeatDraft,
    KeyDraft,
    LaborDraft,
    ModelDraft,
    Record,
    RotationDraft,
    TariffDraft,
    UptimeDraft,
    UsageDraft,
    decode,
    encode,
    recordable,
    searchable,
    uuid7,
)

LOG = "gw_test/c_1"
ID = "019a9c3e-7b1c-7f00-8a12-0123456789ab"
USAGE = UsageDraft(
    id=ID,
    t0=1_763_650_000_000_000,
    t1=1_763_650_003_420_000,
    dur_us=3_420_000,
    req=None,
    key="k_1",
    model="llama3.1:8b",
    model_digest=None,
    endpoint="/api/chat",
    tok_in=26,
    tok_out=298,
    tok_src="engine",
    outcome="complete",
    e_uj=201_780_000,
    e_src="nvml",
    tariff="t_1",
    cost=8_407_500,
)
MODEL = ModelDraft(ID, 5, "k_1", "m:1", "ab" * 32, "https://hf.co/m.gguf", "cd" * 32, "updated", "")
OTHERS = (
    UptimeDraft(ID, 5, 9, 4, 100, "mixed", "t_1", 7),
    LaborDraft(ID, 5, 9, 4, "new fan", 10**12),
    AdjustDraft(ID, 5, None, "agreed by mail", -(10**12)),
    AdjustDraft(ID, 5, ID, "twice billed", -7),
    GenesisDraft(ID, 5, "gw_test", "Anna", "gw_test+c74f20a3+AAAA"),
    TariffDraft(ID, 5, "t_1", "EUR", '[[null,null,"300000000000"]]', "marginal", 100_000, 0, 25 * 10**12),
    KeyDraft(ID, 5, "k_1", "laptop", "client", "created", "0" * 64),
    KeyDraft(ID, 5, "k_1", "laptop", "client", "revoked", "0" * 64, '{"models":["m:1"]}'),
    RotationDraft(ID, 5, "gw_test+c74f20a3+AAAA", "gw_test+00000000+BBBB", "AA==", "BB=="),
    MODEL,
    ModelDraft(ID, 5, "operator", "m:1", None, "https://hf.co/m.gguf", None, "refused", "It is too large."),
    HeartbeatDraft(ID, 5),
    DisputeDraft(ID, 5, ID, "I was asleep"),
)
EVERY = (USAGE, *OTHERS)
KINDS = [f"{draft.kind}-{number}" for number, draft in enumerate(EVERY)]

COUNTS = st.integers(0, INT_MAX) | st.sampled_from(
    [0, 10**15 - 1, 10**15, 9 * 10**15 - 1, 9 * 10**15, INT_MAX]
)
MONEY = st.integers(-MONEY_MAX, MONEY_MAX) | st.sampled_from(
    [0, -1, 10**18, -(10**18), MONEY_MAX, -MONEY_MAX]
)
SHORT = st.text(max_size=20) | st.sampled_from(
    ["", '"\\\n', "ä", "\x7f", "a" * TEXT_MAX, "a" * (TEXT_MAX + 1), "\ud800"]
)
USAGES = st.builds(
    UsageDraft,
    id=st.builds(uuid7, st.integers(10**15, 2 * 10**15), st.integers(0, 2**62 - 1)),
    t0=COUNTS,
    t1=COUNTS,
    dur_us=COUNTS,
    req=st.none() | SHORT,
    key=SHORT,
    model=SHORT,
    model_digest=st.none() | SHORT,
    endpoint=SHORT,
    tok_in=st.none() | COUNTS,
    tok_out=st.none() | COUNTS,
    tok_src=st.sampled_from(sorted(TOKEN_SOURCES)),
    outcome=st.sampled_from(sorted(OUTCOMES)),
    e_uj=COUNTS,
    e_src=st.sampled_from(["nvml", "model", "simulated", "plug_2"]),
    tariff=SHORT,
    cost=MONEY,
)


MODELS = st.builds(
    ModelDraft,
    id=st.builds(uuid7, st.integers(10**15, 2 * 10**15), st.integers(0, 2**62 - 1)),
    t0=COUNTS,
    key=SHORT,
    model=SHORT,
    model_digest=st.none() | SHORT,
    source=SHORT,
    sha256=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    action=st.sampled_from(sorted(MODEL_ACTIONS)),
    note=SHORT,
)


def slow_encode(draft, log, seq, cum):
    """`records.encode` without the fast way."""
    fast, usage.encode = usage.encode, lambda *_: None
    try:
        return encode(draft, log, seq, cum)
    finally:
        usage.encode = fast


def slow_decode(body):
    fast, usage.decode = usage.decode, lambda *_: None
    try:
        return decode(body)
    finally:
        usage.decode = fast


def outcome_of(function, *arguments):
    try:
        return function(*arguments)
    except RecordError:
        return RecordError


def test_a_usage_record_has_exactly_these_bytes():
    assert encode(USAGE, LOG, 5, 50_445_000) == (
        b'{"cost":"8407500","cum":"50445000","dur_us":3420000,"e_src":"nvml","e_uj":201780000,'
        b'"endpoint":"/api/chat","id":"019a9c3e-7b1c-7f00-8a12-0123456789ab","key":"k_1","kind":"usage",'
        b'"log":"gw_test/c_1","model":"llama3.1:8b","model_digest":null,"outcome":"complete","req":null,"seq":5,'
        b'"t0":1763650000000000,"t1":1763650003420000,"tariff":"t_1","tok_in":26,"tok_out":298,'
        b'"tok_src":"engine","v":1}'
    )


@pytest.mark.parametrize("draft", EVERY, ids=KINDS)
def test_every_kind_is_canonical_and_reads_back_as_it_was(draft):
    body = encode(draft, LOG, 3, 12)
    assert canonical(json.loads(body)) == body
    assert decode(body) == slow_decode(body) == Record(LOG, 3, 12, draft)


@pytest.mark.parametrize("draft", EVERY, ids=KINDS)
def test_the_schema_of_every_kind_is_closed(draft):
    fields = parse_canonical(encode(draft, LOG, 3, 12))
    for name in fields:
        if draft.kind == "key" and name == "limits":
            continue  # which older records lack
        with pytest.raises(RecordError):
            decode(canonical({other: value for other, value in fields.items() if other != name}))
    with pytest.raises(RecordError, match="extra"):
        decode(canonical({**fields, "extra": 1}))


@pytest.mark.parametrize("draft", EVERY, ids=KINDS)
def test_no_field_takes_a_value_of_another_kind(draft):
    fields = parse_canonical(encode(draft, LOG, 3, 12))
    for name, value in fields.items():
        wrong = [True, [], {}, "ä" * (((1 << 20) if name in ("content", "limits") else TEXT_MAX) + 1), -1]
        wrong += ["5", "x"] if isinstance(value, int) else [0, 2]
        rule = records.RULES[draft.kind].get(name)
        if rule is None or not rule.accepts(None):
            wrong.append(None)
        for bad in wrong:
            with pytest.raises(RecordError):
                decode(canonical({**fields, name: bad}))


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("cost", "07"),
        ("cost", "-0"),
        ("cost", "+7"),
        ("cost", "7.0"),
        ("cost", str(MONEY_MAX + 1)),
        ("cum", "٤"),
        ("id", ID.upper()),
        ("id", ID.replace("-7f", "-4f")),
        ("id", ID.replace("-", "")),
        ("outcome", "finished"),
        ("tok_src", "guess"),
        ("e_src", "NVML"),
        ("e_src", ""),
        ("kind", "gift"),
        ("v", 2),
        ("model", "a" * (TEXT_MAX + 1)),
    ],
)
def test_a_usage_record_with_such_a_field_is_refused(name, bad):
    fields = parse_canonical(encode(USAGE, LOG, 5, 7))
    with pytest.raises(RecordError):
        decode(canonical({**fields, name: bad}))


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"null", b'{"kind":7}', b'{"kind":[]}', b"{}", b"\xff"])
def test_what_is_no_record_is_refused(body):
    with pytest.raises(RecordError):
        decode(body)


def test_kinds_without_a_price_cost_nothing():
    fields = parse_canonical(encode(HeartbeatDraft(ID, 5), LOG, 1, 9))
    assert fields["cost"] == "0"
    with pytest.raises(RecordError, match="costs nothing"):
        decode(canonical({**fields, "cost": "1"}))


@pytest.mark.parametrize(
    "change",
    [
        {"t0": -1},
        {"t0": 1.0},
        {"dur_us": True},
        {"e_uj": INT_MAX + 1},
        {"tok_in": False},
        {"tok_out": "7"},
        {"cost": 1.5},
        {"cost": MONEY_MAX + 1},
        {"cost": True},
        {"id": "x"},
        {"id": None},
        {"model": None},
        {"model": 7},
        {"key": b"k"},
        {"outcome": ["complete"]},
        {"tok_src": None},
        {"e_src": "N V M L"},
    ],
    ids=str,
)
def test_a_draft_out_of_bounds_is_refused_and_the_field_named(change):
    with pytest.raises(RecordError, match=next(iter(change))):
        encode(dataclasses.replace(USAGE, **change), LOG, 5, 7)


@pytest.mark.parametrize(("seq", "cum"), [(-1, 0), (INT_MAX + 1, 0), (0, MONEY_MAX + 1), (0, 1.5), (True, 0)])
def test_a_place_beyond_all_bounds_is_refused(seq, cum):
    for draft in EVERY:
        with pytest.raises(RecordError):
            encode(draft, LOG, seq, cum)


def test_something_that_is_no_draft_is_refused():
    with pytest.raises(RecordError):
        encode("usage", LOG, 0, 0)


@given(USAGES, COUNTS, MONEY)
def test_the_fast_way_out_gives_the_bytes_of_the_slow_one(draft, seq, cum):
    assert outcome_of(encode, draft, LOG, seq, cum) == outcome_of(slow_encode, draft, LOG, seq, cum)


@given(USAGES, COUNTS, MONEY)
def test_the_fast_way_in_reads_what_the_slow_one_reads(draft, seq, cum):
    body = encode(draft, LOG, seq, cum)
    record = slow_decode(body)
    assert decode(body) == record
    fast = usage.decode(body)
    assert fast is None or Record(*fast) == record


@given(MODELS, COUNTS, MONEY)
def test_what_became_of_a_model_can_always_be_recorded_and_read_back(draft, seq, cum):
    body = encode(draft, LOG, seq, cum)
    read = decode(body)
    assert canonical(json.loads(body)) == body
    assert read == Record(LOG, seq, cum, read.draft)
    assert encode(read.draft, LOG, seq, cum) == body
    assert read.draft.model == recordable(draft.model)
    assert read.draft.note == recordable(draft.note)


@pytest.mark.parametrize(
    ("name", "bad"),
    [("sha256", "AB" * 32), ("sha256", "ab" * 31), ("sha256", ""), ("action", "created"), ("cost", "1")],
)
def test_a_model_record_with_such_a_field_is_refused(name, bad):
    fields = parse_canonical(encode(MODEL, LOG, 5, 7))
    with pytest.raises(RecordError):
        decode(canonical({**fields, name: bad}))


@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_the_fast_way_in_accepts_nothing_that_the_slow_one_refuses(dice: random.Random, changes):
    body = bytearray(encode(USAGE, LOG, 5, 50_445_000))
    for _ in range(changes):
        at = dice.randrange(len(body))
        match dice.randrange(3):
            case 0:
                body[at] = dice.choice(b'0123456789"\\{}:,-abcdefnrtu. \x00\x1f\x7f\xff')
            case 1:
                del body[at]
            case _:
                body[at:at] = bytes([dice.choice(b'0189"\\-.eE ')])
    assert outcome_of(decode, bytes(body)) == outcome_of(slow_decode, bytes(body))


def test_plain_usage_takes_the_fast_way():
    body = encode(USAGE, LOG, 5, 50_445_000)
    assert usage.encode(USAGE, LOG, 5, 50_445_000) == body
    assert usage.scan(body.decode()) is not None


def test_a_name_that_a_client_chose_never_prevents_its_record():
    nasty = dataclasses.replace(USAGE, model="\ud83d" + "x" * 9999, req="\udc00\x00", endpoint="\ud83d\ude00")
    draft = decode(encode(nasty, LOG, 0, 0)).draft
    assert draft.model == "\ufffd" + "x" * (TEXT_MAX - 1)
    assert draft.req == "\ufffd\x00"
    assert draft.endpoint == "😀"
    assert encode(draft, LOG, 0, 0) == encode(nasty, LOG, 0, 0)


@given(st.text(st.characters(), max_size=300))
def test_recordable_text_is_a_fixed_point_that_utf_8_can_write(text):
    once = recordable(text)
    assert once.encode().decode() == once == recordable(once)
    assert len(once) <= TEXT_MAX


def test_records_are_found_by_what_people_remember_of_them():
    words = searchable(dataclasses.replace(USAGE, model="Llama3.1:8B"))
    assert words.split("\n") == ["k_1", "llama3.1:8b", "/api/chat", "complete", "usage"]
    assert "new fan" in searchable(OTHERS[1])
    assert "labor" in searchable(OTHERS[1])
    assert "anna" in searchable(OTHERS[4])
    assert "laptop" in searchable(OTHERS[6])
    assert "hf.co" in searchable(MODEL)
    assert "updated" not in searchable(MODEL)


def test_ids_are_version_7_and_carry_the_time():
    now_us = 1_763_650_000_123_456
    identity = uuid7(now_us, 0)
    assert is_id(identity)
    assert len(id_bytes(identity)) == 16
    assert int(identity.replace("-", "")[:12], 16) >= now_us // 1000


@given(st.lists(st.tuples(st.integers(10**15, 2 * 10**15), st.integers(0, 2**70)), min_size=2, max_size=40))
def test_ids_ascend_even_where_the_clock_steps_back_or_stands_still(moments):
    ids = [uuid7(now_us, rand) for now_us, rand in moments]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert all(map(is_id, ids))


def test_limits_are_said_or_left_out_and_never_null():
    without = KeyDraft(ID, 5, "k_1", "laptop", "client", "created", "0" * 64)
    fields = parse_canonical(encode(without, LOG, 3, 12))
    assert "limits" not in fields
    with pytest.raises(RecordError):
        decode(canonical({**fields, "limits": None}))
    assert decode(canonical({**fields, "limits": "{}"})).draft.limits == "{}"
    assert decode(canonical(fields)).draft == without
