"""What is written to the log, and what never is."""

from __future__ import annotations

import json
import logging
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings.errors import FolderError
from app.settings.logs import BLOT, KEPT_FILES, LONGEST_TEXT, Logs, redact

KEY = "mg_" + "A1b2C3d4" * 5
OURS = logging.getLogger("app.proxy.inference")


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    with Logs(tmp_path / "logs", "INFO", stderr=False) as logs:
        yield logs


def text(logs: Logs) -> str:
    return logs.file.read_text(encoding="utf-8")


def test_a_record_is_one_line_with_time_level_and_place_in_the_file_and_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Logs(tmp_path, "INFO") as logs:
        OURS.info("request %s took %d ms", "r1", 12)
    line = text(logs)
    assert line.endswith(" INFO app.proxy.inference: request r1 took 12 ms\n")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} ", line)
    assert capsys.readouterr().err == line


def test_the_level_counts_for_our_code_and_libraries_only_warn(logs: Logs) -> None:
    OURS.debug("no")
    logging.getLogger("aiohttp.access").info("no")
    logging.getLogger("aiohttp.server").warning("yes 1")
    logs.set_level("DEBUG")
    OURS.debug("yes 2")
    logging.getLogger("keyring").debug("no")
    assert [line[-5:] for line in text(logs).splitlines()] == ["yes 1", "yes 2"]


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "key {} was refused",
        "Authorization: Bearer {}",
        "authorization: Token {}",
        "{{'Authorization': 'Bearer {}'}}",
        "{{'x-api-key': '{}'}}",
        "(b'x-api-key', b'{}')",
        "<CIMultiDict('X-Api-Key': '{}', 'Host': 'x')>",
        "x-api-key: {}",
        "http://user:{}@example.org/x",
        "http://example.org/?api_key={}&x=1",
        '{{"ledger_secret": "{}"}}',
        "LEDGER_SECRET={}",
        "password = '{}'",
        'token: "{}"',
        '{{"model": "m", "prompt": "{}"}}',
        '{{"messages": [{{"role": "user", "content": "{}"}}]}}',
        '{{"input": ["a", "{}"], "model": "m"}}',
        "{{'system': '{}'}}",
        '"{{\\"prompt\\": \\"{}\\"}}"',
        'b\'{{"prompt":"{}"}}\'',
        "Chat(prompt='{}', model='m')",
        '{{"message": {{"role": "assistant", "content": "well \\" {}"}}}}',
        '{{"prompt": "{}',
        '{{"images": ["{}"]}}',
        '{{"choices": [{{"delta": {{"content": "{}"}}}}]}}',
    ],
)
@pytest.mark.parametrize("secret", [KEY, "hunter2-and-more"])
def test_no_key_no_prompt_and_no_secret_is_logged(logs: Logs, line: str, secret: str) -> None:
    if secret != KEY and line in ("{}", "key {} was refused"):
        logs.hide(secret)
    OURS.error("%s", line.format(secret))
    assert secret not in text(logs)
    assert "hunter2" not in text(logs)
    assert BLOT in text(logs)


def test_what_is_hidden_by_name_is_hidden_wherever_it_stands(logs: Logs) -> None:
    for secret in ("correct horse", "correct horse battery", ""):
        logs.hide(secret)
    OURS.error("said correct horse battery staple")
    assert text(logs).endswith(f": said {BLOT} staple\n")


def test_a_traceback_is_redacted_too(logs: Logs) -> None:
    try:
        raise ValueError(f"bad header Authorization: Bearer {KEY}")
    except ValueError:
        OURS.exception("it failed")
    assert "Traceback" in text(logs)
    assert KEY not in text(logs)


