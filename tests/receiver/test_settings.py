"""A receiver's own parameters: the same sources as the gateway's, under names of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from app.receiver.settings import RECEIVER_PARAMETERS, ReceiverSettings, load_settings
from app.receiver.table import MARK, section
from app.settings.catalogue import PARAMETERS
from app.settings.errors import SettingError
from app.settings.store import SettingsStore


def load(
    tmp_path: Path,
    *,
    cli: Mapping[str, object] = {},
    env: Mapping[str, str] = {},
    env_file: str | None = None,
    file: str = "",
) -> ReceiverSettings:
    (tmp_path / "settings.toml").write_text(file)
    listed = None
    if env_file is not None:
        listed = tmp_path / ".env"
        listed.write_text(env_file)
    return load_settings(cli=cli, env=env, env_file=listed, file=tmp_path / "settings.toml")


def test_a_receiver_listens_on_this_machine_alone_and_on_the_seeds_port(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert (settings.host, settings.port, settings.database) == ("127.0.0.1", 8435, "")
    assert settings == ReceiverSettings()


@pytest.mark.parametrize("name", RECEIVER_PARAMETERS)
def test_every_default_is_itself_an_allowed_value(name: str) -> None:
    parameter = RECEIVER_PARAMETERS[name]
    assert RECEIVER_PARAMETERS.parse(name, parameter.default) == parameter.default
    assert parameter.help.endswith(".")
    assert parameter.env[0] == f"MORTDECAI_RECEIVER_{name.upper()}"


def test_the_command_line_wins_over_the_environment_over_its_file_over_the_settings_file(
    tmp_path: Path,
) -> None:
    every = {
        "cli": {"port": "1"},
        "env": {"MORTDECAI_RECEIVER_PORT": "2"},
        "env_file": "MORTDECAI_RECEIVER_PORT=3",
        "file": "port = 4",
    }
    for won, source in enumerate(every, 1):
        assert load(tmp_path, **dict(list(every.items())[won - 1 :])).port == won, source


def test_gateway_and_receiver_may_share_an_environment(tmp_path: Path) -> None:
    shared = {
        "MORTDECAI_PORT": "9000",
        "MORTDECAI_RECEIVER_PORT": "9001",
        "LEDGER_SECRET": "shh",
        "SPENDING_CAP": "5",
    }
    text = "".join(f"{name}={value}\n" for name, value in shared.items())
    for found in (load(tmp_path, env=shared), load(tmp_path, env_file=text)):
        assert (found.port, found.ledger_secret) == (9001, "shh")
    for given in ({"env": shared}, {"env": {}, "env_file": tmp_path / ".env"}):
        assert SettingsStore.load(file=tmp_path / "none.toml", **given).current.port == 9000


def test_a_mistyped_name_is_said_and_the_likely_one_named(tmp_path: Path) -> None:
    for given in (
        {"env": {"MORTDECAI_RECEIVER_PROT": "1"}},
        {"env_file": "MORTDECAI_RECEIVER_PROT=1"},
        {"file": "prot = 1"},
        {"cli": {"prot": "1"}},
    ):
        with pytest.raises(SettingError, match=r"port|PORT"):
            load(tmp_path, **given)


def test_a_database_is_postgresql_and_its_password_is_never_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as refused:
        load(tmp_path, cli={"database": "mysql://me:hunter2@host/db"})
    assert "hunter2" not in str(refused.value)
    assert "postgresql://" in str(refused.value)
    settings = load(tmp_path, cli={"database": "postgresql://me:hunter2@host/db", "ledger_secret": "shh"})
    assert "hunter2" not in repr(settings)
    assert "shh" not in repr(settings)
    assert settings.database == "postgresql://me:hunter2@host/db"


def test_a_template_that_hashes_no_secret_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="ledger_template"):
        load(tmp_path, file='ledger_template = "{id}{cost}"')


def test_the_gateway_knows_nothing_of_the_receivers_names() -> None:
    assert not PARAMETERS.claims("MORTDECAI_RECEIVER_PORT")
    assert not RECEIVER_PARAMETERS.claims("MORTDECAI_PORT")
    assert RECEIVER_PARAMETERS.claims("MORTDECAI_RECEIVER_PROT")


def test_the_page_lists_every_setting_as_it_is_declared() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "receiver.md").read_text()
    _, mark, rest = page.partition(MARK)
    assert mark + rest == section()
