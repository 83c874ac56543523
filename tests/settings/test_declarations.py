"""The parameters as declared: names, defaults and what is known of each."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError
from decimal import Decimal
from pathlib import Path

import pytest

from app.settings.catalogue import PARAMETERS, contradiction, parse
from app.settings.parameters import Settings
from app.settings.table import page
from app.settings.values import shown

ROOT = Path(__file__).resolve().parents[2]

SEED = {
    "GPU_IDLE_WATTS": 15,
    "GPU_LOAD_WATTS": 54,
    "SYSTEM_IDLE_WATTS": 45,
    "SYSTEM_INFERENCE_WATTS": 65,
    "ELECTRICITY_RATE": Decimal("0.15"),
    "BILLING_MODE": "marginal",
    "BASE_RATE_PER_HOUR": 0,
    "SPENDING_CAP": 10,
    "LABOR_RATE_PER_HOUR": 0,
    "PROFIT_MARGIN": 0,
    "LEDGER_SECRET": "",
    "CALLBACK_URL": "",
    "ALLOW_MODEL_UPDATES": False,
}


def test_the_seeds_parameters_keep_their_names_and_defaults() -> None:
    settings = Settings()
    assert {name: getattr(settings, name.lower()) for name in SEED} == SEED


def test_exactly_the_seeds_parameters_keep_their_bare_name_in_the_environment() -> None:
    assert {parameter.env[-1] for parameter in PARAMETERS.values() if len(parameter.env) == 2} == set(SEED)
    assert all(parameter.env[0] == f"MORTDECAI_{name.upper()}" for name, parameter in PARAMETERS.items())


def test_a_first_start_is_private_and_paused() -> None:
    settings = Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8434)
    assert not settings.remote_admin
    assert not settings.start_contributing
    assert settings.vault == "keyring"


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_default_is_itself_an_allowed_value_of_its_type(name: str) -> None:
    default = PARAMETERS[name].default
    read = parse(name, default)
    assert read == default
    assert type(read) is type(default)
    text = ",".join(default) if isinstance(default, tuple) else str(default)
    assert parse(name, text) == default


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_speaks_to_a_person(name: str) -> None:
    parameter = PARAMETERS[name]
    assert parameter.label
    assert parameter.help.endswith(".")
    assert "!" not in parameter.help
    assert parameter.group
    assert parameter.allowed
    assert (parameter.minimum is None) == (parameter.maximum is None)
    assert bool(parameter.choices) == (parameter.kind == "choice")


@pytest.mark.parametrize(
    "name", [name for name, parameter in PARAMETERS.items() if parameter.minimum is not None]
)
def test_bounds_are_allowed_and_a_step_beyond_them_is_not(name: str) -> None:
    parameter = PARAMETERS[name]
    for bound, step in ((parameter.minimum, -1), (parameter.maximum, 1)):
        assert bound is not None
        assert parse(name, bound) == bound
        with pytest.raises(ValueError):
            parse(name, bound + step)


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


def test_a_secret_is_in_no_repr_and_no_message() -> None:
    settings = Settings(ledger_secret="hunter2hunter2")
    assert "hunter2" not in repr(settings) + str(settings)
    with pytest.raises(ValueError) as caught:
        parse("ledger_secret", "hunter2\nhunter2")
    assert "hunter2" not in str(caught.value)


def test_work_may_not_cost_less_than_rest() -> None:
    assert contradiction(Settings()) is None
    assert contradiction(Settings(gpu_idle_watts=54, gpu_load_watts=54)) is None
    assert contradiction(Settings(system_idle_watts=70)) == (
        "system_inference_watts",
        "system_inference_watts (65) is below system_idle_watts (70), so work would cost less than rest: raise the "
        "first or lower the second.",
    )


def test_docs_settings_md_is_what_the_declarations_say() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page(), (
        "run: python -m app.settings.table > docs/settings.md"
    )


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_page_has_one_row_for_every_parameter(name: str) -> None:
    rows = [line for line in page().splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1
    assert rows[0].count("|") == 8
    assert PARAMETERS[name].help in rows[0]
    if isinstance(PARAMETERS[name].default, int | float | Decimal):
        assert f"`{shown(PARAMETERS[name].default)}`" in rows[0]


def test_loading_settings_imports_nothing_that_a_plain_start_does_not_need(tmp_path: Path) -> None:
    """Start must take at most 1.5 s and 100 MB; these are the modules that would eat both."""
    script = (
        "import json, sys; from pathlib import Path; from app.settings.store import SettingsStore; "
        "from app.settings.folders import Folders; import app.settings.instance, app.settings.logs; "
        "folders = Folders.for_profile(root=Path(sys.argv[1])); folders.prepare(); "
        "SettingsStore.load(env={}, file=folders.settings_file); print(json.dumps(sorted(sys.modules)))"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    heavy = {"dotenv", "tomli_w", "keyring", "platformdirs", "PySide6", "aiohttp", "ssl", "pydantic"}
    assert heavy & set(json.loads(done.stdout)) == set()


@pytest.mark.parametrize(
    ("value", "told"),
    [(7.84e-06, "0.00000784"), (250.0, "250"), (0.0, "0"), (float("inf"), "inf"), (0.5, "0.5")],
)
def test_a_number_is_shown_in_plain_digits(value: float, told: str) -> None:
    assert shown(value) == told
