"""`engines`: what answers on this machine, and what it is good for. Looks only; changes nothing."""

from __future__ import annotations

import argparse
import asyncio
from urllib.parse import urlsplit

from app.commands.common import Ground, ground
from app.engine.discovery import FoundEngine, scan

NOTHING = (
    "No engine answers on this machine. Start one, or let the gateway start an Ollama in Docker: "
    "mortdecai-gateway setup."
)


def engines(options: argparse.Namespace) -> int:
    """`mortdecai-gateway engines`; 1 where none was found that can be served from."""
    base = ground(options)
    findings = asyncio.run(scan(base.store.current.discovery_ports, own=own_ports(base)))
    for line in lines(findings, base.store.current.upstream_url):
        print(line)
    return 0 if any(finding.usable for finding in findings) else 1


def own_ports(base: Ground) -> set[int]:
    """Where the gateway itself listens, now or by its settings."""
    ports = {base.store.current.port}
    running = base.running_url()
    if running is not None:
        ports.add(urlsplit(running).port or 0)
    return ports


def lines(findings: tuple[FoundEngine, ...], in_use: str) -> list[str]:
    """What is printed: a sentence for each finding, its models below it, the one in use marked with a star."""
    printed: list[str] = []
    for finding in findings:
        printed.append(f"{'*' if finding.url == in_use else ' '} {finding.sentence}")
        printed += [f"      {model}" for model in finding.found.models]
    return printed or [NOTHING]
