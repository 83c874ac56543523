"""Every parameter of the gateway, declared once.

Rule 1: the file, the environment, the command line, `/config`, the settings window and docs/settings.md all come
from this one class; a parameter is added here, or to one of the classes it is made of, and nowhere else.
Rule 2: nothing here reads or writes anything, and values are as `catalogue.parse` gives them.
"""

from dataclasses import dataclass

from app.settings.cost_parameters import CostSettings
from app.settings.declare import Declared, Flag, LogLevel, VaultKind, parameter
from app.settings.engine_parameters import EngineSettings
from app.settings.limit_parameters import LimitSettings
from app.settings.network_parameters import NetworkSettings
from app.settings.power_parameters import PowerSettings
from app.settings.tariff_parameters import TariffSettings


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings(
    Declared, LimitSettings, NetworkSettings, EngineSettings, PowerSettings, TariffSettings, CostSettings
):
    """One consistent set of values. Frozen: a change makes a new one (see `store.py`)."""

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
