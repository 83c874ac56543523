"""Changing settings while the gateway runs."""

from __future__ import annotations

import json
import os
import stat
import threading
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.settings.errors import SettingError
from app.settings.sources import Source
from app.settings.store import AppliedChanges, Override
from app.settings.values import MASK

if TYPE_CHECKING:
    from .conftest import Load


def test_a_change_is_in_force_at_once_and_kept(load: Load, file: Path) -> None:
    store = load()
    assert store.update({"SPENDING_CAP": "20", "profit_margin": 0.1}) == AppliedChanges(
        ("spending_cap", "profit_margin"), (), ()
    )
    assert (store.current.spending_cap, store.current.profit_margin) == (20, Decimal("0.1"))
    assert tomllib.loads(file.read_text()) == {"version": 1, "spending_cap": 20.0, "profit_margin": 0.1}
    assert load().current == store.current


def test_only_what_was_changed_is_written(load: Load, file: Path) -> None:
    load(env={"GPU_LOAD_WATTS": "200"}, cli={"port": 1}).update({"host": "0.0.0.0"})
    assert tomllib.loads(file.read_text()) == {"version": 1, "host": "0.0.0.0"}


@pytest.mark.skipif(os.name != "posix", reason="platform: Windows has no such bits")
def test_the_file_is_its_owners_own(load: Load, file: Path) -> None:
    load("version = 1\nport = 2\n").update({"port": 1})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_file_is_replaced_and_not_written_over(load: Load, file: Path) -> None:
    """Who reads it meanwhile reads the old one to its end; a power cut leaves one of the two."""
    store = load("version = 1\nport = 2\n")
    with file.open() as before:
        store.update({"port": 1})
        assert before.read() == "version = 1\nport = 2\n"
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_link_to_the_file_stays_a_link(load: Load, file: Path) -> None:
    target = file.with_name("kept in a repository.toml")
    target.write_text("version = 1\nport = 2\n")
    file.symlink_to(target)
    load().update({"port": 1})
    assert file.is_symlink()
    assert "port = 1" in target.read_text()


def test_a_change_to_the_same_value_is_none(load: Load, file: Path) -> None:
    store = load()
    assert store.update({"port": "8434", "spending_cap": 10.0}) == AppliedChanges((), (), ())
    assert not file.exists()


def test_all_or_nothing(load: Load) -> None:
    store = load("version = 1\nport = 2\n")
    before = store.current
    for bad in (
        {"port": 3, "spending_cap": -1},
        {"gpu_load_watts": 1},
        {"gpu_load_watts": 1, "spending_cap": 5},
    ):
        with pytest.raises(SettingError):
            store.update(bad)
    assert store.current is before
    assert load().current.port == 2


def test_two_values_that_depend_on_each_other_change_together(load: Load) -> None:
    store = load()
    store.update({"gpu_idle_watts": 100, "gpu_load_watts": 300})
    assert (store.current.gpu_idle_watts, store.current.gpu_load_watts) == (100, 300)


def test_what_needs_a_restart_is_said(load: Load) -> None:
    assert load().update({"port": 1, "spending_cap": 5}) == AppliedChanges(
        ("port", "spending_cap"), ("port",), ()
    )


def test_what_the_environment_sets_changes_for_this_run_and_says_so(load: Load, file: Path) -> None:
    """The seed's contributors have everything in `.env` and change it live."""
    env = {"SPENDING_CAP": "10"}
    store = load(env=env)
    sentence = (
        "spending_cap is 10 in the environment (SPENDING_CAP) and will be so again at the next start: remove it "
        "there to keep the change."
    )
    assert store.update({"SPENDING_CAP": 20}) == AppliedChanges(
        ("spending_cap",), (), (Override("spending_cap", "in the environment (SPENDING_CAP)", sentence),)
    )
    assert store.current.spending_cap == 20
    info = next(info for info in store.describe() if info.parameter.name == "spending_cap")
    assert (info.value, info.source, info.overridden) == (20, Source.RUNNING, True)
    assert load(env=env).current.spending_cap == 10
    assert load().current.spending_cap == 20


def test_what_the_command_line_sets_and_needs_a_restart_is_only_kept(load: Load) -> None:
    store = load(cli={"port": 1})
    changes = store.update({"port": 2})
    assert (changes.changed, changes.needs_restart) == ((), ())
    assert [override.where for override in changes.overridden] == ["on the command line"]
    assert store.current.port == 1
    assert load().current.port == 2


def test_an_overridden_secret_is_not_said(load: Load) -> None:
    (override,) = load(env={"LEDGER_SECRET": "hunter2"}).update({"ledger_secret": "new"}).overridden
    assert "hunter2" not in override.sentence
    assert MASK in override.sentence


