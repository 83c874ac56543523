"""What can be said after `ledger`."""

from __future__ import annotations

import importlib

import pytest

from app.cli import parser
from app.commands.ledger_arguments import ACTIONS


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_has_a_function_that_does_it(action: str) -> None:
    module, function, help, _ = ACTIONS[action]
    assert callable(getattr(importlib.import_module(f"app.commands.{module}"), function))
    assert help[0].islower()
    assert not help.endswith(".")


@pytest.mark.parametrize(
    "words",
    [
        ("--profile", "second", "--vault", "file", "verify"),
        ("verify", "--profile", "second", "--vault", "file"),
        ("--profile", "second", "verify", "--vault", "file"),
    ],
)
def test_the_profile_may_be_named_before_the_action_or_after_it(words: tuple[str, ...]) -> None:
    options = parser().parse_args(["ledger", *words])
    assert (options.profile, options.vault, options.env_file, options.set) == ("second", "file", None, [])
    assert (options.module, options.function, options.action) == ("ledger", "verify", "verify")


def test_ledger_alone_says_what_can_follow(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["ledger"])
    assert "ACTION" in capsys.readouterr().err
