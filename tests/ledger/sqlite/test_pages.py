"""Pages: newest first, searched and bounded, with work that does not grow with the ledger."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import pytest

from app.ledger.records import HeartbeatDraft, LaborDraft
from app.ledger.sqlite import pages
from app.ledger.sqlite.schema import SPAN_RECORDS


async def fill(ledger, log, drafts):
    await asyncio.gather(*[ledger.append(log, draft) for draft in drafts])


async def walk(ledger, limit=50, **query):
    """All rows that a face finds by going from page to page, and the number of pages."""
    rows, before, count = [], None, 0
    while True:
        page = await ledger.page(before, limit, **query)
        assert len(page.rows) <= limit
        rows += page.rows
        count += 1
        if page.next is None:
            return rows, count
        assert before is None or page.next < before
        before = page.next


async def test_an_empty_ledger_has_an_empty_page(ledger):
    page = await ledger.page(None, 50)
    assert (page.rows, page.next) == ((), None)


async def test_the_newest_record_comes_first_with_all_that_it_says(ledger, log, drafts):
    draft = drafts(cost=7)
    await ledger.append(log, drafts(cost=5))
    await ledger.append(log, draft)
    row = (await ledger.page(None, 50)).rows[0]
    assert (row.n, row.log, row.seq, row.id, row.kind) == (3, log, 2, draft.id, "usage")
    assert (row.t0_us, row.dur_us, row.key, row.model) == (draft.t0, draft.dur_us, draft.key, draft.model)
    assert (row.endpoint, row.tok_in, row.tok_out, row.tok_src) == ("/api/chat", 26, 298, "engine")
    assert (row.outcome, row.e_uj, row.e_src) == ("complete", draft.e_uj, "nvml")
    assert (row.cost_pico, row.cum_pico) == (7, 12)


async def test_a_kind_without_a_field_shows_none(ledger, log):
    await ledger.append(log, LaborDraft(ledger.new_id(), 5, 9, 4, "new fan", 70))
    labor, genesis = (await ledger.page(None, 50)).rows
    assert (labor.kind, labor.dur_us, labor.model, labor.tok_in, labor.cost_pico) == (
        "labor",
        4,
        None,
        None,
        70,
    )
    assert (genesis.kind, genesis.dur_us, genesis.outcome, genesis.cost_pico) == ("genesis", None, None, 0)


@pytest.mark.parametrize("limit", [1, 7, 50, 500])
async def test_paging_shows_every_record_once_and_ends(ledger, log, drafts, limit):
    await fill(ledger, log, [drafts() for _ in range(120)])
    rows, _ = await walk(ledger, limit)
    assert [row.n for row in rows] == list(range(121, 0, -1))


async def test_records_that_come_while_one_pages_do_not_disturb(ledger, log, drafts):
    await fill(ledger, log, [drafts() for _ in range(20)])
    first = await ledger.page(None, 10)
    await fill(ledger, log, [drafts() for _ in range(20)])
    second = await ledger.page(first.next, 11)
    assert [row.n for row in first.rows + second.rows] == list(range(21, 0, -1))


async def test_a_limit_beyond_reason_is_bounded(ledger, log, drafts):
    await fill(ledger, log, [drafts() for _ in range(600)])
    assert len((await ledger.page(None, 10**6)).rows) == 500
    assert len((await ledger.page(None, 0)).rows) == 1


async def test_one_log_is_paged_without_the_others(ledger, drafts):
    anna, ben = [(await ledger.create_client(name)).log for name in ("Anna", "Ben")]
    await asyncio.gather(*[ledger.append(ben if i % 10 == 0 else anna, drafts()) for i in range(300)])
    rows, _ = await walk(ledger, 7, log=ben)
    assert [row.seq for row in rows] == list(range(30, -1, -1))
    assert {row.log for row in rows} == {ben}
    for before in (1, 2, 3, 150, 10**9):
        page = await ledger.page(before, 500, log=ben)
        assert [row.n for row in page.rows] == [row.n for row in rows if row.n < before]


async def test_a_page_of_an_unknown_log_is_an_error(ledger):
    with pytest.raises(Exception, match="no log"):
        await ledger.page(None, 5, log="gw_test/c_nobody")


@pytest.mark.parametrize("search", ["mistral", "MISTRAL", " stra "])
async def test_a_search_finds_part_of_a_model_in_any_case(ledger, log, drafts, search):
    await fill(ledger, log, [drafts(model="Mistral:7b" if i % 9 == 4 else "qwen2.5:3b") for i in range(90)])
    rows, _ = await walk(ledger, 4, search=search)
    assert len(rows) == 10
    assert {row.model for row in rows} == {"Mistral:7b"}


@pytest.mark.parametrize(
    ("search", "change"),
    [
        ("embed", {"endpoint": "/api/embed"}),
        ("abort", {"outcome": "client_abort"}),
        ("k_phone", {"key": "k_phone"}),
    ],
)
async def test_a_search_finds_endpoint_outcome_and_key(ledger, log, drafts, search, change):
    await fill(ledger, log, [drafts(), drafts(**change), drafts()])
    rows, _ = await walk(ledger, search=search)
    assert [row.n for row in rows] == [3]


async def test_a_search_takes_wildcards_as_they_are(ledger, log, drafts):
    await fill(ledger, log, [drafts(model="a_b%c"), drafts(model="axbyc")])
    assert [row.model for row in (await walk(ledger, search="a_b%"))[0]] == ["a_b%c"]


async def test_a_search_finds_what_a_key_labelled_so_was_used_for(ledger, drafts):
    client = await ledger.create_client("Anna")
    key = await ledger.create_key(label="Living room", sha256=sha256(b"1").digest(), client=client.id)
    await fill(ledger, client.log, [drafts(key=key.id), drafts(), drafts(key=key.id)])
    rows, _ = await walk(ledger, search="living")
    assert [row.kind for row in rows] == ["usage", "usage", "key"]


async def test_a_search_finds_a_record_by_the_beginning_of_its_id(ledger, log, drafts):
    many = [drafts() for _ in range(50)]
    await fill(ledger, log, many)
    wanted = many[17]
    for search in (wanted.id, wanted.id[:18], wanted.id.replace("-", "")[:20], wanted.id.upper()):
        rows, _ = await walk(ledger, search=search)
        assert [row.id for row in rows] == [wanted.id]
    together = [draft.id for draft in many if draft.id.startswith(wanted.id[:8])]
    rows, _ = await walk(ledger, 3, search=wanted.id[:8])
    assert [row.id for row in reversed(rows) if row.kind == "usage"] == together
    assert len(together) > 3


async def test_a_word_that_merely_looks_like_an_id_is_searched_as_a_word(ledger, log, drafts):
    await fill(ledger, log, [drafts(), drafts(model="deadbeef")])
    assert [row.model for row in (await walk(ledger, search="deadbeef"))[0]] == ["deadbeef"]


async def test_a_period_is_that_of_the_start_of_the_work(ledger, log, drafts):
    many = [drafts() for _ in range(40)]
    await fill(ledger, log, many)
    since, until = many[10].t0, many[20].t0
    rows, _ = await walk(ledger, 3, since_us=since, until_us=until)
    assert [row.id for row in reversed(rows)] == [draft.id for draft in many[10:20]]
    assert len((await walk(ledger, since_us=since))[0]) == 30
    assert len((await walk(ledger, log=log, until_us=until, since_us=many[1].t0))[0]) == 19


async def test_a_period_is_found_though_the_clock_went_astray(ledger, log, drafts):
    normal = [drafts() for _ in range(3000)]
    for at in (5, 1500, 2500):
        normal[at] = drafts(t0=normal[at].t0 * 2)
    await fill(ledger, log, normal)
    rows, _ = await walk(ledger, since_us=normal[100].t0, until_us=normal[110].t0)
    assert [row.id for row in reversed(rows)] == [draft.id for draft in normal[100:110]]
    rows, _ = await walk(ledger, since_us=normal[2999].t0 + 1)
    assert [row.id for row in reversed(rows)] == [normal[at].id for at in (5, 1500, 2500)]


async def test_a_period_long_ago_is_one_page_for_spans_are_skipped(opening, drafts, monkeypatch):
    monkeypatch.setattr(pages, "SCAN_MAX", 2 * SPAN_RECORDS)
    ledger = await opening()
    log = (await ledger.create_client("Anna")).log
    many = [drafts() for _ in range(4 * SPAN_RECORDS)]
    await fill(ledger, log, many)
    for _ in range(2):
        page = await ledger.page(None, 10, since_us=many[50].t0, until_us=many[55].t0)
        assert [row.id for row in page.rows] == [many[at].id for at in range(54, 49, -1)]
        await ledger.close()
        ledger = await opening()
        await ledger.append(log, drafts())


async def test_a_search_that_matches_rarely_looks_at_so_many_records_and_says_where_to_go_on(
    ledger, log, drafts, monkeypatch
):
    monkeypatch.setattr(pages, "SCAN_MAX", 2 * SPAN_RECORDS)
    many = [drafts(model="needle") if i == 3 else drafts() for i in range(2 * pages.SCAN_MAX + 100)]
    await fill(ledger, log, many)
    for query in ({}, {"log": log}):
        first = await ledger.page(None, 50, search="needle", **query)
        assert first.rows == ()
        assert pages.SCAN_MAX <= len(many) + 2 - first.next <= pages.SCAN_MAX + SPAN_RECORDS
        rows, count = await walk(ledger, search="needle", **query)
        assert [row.id for row in rows] == [many[3].id]
        assert 2 <= count <= 3


async def test_no_page_sorts_what_it_finds(ledger, log, rows):
    for condition, order in (
        ("n >= ? AND n < ?", "n"),
        ("log = ? AND seq >= ? AND seq < ?", "seq"),
    ):
        plan = rows(
            f"EXPLAIN QUERY PLAN {pages._SELECT}{condition} ORDER BY {order} DESC LIMIT 9",
            *([1] * condition.count("?")),
        )
        text = " ".join(str(row[-1]) for row in plan)
        assert "SEARCH record" in text
        assert "TEMP B-TREE" not in text


async def test_a_record_that_cannot_be_read_any_more_is_listed_as_such(ledger, log, drafts, rows):
    draft = drafts()
    await ledger.append(log, draft)
    await ledger.append(log, HeartbeatDraft(ledger.new_id(), 5))
    rows("UPDATE record SET body = x'00' WHERE n = 2")
    page = await ledger.page(None, 5)
    assert [row.kind for row in page.rows] == ["heartbeat", "unreadable", "genesis"]
    assert page.rows[1].id == draft.id
