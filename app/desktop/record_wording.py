"""What a record is and how it ended, in the words of the window.

Rule: what is shown can be searched for; the ledger itself knows only its own codes.
"""

from __future__ import annotations

from typing import Final

from app.ledger.listing import LedgerRow
from app.ledger.outcomes import RequestOutcome

_KINDS: Final = {
    "usage": "request",
    "uptime": "uptime",
    "labor": "labour",
    "adjust": "correction",
    "genesis": "beginning",
    "tariff": "prices",
    "key": "key",
    "rotation": "new signing key",
    "model": "model",
    "heartbeat": "heartbeat",
    "dispute": "dispute",
    "unreadable": "unreadable",
}
_OUTCOMES: Final = {
    RequestOutcome.COMPLETE.value: "complete",
    RequestOutcome.CLIENT_ABORT.value: "client left",
    RequestOutcome.BUDGET_CUT.value: "cap reached",
    RequestOutcome.CUT_OFF.value: "ended early",
    RequestOutcome.REFUSED.value: "refused",
    RequestOutcome.UPSTREAM_ERROR.value: "engine failed",
    RequestOutcome.TIMEOUT.value: "timed out",
    RequestOutcome.STOPPED.value: "stopped",
    RequestOutcome.CRASH_RECOVERED.value: "recovered after a crash",
}
_CODES: Final = {words: code for code, words in (_KINDS | _OUTCOMES).items()}


def kind(row: LedgerRow) -> str:
    """What it is; the ledger's own word where a newer one than this window wrote it."""
    return _KINDS.get(row.kind, row.kind)


def outcome(row: LedgerRow) -> str | None:
    """How it ended; None where it is not a request."""
    return _OUTCOMES.get(row.outcome or "", row.outcome)


def searched(words: str) -> str:
    """What the ledger is to be searched for, where somebody typed `words` as they are shown."""
    return _CODES.get(words.strip().casefold(), words)
