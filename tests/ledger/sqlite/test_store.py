"""Appending: places, totals, futures, and what happens to the odd one out in a batch."""

from __future__ import annotations

import asyncio
import dataclasses
import os

import pytest

from app.ledger.checkpoint import verify_checkpoint
from app.ledger.drafts import MONEY_MAX
from app.ledger.errors import DuplicateRecord, LedgerClosed, LedgerError, RecordError
from app.ledger.heads import Receipt, Totals
from app.ledger.records import HeartbeatDraft, LaborDraft, ModelDraft, TariffDraft, UptimeDraft, decode


async def bodies(ledger, log):
    return [decode(body) for body in await ledger.entries(log, 0, 1024)]


async def test_a_record_gets_its_place_and_the_running_total(ledger, log, drafts):
    first, second = drafts(cost=5), drafts(cost=7)
    assert await ledger.append(log, first) == Receipt(log, 1, 5, 2)
    assert await ledger.append(log, second) == Receipt(log, 2, 12, 3)
    records = await bodies(ledger, log)
    assert [(record.seq, record.cum_pico, record.draft.kind) for record in records] == [
        (0, 0, "genesis"),
        (1, 5, "usage"),
        (2, 12, "usage"),
    ]
    assert [record.draft for record in records[1:]] == [first, second]


async def test_many_appends_at_once_are_few_commits_without_gaps(ledger, log, drafts):
    receipts = await asyncio.gather(*[ledger.append(log, drafts(cost=1)) for _ in range(1000)])
    assert [receipt.seq for receipt in receipts] == list(range(1, 1001))
    assert [receipt.cum_pico for receipt in receipts] == list(range(1, 1001))
    assert len({receipt.size for receipt in receipts}) < 100


async def test_every_client_has_a_log_of_its_own(ledger, drafts):
    anna, ben = [(await ledger.create_client(name)).log for name in ("Anna", "Ben")]
    receipts = await asyncio.gather(*[ledger.append((anna, ben)[i % 2], drafts(cost=1)) for i in range(20)])
    assert (
        [receipt.seq for receipt in receipts[::2]]
        == [receipt.seq for receipt in receipts[1::2]]
        == list(range(1, 11))
    )
    assert ledger.totals(anna).cost_pico == ledger.totals(ben).cost_pico == 10
    assert ledger.spent_pico == 20
    assert anna.startswith("gw_test/c_")


async def test_totals_count_what_each_kind_carries(ledger, log, drafts):
    await ledger.append(log, drafts(tok_in=3, tok_out=4, dur_us=10, e_uj=100, cost=7))
    await ledger.append(log, drafts(tok_in=None, tok_out=None, tok_src="none", dur_us=10, e_uj=100, cost=7))
    await ledger.append(log, UptimeDraft(ledger.new_id(), 1, 2, 1, 1000, "model", "t_1", 70))
    await ledger.append(log, LaborDraft(ledger.new_id(), 1, 2, 1, "new fan", 700))
    await ledger.append(log, HeartbeatDraft(ledger.new_id(), 1))
    assert ledger.totals(log) == ledger.totals() == Totals(2, 3, 4, 20, 1200, 784)


async def test_everything_is_there_again_after_reopening(opening, drafts):
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    await asyncio.gather(*[ledger.append(log, drafts()) for _ in range(1100)])
    totals, note = ledger.totals(), await ledger.checkpoint(log)
    await ledger.close()
    ledger = await opening()
    assert (ledger.totals(), await ledger.checkpoint(log), ledger.recovered) == (totals, note, ())
    assert (await ledger.append(log, drafts())).seq == 1101
    assert (await ledger.verify()).verdict == "OK"