def test_a_change_that_would_stop_the_next_start_is_refused(load: Load) -> None:
    """The environment's 54 W is hidden for this run by the first change, and comes back."""
    store = load(env={"GPU_LOAD_WATTS": "54"})
    store.update({"gpu_load_watts": 300})
    with pytest.raises(SettingError, match=r"gpu_load_watts \(54\) is below gpu_idle_watts \(100\)"):
        store.update({"gpu_idle_watts": 100})
    assert store.current.gpu_idle_watts == 15


def test_what_a_person_wrote_into_the_file_meanwhile_is_kept(load: Load, file: Path) -> None:
    store = load("version = 1\nport = 2\n")
    file.write_text("version = 1\nport = 3\nhost = '10.0.0.1'\n")
    store.update({"spending_cap": 5})
    assert tomllib.loads(file.read_text()) == {
        "version": 1,
        "port": 3,
        "host": "10.0.0.1",
        "spending_cap": 5.0,
    }
    assert store.current.port == 2


def test_what_a_person_broke_in_the_file_meanwhile_is_not_built_upon(load: Load, file: Path) -> None:
    store = load("version = 1\nport = 2\n")
    file.write_text("version = 1\nport = 99999\n")
    with pytest.raises(SettingError, match=r"port is 99999 in .*, line 2"):
        store.update({"spending_cap": 5})
    assert file.read_text() == "version = 1\nport = 99999\n"
    assert store.current.spending_cap == 10


def test_secrets_are_masked_everywhere_but_in_the_file(load: Load, file: Path) -> None:
    store = load()
    assert store.to_json()["ledger_secret"] == ""
    store.update({"ledger_secret": "hunter2"})
    assert store.to_json()["ledger_secret"] == MASK
    assert "hunter2" not in repr(store.describe()) + repr(store.current) + json.dumps(store.to_json())
    assert store.current.ledger_secret == "hunter2"
    assert "hunter2" in file.read_text()


def test_a_masked_secret_that_comes_back_means_as_it_is_and_an_empty_one_means_none(load: Load) -> None:
    store = load("version = 1\nledger_secret = 'hunter2'\n")
    store.update({"ledger_secret": MASK, "port": 1})
    assert store.current.ledger_secret == "hunter2"
    store.update({"ledger_secret": ""})
    assert load().current.ledger_secret == ""


def test_what_config_shows_can_be_sent_back_whole_and_changes_nothing(load: Load, file: Path) -> None:
    store = load(
        env={"SPENDING_CAP": "3"}, cli={"port": 1, "allowed_models": "a,b"}, env_file="LEDGER_SECRET=x\n"
    )
    assert store.update(json.loads(json.dumps(store.to_json()))) == AppliedChanges((), (), ())
    assert not file.exists()


def test_config_shows_numbers_as_the_seed_does(load: Load) -> None:
    shown = load(
        cli={"spending_cap": "10.00", "electricity_rate": "0.15", "base_rate_per_hour": "999999.123456789012"}
    ).to_json()
    assert (
        json.dumps([shown["gpu_idle_watts"], shown["spending_cap"], shown["electricity_rate"]])
        == "[15, 10, 0.15]"
    )
    # More digits than a float has go as text, so that nothing is lost on the way.
    assert shown["base_rate_per_hour"] == "999999.123456789012"
    assert shown["allowed_models"] == []


def test_a_file_without_a_version_is_migrated_and_its_old_form_kept(load: Load, file: Path) -> None:
    text = "# mine\nSPENDING_CAP = 5\nport = 2\n"
    assert load(text).current.spending_cap == 5
    assert tomllib.loads(file.read_text()) == {"version": 1, "spending_cap": 5.0, "port": 2}
    backup = file.with_name("settings.toml.v0.bak")
    assert backup.read_text() == text
    assert load().current.port == 2


def test_a_file_that_cannot_be_rewritten_is_migrated_in_memory(
    load: Load, file: Path, full_disk: object
) -> None:
    file.write_text("SPENDING_CAP = 5\n")
    with full_disk:  # type: ignore[attr-defined]
        assert load().current.spending_cap == 5
    assert file.read_text() == "SPENDING_CAP = 5\n"


def test_changes_from_many_threads_are_all_kept(load: Load) -> None:
    store = load()
    names = ("spending_cap", "hold_seconds", "max_output_tokens", "gpu_load_watts", "system_inference_watts")
    threads = [threading.Thread(target=store.update, args=({name: 99},)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {getattr(store.current, name) for name in names} == {99}
    assert load().current == store.current
