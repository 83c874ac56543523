"""A month in figures: its bounds on the contributor's clocks, its sums, and a signature that is nothing else's."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from app.ledger.canonical import canonical
from app.ledger.checkpoint import Signer, b64, parse_checkpoint
from app.ledger.drafts import AdjustDraft, KeyDraft, LaborDraft, TariffDraft
from app.ledger.errors import BadProof, CheckpointError, LedgerError
from app.ledger.ids import uuid7
from app.ledger.statement import Gathering, Month, sign_statement, vouched
from app.proxy.statement_page import statement_page
from tests.receiver.sending import SendingLog, usage

BERLIN = ZoneInfo("Europe/Berlin")
HOUR_US = 3_600_000_000
MARCH = Month.of("2026-03", "Europe/Berlin", BERLIN)


def gathered(log: SendingLog, month: Month = MARCH) -> dict[str, object]:
    found = Gathering(month)
    found.read(log.bodies)
    return dict(json.loads(found.data(log.note(), log.signer.vkey)))


def key_draft(key: str, label: str) -> KeyDraft:
    return KeyDraft(uuid7(1, 1), 1, key, label, "client", "created", "0" * 64)


def terms(t0: int, currency: str = "EUR") -> TariffDraft:
    return TariffDraft(uuid7(t0, 1), t0, "t_1", currency, '[[null,null,"1"]]', "marginal", 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "hours"),
    [("2026-01", 31 * 24), ("2026-03", 31 * 24 - 1), ("2026-10", 31 * 24 + 1), ("2028-02", 29 * 24)],
)
def test_a_month_is_as_long_as_the_clocks_make_it(text: str, hours: int) -> None:
    month = Month.of(text, "Europe/Berlin", BERLIN)
    assert month.to_us - month.from_us == hours * HOUR_US
    assert month.local(month.from_us) == datetime.strptime(text, "%Y-%m").replace(tzinfo=BERLIN)
    assert month.local(month.to_us).day == 1


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("1970-01", "1970-01-01T00:00:00+00:00", "1970-02-01T00:00:00+00:00"),
        ("2026-11", "2026-11-01T00:00:00+00:00", "2026-12-01T00:00:00+00:00"),
        ("2026-12", "2026-12-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"),
    ],
)
def test_a_month_ends_where_the_next_one_begins_over_the_years_end_too(
    text: str, begin: str, end: str
) -> None:
    month = Month.of(text, "UTC", UTC)
    assert (month.local(month.from_us).isoformat(), month.local(month.to_us).isoformat()) == (begin, end)
    assert month.from_us == datetime.fromisoformat(begin).timestamp() * 1e6
    assert month.to_us == datetime.fromisoformat(end).timestamp() * 1e6


@pytest.mark.parametrize("text", ["", "9999-12", "2026", "2026-13", "2026-3", "2026-03-01", " 2026-03"])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Month.of(text, "Europe/Berlin", BERLIN)


def test_labour_and_corrections_stand_with_the_words_that_say_what_for() -> None:
    log = SendingLog()
    log.append(terms(MARCH.from_us - 9))
    for t0 in (MARCH.from_us - 1, MARCH.from_us, MARCH.to_us):
        log.append(LaborDraft(uuid7(t0, 9), t0, t0 + 9, HOUR_US, "Cleaned <the fans>", 100))
    log.append(AdjustDraft(uuid7(MARCH.to_us - 1, 1), MARCH.to_us - 1, None, "Records 3 to 4 were lost.", -7))
    told = gathered(log)
    labour, correction = told["by_hand"]  # type: ignore[misc]
    when = {"seq": 3, "day": "2026-03-01", "kind": "labor", "dur_us": HOUR_US, "cost": "100"}
    assert labour == when | {"words": "Cleaned <the fans>"}
    when = {"seq": 5, "day": "2026-03-31", "kind": "adjust", "dur_us": None, "cost": "-7"}
    assert correction == when | {"words": "Records 3 to 4 were lost."}
    page = statement_page(canonical(told), over=True)
    assert "2026-03-01, Labour: Cleaned &lt;the fans&gt;</td><td>1 h 0 min</td>" in page
    assert "2026-03-31, Correction: Records 3 to 4 were lost.</td><td></td>" in page
    assert "Labour and corrections" not in statement_page(canonical(told | {"by_hand": []}), over=True)


def test_a_record_belongs_to_the_month_and_the_day_in_which_its_work_began() -> None:
    log = SendingLog()
    log.append(terms(MARCH.from_us - 9))
    last = MARCH.to_us - 1
    for t0 in (MARCH.from_us - 1, MARCH.from_us, last, MARCH.to_us):
        # The last one of March ends in April.
        log.append(usage(t0=t0, t1=t0 + 5, cost=10, e_uj=7, tok_in=2, tok_out=None, dur_us=5))
    log.append(LaborDraft(uuid7(last, 9), last, last, 0, "", 100))
    told = gathered(log)
    sums = {"requests": 2, "tok_in": 4, "tok_out": 0, "dur_us": 10, "e_uj": "14"}
    assert told["total"] == {"records": 3, "cost": "120", **sums}
    assert [(day["day"], day["cost"]) for day in told["days"]] == [
        ("2026-03-01", "10"),
        ("2026-03-31", "110"),
    ]  # type: ignore[attr-defined]
    assert [(one["kind"], one["cost"]) for one in told["kinds"]] == [("labor", "100"), ("usage", "20")]  # type: ignore[attr-defined]
    assert [one["cost"] for one in told["models"]] == [one["cost"] for one in told["keys"]] == ["20"]  # type: ignore[attr-defined]
    assert (told["currency"], told["client"], told["log_total_cost"]) == ("EUR", "Anna", "140")
    assert (told["from"], told["to"]) == ("2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00")


def test_the_dearest_stand_first_and_of_two_that_cost_the_same_the_first_by_name() -> None:
    log = SendingLog()
    for model, key, cost in (
        ("b", "k_1", 10),
        ("a", "k_2", 10),
        ("c", "k_2", 5),
        ("d", "k_0", 15),
        ("a", "k_2", 5),
    ):
        log.append(
            usage(
                t0=MARCH.from_us, t1=MARCH.from_us + 5, cost=cost, model=model, key=key, tok_in=3, tok_out=7
            )
        )
    log.append(
        usage(t0=MARCH.from_us, t1=MARCH.from_us + 5, cost=0, model="d", key="k_0", tok_in=None, tok_out=None)
    )
    told = gathered(log)
    listed = [(one["model"], one["cost"]) for one in told["models"]]  # type: ignore[attr-defined]
    assert listed == [("a", "15"), ("d", "15"), ("b", "10"), ("c", "5")]
    assert [one["key"] for one in told["keys"]] == ["k_2", "k_0", "k_1"]  # type: ignore[attr-defined]
    unknown = told["models"][1]  # type: ignore[index]
    assert (unknown["requests"], unknown["tok_in"], unknown["tok_out"]) == (2, 3, 7)
    assert told["models"][0] == {  # type: ignore[index]
        "model": "a", "records": 2, "requests": 2, "tok_in": 6, "tok_out": 14, "dur_us": 800_000,
        "e_uj": told["models"][0]["e_uj"], "cost": "15",  # type: ignore[index]
    }  # fmt: skip


def test_a_key_is_listed_with_the_label_that_it_was_given_last() -> None:
    log = SendingLog()
    for label in ("laptop", "old laptop"):
        log.append(key_draft("k_1", label))
    for key in ("k_1", "k_2"):
        log.append(usage(t0=MARCH.from_us, t1=MARCH.from_us + 5, cost=1, key=key))
    told = gathered(log)
    assert [(one["key"], one["label"]) for one in told["keys"]] == [("k_1", "old laptop"), ("k_2", "")]  # type: ignore[attr-defined]


def test_terms_that_begin_with_the_month_take_the_place_of_those_before() -> None:
    log = SendingLog()
    for t0 in (MARCH.from_us - 1, MARCH.from_us):
        log.append(terms(t0))
    assert [one["since_us"] for one in gathered(log)["tariffs"]] == [MARCH.from_us]  # type: ignore[attr-defined]


def test_nothing_that_costs_nothing_has_a_day_of_its_own() -> None:
    log = SendingLog()
    log.append(terms(MARCH.from_us + 5))
    log.append(usage(t0=MARCH.from_us + 6, t1=MARCH.from_us + 7, cost=0))
    told = gathered(log)
    assert [day["records"] for day in told["days"]] == [1]  # type: ignore[attr-defined]
    assert told["total"]["records"] == 2  # type: ignore[index]
    assert told["tariffs"] == [
        {
            "tariff": "t_1", "since_us": MARCH.from_us + 5, "currency": "EUR", "mode": "marginal",
            "prices": '[[null,null,"1"]]', "margin_ppm": 0, "base_rate": "0", "labor_rate": "0",
        }
    ]  # fmt: skip


def test_before_anything_was_read_there_is_nothing() -> None:
    found = Gathering(MARCH)
    assert (found.size, found.cum, found.client, found.total.told()["records"]) == (0, 0, "", 0)


def test_the_terms_are_those_in_force_when_the_month_began_and_those_that_came_in_it() -> None:
    log = SendingLog()
    times = (MARCH.from_us - 9, MARCH.from_us - 5, MARCH.from_us + 5, MARCH.to_us)
    for t0 in times:
        log.append(terms(t0))
    assert [one["since_us"] for one in gathered(log)["tariffs"]] == list(times[1:3])  # type: ignore[attr-defined]
    log.append(terms(MARCH.from_us + 6, "USD"))
    with pytest.raises(LedgerError, match="EUR and USD, whose amounts have no sum"):
        gathered(log)
    assert gathered(SendingLog())["currency"] == "XXX"


def test_the_checkpoint_must_be_over_the_records_that_were_read() -> None:
    log = SendingLog(records=3)
    found = Gathering(MARCH)
    found.read(log.bodies[:3])
    with pytest.raises(LedgerError, match="over 4 records, and 3 were read"):
        found.data(log.note(), log.signer.vkey)


def test_the_signature_is_over_every_file_and_can_be_taken_for_no_checkpoint() -> None:
    signer = Signer(bytes(32), "gw")
    files = {"json": b"{}", "html": b"<p>"}
    note = sign_statement(signer, "gw/c_1", "2026-03", files)
    found = vouched(note, [Signer(b"x" * 32, "gw").verifier, signer.verifier])
    assert (found.log, found.month, found.key.text) == ("gw/c_1", "2026-03", signer.vkey)
    for ending, content in files.items():
        found.require(ending, content)
        with pytest.raises(BadProof, match="changed"):
            found.require(ending, content + b" ")
    with pytest.raises(BadProof, match="no file"):
        found.require("csv", b"")
    with pytest.raises(CheckpointError):
        parse_checkpoint(note)
    for forged in (
        note.replace("2026-03", "2026-04"),
        note.replace("html", "csv"),
        "nonsense",
        note.partition("\n\n")[0],
    ):
        with pytest.raises(BadProof):
            vouched(forged, [signer.verifier])
    for keys in ([], [Signer(b"x" * 32, "gw").verifier]):
        with pytest.raises(BadProof, match="carries no signature"):
            vouched(note, keys)
    odd = f"mortdecai-gateway/statement/v1\ngw/c_1\n2026-03\nh tml {b64(bytes(32))}\n"
    with pytest.raises(BadProof, match="does not hold"):
        vouched(signer.sign_note(odd), [signer.verifier])
    with pytest.raises(BadProof, match="is no statement"):
        vouched(signer.sign_checkpoint("gw/c_1", 1, bytes(32)), [signer.verifier])
