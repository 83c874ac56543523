"""docs/threats.md: every row names the tests that show it, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROWS = [
    line.strip().strip("|").split(" | ")
    for line in (ROOT / "docs" / "threats.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| It |", "| What |"))
]
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^ *(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE)
}


@pytest.mark.parametrize("row", ROWS, ids=[row[0].strip()[:40] for row in ROWS])
def test_every_threat_is_shown_by_tests_that_exist(row: list[str]) -> None:
    named = re.findall(r"`(test_\w+)`", row[-1])
    assert named
    assert set(named) <= TESTS


@pytest.mark.parametrize(
    "word",
    ["resets", "edits", "drops", "back", "denies", "forges", "withholds", "replayed", "lost, doubled",
     "reordered", "stolen", "stripped", "two and takes one back"],
)  # fmt: skip
def test_no_kind_of_fraud_is_left_out(word: str) -> None:
    assert any(word in row[0] for row in ROWS)
