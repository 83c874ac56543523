"""Looks on this machine for engines that run already.

Rule 1: only this machine's own addresses are asked, and only the ports where such software usually listens and those
that the settings name. Rule 2: all of them at once, done in two seconds whatever hangs. Rule 3: a gateway, this one or
another profile's, is no engine and is never found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypeGuard

from app.engine.evidence import Found, Software
from app.engine.identify import identify

USUAL_PORTS = (11434, 8080, 8000, 1234, 4000)
"""Ollama, llama-server, vLLM, LM Studio, LiteLLM."""
_HOSTS = ("127.0.0.1", "[::1]")
_BUDGET_S = 0.8
"""For each of at most two rounds of questions; the whole scan stays below two seconds."""


@dataclass(frozen=True, slots=True)
class FoundEngine:
    """An engine that answers on this machine."""

    url: str
    found: Found

    @property
    def usable(self) -> bool:
        """Whether the gateway could serve from it now."""
        return self.found.healthy and bool(self.found.models)

    @property
    def sentence(self) -> str:
        """What it is and what it is good for, for a person."""
        return sentence(self.url, self.found)


async def scan(
    ports: Iterable[int] = (), *, own: Collection[int] = (), usual: Iterable[int] = USUAL_PORTS
) -> tuple[FoundEngine, ...]:
    """Every engine found, in the order of the ports: the usual ones, then `ports`. `own` are ports of the gateway."""
    asked = [port for port in dict.fromkeys((*usual, *ports)) if port not in own]
    urls = [[f"http://{host}:{port}" for host in _HOSTS] for port in asked]
    found = await asyncio.gather(
        *(asyncio.gather(*(identify(url, budget_s=_BUDGET_S) for url in pair)) for pair in urls)
    )
    findings: list[FoundEngine] = []
    for pair, (first, second) in zip(urls, found, strict=True):
        if _is_engine(first):
            findings.append(FoundEngine(pair[0], first))
        # One program usually listens at both addresses: it is one finding.
        if _is_engine(second) and second != first:
            findings.append(FoundEngine(pair[1], second))
    return tuple(findings)


def _is_engine(found: Found | None) -> TypeGuard[Found]:
    return found is not None and found.software is not Software.GATEWAY


def sentence(url: str, found: Found) -> str:
    """«llama-server at http://127.0.0.1:8080 with 1 model: clients can use /v1 only.»"""
    what = f"{found.name} {found.version}" if found.version and found.native else found.name
    at = f"{what} at {url}"
    if found.locked:
        return f"{at} wants a key of its own, which the gateway does not send: start it without one, or choose another."
    if not found.healthy:
        return f"{at} is not ready: it may still be loading its model. Look again in a minute."
    count = len(found.models)
    if not count:
        return f"{at} has no model yet: give it one, then look again."
    models = f"{at} with {count} model{'s' if count != 1 else ''}"
    if found.native:
        return f"{models}."
    if found.software is Software.LITELLM:
        models = f"{models}, which may run elsewhere, unmeasured"
    return f"{models}: clients can use /v1 only."
