"""`ledger demo-fraud` as a reader of docs/ledger.md types it: the seed's four frauds, done and detected."""

from __future__ import annotations

import os
from pathlib import Path

from tests.gateway.processes import run

TOLD = (
    ("Before any fraud", ("OK", "OK")),
    ("1. The gateway resets its figures", ("OK", "FORK", "PROVEN")),
    ("2. The client denies its requests", ("ROLLBACK", "PROVEN")),
    ("3. Either side edits a transaction", ("TAMPERED", "TAMPERED", "TAMPERED", "PROVEN")),
    ("The gateway makes it dearer", ("TAMPERED", "TAMPERED", "PROVEN")),
    ("4. The shared secrets differ", ("OK", "TAMPERED")),
)
"""What begins each part, and the verdicts that are said in it, in their order."""


def test_each_of_the_four_frauds_is_done_and_detected_and_nothing_of_the_users_is_touched(
    tmp_path: Path,
) -> None:
    done = run(tmp_path, "ledger", "demo-fraud", timeout_s=400)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    at = 0
    for (title, verdicts), (following, _) in zip(
        TOLD, (*TOLD[1:], ("All four were detected", ())), strict=True
    ):
        begin = done.stdout.index(title, at)
        at = done.stdout.index(following, begin)
        lines = [line.strip() for line in done.stdout[begin:at].splitlines()]
        said = [line[2:].partition(":")[0] for line in lines if line.startswith("| ")]
        assert tuple(word for word in said if word.isupper() and word.isalpha()) == verdicts, title
    assert "0 of 3 carry their own hash" in done.stdout
    assert "all 6 records are as they were signed" in done.stdout
    assert os.listdir(tmp_path) == []
