"""Where the public address stands: data, for the faces as for the keeper."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.containers.base import PullProgress


class TunnelPhase(StrEnum):
    """Where the public address is."""

    OFF = "off"
    OPENING = "opening"
    OPEN = "open"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TunnelState:
    """The public address as last heard of."""

    phase: TunnelPhase
    url: str = ""
    """Where clients reach the gateway; empty until it is known."""
    problem: str | None = None
    fix: str | None = None
    progress: PullProgress | None = None
    """How far the image is, while it is being pulled."""
    log_tail: tuple[str, ...] = ()
    """The last lines of cloudflared's log, where it failed."""


OFF = TunnelState(TunnelPhase.OFF)
