"""A month in figures: its bounds on the contributor's clocks, its sums, and a signature that is nothing else's."""

from __future__ import annotations

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from app.ledger.checkpoint import Signer, parse_checkpoint
from app.ledger.drafts import LaborDraft, TariffDraft
from app.ledger.errors import BadProof, CheckpointError, LedgerError
from app.ledger.ids import uuid7
from app.ledger.statement import Gathering, Month, sign_statement, vouched
from tests.receiver.sending import SendingLog, usage

BERLIN = ZoneInfo("Europe/Berlin")
HOUR_US = 3_600_000_000
MARCH = Month.of("2026-03", "Europe/Berlin", BERLIN)


def gathered(log: SendingLog, month: Month = MARCH) -> dict[str, object]:
    found = Gathering(month)
    found.read(log.bodies)
    return dict(json.loads(found.data(log.note(), log.signer.vkey)))


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


@pytest.mark.parametrize("text", ["", "2026", "2026-13", "2026-3", "2026-03-01", " 2026-03"])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Month.of(text, "Europe/Berlin", BERLIN)


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
    with pytest.raises(BadProof, match="is no statement"):
        vouched(signer.sign_checkpoint("gw/c_1", 1, bytes(32)), [signer.verifier])