async def test_whoever_delivers_hears_which_logs_grew_once_that_is_durable(ledger, drafts, rows, signer):
    anna, ben = [(await ledger.create_client(name)).log for name in ("Anna", "Ben")]
    told = []

    def hear(grown):
        stored = dict(rows("SELECT name, size FROM log"))
        told.append(
            (dict(grown), all(stored[log] >= size for log, size in grown.items()), ledger.totals(anna))
        )

    ledger.on_committed(hear)
    await ledger.append(anna, drafts(cost=7))
    assert told == [({anna: 2}, True, Totals(1, 26, 298, 400_000, 1000, 7))]
    await asyncio.gather(*[ledger.append(log, drafts()) for log in (anna, ben, ben)])
    sizes = {}
    for grown, durable, _ in told:
        assert durable
        sizes |= grown
    assert sizes == {anna: 3, ben: 3}
    notes = [verify_checkpoint(await ledger.checkpoint(log), signer.verifier) for log in (anna, ben)]
    assert list(ledger.newest()) == notes


async def test_a_commit_without_records_is_no_growth(ledger, log, drafts):
    def terms():
        return TariffDraft(ledger.new_id(), 5, "t_1", "USD", "…", "marginal", 0, 1, 0)

    await ledger.record_tariff(log, terms())
    told = []
    unsubscribe = ledger.on_committed(told.append)
    row = drafts.hold(log)
    await ledger.hold(row)
    await ledger.renew(row.request_id, 5, row.seen_us)
    await ledger.release(row.request_id)
    assert await ledger.record_tariff(log, terms()) is None
    assert told == []
    unsubscribe()
    await ledger.append(log, drafts())
    assert told == []


async def test_a_record_that_failed_is_no_growth_and_a_new_log_is(ledger, log, drafts):
    told = []
    ledger.on_committed(told.append)
    with pytest.raises(RecordError):
        await ledger.append(log, dataclasses.replace(drafts(), dur_us=-1))
    assert told == []
    client = await ledger.create_client("Ben")
    assert told == [{client.log: 1}]


async def test_a_cancelled_waiter_does_not_take_its_record_back(ledger, log, drafts):
    draft = drafts()
    with ledger._writer.trying:  # it is not written before the waiter has gone
        waiting = asyncio.ensure_future(asyncio.wait_for(ledger.append(log, draft), 10))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await ledger.append(log, drafts())
    assert (await bodies(ledger, log))[1].draft == draft


async def test_a_cancelled_future_does_not_take_its_record_back(ledger, log, drafts):
    draft = drafts()
    ledger.append(log, draft).cancel()
    await ledger.append(log, drafts())
    assert (await bodies(ledger, log))[1].draft == draft


