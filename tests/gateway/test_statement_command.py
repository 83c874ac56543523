"""`ledger statement` and `ledger check-statement`: a month on paper, from a gateway that runs and from its file."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.gateway.processes import gateway, run

VAULT = ("--vault", "file")
HOSTILE = "<script>alert(1)</script>&amp;"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a gateway that ran for a moment; a key of it has a hostile name."""
    folder = tmp_path_factory.mktemp("home")
    with gateway(folder, "--simulate"):
        assert run(folder, "keys", "create", HOSTILE, *VAULT).returncode == 0
        assert made(folder, folder / "running") == 0
    assert made(folder, folder / "lying") == 0
    return folder


def made(home: Path, folder: Path, *words: str) -> int:
    folder.mkdir(exist_ok=True)
    month = f"{datetime.now(UTC):%Y-%m}"
    words = words or ("--month", month, "--time-zone", "UTC")
    done = run(home, "ledger", "statement", *words, "--out", str(folder), *VAULT)
    assert "Traceback" not in done.stderr
    assert done.returncode or "check-statement" in done.stdout, done.stderr
    return done.returncode


def checked(page: Path, vkey: str, *words: str) -> tuple[int, str]:
    done = run(page.parent, "ledger", "check-statement", str(page), "--vkey", vkey, *words)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def vkey(home: Path) -> str:
    return run(home, "ledger", "vkey", *VAULT).stdout.strip()


@pytest.mark.parametrize("folder", ["running", "lying"])
def test_the_page_and_its_data_are_checked_with_the_public_key_alone(
    home: Path, vkey: str, folder: str
) -> None:
    (page,) = (home / folder).glob("*.html")
    assert checked(page, vkey)[0] == 0
    leaves = home / f"{folder}.leaves"
    leaves.write_text(run(home, "ledger", "export", *VAULT).stdout)
    status, said = checked(page, vkey, "--leaves", str(leaves))
    assert (status, "Every figure in it follows from" in said) == (0, True), said
    leaves.write_text(leaves.read_text().replace("First", "Other"))
    assert checked(page, vkey, "--leaves", str(leaves))[0] == 1


def test_nothing_in_the_page_runs_or_is_fetched(home: Path) -> None:
    (page,) = (home / "lying").glob("*.html")
    tags = Tags()
    tags.feed(page.read_text())
    assert not tags.seen & {"script", "link", "img", "iframe", "object", "form", "a"}
    assert not {name for name in tags.attributes if name.startswith("on") or name in ("src", "href", "style")}
    assert HOSTILE not in page.read_text()


@pytest.mark.parametrize("ending", ["html", "json", "csv"])
def test_whatever_was_changed_is_said(home: Path, vkey: str, tmp_path: Path, ending: str) -> None:
    for file in (home / "lying").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (page,) = tmp_path.glob("*.html")
    assert checked(page, vkey)[0] == 0
    changed = page.with_suffix(f".{ending}")
    whole = changed.read_text()
    for text in ("x" + whole, whole + "\n", whole[:-9]):
        changed.write_text(text)
        status, said = checked(page, vkey)
        assert (status, said.split(":")[0]) == (1, "NOT PROVEN")
    changed.write_text(whole)
    other = vkey.split("+")[0]
    assert other in checked(page, json.loads(page.with_suffix(".json").read_text())["vkey"])[1]


def test_what_cannot_be_made_is_one_sentence(home: Path, tmp_path: Path) -> None:
    for words, part in (
        (("--month", "2026-13"), "is no month"),
        (("--month", "2026-08", "--time-zone", "Nowhere/Land"), "no time zone"),
        (("--month", "2026-08", "--time-zone", "UTC", "--log", "Nobody"), "no log 'Nobody'"),
    ):
        done = run(home, "ledger", "statement", *words, *VAULT)
        assert (done.returncode, part in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert "no ledger yet" in run(tmp_path, "ledger", "statement", "--month", "2026-08", *VAULT).stderr
