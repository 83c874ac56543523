"""What clients' receivers have said, as `/reconcile` tells it: receipts, and the peer's own signatures.

Rule: what is contested or overdue is a finding; a receiver that failed a moment ago is only told beside its receipts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.billing.money import pico_to_float
from app.face import ReceiptState, ReceiptsView
from app.ledger.findings import Verdict


def of_log(receipts: Iterable[ReceiptsView], log: str | None) -> tuple[ReceiptsView, ...]:
    """Those of one log; None is all."""
    return tuple(view for view in receipts if log in (None, view.log))


def verdict_of(view: ReceiptsView) -> Verdict:
    """What its receiver's state adds to the verdict."""
    match view.trouble:
        case "fork":
            return Verdict.FORK
        case "ahead":
            return Verdict.ROLLBACK
    return Verdict.LAGGING if view.state in (ReceiptState.OVERDUE, ReceiptState.DISPUTED) else Verdict.OK


def findings(receipts: Iterable[ReceiptsView], *, to_client: bool) -> list[str]:
    """A sentence for each that is overdue or contested."""
    return [
        _finding(view, _sentence(view, to_client)) for view in receipts if verdict_of(view) is not Verdict.OK
    ]


def _sentence(view: ReceiptsView, to_client: bool) -> str:
    """What went wrong last; where CALLBACK_URL leads is the contributor's business, and no client's."""
    return "" if to_client and view.way == "seed" else view.sentence


def _finding(view: ReceiptsView, sentence: str) -> str:
    if view.state is ReceiptState.DISPUTED:
        return f"{view.log}: {sentence or 'A receiver contests the records.'}"
    count = view.size - view.acked
    records = "1 record waits" if count == 1 else f"{count} records wait"
    return f"{view.log}: {records} for a receipt. {sentence}".rstrip()


def receipts_json(receipts: Sequence[ReceiptsView], *, to_client: bool) -> list[dict[str, object]]:
    """How far each is."""
    return [
        {
            "log": view.log,
            "way": view.way,
            "receiver": None if to_client and view.way == "seed" else view.where,
            "acknowledged": view.acked,
            "waiting": view.size - view.acked,
            "size": view.size,
            "state": view.state.value,
            "trouble": view.trouble or None,
            "sentence": _sentence(view, to_client) or None,
            "waiting_since": view.since_us / 1e6 if view.since_us else None,
            "next_try": view.next_us / 1e6 if view.next_us else None,
            "unacknowledged_cost": pico_to_float(view.unacked_pico),
            "unacknowledged_cost_pico": str(view.unacked_pico),
        }
        for view in receipts
    ]


def peers_json(receipts: Iterable[ReceiptsView]) -> list[dict[str, object]]:
    """The checkpoints that receivers have cosigned, and the keys that they did it with."""
    return [
        {"log": view.log, "key": view.vkey, "size": view.acked, "checkpoint": view.checkpoint or None}
        for view in receipts
        if view.vkey
    ]
