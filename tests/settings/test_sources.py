"""Where values come from, and which of them wins."""

from __future__ import annotations

import os
import stat
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.settings.sources import Source
from app.settings.store import SettingsStore

if TYPE_CHECKING:
    from .conftest import Load

# Everything the seed's page names, as a contributor of the seed has it today.
SEED_ENV = """\
# Mortdecai Gateway
GPU_IDLE_WATTS=15
GPU_LOAD_WATTS=54
SYSTEM_IDLE_WATTS=45
SYSTEM_INFERENCE_WATTS=65
ELECTRICITY_RATE=0.15
BILLING_MODE=marginal
BASE_RATE_PER_HOUR=0.00
SPENDING_CAP=10.00
LABOR_RATE_PER_HOUR=0.00
PROFIT_MARGIN=0.00

LEDGER_SECRET=agreed_upon_secret_here
CALLBACK_URL=http://client_ip:8435/transaction
ALLOW_MODEL_UPDATES=true
"""


def test_without_any_source_every_value_is_the_default(load: Load) -> None:
    store = load()
    assert {info.source for info in store.describe()} == {Source.DEFAULT}
    assert not store.file.exists()


def test_the_seeds_env_file_is_accepted_whole(load: Load) -> None:
    store = load(env_file=SEED_ENV)
    assert store.ignored == ()
    settings = store.current
    assert settings.ledger_secret == "agreed_upon_secret_here"
    assert settings.callback_url == "http://client_ip:8435/transaction"
    assert settings.allow_model_updates is True
    assert settings.spending_cap == Decimal(10)
    assert {info.parameter.name for info in store.describe() if info.source is Source.ENVIRONMENT} == {
        line.partition("=")[0].lower() for line in SEED_ENV.splitlines() if "=" in line
    }


def test_command_line_beats_environment_beats_env_file_beats_file_beats_default(load: Load) -> None:
    text, dotenv = "version = 1\nport = 1\nhost = '10.0.0.1'\n", "MORTDECAI_PORT=2\nSPENDING_CAP=2\n"
    env, cli = {"MORTDECAI_PORT": "3", "SPENDING_CAP": "3"}, {"port": "4"}
    assert load(text).current.port == 1
    assert load(text, env_file=dotenv).current.port == 2
    assert load(text, env_file=dotenv, env=env).current.port == 3
    everything = load(text, env_file=dotenv, env=env, cli=cli).current
    assert (everything.port, everything.spending_cap, everything.host) == (4, 3, "10.0.0.1")
    assert everything.engine_parallel == 0


def test_a_prefixed_variable_wins_over_the_bare_one(load: Load) -> None:
    env = {"SPENDING_CAP": "1", "MORTDECAI_SPENDING_CAP": "2"}
    assert load(env=env).current.spending_cap == 2


def test_a_bare_process_variable_wins_over_a_prefixed_one_in_the_env_file(load: Load) -> None:
    assert load(env={"SPENDING_CAP": "1"}, env_file="MORTDECAI_SPENDING_CAP=2\n").current.spending_cap == 1


def test_bare_names_of_our_own_parameters_are_not_read_from_the_environment(load: Load) -> None:
    assert load(env={"PORT": "1", "HOST": "0.0.0.0", "LOG_LEVEL": "nonsense"}).current.port == 8434


def test_an_empty_variable_counts_as_not_set(load: Load) -> None:
    settings = load(
        "version = 1\nport = 5\n", env={"MORTDECAI_PORT": ""}, env_file="SPENDING_CAP=\nLEDGER_SECRET\n"
    ).current
    assert (settings.port, settings.spending_cap, settings.ledger_secret) == (5, 10, "")


def test_the_last_of_two_lines_in_an_env_file_counts(load: Load) -> None:
    assert load(env_file="SPENDING_CAP=1\nSPENDING_CAP=2\n").current.spending_cap == 2
    assert load(env_file="SPENDING_CAP=1\nSPENDING_CAP=\n").current.spending_cap == 10


def test_an_option_that_is_none_was_not_given(load: Load) -> None:
    assert load("version = 1\nport = 5\n", cli={"port": None}).current.port == 5


def test_other_programs_lines_in_an_env_file_are_listed_not_refused(load: Load) -> None:
    store = load(
        env_file="COMPOSE_PROJECT_NAME=x\nOLLAMA_MODELS=/m\nPORT=1\nLOG_LEVEL=chatty\nSPENDING_CAP=1\n"
    )
    assert store.ignored == ("COMPOSE_PROJECT_NAME", "OLLAMA_MODELS", "PORT", "LOG_LEVEL")
    assert store.current.port == 8434