async def test_an_id_is_recorded_once_and_only_its_second_append_fails(ledger, log, drafts):
    twice, others = drafts(), [drafts() for _ in range(5)]
    await ledger.append(log, twice)
    outcomes = await asyncio.gather(
        *[ledger.append(log, draft) for draft in (others[0], twice, *others[1:])], return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [Receipt, DuplicateRecord, *[Receipt] * 4]
    assert [record.draft.id for record in (await bodies(ledger, log))[1:]] == [
        twice.id,
        *(draft.id for draft in others),
    ]
    assert (await ledger.verify()).verdict == "OK"


async def test_an_id_that_comes_twice_in_one_batch_is_recorded_once(ledger, log, drafts):
    twice = drafts()
    outcomes = await asyncio.gather(
        *[ledger.append(log, draft) for draft in (drafts(), twice, drafts(), twice)], return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [Receipt, Receipt, Receipt, DuplicateRecord]
    assert len(await bodies(ledger, log)) == 4


@pytest.mark.parametrize(
    "change",
    [{"dur_us": -1}, {"cost": 0.5}, {"cost": None}, {"id": "x"}, {"outcome": "?"}, {"cost": MONEY_MAX}],
    ids=str,
)
async def test_a_bad_draft_fails_alone(ledger, log, drafts, change):
    bad = dataclasses.replace(drafts(), **change)
    outcomes = await asyncio.gather(
        *[ledger.append(log, draft) for draft in (drafts(), bad, drafts())], return_exceptions=True
    )
    assert isinstance(outcomes[1], RecordError | TypeError)
    assert [outcomes[0].seq, outcomes[2].seq] == [1, 2]
    assert (await ledger.verify()).verdict == "OK"


async def test_an_unknown_log_is_an_error_of_that_append(ledger, log, drafts):
    lost, found = ledger.append("gw_test/c_nobody", drafts()), ledger.append(log, drafts())
    with pytest.raises(LedgerError, match="create the client"):
        await lost
    assert (await found).seq == 1
    with pytest.raises(LedgerError, match="no log"):
        ledger.totals("gw_test/c_nobody")


async def test_names_that_clients_chose_are_recorded_whatever_they_are(ledger, log, drafts):
    await ledger.append(log, drafts(model="\ud800" + "m" * 999, endpoint="/api/😀"))
    row = (await ledger.page(None, 1)).rows[0]
    assert row.model == "\ufffd" + "m" * 255
    assert row.endpoint == "/api/😀"
    assert (await ledger.verify()).verdict == "OK"


async def test_a_tariff_is_recorded_when_its_terms_change_and_only_then(opening, drafts):
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log

    def terms(rate):
        return TariffDraft(ledger.new_id(), 5, "t_1", "USD", "…", "marginal", 0, rate, 0)

    assert (await ledger.record_tariff(log, terms(1))).seq == 1
    assert await ledger.record_tariff(log, terms(1)) is None
    await ledger.close()
    ledger = await opening()
    assert await ledger.record_tariff(log, terms(1)) is None
    assert (await ledger.record_tariff(log, terms(2))).seq == 2
    assert (await ledger.record_tariff(log, terms(1))).seq == 3
    assert (await ledger.verify()).verdict == "OK"


async def test_what_became_of_a_model_is_listed_and_found_by_its_source(ledger, log):
    draft = ModelDraft(
        ledger.new_id(), 5, "k_1", "mine:1", None, "https://hf.co/m.gguf", None, "failed", "It is not GGUF."
    )
    receipt = await ledger.append(log, draft)
    row = (await ledger.page(None, 5, search="hf.co")).rows[0]
    assert (row.seq, row.kind, row.key, row.model, row.cost_pico) == (
        receipt.seq,
        "model",
        "k_1",
        "mine:1",
        0,
    )
    assert ledger.totals().requests == 0
    assert (await ledger.verify()).verdict == "OK"


async def test_closing_writes_what_is_queued(opening, drafts):
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    futures = [ledger.append(log, drafts()) for _ in range(700)]
    await ledger.close()
    assert [future.result().seq for future in futures] == list(range(1, 701))
    ledger = await opening()
    assert ledger.totals().requests == 700


async def test_a_closed_ledger_says_so(ledger, log, drafts):
    await ledger.close()
    await ledger.close()
    with pytest.raises(LedgerClosed):
        ledger.append(log, drafts())
    with pytest.raises(LedgerClosed):
        ledger.hold_later(drafts.hold(log))
    with pytest.raises(LedgerClosed):
        await ledger.page(None, 5)
    with pytest.raises(LedgerClosed):
        await ledger.verify()


async def test_after_closing_one_private_file_holds_everything(ledger, log, drafts, path):
    await ledger.append(log, drafts())
    companions = [path.with_name(path.name + end) for end in ("", "-wal", "-shm", ".lock", ".reserve")]
    if os.name == "posix":
        assert {companion.stat().st_mode & 0o777 for companion in companions} == {0o600}
    await ledger.close()
    assert not companions[1].exists()


async def test_a_record_costs_less_than_a_kilobyte(ledger, log, drafts, path):
    await asyncio.gather(
        *[ledger.append(log, drafts(model_digest="sha256:" + "0" * 64)) for _ in range(3000)]
    )
    await ledger.close()
    assert path.stat().st_size / 3000 < 1024
