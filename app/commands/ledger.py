"""`ledger`: the newest records, or the verdict on all of them."""

from __future__ import annotations

import argparse
import asyncio
import json
from datetime import datetime

from app.billing.money import format_money
from app.commands.books import open_books
from app.commands.common import Ground, ask_running, ground
from app.ledger.reader import LedgerRow


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
        for entry in reversed(answer["transactions"]):
            print(json.dumps(entry) if options.json else _line_of(entry, base.store.current.currency))
        return 0
    async with open_books(base) as (books, _, _):
        page = await books.page(None, limit)
        for row in reversed(page.rows):
            if options.json:
                (body,) = await books.entries(row.log, row.seq, 1)
                print(body.decode())
            else:
                print(_line(row, base.store.current.currency))
    return 0


def _line(row: LedgerRow, currency: str) -> str:
    return _text(
        row.seq, row.t0_us / 1e6, row.kind, row.model, row.tok_out, row.outcome, row.cost_pico, currency
    )


def _line_of(entry: dict[str, object], currency: str) -> str:
    return _text(
        entry["seq"],
        entry["timestamp"],
        entry["kind"],
        entry["model"],
        entry["completion_tokens"],
        entry["outcome"],
        int(str(entry["cost_pico"])),
        currency,
    )


def _text(
    seq: object,
    at_s: object,
    kind: object,
    model: object,
    tokens: object,
    outcome: object,
    cost: int,
    currency: str,
) -> str:
    at = datetime.fromtimestamp(float(str(at_s))).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    told = "" if tokens is None else f"{tokens} tokens"
    paid = format_money(cost, currency)
    return f"{seq:>7}  {at}  {kind:<8} {model or '':<24} {told:<12} {outcome or '':<14} {paid}"
