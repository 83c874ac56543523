"""`ledger`: the newest records, and the verdict on all of them."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from app.billing.money import format_money
from app.commands.books import open_books, shut
from app.commands.common import Ground, ground
from app.commands.operator import ask_running
from app.commands.progress import verifying
from app.commands.tables import TableColumn, show
from app.ledger.checkpoint import Checkpoint, VerifierKey
from app.ledger.findings import AuditReport
from app.ledger.listing import LedgerRow
from app.ledger.sqlite.audit import audit

_COLUMNS = (
    TableColumn("RECORD", right=True),
    TableColumn("TIME"),
    TableColumn("KIND"),
    TableColumn("MODEL", whole=False),
    TableColumn("TOKENS", right=True),
    TableColumn("OUTCOME"),
    TableColumn("COST", right=True),
)


def newest(options: argparse.Namespace) -> int:
    """`ledger list`."""
    return asyncio.run(_list(ground(options), options))


def verify(options: argparse.Namespace) -> int:
    """`ledger verify`; the exit status is 0 where the verdict is OK, else 1."""
    return asyncio.run(_verify(ground(options)))


async def _verify(base: Ground) -> int:
    url = base.running_url()
    if url is not None:
        answer = await ask_running(base, url, "GET", "/reconcile")
        cost = format_money(int(answer["ledger_total_cost_pico"]), base.store.current.currency)
        print(f"{answer['status']}: {answer['ledger_entries']} records, {cost} in all.")
        for finding in answer["findings"]:
            print(f"  {finding}")
        return 0 if answer["status"] == "OK" else 1
    async with shut(base) as profile:
        claims = profile.newest.claims
        if not claims and not profile.path.exists():
            print("OK: there is no ledger yet.")
            return 0
        # Read as it lies: opening it as a gateway does would first record what a crash cut off.
        report = await asyncio.to_thread(_audit, profile.path, profile.signer.verifier, claims)
    print(f"{report.verdict}: {report.sentence}")
    for finding in report.findings if len(report.findings) > 1 else ():
        print(f"  {finding.sentence}")
    return 0 if report.verdict == "OK" else 1


def _audit(path: Path, verifier: VerifierKey, claims: Sequence[Checkpoint]) -> AuditReport:
    with verifying("Verifying the ledger") as tell:
        return audit(path, verifier, remembered=claims, progress=tell)


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
