"""What a demonstration is played on: whose settings hold there, and when a fraud counts as detected."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.commands.demo_fraud import Play
from app.commands.two_sides import Said, TwoSides


def test_settings_of_the_users_environment_do_not_hold_on_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEDGER_SECRET", "the user's own")
    monkeypatch.setenv("MORTDECAI_RECEIVER_DATABASE", "postgresql://the-users-own")
    monkeypatch.setenv("MORTDECAI_PORT", "1")
    monkeypatch.setenv("SOMETHING_ELSE", "stays")
    stage = TwoSides(tmp_path)
    mine, other = stage.side("mine", LEDGER_SECRET="agreed"), stage.side("other")
    assert mine.environment()["LEDGER_SECRET"] == "agreed"
    assert mine.environment()["SOMETHING_ELSE"] == "stays"
    assert not {"LEDGER_SECRET", "MORTDECAI_RECEIVER_DATABASE", "MORTDECAI_PORT"} & other.environment().keys()
    assert mine.folders.config != other.folders.config


def test_files_come_back_as_they_were_remembered(tmp_path: Path) -> None:
    stage = TwoSides(tmp_path)
    side = stage.side("one")
    (side.home / "file").write_text("before")
    stage.remember("honest")
    (side.home / "file").write_text("after")
    (side.home / "more").touch()
    stage.recall("honest")
    assert [(path.name, path.read_text()) for path in side.home.iterdir()] == [("file", "before")]


@pytest.mark.parametrize(
    ("said", "verdict", "detected"),
    [
        (Said(1, "FORK: two histories"), "FORK", True),
        (Said(1, "OK: the log\nTAMPERED: the seed's form"), "TAMPERED", True),
        (Said(0, "OK: all the same"), "FORK", False),
        (Said(1, "LAGGING: not yet"), "FORK", False),
        (Said(0, "FORK: said, and called well"), "FORK", False),
        (Said(2, ""), "FORK", False),
        (Said(0, "OK: all the same"), "OK", True),
        (Said(1, "OK: one log\nTAMPERED: another"), "OK", False),
        (Said(0, "PROVEN: it was"), "PROVEN", True),
    ],
)
def test_a_fraud_counts_as_detected_by_what_was_said_and_how_it_ended(
    tmp_path: Path, said: Said, verdict: str, detected: bool
) -> None:
    stage = TwoSides(tmp_path)
    play = Play(stage, *(stage.side(name) for name in ("gateway", "client", "anybody")))
    play.expect("the fraud", said, verdict)
    assert play.undetected == ([] if detected else ["the fraud"])
