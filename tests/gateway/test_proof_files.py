"""`ledger vkey`, `prove`, `check-proof`: the same answers whether the gateway runs or not, and none to a forger."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import pytest

from app.ledger.checkpoint import Signer, VerifierKey
from app.ledger.cosignature import Cosigner
from tests.gateway.processes import gateway, run

VAULT = ("--vault", "file")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a gateway with one client, which ran for a moment and ended."""
    folder = tmp_path_factory.mktemp("home")
    with gateway(folder, "--simulate", *VAULT):
        pass
    return folder


def say(home: Path, *words: str) -> tuple[int, str, str]:
    done = run(home, "ledger", *words)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def vkey(home: Path) -> str:
    status, said, _ = say(home, "vkey", *VAULT)
    assert status == 0
    assert VerifierKey.parse(said.strip()).name.startswith("mortdecai-gateway/")
    return said.strip()


@pytest.fixture(scope="module")
def proof(home: Path) -> str:
    """The proof of record 1, as text."""
    status, said, errors = say(home, "prove", "1", "--out", "-", *VAULT)
    assert status == 0, errors
    return said


def test_a_proof_is_written_and_checked_with_the_line_that_is_printed_with_it(
    home: Path, vkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, said, errors = say(home, "prove", "1", *VAULT)
    assert status == 0, errors
    (file,) = tmp_path.iterdir()
    assert said.startswith(file.name)
    assert f"check-proof {file.name} --vkey '{vkey}'" in said
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    status, said, errors = say(elsewhere, "check-proof", str(file), "--vkey", vkey)
    assert (status, errors) == (0, "")
    assert said.startswith("OK: record 1 is among the first ")
    assert json.loads(said.splitlines()[-1])["seq"] == 1
    assert list(elsewhere.iterdir()) == []


def test_a_running_gateway_gives_the_same_key_and_the_same_proof(home: Path, vkey: str, proof: str) -> None:
    with gateway(home, "--simulate", *VAULT):
        assert say(home, "vkey")[1].strip() == vkey
        size = proof.partition("\n\n")[2].split("\n")[1]
        assert say(home, "prove", "1", "--size", size, "--out", "-")[1] == proof
        for words, part in (
            (("prove", "9999"), "holds"),
            (("prove", "0", "--size", "9999"), "holds"),
            (("prove", "0", "--log", "Nobody"), "Nobody"),
            (("prove", "0", "--cosigned"), "No receiver has cosigned"),
        ):
            status, said, errors = say(home, *words)
            assert (status, said) == (2, "")
            assert part in errors
            assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("prove", "9999"), "holds"),
        (("prove", "0", "--size", "9999"), "holds"),
        (("prove", "5", "--size", "2"), "no record 5"),
        (("prove", "0", "--log", "Nobody"), "no log 'Nobody'"),
        (("prove", "0", "--cosigned"), "No receiver has cosigned"),
        (("prove", "0", "--out", "/nowhere/proof"), "cannot be written"),
    ],
)
def test_what_cannot_be_proven_is_one_sentence(home: Path, words: tuple[str, ...], part: str) -> None:
    status, said, errors = say(home, *words, *VAULT)
    assert (status, said) == (2, "")
    assert part in errors
    assert len(errors.splitlines()) == 1


def test_a_profile_that_never_ran_has_nothing_to_prove_and_gets_no_key(tmp_path: Path) -> None:
    for words in (("vkey",), ("prove", "0")):
        status, said, errors = say(tmp_path, *words, *VAULT)
        assert (status, said) == (2, "")
        assert "no ledger yet" in errors
    assert not list(tmp_path.rglob("*.sqlite3"))


def test_a_changed_or_foreign_proof_is_not_proven(proof: str, vkey: str, tmp_path: Path) -> None:
    file = tmp_path / "p"
    stranger = Signer(bytes(32), vkey.partition("+")[0]).vkey
    for text, key, words in (
        (proof.replace("index 1", "index 0"), vkey, ()),
        (proof.replace("extra e", "extra f"), vkey, ()),
        (proof, stranger, ()),
        (proof, vkey, ("--log", "another/log")),
        ("nonsense", vkey, ()),
        ("", vkey, ()),
    ):
        file.write_text(text)
        status, said, errors = say(tmp_path, "check-proof", str(file), "--vkey", key, *words)
        assert (status, errors) == (1, "")
        assert said.startswith("NOT PROVEN: ")
        assert len(said.splitlines()) == 1
    file.write_bytes(b"\xff" * 40)
    assert say(tmp_path, "check-proof", str(file), "--vkey", vkey)[0] == 1
    file.write_bytes(b"a" * (17 << 20))
    assert "larger" in say(tmp_path, "check-proof", str(file), "--vkey", vkey)[1]


def test_what_is_no_key_and_no_file_is_said(proof: str, vkey: str, tmp_path: Path) -> None:
    file = tmp_path / "p"
    file.write_text(proof)
    for words in (
        (str(file), "--vkey", "gw+12345678+AAAA"),
        (str(file), "--vkey", vkey, "--cosigner", vkey),
        (str(tmp_path / "missing"), "--vkey", vkey),
        (str(tmp_path), "--vkey", vkey),
    ):
        status, said, errors = say(tmp_path, "check-proof", *words)
        assert (status, said) == (2, "")
        assert len(errors.splitlines()) == 1


def test_a_receivers_cosignature_is_checked_where_it_is_asked_for(
    proof: str, vkey: str, tmp_path: Path
) -> None:
    cosigner = Cosigner(bytes(range(32)), "receiver/anna")
    file = tmp_path / "p"
    file.write_text(proof)
    words = ("check-proof", str(file), "--vkey", vkey, "--cosigner", cosigner.vkey)
    status, said, _ = say(tmp_path, *words)
    assert status == 1
    assert "receiver/anna has not cosigned" in said
    note = proof.partition("\n\n")[2]
    file.write_text(proof + cosigner.cosign(note, 1_790_000_000))
    status, said, _ = say(tmp_path, *words)
    assert status == 0
    assert "receiver/anna has cosigned it at 2026-09-21" in said


def test_a_ledger_that_was_changed_proves_nothing(tmp_path: Path) -> None:
    with gateway(tmp_path, "--simulate", *VAULT):
        pass
    (path,) = tmp_path.rglob("ledger.sqlite3")
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE record SET body = zeroblob(9) WHERE seq = 1")
    connection.close()
    status, said, errors = say(tmp_path, "prove", "1", *VAULT)
    assert (status, said) == (2, "")
    assert "verification" in errors
