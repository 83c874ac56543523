"""Whatever is wrong, the person gets one sentence: what happened, why, what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.settings.catalogue import PARAMETERS
from app.settings.errors import SettingError
from app.settings.store import SettingsStore

if TYPE_CHECKING:
    from .conftest import Load

WithoutRights = Callable[[Path], AbstractContextManager[None]]

MONEY = "a number from 0 to 9000000 with at most 12 decimals"
POINT = "use a point for decimals and nothing between thousands, as in 0.15 or 1000"
BARE = "write the bare number, without a unit or a currency sign"


def said(caught: pytest.ExceptionInfo[SettingError]) -> str:
    """The sentence, after what every sentence must be."""
    sentence = str(caught.value)
    assert sentence == caught.value.sentence
    assert sentence.endswith(".")
    assert ": " in sentence, "what to do comes after a colon"
    assert sentence.isprintable()
    assert len(sentence) < 500
    for word in ("pydantic", "Traceback", "Errno", "validation error", "!"):
        assert word not in sentence
    return sentence


# ------------------------------------------------------------------ one of each source, to the letter


def test_a_bad_option(load: Load) -> None:
    with pytest.raises(SettingError) as caught:
        load(cli={"port": "99999"})
    assert caught.value.parameter == "port"
    assert said(caught) == (
        'port is "99999" on the command line, but it must be a whole number from 0 to 65535: '
        "correct it or leave it out."
    )


def test_a_bad_variable(load: Load) -> None:
    with pytest.raises(SettingError) as caught:
        load(env={"SPENDING_CAP": "-1"})
    assert said(caught) == (
        f'spending_cap is "-1" in the environment (SPENDING_CAP), but it must be {MONEY}: '
        "correct or unset that variable."
    )


def test_a_bad_line_in_the_env_file(load: Load, file: Path) -> None:
    with pytest.raises(SettingError) as caught:
        load(env_file="\n# price\n\nELECTRICITY_RATE=0,15\n")
    assert said(caught) == (
        f'electricity_rate is "0,15" in {file.with_name(".env")}, line 4 (ELECTRICITY_RATE), but it must be a '
        f"number from -1000000 to 1000000 with at most 12 decimals ({POINT}): correct or remove that line."
    )


def test_a_bad_line_in_the_settings_file(load: Load, file: Path) -> None:
    with pytest.raises(SettingError) as caught:
        load("version = 1\n\nhold_seconds = 3\n")
    assert said(caught) == (
        f"hold_seconds is 3 in {file}, line 3, but it must be a whole number from 5 to 300: "
        "correct or remove that line."
    )


def test_a_bad_change(load: Load) -> None:
    store = load()
    with pytest.raises(SettingError) as caught:
        store.update({"BILLING_MODE": "flat"})
    assert said(caught) == (
        'billing_mode is "flat" in this change, but it must be marginal or dedicated: nothing was changed.'
    )


# ------------------------------------------------------------------ values


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("spending_cap", "10,00", POINT),
        ("spending_cap", "1,000", POINT),
        ("spending_cap", "$10", BARE),
        ("spending_cap", "10 EUR", BARE),
        ("spending_cap", "1_000", BARE),
        ("spending_cap", "0x10", BARE),
        ("spending_cap", "1 000", BARE),
        ("profit_margin", "10%", BARE),
        ("gpu_load_watts", "54W", BARE),
        ("gpu_load_watts", "54,5", POINT),
        ("port", "8434/tcp", BARE),
        ("port", "8,434", POINT),
        ("port", "84.34", BARE),
        ("upstream_url", "127.0.0.1:11434", "put http:// or https:// in front"),
        ("upstream_url", "localhost", "put http:// or https:// in front"),
        ("upstream_url", "", "put http:// or https:// in front"),
        ("upstream_url", "ftp://localhost", "it must begin with http:// or https://"),
        ("upstream_url", "file:///etc/passwd", "it must begin with http:// or https://"),
        ("upstream_url", "http://", "its host or port cannot be read"),
        ("upstream_url", "http://localhost:99999", "its host or port cannot be read"),
        ("upstream_url", "http://localhost:0", "its host or port cannot be read"),
        ("upstream_url", "http://localhost:port", "its host or port cannot be read"),
        ("upstream_url", "http://[::1", "its host or port cannot be read"),
        ("upstream_url", "http://256.1.1.1", "its host or port cannot be read"),
        ("upstream_url", "http://-a-", "its host or port cannot be read"),
        ("upstream_url", "http://me:secret@localhost", "leave out the user name and password"),
        ("upstream_url", "http://localhost/?a=1", "leave out the ? and what follows it"),
        ("upstream_url", "http://localhost/#a", "leave out the # and what follows it"),
        ("upstream_url", "http://local host", "it holds a space or a backslash"),
        ("callback_url", "http:\\\\localhost", "it holds a space or a backslash"),
        ("callback_url", "client_ip:8435/transaction", "put http:// or https:// in front"),
        (
            "callback_url",
            "http://localhost\t/x",
            "it holds a line break or another character that cannot be printed",
        ),
        ("host", "http://0.0.0.0", "leave out http:// and anything after the name"),
        ("host", "0.0.0.0:8434", "the port is a setting of its own"),
        ("ledger_secret", "a\nb", "it holds a line break or another character that cannot be printed"),
        ("ledger_secret", "********", "the asterisks only stand for it, so write the secret itself"),
        ("allowed_models", "llama3.1:8b, ../../etc/passwd", '"../../etc/passwd" is not a model\'s name'),
        ("allowed_models", '["llama3.1:8b"]', '"[\\"llama3.1:8b\\"]" is not a model\'s name'),
    ],
)
def test_a_slip_that_is_common_gets_a_hint(load: Load, name: str, text: str, hint: str) -> None:
    with pytest.raises(SettingError) as caught:
        load(cli={name: text})
    assert f"must be {PARAMETERS[name].allowed} ({hint}): correct it" in said(caught)


@pytest.mark.parametrize(
    "name", ["spending_cap", "electricity_rate", "profit_margin", "gpu_idle_watts", "port"]
)
@pytest.mark.parametrize(
    "text", ["nan", "NaN", "inf", "-inf", "Infinity", "1e999", "ten", " ", "--1", "१०", "1" * 65]
)
def test_what_is_no_number_of_this_world_is_refused(load: Load, name: str, text: str) -> None:
    with pytest.raises(SettingError) as caught:
        load(env={f"MORTDECAI_{name.upper()}": text})
    assert PARAMETERS[name].allowed in said(caught)


@pytest.mark.parametrize("name", ["spending_cap", "gpu_idle_watts", "port"])
@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        float("-inf"),
        True,
        None,
        [1],
        {"a": 1},
        pytest.param(10**5000, id="huge"),
        b"1",
    ],
)
def test_numbers_from_json_that_are_none_are_refused(load: Load, name: str, value: object) -> None:
    with pytest.raises(SettingError) as caught:
        load().update({name: value})
    assert f"must be {PARAMETERS[name].allowed}: nothing was changed." in said(caught)


@pytest.mark.parametrize(
    "literal", ["nan", "-inf", "inf", "true", "1979-05-27", "[1]", "{a = 1}", "1" * 60, "1e-99999999"]
)
def test_toml_values_that_are_no_amounts_are_refused(load: Load, literal: str) -> None:
    with pytest.raises(SettingError) as caught:
        load(f"version = 1\nspending_cap = {literal}\n")
    assert "line 2" in said(caught)


@pytest.mark.parametrize(
    ("name", "text"),
    [("spending_cap", "0.0000000000001"), ("spending_cap", "1e-999"), ("profit_margin", "0.0000001")],
)
def test_more_decimals_than_are_counted_are_refused_rather_than_rounded(
    load: Load, name: str, text: str
) -> None:
    with pytest.raises(SettingError, match=r"with at most (12|6) decimals: correct it"):
        load(cli={name: text})


@pytest.mark.parametrize("port", [-1, 65536, "65536", 80.5, "80.5", "0x50", ""])
def test_a_port_that_cannot_be_is_refused(load: Load, port: object) -> None:
    with pytest.raises(SettingError) as caught:
        load(cli={"port": port})
    assert "a whole number from 0 to 65535" in said(caught)


@pytest.mark.parametrize("word", ["maybe", "2", "ja", "truee", "", "none"])
def test_a_flag_is_true_or_false(load: Load, word: str) -> None:
    with pytest.raises(SettingError) as caught:
        load(cli={"remote_admin": word})
    assert said(caught).endswith("must be true or false: correct it or leave it out.")


@pytest.mark.parametrize("code", ["US", "DOLLAR", "$", "XXX", "XAU", "BTC", "Ü12"])
def test_a_currency_is_one_that_circulates(load: Load, code: str) -> None:
    with pytest.raises(SettingError) as caught:
        load(cli={"currency": code})
    assert "three letters as in ISO 4217, such as USD or EUR" in said(caught)


@pytest.mark.parametrize(
    "host",
    ["", " ", "a b", "999.1.1.1", "1.2.3", "-a", "a-", "a..b", "x" * 64, "::1::", "*", "a" * 64 + ".b"],
)
def test_a_host_that_cannot_be_is_refused(load: Load, host: str) -> None:
    with pytest.raises(SettingError) as caught:
        load(cli={"host": host})
    assert "an IP address or a host name" in said(caught)


@pytest.mark.parametrize(
    ("name", "listing"),
    [("vault", "keyring, file or memory"), ("log_level", "DEBUG, INFO, WARNING or ERROR")],
)
def test_a_choice_names_all_of_them(load: Load, name: str, listing: str) -> None:
    with pytest.raises(SettingError) as caught:
        load(cli={name: "other"})
    assert (
        said(caught)
        == f'{name} is "other" on the command line, but it must be {listing}: correct it or leave it out.'
    )


def test_a_secret_is_never_in_a_sentence(load: Load, file: Path) -> None:
    for source in ({"cli": {"ledger_secret": "hunter2\n"}}, {"env": {"LEDGER_SECRET": "hunter2\x07"}}):
        with pytest.raises(SettingError) as caught:
            load(**source)  # type: ignore[arg-type]
        assert "hunter2" not in said(caught)
        assert "ledger_secret is ********" in said(caught)
    with pytest.raises(SettingError) as caught:
        load("version = 1\nledger_secret = ['hunter2']\n")
    assert "hunter2" not in said(caught)


def test_a_long_or_wild_value_is_cut_and_cleaned(load: Load) -> None:
    with pytest.raises(SettingError) as caught:
        load(cli={"billing_mode": "\x1b[31m" + "x" * 9000})
    assert said(caught).startswith('billing_mode is "\\u001b[31mxxx')
    assert "…" in said(caught)


def test_two_values_that_contradict_each_other_stop_the_start(load: Load) -> None:
    with pytest.raises(SettingError) as caught:
        load("version = 1\ngpu_load_watts = 50\n", env={"GPU_IDLE_WATTS": "51"})
    assert said(caught) == (
        "gpu_load_watts (50) is below gpu_idle_watts (51), so work would cost less than rest: raise the first or lower "
        "the second."
    )


def test_a_bad_value_is_found_even_where_a_stronger_one_hides_it(load: Load) -> None:
    with pytest.raises(SettingError, match="line 2"):
        load("version = 1\nport = -1\n", cli={"port": 1}, env={"MORTDECAI_PORT": "2"})


# ------------------------------------------------------------------ names


def test_an_unknown_name_says_where_it_is_and_what_may_be_meant(load: Load, file: Path) -> None:
    with pytest.raises(SettingError) as caught:
        load("version = 1\nspending_capp = 5\n")
    assert said(caught) == (
        f"There is no setting spending_capp (found in {file}, line 2); spending_cap may be meant: "
        "correct or remove that line."
    )
    assert caught.value.parameter == "spending_capp"


@pytest.mark.parametrize(
    ("source", "name", "meant"),
    [
        ({"cli": {"Port": 1}}, "Port", "port"),
        ({"cli": {"spending-cap": 1}}, "spending-cap", "spending_cap"),
        ({"cli": {"colour": 1}}, "colour", None),
        ({"env": {"MORTDECAI_SPENDINGCAP": "1"}}, "MORTDECAI_SPENDINGCAP", "SPENDING_CAP"),
        ({"env": {"MORTDECAI_POTR": "1"}}, "MORTDECAI_POTR", "MORTDECAI_PORT"),
        ({"env": {"MORTDECAI_PORTS": ""}}, "MORTDECAI_PORTS", "MORTDECAI_PORT"),
        ({"env_file": "SPENDING_CAPS=1\n"}, "SPENDING_CAPS", "SPENDING_CAP"),
        ({"env_file": "spending_cap=1\n"}, "spending_cap", "SPENDING_CAP"),
        ({"env_file": "MORTDECAI_FOO=1\n"}, "MORTDECAI_FOO", None),
        ({"text": "version = 1\n[electricity]\nrate = 1\n"}, "electricity", None),
        ({"text": "version = 1\nSPENDING_CAP = 1\n"}, "SPENDING_CAP", "spending_cap"),
        ({"text": "version = 1\n[spending_cap.x]\n"}, "spending_cap is", None),
    ],
)
def test_unknown_names_are_refused_in_every_source(
    load: Load, source: dict[str, object], name: str, meant: str | None
) -> None:
    with pytest.raises(SettingError) as caught:
        load(**source)  # type: ignore[arg-type]
    assert name in said(caught)
    assert (f"; {meant} may be meant: " in said(caught)) == (meant is not None)


def test_an_unknown_name_in_a_change_changes_nothing(load: Load, file: Path) -> None:
    store = load()
    with pytest.raises(SettingError) as caught:
        store.update({"port": 1, "prot": 2})
    assert (
        said(caught)
        == "There is no setting prot (found in this change); port may be meant: nothing was changed."
    )
    assert store.current.port == 8434
    assert not file.exists()


def test_a_wild_name_is_cleaned(load: Load) -> None:
    with pytest.raises(SettingError) as caught:
        load().update({"\x1b[2J" + "x" * 999: 1})
    said(caught)


def test_one_parameter_twice_in_a_change_is_refused(load: Load) -> None:
    with pytest.raises(
        SettingError, match="port is given twice in this change, in upper and in lower case: nothing"
    ):
        load().update({"port": 1, "PORT": 2})


# ------------------------------------------------------------------ files


def test_broken_toml_says_file_and_line(load: Load, file: Path) -> None:
    with pytest.raises(SettingError) as caught:
        load("version = 1\nport = \n")
    assert said(caught) == (
        f"The settings file {file} is not valid TOML at line 2: correct it, or move it away to start with the defaults."
    )


@pytest.mark.parametrize(
    "text", ["port = 1\nport = 2\n", "=", "[a\n", "a = " + "[" * 9999, "a = " + "1" * 9999, "\x00"]
)
def test_every_kind_of_broken_toml_is_one_sentence(load: Load, text: str) -> None:
    with pytest.raises(SettingError) as caught:
        load(text)
    assert "is not valid TOML" in said(caught)


@pytest.mark.parametrize("text", ["JUST WORDS\n", "A='open\n", "=1\n", "A='b' c\n"])
def test_an_env_file_that_is_not_understood_says_the_line(load: Load, file: Path, text: str) -> None:
    with pytest.raises(SettingError) as caught:
        load(env_file=f"# first\n\n{text}")
    assert said(caught) == (
        f"The environment file {file.with_name('.env')} cannot be understood at line 3: write NAME=value there, with "
        "matching quotation marks, or remove the line."
    )


def test_an_env_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(SettingError) as caught:
        SettingsStore.load(env={}, env_file=file, file=file)
    assert said(caught) == (
        f"The environment file {file} cannot be read because it does not exist: correct that, or name another file."
    )


def test_a_folder_in_place_of_the_file(load: Load, file: Path) -> None:
    file.mkdir()
    with pytest.raises(SettingError) as caught:
        load()
    assert (
        said(caught) == f"The settings file {file} is a folder: move the folder away, or name another file."
    )


def test_a_file_in_place_of_its_folder(file: Path) -> None:
    file.write_text("")
    with pytest.raises(SettingError) as caught:
        SettingsStore.load(env={}, file=file / "settings.toml")
    assert "because a file stands where a folder should be: " in said(caught)


def test_a_device_in_place_of_the_file_is_not_waited_for() -> None:
    with pytest.raises(SettingError) as caught:
        SettingsStore.load(env={}, file=Path("/dev/zero"))
    assert said(caught) == "The settings file /dev/zero is not a regular file: name another file."


def test_text_that_is_not_utf_8(load: Load, file: Path) -> None:
    file.write_bytes(b"version = 1\n# \xe4\n")
    with pytest.raises(SettingError) as caught:
        load()
    assert said(caught) == f"The settings file {file} is not UTF-8 text (line 2): save it as UTF-8."


def test_a_file_of_another_kind_is_not_read_whole(load: Load, file: Path) -> None:
    with file.open("wb") as handle:
        handle.truncate(1 << 40)
    with pytest.raises(SettingError) as caught:
        load()
    assert "larger than 1 MiB" in said(caught)


def test_a_file_that_may_not_be_read(load: Load, file: Path, without_rights: WithoutRights) -> None:
    file.write_text("version = 1\n")
    with without_rights(file), pytest.raises(SettingError) as caught:
        load()
    assert said(caught) == (
        f"The settings file {file} cannot be read because permission is denied: correct that, or name another file."
    )


def test_a_change_that_may_not_be_written(open_folder: Path, without_rights: WithoutRights) -> None:
    file = open_folder / "settings.toml"
    store = SettingsStore.load(env={}, file=file)
    with without_rights(open_folder), pytest.raises(SettingError) as caught:
        store.update({"port": 1})
    assert said(caught) == (
        f"The settings cannot be kept in {file} because permission is denied: nothing was changed; correct "
        "that and try again."
    )
    assert store.current.port == 8434


def test_a_change_that_the_disk_has_no_room_for(
    load: Load, file: Path, full_disk: AbstractContextManager[None]
) -> None:
    store = load("version = 1\nport = 5\n")
    with full_disk, pytest.raises(SettingError) as caught:
        store.update({"port": 6})
    assert "nothing was changed" in said(caught)
    assert store.current.port == 5
    assert file.read_text() == "version = 1\nport = 5\n"
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.skipif(os.name != "posix", reason="platform: no users by number")
@pytest.mark.skipif(
    os.name == "posix" and os.geteuid() != 0, reason="only root can act as another user: run this as root"
)
def test_a_secret_that_others_can_read_and_we_cannot_hide(
    open_folder: Path, without_rights: WithoutRights
) -> None:
    file = open_folder / "settings.toml"
    file.write_text("version = 1\nledger_secret = 'hunter2'\n")
    file.chmod(0o644)
    with without_rights(file), pytest.raises(SettingError) as caught:
        SettingsStore.load(env={}, file=file)
    assert said(caught) == (
        f"The settings file {file} holds a secret and other users can read it: run chmod 600 on it as its owner."
    )


def test_a_file_from_a_newer_version(load: Load, file: Path) -> None:
    with pytest.raises(SettingError) as caught:
        load("version = 7\nfuture = true\n")
    assert said(caught) == (
        f"The settings file {file} cannot be used: it is of version 7, from a newer Mortdecai Gateway, and this one "
        "knows versions up to 1: install the newer one, or move the file away."
    )


@pytest.mark.parametrize("version", ["-1", "'1'", "1.0", "true", "[1]"])
def test_a_version_that_is_none(load: Load, version: str) -> None:
    with pytest.raises(SettingError) as caught:
        load(f"version = {version}\n")
    assert "its version is not a whole number of 0 or more: remove the line that says version." in said(
        caught
    )


def test_what_may_not_change_while_the_gateway_runs_says_how_to_change_it(load: Load, file: Path) -> None:
    store = load()
    with pytest.raises(SettingError) as caught:
        store.update({"vault": "file", "port": 1})
    assert said(caught) == (
        f'vault cannot be changed to "file" while the gateway runs: set MORTDECAI_VAULT or the line vault in {file}, '
        "and start again."
    )
    assert store.current.port == 8434
