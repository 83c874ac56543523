"""What a receiver has done since it started, for Prometheus.

Rule: the loop's thread alone changes and reads it. The text is that of the exposition format, version 0.0.4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from app.receiver.commits import Cosigned, Outcome
from app.receiver.errors import StoreFault
from app.receiver.intake import Elsewhere, Rejected
from app.receiver.parties import FlatOutcome
from app.receiver.submission import MalformedSubmission, TooManyLeaves

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_COMMIT_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Counts:
    """Counters that only grow."""

    def __init__(self) -> None:
        self.pushes: Counter[str] = Counter()
        self.transactions: Counter[str] = Counter()
        self.refusals: Counter[int] = Counter()
        self.records = 0
        self._commits = [0] * (len(_COMMIT_S) + 1)
        self._commit_s = 0.0

    def committed(self, outcomes: Iterable[Outcome], took_s: float) -> None:
        """One commit and what it brought."""
        at = next((number for number, bound in enumerate(_COMMIT_S) if took_s <= bound), len(_COMMIT_S))
        self._commits[at] += 1
        self._commit_s += took_s
        for outcome in outcomes:
            match outcome:
                case FlatOutcome():
                    self.transactions[outcome.value] += 1
                case Cosigned():
                    self.pushes["cosigned"] += 1
                    self.records += outcome.fresh
                case Elsewhere():
                    self.pushes["elsewhere"] += 1
                case Rejected():
                    self.pushes[outcome.code] += 1
                case MalformedSubmission():
                    self.pushes["malformed"] += 1
                case TooManyLeaves():
                    self.pushes["too_large"] += 1
                case StoreFault():
                    self.pushes["store_fault"] += 1
                case _:
                    self.pushes["mistake"] += 1

    def text(self, gauges: Iterable[tuple[str, str, float]]) -> str:
        """The whole page; `gauges` are (name, help, value) of the moment."""
        return "".join(line + "\n" for line in self._lines(gauges))

    def _lines(self, gauges: Iterable[tuple[str, str, float]]) -> Iterator[str]:
        for name, help_text, value in gauges:
            yield f"# HELP {name} {help_text}"
            yield f"# TYPE {name} gauge"
            yield f"{name} {value:g}"
        yield from _labelled(
            "mortdecai_receiver_pushes_total",
            "Submissions of leaves, by what came of them.",
            "outcome",
            self.pushes,
        )
        yield from _labelled(
            "mortdecai_receiver_transactions_total",
            "Transactions in the seed's form, by what came of them.",
            "outcome",
            self.transactions,
        )
        yield from _labelled(
            "mortdecai_receiver_refusals_total",
            "Requests that were refused, by status.",
            "status",
            self.refusals,
        )
        name = "mortdecai_receiver_records_total"
        yield f"# HELP {name} Records that were kept."
        yield f"# TYPE {name} counter"
        yield f"{name} {self.records}"
        name = "mortdecai_receiver_commit_seconds"
        yield f"# HELP {name} How long commits took, from the batch's start to its durability."
        yield f"# TYPE {name} histogram"
        count = 0
        for bound, number in zip((*map(str, _COMMIT_S), "+Inf"), self._commits, strict=True):
            count += number
            yield f'{name}_bucket{{le="{bound}"}} {count}'
        yield f"{name}_sum {self._commit_s:.6f}"
        yield f"{name}_count {count}"


def _labelled(name: str, help_text: str, label: str, counter: Counter[str] | Counter[int]) -> Iterator[str]:
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} counter"
    for value in sorted(counter, key=str):
        yield f'{name}{{{label}="{value}"}} {counter[value]}'  # type: ignore[index]
