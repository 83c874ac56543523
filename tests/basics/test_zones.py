"""The machine's time zone by name: never guessed, and none where nothing says it or knows it."""

from __future__ import annotations

import sys
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.basics.zones import local_zone, zone_named

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TZ", raising=False)


@pytest.fixture
def no_zone_data(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a slim image or on Windows without the package tzdata."""
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([])
    zoneinfo.ZoneInfo.clear_cache()
    monkeypatch.setitem(sys.modules, "tzdata", None)
    yield
    zoneinfo.reset_tzpath(before)
    zoneinfo.ZoneInfo.clear_cache()


def linked(folder: Path, target: str) -> Path:
    link = folder / "localtime"
    link.symlink_to(target)
    return link


def test_a_zone_knows_both_changes_of_its_clocks() -> None:
    berlin = zone_named("Europe/Berlin")
    assert berlin is not None
    assert berlin.key == "Europe/Berlin"
    # Forward: an hour that no clock shows lies between two moments a second apart.
    spring = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    before, after = (at.astimezone(berlin) for at in (spring - timedelta(seconds=1), spring))
    assert (before.strftime("%H:%M:%S"), after.strftime("%H:%M:%S")) == ("01:59:59", "03:00:00")
    assert (before.utcoffset(), after.utcoffset()) == (HOUR, 2 * HOUR)
    # Back: an hour that every clock shows twice, told apart by `fold`.
    autumn = datetime(2026, 10, 25, 1, 0, tzinfo=UTC)
    first, again = ((autumn + half).astimezone(berlin) for half in (-HOUR / 2, HOUR / 2))
    assert first.replace(fold=0) == again.replace(fold=0), "one reading of the clock"
    assert (first.fold, again.fold) == (0, 1)
    assert (first.utcoffset(), again.utcoffset()) == (2 * HOUR, HOUR)
    assert again.astimezone(UTC) - first.astimezone(UTC) == HOUR


@pytest.mark.parametrize(
    "name",
    [
        "", "Europe", "Europe/Atlantis", "Berlin", "CET-1CEST,M3.5.0,M10.5.0/3", "+02:00", "../../etc/passwd",
        "/etc/localtime", "Europe/Berlin\x00", "\ud800", "a" * 10_000,
    ],
)  # fmt: skip
def test_what_names_no_zone_is_none_and_no_failure(name: str) -> None:
    assert zone_named(name) is None


def test_what_TZ_says_comes_first_however_it_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    link = linked(tmp_path, "/usr/share/zoneinfo/Asia/Tokyo")
    for given in ("America/New_York", ":America/New_York"):
        monkeypatch.setenv("TZ", given)
        found = local_zone(link)
        assert found is not None
        assert found.key == "America/New_York"
    # A rule without a name is not turned into another zone's name.
    monkeypatch.setenv("TZ", "EST5EDT4,M3.2.0,M11.1.0")
    assert local_zone(link) is None
    for empty in ("", ":"):
        monkeypatch.setenv("TZ", empty)
        found = local_zone(link)
        assert found is not None
        assert found.key == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
        ("../usr/share/zoneinfo/America/Argentina/Salta", "America/Argentina/Salta"),
        ("/var/db/timezone/zoneinfo/Europe/Paris", "Europe/Paris"),
        ("/usr/share/zoneinfo/Europe/Atlantis", None),
        ("/usr/share/zoneinfo/", None),
        ("/somewhere/else", None),
    ],
)
def test_the_link_of_the_machine_names_it(tmp_path: Path, target: str, key: str | None) -> None:
    found = local_zone(linked(tmp_path, target))
    assert (found and found.key) == key


def test_a_copy_in_the_links_place_has_no_name_and_no_file_at_all_means_utc(tmp_path: Path) -> None:
    assert local_zone(tmp_path / "nothing") == zone_named("UTC")
    (tmp_path / "localtime").write_bytes(b"TZif2")
    assert local_zone(tmp_path / "localtime") is None


def test_without_zone_data_there_is_no_zone_and_no_failure(
    no_zone_data: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert zone_named("Europe/Berlin") is None
    assert local_zone(linked(tmp_path, "/usr/share/zoneinfo/Europe/Berlin")) is None
    assert local_zone(tmp_path / "nothing") is None
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert local_zone() is None
