"""docs/ledger.md is true: who knows RFC 6962 and C2SP alone verifies what a gateway tells, and finds forgeries."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.ledger.checkpoint import Signer
from app.ledger.merkle import leaf_hash, root_from_leaves
from app.ledger.records import HeartbeatDraft
from tests.gateway.conftest import House, chat

ROOT = Path(__file__).resolve().parents[2]
OUTSIDER = ROOT / "tests" / "ledger" / "outsider.py"
PAGE = (ROOT / "docs" / "ledger.md").read_text()
SIGNER = Signer(bytes(range(32)), "gw")
LOG = "gw/c_1"


def verify(*words: str) -> subprocess.CompletedProcess[str]:
    """The outsider's verdict; isolated, so that nothing of ours can be imported from here."""
    return subprocess.run(
        [sys.executable, "-I", str(OUTSIDER), *words], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_outsider_is_short_and_knows_nothing_of_ours() -> None:
    text = OUTSIDER.read_text()
    roots = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add(str(node.module).partition(".")[0])
    assert roots <= {"json", "sys", "base64", "hashlib", "pathlib", "cryptography"}
    assert len([line for line in text.splitlines() if line.strip()]) <= 50
    assert "tests/ledger/outsider.py" in PAGE


async def fetched(house: House, folder: Path) -> list[str]:
    """A gateway's answers as files: the words for the outsider."""
    for path, name in (
        ("/ledger/checkpoint?size=3", "older"),
        ("/ledger/checkpoint", "newest"),
        ("/ledger/entries", "leaves"),
        ("/ledger/proof/1", "proof"),
        ("/ledger/proof/300?size=301", "past"),
        ("/ledger/proof/0?size=1", "first"),
    ):
        async with house.get(path) as reply:
            assert reply.status == 200
            (folder / name).write_bytes(await reply.read())
    names = ("leaves", "older", "newest", "proof", "past", "first")
    return [house.gateway.ledger.vkey, *(str(folder / name) for name in names)]


async def test_what_a_gateway_tells_is_verified_by_somebody_who_never_saw_its_code(
    house: House, tmp_path: Path
) -> None:
    async with house.post("/api/chat", chat()) as reply:
        await reply.read()
    ledger = house.gateway.ledger
    log = ledger.clients()[0].log
    await asyncio.gather(*[ledger.append(log, HeartbeatDraft(ledger.new_id(), 5)) for _ in range(400)])
    words = await fetched(house, tmp_path)
    done = await asyncio.to_thread(verify, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout == f"PROVEN: {ledger.newest()[0].size} records, {ledger.spent_pico} pico-units in all\n"
    )


async def test_the_pages_own_commands_do_what_they_say(house: House, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("the package curl is missing")
    async with house.post("/api/chat", chat()) as reply:
        await reply.read()
    first, second, *_ = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    environment = os.environ | {
        "KEY": house.key,
        "GATEWAY": house.gateway.address,
        "VKEY": house.gateway.ledger.vkey,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    script = "set -eu\n" + first.replace("tests/ledger/outsider.py", str(OUTSIDER))

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    done = await asyncio.to_thread(run)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("PROVEN: ")
    assert re.findall(r"ledger (prove|check-proof) ", second) == ["prove", "check-proof"]


BODIES = [b'{"cost":"%d","cum":"%d","seq":%d}' % (seq, seq * (seq + 1) // 2, seq) for seq in range(7)]


@pytest.mark.parametrize(
    "forge",
    [
        lambda leaves: leaves[:6],
        lambda leaves: leaves[:3] + leaves[4:],
        lambda leaves: [leaves[1], leaves[0], *leaves[2:]],
        lambda leaves: [*leaves[:6], leaves[6].replace(b'"cost":"6"', b'"cost":"06"')],
        lambda leaves: [leaves[0], leaves[1] + b" ", *leaves[2:]],
    ],
)
def test_an_outsider_finds_leaves_that_are_not_those_that_were_signed(tmp_path: Path, forge: object) -> None:
    assert callable(forge)
    note = SIGNER.sign_checkpoint(LOG, 7, root_from_leaves(map(leaf_hash, BODIES)))
    (tmp_path / "note").write_text(note)
    for leaves, status in ((BODIES, 0), (forge(BODIES), 1)):
        (tmp_path / "leaves").write_bytes(b"".join(leaf + b"\n" for leaf in leaves))
        done = verify(SIGNER.vkey, str(tmp_path / "leaves"), str(tmp_path / "note"))
        assert done.returncode == status
        assert ("NOT PROVEN" in done.stderr) == bool(status)


def test_an_outsider_finds_money_that_does_not_add_up_though_it_was_signed(tmp_path: Path) -> None:
    leaves = [*BODIES[:6], BODIES[6].replace(b'"cum":"21"', b'"cum":"22"')]
    (tmp_path / "leaves").write_bytes(b"".join(leaf + b"\n" for leaf in leaves))
    (tmp_path / "note").write_text(SIGNER.sign_checkpoint(LOG, 7, root_from_leaves(map(leaf_hash, leaves))))
    done = verify(SIGNER.vkey, str(tmp_path / "leaves"), str(tmp_path / "note"))
    assert done.returncode == 1
    assert "record 6 does not add up" in done.stderr


@pytest.mark.parametrize("signer", [Signer(bytes(32), "gw"), Signer(bytes(range(32)), "another")])
def test_an_outsider_takes_no_note_that_another_key_signed(tmp_path: Path, signer: Signer) -> None:
    (tmp_path / "leaves").write_bytes(b"".join(leaf + b"\n" for leaf in BODIES))
    (tmp_path / "note").write_text(signer.sign_checkpoint(LOG, 7, root_from_leaves(map(leaf_hash, BODIES))))
    done = verify(SIGNER.vkey, str(tmp_path / "leaves"), str(tmp_path / "note"))
    assert done.returncode == 1
    assert "has not signed" in done.stderr
