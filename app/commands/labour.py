"""`labor`: the contributor logs time by hand, billed by LABOR_RATE_PER_HOUR.

Rule: it speaks to the profile's running gateway, which alone knows what room the cap leaves.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from app.basics.clock import wall_us
from app.billing.money import format_money
from app.commands.common import Ground, ground
from app.commands.operator import ask_running
from app.commands.verbs import need_running
from app.ledger.ids import new_id


def labour(options: argparse.Namespace) -> int:
    """`mortdecai-gateway labor`."""
    return asyncio.run(_labour(ground(options), options))


async def _labour(base: Ground, options: argparse.Namespace) -> int:
    url = need_running(base)
    if options.hours is None:
        for line in _sums(await ask_running(base, url, "GET", "/admin/labor")):
            print(line)
        return 0
    asked = {"hours": options.hours, "id": new_id(wall_us())}
    asked |= {name: said for name in ("note", "client") if (said := getattr(options, name)) is not None}
    done = await ask_running(base, url, "POST", "/admin/labor", asked)
    cost = format_money(int(done["cost_pico"]), done["currency"])
    print(f"{done['hours']:g} h for {done['client']}: {cost}, recorded as {done['id']}.")
    if done["cost_pico"] == "0":
        print("It costs nothing, for LABOR_RATE_PER_HOUR is 0.")
    return 0


def _sums(told: dict[str, Any]) -> list[str]:
    lines = []
    for one in (*told["clients"], {**told, "client": "all"}):
        cost = format_money(int(one["labor_cost_pico"]), told["currency"])
        lines.append(f"{one['client']}: {one['labor_hours']:g} h, {cost}")
    return lines
