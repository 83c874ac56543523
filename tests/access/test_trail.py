"""The audit trail on a real disk: what comes back, what is dropped when, and a disk or a file that fails."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from app.access import trail as module
from app.access.deeds import Deed, DeedLine
from app.access.trail import TRAIL_FILE, Trail, TrailFile

DAY = 86_400_000_000
DONE = Deed("operator", "127.0.0.1", "POST /config", 200, "", "port")


def refused(address: str = "192.0.2.7") -> Deed:
    return Deed("", address, "GET /api/tags", 401, "invalid_api_key")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / TRAIL_FILE


async def test_what_was_noted_is_there_after_it_was_closed(path: Path) -> None:
    trail = Trail(TrailFile(path), lambda: 90, wall_us=lambda: 7)
    for _ in range(3):
        trail.note(refused())
    trail.note(DONE)
    await trail.close()
    again = TrailFile(path)
    lines = again.read(None, 10)
    assert [(line.id, line.deed, line.count, line.first_us) for line in lines] == [
        (1, refused(), 3, 7),
        (2, DONE, 1, 7),
    ]
    assert [line.id for line in again.read(2, 10)] == [2]
    assert [line.id for line in again.read(None, 1)] == [2], "the newest"
    again.close()
    assert os.name == "nt" or path.stat().st_mode & 0o077 == 0


async def test_a_line_that_is_counted_further_stays_one(path: Path) -> None:
    trail = Trail(TrailFile(path), lambda: 90, wall_us=lambda: 7)
    for total in (1, 2, 3):
        trail.note(refused())
        assert [line.count for line in await trail.entries(None, 10)] == [total]
    await trail.close()


def count(path: Path) -> int:
    """How many lines another program sees."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as looking:
        try:
            return int(looking.execute("SELECT count(*) FROM deed").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


async def test_what_was_done_is_written_at_once_and_without_being_asked_for(path: Path) -> None:
    trail = Trail(TrailFile(path), lambda: 90)
    trail.note(refused())
    trail.note(DONE)
    async with asyncio.timeout(10):
        while not path.exists() or count(path) < 2:
            await asyncio.sleep(0.01)
    await trail.close()


def line(deed: Deed, at_us: int) -> DeedLine:
    return DeedLine(deed, at_us, at_us, 1)


def test_lines_go_when_their_time_is_over(path: Path) -> None:
    file = TrailFile(path)
    file.write([line(refused(), 0), line(DONE, DAY)], DAY, DAY)
    file.write([line(refused(), 2 * DAY)], DAY, 2 * DAY)
    assert [found.last_us for found in file.read(None, 10)] == [DAY, 2 * DAY]
    file.close()


def test_a_flood_of_refusals_takes_bounded_room_and_pushes_out_nothing_that_was_done(path: Path) -> None:
    file = TrailFile(path, most_lines=500)
    file.write([line(DONE, 0)], DAY, 0)
    sizes = []
    for minute in range(60):
        lines = [line(refused(f"198.51.100.{number}"), minute) for number in range(200)]
        file.write(lines, DAY, minute)
        sizes.append(path.stat().st_size)
    found = file.read(0, 10_000)
    assert found[0].deed == DONE
    assert len(found) <= 1 + 500 + module.TRIM_EVERY + 200
    assert sizes[-1] == sizes[20], "the room of what went is used again"
    file.close()


async def test_a_file_that_is_none_is_moved_aside_and_a_new_one_begins(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(b"no database at all" * 100)
    trail = Trail(TrailFile(path), lambda: 90)
    trail.note(DONE)
    assert [each.deed for each in await trail.entries(None, 5)] == [DONE]
    await trail.close()
    assert path.with_name(TRAIL_FILE + module.ASIDE_SUFFIX).read_bytes().startswith(b"no database")
    assert "a new one begins" in caplog.text


async def test_a_disk_that_takes_nothing_is_said_once_and_what_waited_is_written_later(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir()
    trail = Trail(TrailFile(path), lambda: 90)
    trail.note(DONE)
    for _ in range(2):
        with pytest.raises(OSError, match="audit trail"):
            await trail.entries(None, 5)
    assert caplog.text.count("cannot be written") == 1
    path.rmdir()
    assert [each.deed for each in await trail.entries(None, 5)] == [DONE]
    assert "is written again" in caplog.text
    await trail.close()
