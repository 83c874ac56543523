"""`tariff`, and docs/tariffs.md, as somebody types it."""

from __future__ import annotations

import json
import re
import shlex
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.gateway.processes import gateway, run

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tariffs.md").read_text()


def prices_file(folder: Path) -> Path:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [now + timedelta(hours=hour) for hour in range(-48, 72)]
    lines = [f"{hour.isoformat()},{(hour + timedelta(hours=1)).isoformat()},0.25" for hour in hours]
    path = folder / "prices.csv"
    path.write_text("start,end,price\n" + "\n".join(lines))
    return path


def test_what_the_page_has_somebody_type_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = prices_file(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    typed = [
        shlex.split(line)
        for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S)
        for line in block.splitlines()
    ]
    assert [words[:2] for words in typed] == [["mortdecai-gateway", "tariff"]] * 4
    said = []
    for words in typed:
        done = run(home, *(str(prices) if word == "prices.csv" else word for word in words[1:]))
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    presets, took, shown, imported = said
    assert "ca-ontario" in presets
    assert "mon-fri 10:00-14:00 0.21" in took
    assert "They are meant in EUR, and this gateway counts in USD." in took
    assert "examples" not in took
    assert "Tariff: hours (t_" in shown
    assert re.search(r"Now: \$0\.\d+ per kWh", shown)
    assert "120 prices from" in imported
    assert "tariff = series" in imported
    assert "Now: $0.25 per kWh" in run(home, "tariff").stdout


def test_a_running_gateway_goes_by_what_is_set_and_imported_without_a_restart(tmp_path: Path) -> None:
    prices = prices_file(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    with gateway(home, "--simulate") as process:
        asked = urllib.request.Request(
            f"{process.connection['url']}/stats",
            headers={"Authorization": f"Bearer {process.connection['api_key']}"},
        )

        def rate() -> float:
            with urllib.request.urlopen(asked) as answer:
                return float(json.load(answer)["electricity_rate"])

        done = run(home, "tariff", "set", "day-night", "--price", "night=0.02", "--price", "usual=0.02")
        assert done.returncode == 0, done.stderr
        assert rate() == 0.02
        assert run(home, "tariff", "import", str(prices)).returncode == 0
        give_up = time.monotonic() + 40
        while rate() != 0.25:
            assert time.monotonic() < give_up
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("set",), "wants the name of a tariff: flat, day-night"),
        (("set", "nothing"), "wants the name of a tariff"),
        (("set", "day-night", "--price", "0.3"), "has no equals sign"),
        (("set", "day-night", "--price", "nihgt=0.3"), "day-night has no price called nihgt"),
        (("set", "day-night", "--price", "night=0,3"), "is no price of a kilowatt-hour"),
        (("import",), "wants a file or an address"),
        (("import", "nothing.csv"), "nothing.csv cannot be read"),
        (("import", "http://127.0.0.1:9/prices"), "cannot be asked"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    done = run(tmp_path, "tariff", *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
