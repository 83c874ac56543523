"""`audit`: what was refused and what was administered, from the running gateway or from the file of one that is not."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import apsw

from app.access.trail import TRAIL_FILE, TrailFile
from app.commands.common import CommandError, Ground, ground
from app.commands.operator import ask_running
from app.commands.tables import TableColumn, show
from app.proxy.audit_reading import MOST_AT_ONCE, line_json

_COLUMNS = (
    TableColumn("LINE", right=True),
    TableColumn("FIRST"),
    TableColumn("LAST"),
    TableColumn("TIMES", right=True),
    TableColumn("KEY", whole=False),
    TableColumn("ADDRESS"),
    TableColumn("ACTION"),
    TableColumn("RESULT"),
    TableColumn("WHAT", whole=False),
)


def audit(options: argparse.Namespace) -> int:
    """`mortdecai-gateway audit [--from N] [--limit N] [--json]`."""
    if not 1 <= options.limit <= MOST_AT_ONCE or (options.begin is not None and options.begin < 0):
        raise CommandError(f"--limit wants a number from 1 to {MOST_AT_ONCE}, and --from none below 0.")
    entries = asyncio.run(_entries(ground(options), options.begin, options.limit))
    if options.json:
        for entry in entries:
            print(json.dumps(entry))
    else:
        show(_COLUMNS, map(_row, entries))
    return 0


async def _entries(base: Ground, begin: int | None, limit: int) -> Iterable[Mapping[str, Any]]:
    url = base.running_url()
    if url is not None:
        since = "" if begin is None else f"&from={begin}"
        entries: list[Mapping[str, Any]] = (
            await ask_running(base, url, "GET", f"/admin/audit?limit={limit}{since}")
        )["entries"]
        return entries
    path = base.folders.data / TRAIL_FILE
    if not path.exists():
        return []
    file = TrailFile(path)
    try:
        return [line_json(line) for line in file.read(begin, limit)]
    except (apsw.Error, OSError) as error:
        raise CommandError(f"The audit trail {path} cannot be read: {error}.") from None
    finally:
        file.close()


def _row(entry: Mapping[str, Any]) -> tuple[object, ...]:
    result = "done" if entry["code"] is None else f"{entry['status']} {entry['code']}"
    who = entry["label"] or entry["key"] or ""
    times = (_time(entry["first"]), _time(entry["last"]), entry["count"])
    return entry["id"], *times, who, entry["address"], entry["action"], result, entry["note"]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