def test_the_variable_that_names_the_folders_is_no_parameter(load: Load) -> None:
    load(env={"MORTDECAI_HOME": "/x"})


def test_an_env_file_may_export_quote_and_comment_and_is_taken_literally(load: Load) -> None:
    text = 'export SPENDING_CAP=5 # dollars\r\nLEDGER_SECRET=\'a # "b" ${HOME} $x\'\r\nCALLBACK_URL="http://h/x?y=1"\r\n'
    settings = load(env_file=text).current
    assert (settings.spending_cap, settings.ledger_secret) == (5, 'a # "b" ${HOME} $x')
    assert settings.callback_url == "http://h/x?y=1"


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_files_saved_on_windows_are_read(load: Load, mark: str, end: str) -> None:
    settings = load(f"{mark}version = 1{end}port = 7{end}", env_file=f"{mark}SPENDING_CAP=7{end}").current
    assert (settings.port, settings.spending_cap) == (7, 7)


def test_money_in_the_file_is_exact(load: Load) -> None:
    assert load("version = 1\nelectricity_rate = 0.150000000001\n").current.electricity_rate == Decimal(
        "0.150000000001"
    )


@pytest.mark.parametrize(
    ("text", "value"), [(word, True) for word in ("true", "yes", "on", "1", "TRUE", "Yes", " y ")]
)
@pytest.mark.parametrize("turn", [True, False])
def test_a_flag_may_be_said_in_many_ways(load: Load, text: str, value: bool, turn: bool) -> None:
    opposite = {"true": "false", "yes": "no", "on": "off", "1": "0", "y": "n"}
    said = text if turn else opposite[text.strip().lower()]
    assert load(env={"ALLOW_MODEL_UPDATES": said}).current.allow_model_updates is (value if turn else False)


def test_lists_are_written_with_commas_or_as_lists(load: Load) -> None:
    names = ("llama3.1:8b", "hf.co/user/model-GGUF:Q4_K_M")
    assert (
        load(
            env={"MORTDECAI_ALLOWED_MODELS": " llama3.1:8b ,hf.co/user/model-GGUF:Q4_K_M,"}
        ).current.allowed_models
        == names
    )
    assert (
        load(
            'version = 1\nallowed_models = ["llama3.1:8b", "hf.co/user/model-GGUF:Q4_K_M", "llama3.1:8b"]\n'
        ).current.allowed_models
        == names
    )


def test_words_may_be_in_any_case_and_addresses_lose_their_last_slash(load: Load) -> None:
    cli = {
        "log_level": "debug",
        "billing_mode": " Dedicated",
        "currency": "eur",
        "upstream_url": "http://[::1]:11434/",
    }
    settings = load(cli=cli).current
    assert (settings.log_level, settings.billing_mode, settings.currency) == ("DEBUG", "dedicated", "EUR")
    assert settings.upstream_url == "http://[::1]:11434"


@pytest.mark.parametrize(
    "host", ["::1", "[::1]", "0.0.0.0", "localhost", "my_pc.lan", "gateway.example.org."]
)
def test_hosts_that_exist_somewhere_are_accepted(load: Load, host: str) -> None:
    assert load(cli={"host": host}).current.host == host.strip("[]")


def test_describe_says_where_each_value_stands(load: Load, file: Path) -> None:
    store = load(
        "version = 1\nhost = '10.0.0.1'\n",
        cli={"port": 1},
        env={"SPENDING_CAP": "2"},
        env_file="PROFIT_MARGIN=0.1\n",
    )
    infos = {info.parameter.name: info for info in store.describe()}
    dotenv = file.with_name(".env")
    assert {
        name: (info.source, info.where, info.overridden) for name, info in infos.items() if info.where
    } == {
        "port": (Source.COMMAND_LINE, "on the command line", True),
        "spending_cap": (Source.ENVIRONMENT, "in the environment (SPENDING_CAP)", True),
        "profit_margin": (Source.ENVIRONMENT, f"in {dotenv}, line 1 (PROFIT_MARGIN)", True),
        "host": (Source.FILE, f"in {file}", False),
    }


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such bits")
def test_a_file_with_a_secret_is_made_private_and_one_without_is_left_alone(load: Load, file: Path) -> None:
    file.write_text("version = 1\nport = 5\n")
    file.chmod(0o644)
    load()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    load("version = 1\nledger_secret = 'x'\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_operating_systems_environment_is_not_looked_at_behind_the_callers_back(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPENDING_CAP", "3")
    assert SettingsStore.load(env={}, file=file).current.spending_cap == 10
    assert SettingsStore.load(env=os.environ, file=file).current.spending_cap == 3
