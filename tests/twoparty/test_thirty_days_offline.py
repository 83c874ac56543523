"""A receiver that was away for thirty days, and was asked daily for most of them, gets everything once.

How long that takes is for the bench: `python -m tests.bench.offline`.
"""

from __future__ import annotations

from tests.bench.offline import measure


def test_after_thirty_days_each_record_is_there_once_in_few_pushes() -> None:
    seen = measure(3_000, 30)
    assert seen["exact"]
    assert seen["failures"] >= 30
    # As many as go at once: 1,024 a push.
    assert seen["pushes"] <= 4
