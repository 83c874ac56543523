"""Fetching a file over real connections, with everything that goes wrong on the way."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import socket
import ssl
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.models.base import ModelError
from app.models.download import Downloads, Fetched
from app.models.part import PartFile
from app.models.source import Refused, Rules
from tests.engine.test_wire_reach import certificate
from tests.models.file_server import GGUF, FileServer

RULES = Rules(("127.0.0.1", "*.models.test"), http=True, most_b=10**9)


class Told:
    def __init__(self) -> None:
        self.lines: list[tuple[str, int, int]] = []
        self.sizes: list[int] = []

    def __call__(self, what: str, done_b: int, total_b: int) -> None:
        self.lines.append((what, done_b, total_b))


async def fetch(
    folder: Path,
    url: str,
    rules: Rules = RULES,
    *,
    told: Told | None = None,
    copies: int = 0,
    free_b: int = 10**12,
    require: Callable[[int], None] = lambda size_b: None,
    **more: Any,
) -> Fetched:
    downloads = Downloads(
        folder, free_b=lambda _: free_b, **{"waits_s": (0.01, 0.01), "silence_s": 0.5, **more}
    )
    async with asyncio.timeout(20):
        return await downloads.fetch(url, rules, told or Told(), copies=copies, require=require)


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.part"))


async def test_a_file_comes_whole_hashed_and_for_nobody_elses_eyes(files: FileServer, tmp_path: Path) -> None:
    told = Told()
    found = await fetch(tmp_path / "new", files.url, told=told)
    assert found.part.path.read_bytes() == GGUF
    assert (found.sha256, found.size_b) == (files.sha256, len(GGUF))
    assert told.lines[-1] == ("Downloading", len(GGUF), len(GGUF))
    assert [done for _, done, _ in told.lines] == sorted(done for _, done, _ in told.lines)
    if sys.platform != "win32":
        assert stat.S_IMODE(found.part.path.stat().st_mode) == 0o600
    assert files.asked[0]["accept-encoding"] == "identity"
    found.part.remove()
    assert list((tmp_path / "new").iterdir()) == []


async def test_a_cut_connection_is_taken_up_where_it_broke(files: FileServer, tmp_path: Path) -> None:
    files.cut_after_b = [300_000, 200_000]
    found = await fetch(tmp_path, files.url)
    assert found.sha256 == files.sha256
    assert files.sent_b == len(GGUF)
    assert [request.get("range") for request in files.asked] == [None, "bytes=300000-", "bytes=500000-"]
    assert files.asked[1]["if-range"] == files.etag


async def test_after_giving_up_the_next_try_goes_on_and_hashes_again_what_is_there(
    files: FileServer, tmp_path: Path
) -> None:
    files.cut_after_b = [400_000, 0, 0, 0]
    with pytest.raises(ModelError, match="broke off in the middle: try again; what has come is kept"):
        await fetch(tmp_path, files.url)
    assert parts(tmp_path)[0].stat().st_size == 400_000
    told = Told()
    found = await fetch(tmp_path, files.url, told=told)
    assert found.sha256 == files.sha256
    assert files.sent_b == len(GGUF)
    assert told.lines[0][0] in ("Reading what has come", "Downloading")


async def test_cancelling_keeps_what_has_come(files: FileServer, tmp_path: Path) -> None:
    files.pause_s = 0.04
    told = Told()
    task = asyncio.create_task(fetch(tmp_path, files.url, told=told))
    async with asyncio.timeout(10):
        while not told.lines:
            await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    files.pause_s = 0.0
    kept_b = parts(tmp_path)[0].stat().st_size
    assert 0 < kept_b < len(GGUF)
    assert (await fetch(tmp_path, files.url)).sha256 == files.sha256
    assert files.asked[-1]["range"] == f"bytes={kept_b}-"


async def test_another_file_under_the_same_address_is_fetched_from_its_beginning(
    files: FileServer, tmp_path: Path
) -> None:
    files.cut_after_b = [300_000, 0, 0, 0]
    with pytest.raises(ModelError):
        await fetch(tmp_path, files.url)
    files.content, files.etag = GGUF + b"new", '"two"'
    found = await fetch(tmp_path, files.url)
    assert found.sha256 == hashlib.sha256(GGUF + b"new").hexdigest()


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
async def test_without_a_sure_sign_of_the_same_file_nothing_is_taken_up(
    files: FileServer, tmp_path: Path, etag: str
) -> None:
    files.etag = etag
    files.cut_after_b = [300_000]
    found = await fetch(tmp_path, files.url)
    assert found.sha256 == files.sha256
    assert all("range" not in request for request in files.asked)


async def test_a_date_is_sign_enough(files: FileServer, tmp_path: Path) -> None:
    files.etag, files.modified = "", "Sat, 21 Nov 2026 08:00:00 GMT"
    files.cut_after_b = [300_000]
    assert (await fetch(tmp_path, files.url)).sha256 == files.sha256
    assert files.asked[1]["if-range"] == files.modified


async def test_a_server_that_knows_no_ranges_sends_it_all_again(files: FileServer, tmp_path: Path) -> None:
    files.ranges = False
    files.cut_after_b = [300_000]
    assert (await fetch(tmp_path, files.url)).sha256 == files.sha256


async def test_a_server_that_sends_another_range_is_not_believed(files: FileServer, tmp_path: Path) -> None:
    files.wrong_range = True
    files.cut_after_b = [300_000]
    assert (await fetch(tmp_path, files.url)).sha256 == files.sha256


async def test_a_whole_file_that_was_kept_is_not_sent_twice(files: FileServer, tmp_path: Path) -> None:
    await fetch(tmp_path, files.url)
    assert (await fetch(tmp_path, files.url)).sha256 == files.sha256
    assert files.sent_b == len(GGUF)
    files.content, files.etag = GGUF[:-1] + b"!", '"two"'
    assert (await fetch(tmp_path, files.url)).sha256 == files.sha256


async def test_what_a_crash_left_unsynchronised_is_not_trusted(files: FileServer, tmp_path: Path) -> None:
    files.cut_after_b = [300_000, 0, 0, 0]
    with pytest.raises(ModelError):
        await fetch(tmp_path, files.url)
    with parts(tmp_path)[0].open("ab") as file:
        file.write(b"never synchronised")
    assert (await fetch(tmp_path, files.url)).sha256 == files.sha256


@pytest.mark.parametrize("note", ["", "{", "[]", '{"validator":{"etag":5},"synced_b":"x"}', '{"synced_b":9}'])
async def test_a_torn_note_means_beginning_anew(files: FileServer, tmp_path: Path, note: str) -> None:
    files.cut_after_b = [300_000, 0, 0, 0]
    with pytest.raises(ModelError):
        await fetch(tmp_path, files.url)
    next(tmp_path.glob("*.note")).write_text(note)
    assert (await fetch(tmp_path, files.url)).sha256 == files.sha256


async def test_a_file_above_the_cap_is_refused_before_it_comes(files: FileServer, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="larger than 0 GB"):
        await fetch(tmp_path, files.url, Rules(("127.0.0.1",), http=True, most_b=1000))
    assert parts(tmp_path)[0].stat().st_size == 0


async def test_a_file_that_grows_above_the_cap_while_it_comes_is_stopped(
    files: FileServer, tmp_path: Path
) -> None:
    files.chunked = True
    with pytest.raises(Refused, match="larger than"):
        await fetch(tmp_path, files.url, Rules(("127.0.0.1",), http=True, most_b=500_000))
    assert sum(path.stat().st_size for path in parts(tmp_path)) <= 500_000


async def test_a_file_of_unknown_size_comes_whole(files: FileServer, tmp_path: Path) -> None:
    files.chunked = True
    assert (await fetch(tmp_path, files.url)).sha256 == files.sha256


async def test_a_length_that_promises_too_much_never_makes_a_whole_file(
    files: FileServer, tmp_path: Path
) -> None:
    files.announced_b = len(GGUF) + 1000
    with pytest.raises(ModelError, match="try again"):
        await fetch(tmp_path, files.url)


async def test_a_length_that_promises_too_little_ends_the_file_there(
    files: FileServer, tmp_path: Path
) -> None:
    files.announced_b = 500_000
    found = await fetch(tmp_path, files.url)
    assert found.size_b == 500_000
    assert found.sha256 == hashlib.sha256(GGUF[:500_000]).hexdigest()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<html>Please log in</html>", "first bytes say something else"),
        (b"GGUF\x01\x00\x00\x00" + bytes(100), "version 1"),
        (b"GGUF\x00\x00\x00\x03" + bytes(100), "of version 50331648"),
        (b"GGUF", "nearly empty"),
        (b"", "nearly empty"),
    ],
)
async def test_what_is_no_gguf_is_thrown_away_at_its_first_bytes(
    files: FileServer, tmp_path: Path, content: bytes, why: str
) -> None:
    files.content = content
    with pytest.raises(ModelError, match=why):
        await fetch(tmp_path, files.url)
    assert parts(tmp_path) == []


async def test_a_full_disk_is_said_before_anything_comes(files: FileServer, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"The disk has 0\.3 GB free and .* make room"):
        await fetch(tmp_path, files.url, free_b=268_500_000)
    with pytest.raises(ModelError, match="make room"):
        await fetch(tmp_path, files.url, free_b=268_435_456 + len(GGUF), copies=1)
    assert (await fetch(tmp_path, files.url, free_b=268_435_456 + len(GGUF))).size_b == len(GGUF)


async def test_a_disk_that_fills_up_while_the_file_comes_is_said(
    files: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(part: PartFile, piece: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(PartFile, "write", full)
        with pytest.raises(ModelError, match="The disk is full: make room, then try again"):
            await fetch(tmp_path, files.url)
    assert (await fetch(tmp_path, files.url)).sha256 == files.sha256


async def test_a_folder_that_cannot_be_made_is_said(files: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ModelError, match="cannot be written down"):
        await fetch(tmp_path / "file", files.url)


async def test_a_line_that_breaks_for_ever_is_given_up(files: FileServer, tmp_path: Path) -> None:
    files.cut_after_b = [10_000] * 50
    with pytest.raises(ModelError, match="broke off in the middle"):
        await fetch(tmp_path, files.url)
    assert len(files.asked) == 3


async def test_an_address_with_letters_is_asked_for(files: FileServer, tmp_path: Path) -> None:
    found = await fetch(tmp_path, files.url.replace("m.gguf", "Modell-für-dich.gguf?a=b%2Fc"))
    assert found.sha256 == files.sha256
    assert files.asked[0]["path"] == "/Modell-f%C3%BCr-dich.gguf?a=b%2Fc"


async def test_a_silent_server_is_given_up(files: FileServer, tmp_path: Path) -> None:
    files.stall_after_b = 100_000
    with pytest.raises(ModelError, match="stopped sending"):
        await fetch(tmp_path, files.url, waits_s=(), silence_s=0.1)


@pytest.mark.parametrize(
    ("status", "why"),
    [(404, "no such file"), (403, "to everybody"), (401, "to everybody"), (418, "status 418")],
)
async def test_a_refusal_of_the_servers_is_final_and_said(
    files: FileServer, tmp_path: Path, status: int, why: str
) -> None:
    files.status = [status]
    with pytest.raises(ModelError, match=why):
        await fetch(tmp_path, files.url)
    assert len(files.asked) == 1


async def test_a_server_in_trouble_is_asked_again(files: FileServer, tmp_path: Path) -> None:
    files.status = [503, 429]
    assert (await fetch(tmp_path, files.url)).sha256 == files.sha256


async def test_nobody_listening_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ModelError, match="cannot be reached"):
        await fetch(tmp_path, f"http://127.0.0.1:{port}/m.gguf")


async def test_a_redirect_to_a_listed_host_is_followed(files: FileServer, tmp_path: Path) -> None:
    files.redirect = files.url
    assert (await fetch(tmp_path, files.url.replace("m.gguf", "start"))).sha256 == files.sha256


@pytest.mark.parametrize(
    "target",
    ["http://evil.test/m.gguf", "http://169.254.169.254/latest", "file:///etc/passwd", "//localhost/m.gguf"],
)
async def test_a_redirect_to_anywhere_else_is_refused(files: FileServer, tmp_path: Path, target: str) -> None:
    files.redirect = target
    with pytest.raises(Refused):
        await fetch(tmp_path, files.url.replace("m.gguf", "start"))


async def test_a_redirect_without_end_is_refused(files: FileServer, tmp_path: Path) -> None:
    files.redirect = files.url.replace("m.gguf", "again")
    with pytest.raises(Refused, match="leads on more than 5 times"):
        await fetch(tmp_path, files.redirect)
    assert len(files.asked) == 6


async def test_a_name_that_leads_into_this_machine_is_refused_before_anything_is_asked(
    files: FileServer, tmp_path: Path
) -> None:
    url = f"http://evil.models.test:{files.port}/m.gguf"
    with pytest.raises(Refused, match="not on the public internet"):
        await fetch(tmp_path, url, addresses=lambda host, port: [(int(socket.AF_INET), "127.0.0.1")])
    assert files.asked == []


async def test_the_address_that_was_checked_is_the_one_that_is_asked(
    files: FileServer, tmp_path: Path
) -> None:
    answers = [[(int(socket.AF_INET), "127.0.0.1")], [(int(socket.AF_INET), "127.0.0.2")]]
    rules = Rules(("house.models.test",), http=True, most_b=10**9)
    url = f"http://house.models.test:{files.port}/m.gguf"
    found = await fetch(tmp_path, url, rules, addresses=lambda host, port: answers.pop(0))
    assert found.sha256 == files.sha256
    assert len(answers) == 1, "a second look could give another machine"
    assert files.asked[0]["host"] == f"house.models.test:{files.port}"


async def test_https_wants_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = await FileServer().start(context)
    try:
        rules = Rules(("127.0.0.1",), http=False, most_b=10**9)
        with pytest.raises(ModelError, match="could not prove who it is"):
            await fetch(tmp_path / "d", server.url, rules)
        trust = ssl.create_default_context(cafile=str(cert))
        assert (await fetch(tmp_path / "d", server.url, rules, trust=trust)).sha256 == server.sha256
        server.redirect = server.url.replace("https:", "http:")
        with pytest.raises(Refused, match="not encrypted"):
            await fetch(tmp_path / "d", server.url.replace("m.gguf", "start"), rules, trust=trust)
    finally:
        await server.stop()


async def test_whoever_keeps_the_quota_hears_the_size_before_anything_comes(
    files: FileServer, tmp_path: Path
) -> None:
    def require(size_b: int) -> None:
        raise ModelError(f"{size_b} is too much.")

    with pytest.raises(ModelError, match=f"{len(GGUF)} is too much"):
        await fetch(tmp_path, files.url, require=require)
    assert parts(tmp_path)[0].stat().st_size == 0
