"""docs/keys.md is true: its commands do what they say, in the order in which they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.gateway.processes import environment, gateway

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "keys.md").read_text()
CONTRIBUTOR, CLIENT = PAGE.split("## For a client")
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
PROGRAM = Path(sys.executable).with_name("mortdecai-gateway")


def types(home: Path, line: str, **more: str) -> str:
    """The output of a command that succeeds, typed into a shell."""
    path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", line],
        env={**environment(home), "PATH": path, **more},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout


def lines(part: str) -> list[str]:
    return [line for block in BLOCK.findall(part) for line in block.splitlines() if line]


def test_every_command_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    with gateway(tmp_path, "--simulate") as running:
        said = {line: types(tmp_path, line) for line in lines(CONTRIBUTOR)}
        made = [text.strip() for line, text in said.items() if " create laptop" in line or " rotate " in line]
        assert len(set(made)) == 3
        assert all(text.startswith("mg_") for text in made)
        [listed] = [text for line, text in said.items() if " keys list" in line]
        assert "laptop" in listed
        assert "Anna" in listed
        [limited] = [text for line, text in said.items() if "--anew" in line]
        assert limited.endswith("): 2 at once.\n")
        [together] = [text for line, text in said.items() if "--cost-per-day" in line]
        assert "0.5 a day" in together
        assert "5 a month" in together
        [trail] = [text for line, text in said.items() if " audit " in line]
        assert "POST /admin/keys/rotate" in trail
        shown = json.loads(running.said)
        answers = [
            types(tmp_path, line, KEY=shown["api_key"], GATEWAY=shown["url"]) for line in lines(CLIENT)
        ]
        assert json.loads(answers[0])["data"]
        assert json.loads(answers[1])["budgets"] == []


def test_every_code_that_the_page_names_is_one_that_the_gateway_says() -> None:
    codes = set(re.findall(r"^\| 4\d\d (.*?) \|", CLIENT, re.MULTILINE))
    named = {code for cell in codes for code in re.findall(r"`([a-z_]+)`", cell)}
    source = "\n".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))
    assert len(named) == 9
    budgets = {f"{of}_budget_reached" for of in ("key", "client")}
    assert {code for code in named - budgets if f'"{code}"' not in source} == set()
    assert budgets < named
    assert '_budget_reached"' in source
