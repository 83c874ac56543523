"""The progress of a transfer as a face shows it, with its speed and the time left."""

from __future__ import annotations

from app.basics.rate import Rate
from app.engine.host import Progress


class Pace:
    """The pace of one transfer. What was there before the first `tell` does not count as speed."""

    def __init__(self) -> None:
        self._rate = Rate()
        self._total_b = 0

    def tell(self, now_s: float, what: str, done_b: int, total_b: int) -> Progress:
        """`done_b` of `total_b` bytes (0: unknown) are there at `now_s`, in seconds."""
        known, self._total_b = self._total_b > 0, total_b
        if total_b > 0 and not known:
            # It goes on where it once broke off.
            self._rate.begin(now_s, done_b)
        else:
            self._rate.tell(now_s, done_b)
        left_s = self._rate.left_s(total_b - done_b) if total_b > 0 else None
        return Progress(what, done_b, total_b, self._rate.per_s, left_s)
