"""What the faces say about receipts: who has acknowledged a record, who has not yet, and who contests it.

Rule 1: pure; receipts go in, short sentences come out. Rule 2: where a client's own receiver and CALLBACK_URL both get
a log, its own one decides the mark, for only that one cosigns; the record in full tells of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from app.desktop import format as fmt
from app.desktop.theme import Tone
from app.face import ReceiptState, ReceiptsView


class ReceiptMark(NamedTuple):
    """A mark before a record: its icon, what colours it next to its shape, and what it means."""

    icon: str
    tone: Tone
    words: str


MARKS: Final = {
    ReceiptState.ACKNOWLEDGED: ReceiptMark("receipt-acknowledged", Tone.GOOD, "Acknowledged"),
    ReceiptState.WAITING: ReceiptMark("receipt-waiting", Tone.MUTED, "Waiting for a receipt"),
    ReceiptState.OVERDUE: ReceiptMark("receipt-overdue", Tone.WARN, "The receipt is overdue"),
    ReceiptState.DISPUTED: ReceiptMark("warning", Tone.BAD, "The receiver contests it"),
}
SUMMARY_MOST: Final = 3
"""So many receivers in trouble are told of one by one."""

_TROUBLED: Final = (ReceiptState.DISPUTED, ReceiptState.OVERDUE)
_GRAVEST_FIRST: Final = (*_TROUBLED, ReceiptState.WAITING, ReceiptState.ACKNOWLEDGED)
_CONTESTED: Final = {
    "ahead": "Our newest records are lost, and are being fetched back",
    "fork": "A receiver holds another history of the records",
}


def deciding(receipts: Sequence[ReceiptsView]) -> Mapping[str, ReceiptsView]:
    """For each log that somebody keeps a copy of, the receiver whose word is the mark."""
    found: dict[str, ReceiptsView] = {}
    for view in receipts:
        if view.log not in found or view.way != "seed":
            found[view.log] = view
    return found


def state_of(view: ReceiptsView, seq: int) -> ReceiptState:
    """What the receiver has said of record `seq`, counted from 0."""
    if seq < view.acked:
        return ReceiptState.ACKNOWLEDGED
    # A receiver that has more of them than we contests none of those that we have.
    contests = view.state is ReceiptState.DISPUTED and view.trouble != "ahead"
    return view.state if contests or view.state is ReceiptState.OVERDUE else ReceiptState.WAITING


def record_line(receipts: Sequence[ReceiptsView], log: str, seq: int, now_us: int) -> str:
    """What is known of one record's receipts, in plain words."""
    told = [_of_record(view, seq, now_us) for view in receipts if view.log == log]
    return " ".join(told) or "Nobody keeps a copy of this log."


def _of_record(view: ReceiptsView, seq: int, now_us: int) -> str:
    match state_of(view, seq):
        case ReceiptState.ACKNOWLEDGED if view.way == "seed":
            return f"Delivered to {_place(view)}, which signs nothing."
        case ReceiptState.ACKNOWLEDGED:
            return f"Acknowledged by {_place(view)}, with its signature."
        case ReceiptState.DISPUTED:
            return f"Contested. {_sentence(view)}"
        case ReceiptState.OVERDUE:
            return f"Waiting since {fmt.when(view.since_us, now_us)}. {_sentence(view)}{_again(view, now_us)}"
    return f"Waiting for a receipt from {_place(view)}.{_again(view, now_us)}"


def worst(receipts: Sequence[ReceiptsView]) -> ReceiptState | None:
    """The gravest state among them; None where nobody keeps a copy."""
    states = {view.state for view in receipts}
    return next((state for state in _GRAVEST_FIRST if state in states), None)


def summary(receipts: Sequence[ReceiptsView], now_us: int) -> str:
    """All receipts in a line, and a line for each receiver with which something is wrong; empty where there is none."""
    state = worst(receipts)
    if state is None:
        return ""
    if state in _TROUBLED:
        lines = [
            _of_receiver(view, now_us) for which in _TROUBLED for view in receipts if view.state is which
        ]
        more = len(lines) - SUMMARY_MOST
        if more > 0:
            lines[SUMMARY_MOST:] = [
                fmt.counted(more, "other receiver is", "other receivers are") + " behind too."
            ]
        return "\n".join(lines)
    whom = _place(receipts[0]) if len(receipts) == 1 else fmt.counted(len(receipts), "receiver", "receivers")
    if state is ReceiptState.WAITING:
        return f"{_waiting(receipts)} for a receipt from {whom}."
    if all(view.way == "seed" for view in receipts):
        return f"Every record was delivered to {whom}."
    return f"Every record is acknowledged by {whom}."


def _of_receiver(view: ReceiptsView, now_us: int) -> str:
    if view.state is ReceiptState.DISPUTED:
        return _sentence(view)
    since = f"{_waiting([view])} for a receipt since {fmt.when(view.since_us, now_us)}."
    return f"{since} {_sentence(view)}{_again(view, now_us)}"


def tray_line(receipts: Sequence[ReceiptsView], now_us: int) -> str:
    """The tray menu's line where a receipt is overdue or the records are contested; empty otherwise."""
    match worst(receipts):
        case ReceiptState.DISPUTED:
            return _contested(receipts)
        case ReceiptState.OVERDUE:
            late = [view for view in receipts if view.state is ReceiptState.OVERDUE]
            since_us = min(view.since_us for view in late)
            return f"{_waiting(late)} for a receipt since {fmt.when(since_us, now_us)}"
    return ""


def tooltip_line(receipts: Sequence[ReceiptsView]) -> str:
    """The same in the few words that a tooltip has room for."""
    match worst(receipts):
        case ReceiptState.DISPUTED:
            lost = all(view.trouble == "ahead" for view in receipts if view.state is ReceiptState.DISPUTED)
            return "newest records lost" if lost else "records contested"
        case ReceiptState.OVERDUE:
            return "a receipt is overdue"
    return ""


def _contested(receipts: Sequence[ReceiptsView]) -> str:
    troubles = {view.trouble for view in receipts if view.state is ReceiptState.DISPUTED}
    gravest = next((trouble for trouble in ("fork", "disputed", "ahead") if trouble in troubles), "")
    return _CONTESTED.get(gravest, "A receiver contests the records")


def _waiting(receipts: Sequence[ReceiptsView]) -> str:
    return fmt.counted(sum(view.size - view.acked for view in receipts), "record waits", "records wait")


def _sentence(view: ReceiptsView) -> str:
    return view.sentence or (
        f"{_place(view, capital=True)} contests the records."
        if view.state is ReceiptState.DISPUTED
        else f"{_place(view, capital=True)} has not acknowledged them."
    )


def _again(view: ReceiptsView, now_us: int) -> str:
    return f" It is asked again at {fmt.when(view.next_us, now_us)}." if view.next_us > now_us else ""


def _place(view: ReceiptsView, *, capital: bool = False) -> str:
    return view.where or ("The receiver" if capital else "the receiver")