def test_ordinary_sentences_stay_as_they_are(logs: Logs) -> None:
    for sentence in (
        "POST /api/chat llama3.1:8b 200 in 3.42 s, 12 tokens, 0.0561 Wh",
        "ledger_secret is ******** in the environment (LEDGER_SECRET), but it must be one line",
        "The keyring has no secret, so one was made",
        "listening on http://127.0.0.1:8434, key label «bob@home»",
        "max_output_tokens: 4096, tokens=5",
        "the prompt was too long and the content empty",
    ):
        assert redact(sentence) == sentence


def test_a_client_cannot_forge_a_line(logs: Logs) -> None:
    OURS.warning("model %s unknown", "x\n2026-01-01 INFO app: all is well\r\x1b[2J\u2028")
    assert len(text(logs).splitlines()) == 1
    assert "x\\x0a2026" in text(logs)
    assert "\x1b" not in text(logs)


def test_what_is_no_unicode_does_not_end_the_logging(logs: Logs) -> None:
    OURS.warning("model %s", "\ud800")
    OURS.warning("next")
    assert text(logs).splitlines()[0].endswith("\\ud800")
    assert text(logs).splitlines()[1].endswith("next")


@pytest.mark.skipif(os.name != "posix", reason="platform: Windows has no such bits")
def test_files_rotate_and_every_one_is_private(tmp_path: Path) -> None:
    with Logs(tmp_path, "INFO", stderr=False, max_file_b=1000) as logs:
        for n in range((KEPT_FILES + 2) * 10):
            OURS.info("%d %s", n, "x" * 90)
    files = sorted(tmp_path.iterdir())
    assert len(files) == KEPT_FILES + 1
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert all(file.stat().st_size <= 1000 for file in files)
    assert text(logs).splitlines()[-1].endswith(f" {n} {'x' * 90}")


def test_a_line_of_a_megabyte_is_cut(logs: Logs) -> None:
    """Searching it for secrets would hold up everything else."""
    OURS.warning("body %s", "x" * 1_000_000)
    assert LONGEST_TEXT < len(text(logs)) < LONGEST_TEXT + 100
    assert text(logs).endswith("x… (cut)\n")


def test_without_stderr_the_file_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A windowed program on Windows has none."""
    monkeypatch.setattr(sys, "stderr", None)
    with Logs(tmp_path, "INFO") as logs:
        OURS.info("here")
    assert "here" in text(logs)


def test_closing_puts_everything_back(tmp_path: Path) -> None:
    root, ours = logging.getLogger(), logging.getLogger("app")
    before = (root.level, ours.level, list(root.handlers))
    logs = Logs(tmp_path, "DEBUG")
    assert len(root.handlers) == len(before[2]) + 2
    logs.close()
    logs.close()
    assert (root.level, ours.level, list(root.handlers)) == before


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    with pytest.raises(FolderError) as caught:
        Logs(tmp_path / "logs", "INFO")
    assert str(caught.value) == (
        f"The log {tmp_path}/logs/gateway.log cannot be written because a file stands where a folder should be: "
        "correct that, or name another place in MORTDECAI_HOME."
    )


@given(before=st.text(max_size=30), after=st.text(max_size=30))
def test_a_key_is_found_in_any_surroundings(before: str, after: str) -> None:
    """Unless it is glued to a word before it, which is then not our key but another text."""
    if before[-1:].isalnum() or before[-1:] == "_":
        before += " "
    assert KEY not in redact(before + KEY + after)


@given(rest=st.text(max_size=40), indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_a_prompt_in_a_body_is_hidden_and_nothing_else_is(
    rest: str, indent: int | None, ascii_only: bool
) -> None:
    prompt = "hunter2" + rest
    body = {"model": "m", "prompt": prompt, "messages": [{"content": prompt}], "options": {"seed": 1}}
    written = json.dumps(body, indent=indent, ensure_ascii=ascii_only)
    assert redact(written) == written.replace(json.dumps(prompt, ensure_ascii=ascii_only), BLOT)
    assert redact(repr(body)) == repr(body).replace(repr(prompt), BLOT)
    assert "hunter2" not in redact(json.dumps(written))
