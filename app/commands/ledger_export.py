"""`ledger export`: the records of a period as they were hashed, as a table, or in the seed's flat form.

Rule 1: one log after the other, the oldest record first; money and energy are exact. Rule 2: a file is whole or it is
not there.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import os
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from app.billing.money import pico_to_decimal
from app.commands.common import CommandError, Ground, ground
from app.commands.ledger_source import LedgerSource, ledger_source
from app.commands.period import period_us
from app.ledger.records import Record, decode
from app.ledger.seed_form import flat

Line = Callable[[bytes, Record], bytes | None]
"""A record as a line of the export; None where it is none."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS = (
    "log", "seq", "id", "kind", "start", "duration_seconds", "key", "model", "endpoint", "prompt_tokens",
    "completion_tokens", "token_source", "outcome", "energy_uj", "energy_source", "cost", "total_cost", "note",
)  # fmt: skip


def export(options: argparse.Namespace) -> int:
    """`ledger export`."""
    return asyncio.run(_export(ground(options), options))


async def _export(base: Ground, options: argparse.Namespace) -> int:
    period = period_us(options.since, options.until)
    head, line = _form(options.format, base)
    async with ledger_source(base) as source:
        logs = [log for log, _ in source.logs] if options.log is None else [source.named(options.log)]
        if options.out is None:
            await _write(sys.stdout.buffer, head, line, source, logs, period)
            return 0
        path = Path(options.out)
        part = path.with_name(path.name + ".part")
        try:
            with part.open("wb") as file:
                count = await _write(file, head, line, source, logs, period)
            os.replace(part, path)
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror or error}.") from None
        finally:
            part.unlink(missing_ok=True)
    print(f"{path} holds {count} records.")
    return 0


async def _write(
    file: BinaryIO,
    head: bytes,
    line: Line,
    source: LedgerSource,
    logs: list[str],
    period: tuple[int | None, int | None],
) -> int:
    """How many records were written."""
    file.write(head)
    count = 0
    for log in logs:
        async for body, record in _within(source.entries(log), *period):
            written = line(body, record)
            if written is not None:
                file.write(written)
                count += 1
    file.flush()
    return count


async def _within(
    bodies: AsyncIterator[bytes], since_us: int | None, until_us: int | None
) -> AsyncIterator[tuple[bytes, Record]]:
    """Records whose work began in the period. Their order is that of their ends, so all of them are looked at."""
    async for body in bodies:
        record = decode(body)
        at = record.draft.t0
        if (since_us is None or at >= since_us) and (until_us is None or at < until_us):
            yield body, record


def _form(name: str, base: Ground) -> tuple[bytes, Line]:
    """What stands before all records, and how one is written."""
    match name:
        case "csv":
            return _row(_COLUMNS), lambda _, record: _row(_cells(record))
        case "seed":
            secret = str(base.store.current.ledger_secret)
            if not secret:
                raise CommandError(
                    "The seed's form carries a hash over LEDGER_SECRET, which is not set: name it, for example in the"
                    " environment."
                )
            return b"", lambda _, record: _ended(flat(record, secret, base.store.current.ledger_template))
        case _:
            return b"", lambda body, _: body + b"\n"


def _ended(line: bytes | None) -> bytes | None:
    return None if line is None else line + b"\n"


def _row(cells: tuple[object, ...]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue().encode()


def _cells(record: Record) -> tuple[object, ...]:
    draft = record.draft

    def field(name: str) -> object:
        return getattr(draft, name, None)

    start = (_EPOCH + timedelta(microseconds=draft.t0)).isoformat(timespec="microseconds")
    seconds = (
        None
        if (dur_us := getattr(draft, "dur_us", None)) is None
        else f"{dur_us // 10**6}.{dur_us % 10**6:06}"
    )
    note = field("note") or field("reason") or field("label")
    return (
        _text(record.log), record.seq, draft.id, draft.kind, start.replace("+00:00", "Z"), seconds, _text(field("key")),
        _text(field("model")), _text(field("endpoint")), field("tok_in"), field("tok_out"), field("tok_src"),
        field("outcome"), field("e_uj"), field("e_src"), pico_to_decimal(draft.cost).__format__("f"),
        pico_to_decimal(record.cum_pico).__format__("f"), _text(note),
    )  # fmt: skip


def _text(value: object) -> object:
    """What others could choose must not become a formula in somebody's spreadsheet."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return value
