"""Every parameter of the gateway, declared once.

Rule 1: the file, the environment, the command line, `/config`, the settings window and docs/settings.md all come
from this one class; a parameter is added here, or to one of the classes it is made of, and nowhere else.
Rule 2: nothing here reads or writes anything, and values are as `catalogue.parse` gives them.
"""

from dataclasses import dataclass

from app.settings.cost_parameters import CostSettings
from app.settings.declare import (
    Declared,
    Fields,
    Flag,
    LogLevel,
    Models,
    VaultKind,
    Whole,
    parameter,
)
from app.settings.engine_parameters import EngineSettings
from app.settings.network_parameters import NetworkSettings


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings(Declared, NetworkSettings, EngineSettings, CostSettings):
    """One consistent set of values. Frozen: a change makes a new one (see `store.py`)."""

    allowed_models: Models = parameter(
        (), "Models on offer", "Only these may be asked for. Empty: all of them.", group="Limits"
    )
    max_output_tokens: Whole = parameter(
        4096, "Longest answer", "No answer gets longer.", group="Limits", unit="tokens", ge=1, le=1_000_000
    )
    extra_request_fields: Fields = parameter(
        (),
        "Further request fields",
        "Fields of a request that are passed on to the engine besides those known here; other ones are left out.",
        group="Limits",
    )
    max_body_mb: Whole = parameter(
        32,
        "Largest request",
        "Larger requests are refused.",
        group="Limits",
        unit="MB",
        ge=1,
        le=256,
    )
    hold_seconds: Whole = parameter(
        30,
        "Money held ahead",
        "A running request keeps money for this long at full power, so that the cap is never passed.",
        group="Limits",
        unit="s",
        ge=5,
        le=300,
    )
    start_contributing: Flag = parameter(
        False,
        "Contribute at once",
        "Serve as soon as the gateway starts, instead of waiting for you.",
        group="System",
    )
    uvloop: Flag = parameter(
        True,
        "Fast event loop",
        "serve runs on uvloop where that is installed. The tray has a loop of its own.",
        group="System",
        restart=True,
    )
    log_level: LogLevel = parameter(
        "INFO", "Detail of the log", "DEBUG says the most, ERROR the least.", group="System", restart=True
    )
    vault: VaultKind = parameter(
        "keyring",
        "Where secrets are kept",
        "The system's keyring, a file that only you can read, or memory (forgotten at the end).",
        group="System",
        restart=True,
        who="nobody",
    )
