"""`status`, `pause`, `finish`, `resume`, `snooze`: the tray's verbs for whoever has only a terminal.

Rule: they speak to the profile's running gateway and change nothing where none runs.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.billing.money import format_money
from app.billing.periods import Period
from app.commands.common import CommandError, Ground, ground
from app.commands.operator import ask_running

_DURATION = re.compile(r"(\d{1,4})\s*(m|min|h|d)", re.ASCII)
_SECONDS = {"m": 60, "min": 60, "h": 3600, "d": 86_400}


def verbs(options: argparse.Namespace) -> int:
    """`mortdecai-gateway status`, `pause`, `finish`, `resume`, `snooze`."""
    return asyncio.run(_say(ground(options), options))


async def _say(base: Ground, options: argparse.Namespace) -> int:
    url = need_running(base)
    match options.command:
        case "status":
            for line in status(
                await ask_running(base, url, "GET", "/health"),
                await ask_running(base, url, "GET", "/stats"),
                await ask_running(base, url, "GET", "/admin/engine"),
                await ask_running(base, url, "GET", "/admin/public-address"),
                url,
            ):
                print(line)
            for line in certificate(await ask_running(base, url, "GET", "/admin/certificate")):
                print(line)
        case "pause":
            asked = {"wait": True, "others": options.others}
            answer = await ask_running(base, url, "POST", "/admin/pause", asked)
            print("Paused.", answer.get("notice") or "")
            if answer["others"]:
                print("To unload that as well: mortdecai-gateway pause --others")
        case "finish":
            answer = await ask_running(base, url, "POST", "/admin/finish")
            done = answer["serving"] == "paused"
            print(
                "Paused."
                if done
                else "No new requests are taken; those that run end in peace, then it pauses."
            )
        case "resume":
            answer = await ask_running(base, url, "POST", "/admin/resume")
            print("Contributing." if answer["serving"] == "contributing" else "It will serve when it can:")
            if answer["serving"] != "contributing":
                health = await ask_running(base, url, "GET", "/health")
                print(health.get("reason") or "The engine is starting.", health.get("ends") or "")
        case "snooze":
            seconds = duration_s(options.duration)
            await ask_running(base, url, "POST", "/admin/snooze", {"seconds": seconds})
            health = await ask_running(base, url, "GET", "/health")
            print(health["reason"] or "Paused.", health["ends"] or "")
    return 0


def need_running(base: Ground) -> str:
    """The address of the profile's running gateway; CommandError where none runs."""
    url = base.running_url()
    if url is None:
        raise CommandError(
            f"No gateway of the profile {base.profile} runs. Start it with mortdecai-gateway, or with serve."
        )
    return url


def duration_s(text: str, most_s: int = 604_800) -> int:
    """Seconds of «90m», «3 h» or «1d», at least a minute and at most `most_s`. Raises CommandError."""
    match = _DURATION.fullmatch(text.strip().lower())
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not 60 <= seconds <= most_s:
        raise CommandError(
            f"{text!r} is no duration: say for example 30m, 3h or 1d, up to {most_s // 86_400}d."
        )
    return seconds


def status(
    health: dict[str, Any], stats: dict[str, Any], engine: dict[str, Any], public: dict[str, Any], url: str
) -> list[str]:
    """A few lines: serving or not and why, money, engine, public address."""

    def money(name: str) -> str:
        return format_money(int(stats[name]), stats["currency"])

    lines = [f"Contributing at {url}." if health["accepting"] else f"Not serving: {health['reason']}"]
    if health["ends"]:
        lines[0] += f" {health['ends']}"
    lines.append(
        f"Spent {money('period_cost_pico')} of {money('spending_cap_pico')}{_in_period(stats)}, "
        f"{stats['requests']} requests, {stats['total_watts']:.0f} W now."
    )
    if stats["running"] or stats["waiting"]:
        lines.append(f"{stats['running']} running now, {stats['waiting']} waiting for their turn.")
    if stats["cap_warning_percent"]:
        lines.append(f"{stats['cap_warning_percent']} % of the spending cap is spent.")
    container = engine["container"]
    named = f"{engine['name']} {engine['version'] or ''}".strip()
    where = f" in the container {container['name']}" if container["name"] else f" at {engine['url']}"
    loaded = ", ".join(engine["loaded"]) or "no model loaded"
    lines.append(f"{named}{where}: {loaded if engine['reachable'] else 'not reachable'}.")
    if container["processor"] in ("cpu", "fallback"):
        lines.append("It computes on the processor, not on a GPU.")
    if container["drift"]:
        lines.append(f"Settings changed ({', '.join(container['drift'])}): engine recreate puts them to use.")
    if public["phase"] != "off":
        lines.append(f"Public address: {public['url'] or public['problem'] or public['phase']}")
    return lines


def _in_period(stats: dict[str, Any]) -> str:
    if not stats["cap_renews_text"]:
        return ""
    return f" {Period(stats['cap_period']).this} (anew from {stats['cap_renews_text']})"


def certificate(told: Mapping[str, Any]) -> list[str]:
    """By what clients know an encrypted gateway, and what is wrong with that; nothing where it is not encrypted."""
    if told["fingerprint"] is None:
        return []
    until = datetime.fromtimestamp(told["until"]).astimezone()
    lines = [
        f"Certificate SHA-256 {told['fingerprint']}, until {until:%Y-%m-%d}.",
        f"Clients may be given {told['certificate']}.",
    ]
    return [*lines, told["problem"]] if told["problem"] else lines
