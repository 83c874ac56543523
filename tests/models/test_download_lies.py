"""Servers of files that lie, forget, drip or change their mind: two files are never mixed, and every fetch ends."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.models.base import ModelError
from app.models.part import PartFile, Validator
from app.models.source import Refused, Rules, checked
from tests.models.file_server import GGUF, FileServer
from tests.models.test_download import RULES, fetch, parts

OTHER = GGUF[:8] + GGUF[8:][::-1]
"""As long as the first one, and another file."""


@pytest.fixture
async def files() -> AsyncIterator[FileServer]:
    server = await FileServer().start()
    yield server
    await server.stop()


@pytest.mark.parametrize("silent", [False, True], ids=["with the new ETag", "without any ETag"])
async def test_a_server_that_ignores_if_range_never_gets_two_files_mixed(
    files: FileServer, tmp_path: Path, silent: bool
) -> None:
    files.cut_after_b = [300_000]
    with pytest.raises(ModelError, match="broke off"):
        await fetch(tmp_path, files.url, waits_s=())
    files.content, files.etag = OTHER, "" if silent else '"two"'
    files.knows_if_range = False
    assert (await fetch(tmp_path, files.url)).part.path.read_bytes() == OTHER


async def test_a_date_that_changed_begins_anew_too(files: FileServer, tmp_path: Path) -> None:
    files.etag, files.modified = "", "Sat, 01 Nov 2025 10:00:00 GMT"
    files.cut_after_b = [300_000]
    with pytest.raises(ModelError, match="broke off"):
        await fetch(tmp_path, files.url, waits_s=())
    files.content, files.modified, files.knows_if_range = OTHER, "Sat, 01 Nov 2025 10:00:09 GMT", False
    assert (await fetch(tmp_path, files.url)).part.path.read_bytes() == OTHER


def test_what_was_told_of_a_file_must_be_told_again() -> None:
    assert Validator(etag='"a"').is_of('"a"', "")
    assert not Validator(etag='"a"').is_of("", "")
    assert not Validator(etag='"a"').is_of('W/"a"', "")
    assert Validator(last_modified="x").is_of("", "")
    assert Validator(last_modified="x").is_of("", "x")
    assert not Validator(last_modified="x").is_of("", "y")
    assert not Validator(last_modified="x").is_of('"a"', "x")


async def test_a_server_that_always_sends_too_much_is_given_up(files: FileServer, tmp_path: Path) -> None:
    files.content = GGUF * 3
    files.chunked, files.extra_b = True, 100
    files.cut_after_b = [2_000_000] * 50
    with pytest.raises(ModelError):
        # Each round brings two megabytes that had come before: that is no progress.
        await fetch(tmp_path, files.url)
    assert len(files.asked) < 20


async def test_more_than_was_announced_is_no_whole_file(files: FileServer, tmp_path: Path) -> None:
    files.cut_after_b = [300_000]
    with pytest.raises(ModelError, match="broke off"):
        await fetch(tmp_path, files.url, waits_s=())
    files.chunked, files.extra_b = True, 100
    with pytest.raises(ModelError, match="more than it had announced"):
        await fetch(tmp_path, files.url, waits_s=())
    assert (await fetch(tmp_path, files.url)).part.path.read_bytes() == GGUF


async def test_a_server_that_drips_is_given_up_and_what_came_is_kept(
    files: FileServer, tmp_path: Path
) -> None:
    files.content, files.pause_s = GGUF * 8, 0.05
    began_s = time.monotonic()
    with pytest.raises(ModelError, match="sends next to nothing"):
        await fetch(tmp_path, files.url, waits_s=(), slow_s=0.3)
    assert time.monotonic() - began_s < 5
    assert parts(tmp_path)[0].stat().st_size > 8


async def test_a_head_that_drips_is_given_up(
    files: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.models.download._CONNECT_S", 0.1)
    files.drips_head_s = 0.1
    with pytest.raises(ModelError, match="stopped sending"):
        await fetch(tmp_path, files.url, waits_s=())


async def test_a_file_whose_end_nobody_can_tell_is_refused(files: FileServer, tmp_path: Path) -> None:
    files.lengthless = True
    with pytest.raises(ModelError, match="does not say how large the file is"):
        await fetch(tmp_path, files.url)


async def test_the_quota_hears_of_a_file_of_unknown_size_before_it_counts_as_whole(
    files: FileServer, tmp_path: Path
) -> None:
    files.chunked = True

    def require(size_b: int) -> None:
        if size_b > 1000:
            raise ModelError("Too much.")

    with pytest.raises(ModelError, match="Too much"):
        await fetch(tmp_path, files.url, require=require)


async def test_the_disk_must_hold_a_file_of_unknown_size_once_more_for_the_engine(
    files: FileServer, tmp_path: Path
) -> None:
    files.chunked = True
    spare_b = 256 * 1024 * 1024
    with pytest.raises(ModelError, match="make room"):
        await fetch(tmp_path, files.url, copies=1, free_b=spare_b + len(GGUF) - 1)
    await fetch(tmp_path, files.url, copies=1, free_b=spare_b + len(GGUF))


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
async def test_a_link_in_the_place_of_a_part_is_not_followed(files: FileServer, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    await fetch(tmp_path / "new", files.url)
    (part,) = parts(tmp_path / "new")
    part.unlink()
    os.symlink(precious, part)
    with pytest.raises(ModelError, match="cannot be written down"):
        await fetch(tmp_path / "new", files.url)
    assert precious.read_bytes() == b"precious"


async def test_a_packed_answer_is_never_unpacked(files: FileServer, tmp_path: Path) -> None:
    files.etag = '"one"\r\nContent-Encoding: gzip'
    import gzip

    files.content = gzip.compress(GGUF)
    with pytest.raises(ModelError, match="not a GGUF model"):
        await fetch(tmp_path, files.url)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.org%2f.models.test/a",
        "https://8.8.8.8%2f.models.test/a",
        "https://127.0.0.1%00.models.test/a",
        "https://evil.org%23.models.test/a",
        "https://evil.org;.models.test/a",
        "https://-.models.test/a",
        "https://evil.org,a.models.test/a",
    ],
)
def test_a_host_is_letters_digits_dots_and_dashes_and_nothing_else(url: str) -> None:
    with pytest.raises(Refused):
        checked(url, Rules(("*.models.test",), http=False, most_b=1))


@pytest.mark.parametrize("url", ["https://a.models.test/\ud800", "https://a.models.test/a?\udfff"])
def test_half_a_character_is_refused_and_no_crash(url: str) -> None:
    with pytest.raises(Refused, match="character"):
        checked(url, RULES)


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1"])
def test_numbers_that_resolvers_take_for_this_machine_are_no_way_around(host: str) -> None:
    with pytest.raises(Refused, match="may not come from"):
        checked(f"http://{host}/m.gguf", RULES)


async def test_cancelling_while_what_has_come_is_read_again_loses_nothing_of_it(
    files: FileServer, tmp_path: Path
) -> None:
    files.content = GGUF * 8
    files.cut_after_b = [6_000_000]
    with pytest.raises(ModelError, match="broke off"):
        await fetch(tmp_path, files.url, waits_s=())
    (part,) = parts(tmp_path)
    there_b = part.stat().st_size
    stop = threading.Event()
    again = PartFile(tmp_path, part.stem)
    again.open(stop, lambda done_b: stop.set())
    again.close()
    assert again.size_b < there_b
    files.sent_b = 0
    assert (await fetch(tmp_path, files.url)).sha256 == files.sha256
    assert files.sent_b == len(files.content) - there_b


async def test_an_etag_that_cannot_be_sent_back_is_none(files: FileServer, tmp_path: Path) -> None:
    files.etag, files.cut_after_b = '"\u00e9"', [300_000]
    assert (await fetch(tmp_path, files.url)).sha256 == files.sha256
