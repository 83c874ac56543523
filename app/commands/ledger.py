"""`ledger`: the newest records, or the verdict on all of them."""

from __future__ import annotations

import argparse
import asyncio
import json
from datetime import datetime
from typing import Any

from app.billing.money import format_money
from app.commands.books import open_books
from app.commands.common import Ground, ground
from app.commands.operator import ask_running
from app.commands.tables import Column, show
from app.ledger.listing import LedgerRow

_COLUMNS = (
    Column("RECORD", right=True),
    Column("TIME"),
    Column("KIND"),
    Column("MODEL", whole=False),
    Column("TOKENS", right=True),
    Column("OUTCOME"),
    Column("COST", right=True),
)


def ledger(options: argparse.Namespace) -> int:
    """`mortdecai-gateway ledger list|verify`; verify's exit status is 0 where the status is OK, else 1."""
    base = ground(options)
    return asyncio.run(_verify(base) if options.action == "verify" else _list(base, options))


async def _verify(base: Ground) -> int:
    url = base.running_url()
    if url is not None:
        answer = await ask_running(base, url, "GET", "/reconcile")
        print(
            f"{answer['status']}: {answer['ledger_entries']} records, {answer['ledger_total_cost']} in all."
        )
        for finding in answer["findings"]:
            print(f"  {finding}")
        return 0 if answer["status"] == "OK" else 1
    async with open_books(base) as (books, _, _):
        report = await books.verify()
    print(f"{report.verdict}: {report.sentence}")
    for finding in report.findings:
        print(f"  {finding.sentence}")
    return 0 if report.verdict == "OK" else 1


async def _list(base: Ground, options: argparse.Namespace) -> int:
    url = base.running_url()
    limit = max(1, min(1000, options.limit))
    if url is not None:
        answer = await ask_running(base, url, "GET", f"/ledger?limit={limit}")
        entries = list(reversed(answer["transactions"]))
        if options.json:
            for entry in entries:
                print(json.dumps(entry))
        else:
            show(_COLUMNS, (_row_of(entry, base.store.current.currency) for entry in entries))
        return 0
    async with open_books(base) as (books, _, _):
        page = await books.page(None, limit)
        rows = list(reversed(page.rows))
        if not options.json:
            show(_COLUMNS, (_row(row, base.store.current.currency) for row in rows))
            return 0
        for row in rows:
            (body,) = await books.entries(row.log, row.seq, 1)
            print(body.decode())
    return 0


def _row(row: LedgerRow, currency: str) -> tuple[object, ...]:
    cost = format_money(row.cost_pico, currency)
    return row.seq, _when(row.t0_us / 1e6), row.kind, row.model, row.tok_out, row.outcome, cost


def _row_of(entry: dict[str, Any], currency: str) -> tuple[object, ...]:
    """The same of what a running gateway told."""
    cost = format_money(int(entry["cost_pico"]), currency)
    told = (entry[name] for name in ("kind", "model", "completion_tokens", "outcome"))
    return entry["seq"], _when(float(entry["timestamp"])), *told, cost


def _when(at_s: float) -> str:
    return datetime.fromtimestamp(at_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")
