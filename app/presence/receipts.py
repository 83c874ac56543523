"""The clients' receivers, as reasons not to serve."""

from __future__ import annotations

from app.presence.blockers import Blocker, Weight


def receipts_missing(waiting: str, allowed: str) -> Blocker:
    """More is unacknowledged than the contributor trusts clients with; both amounts are in words. Whatever is
    acknowledged meanwhile ends it, so the machine stays lent."""
    return Blocker(
        "receipts_missing",
        f"Clients have not acknowledged {waiting}, and {allowed} is the most without a receipt.",
        "Serving goes on when their receivers acknowledge it; or raise «Trust without receipts».",
        Weight.FAULT,
        retry_after_s=300,
    )


def tail_lost(sentence: str) -> Blocker:
    """A receiver holds newer records of ours than we do: whatever is recorded now would contradict them."""
    return Blocker(
        "tail_lost",
        sentence,
        "They are being fetched from there, and serving goes on by itself.",
        Weight.FAULT,
        retry_after_s=30,
    )
