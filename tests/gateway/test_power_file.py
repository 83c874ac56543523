"""What was learned of power, kept over restarts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.gateway.power_file import POWER_FILE, PowerFile
from app.power.baseline import KeptIdle, KeptState
from app.power.supply import SupplyFactor

IDLE = KeptIdle(KeptState((21.0, 22.5, 22.0), 1_000), None, 300 << 20)
FACTOR = SupplyFactor(1.11, "shelly", 2_000)


def with_windows(windows: str) -> str:
    empty = f'{{"windows_w": {windows}, "at_us": 1}}'
    return (
        f'{{"version": 1, "gpus": {{"GPU-1": {{"empty": {empty}, "resident": null, "least_memory_b": 1}}}}}}'
    )


@pytest.fixture
def file(tmp_path: Path) -> PowerFile:
    return PowerFile(tmp_path / "state" / POWER_FILE)


def test_each_gpu_and_the_factor_are_kept_beside_each_other(file: PowerFile) -> None:
    assert (file.idle("GPU-1"), file.supply()) == (None, None)
    file.write_idle("GPU-1", IDLE)
    file.write_supply(FACTOR)
    other = KeptIdle(None, KeptState((127.0,), 3_000), None)
    file.write_idle("GPU-2", other)
    again = PowerFile(file.path)
    assert (again.idle("GPU-1"), again.idle("GPU-2"), again.supply()) == (IDLE, other, FACTOR)
    assert file.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"version": 2}',
        '{"version": 1, "gpus": []}',
        '{"version": 1, "gpus": {"GPU-1": {}}}',
        with_windows("[]"),
        with_windows("[-1]"),
        with_windows('["x"]'),
    ],
)
def test_a_file_of_no_use_is_as_none_and_is_written_over(file: PowerFile, text: str) -> None:
    file.path.parent.mkdir()
    file.path.write_text(text)
    assert file.idle("GPU-1") is None
    file.write_idle("GPU-1", IDLE)
    assert file.idle("GPU-1") == IDLE


@pytest.mark.parametrize("supply", [{"ratio": 9, "source": "x", "at_us": 1}, {"ratio": "x"}, {}, [], 7])
def test_a_factor_of_no_use_is_none(file: PowerFile, supply: object) -> None:
    file.path.parent.mkdir()
    file.path.write_text(json.dumps({"version": 1, "supply": supply}))
    assert file.supply() is None
