"""Every parameter of a receiver, declared once.

Rule 1: the file, the environment, the command line and the table in docs/receiver.md come from this one class.
Rule 2: a receiver reads its settings when it starts; a change works after the next start.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.ledger.seed_form import TEMPLATE, check_template
from app.settings import sources
from app.settings.catalogue import Catalogue
from app.settings.declare import (
    Database,
    Declared,
    Flag,
    Host,
    Line,
    LogLevel,
    OptionalUrl,
    Secret,
    VaultKind,
    Whole,
    parameter,
)
from app.settings.errors import SettingError

FILE = "settings.toml"
PORT = 8435
"""The seed's receivers listen on it."""


@dataclass(frozen=True, kw_only=True, repr=False)
class ReceiverSettings(Declared):
    """One consistent set of values."""

    host: Host = parameter(
        "127.0.0.1",
        "Listen address",
        "127.0.0.1 serves this machine only; 0.0.0.0 serves everyone who can reach it.",
        group="Network",
        restart=True,
    )
    port: Whole = parameter(
        PORT,
        "Port",
        "The port gateways connect to; 0 takes any free one.",
        group="Network",
        ge=0,
        le=65535,
        restart=True,
    )
    public_url: OptionalUrl = parameter(
        "",
        "Address for gateways",
        "Where gateways reach this receiver, for what `receiver enrol` prints. Empty: the listen address and port.",
        group="Network",
        restart=True,
    )
    max_connections: Whole = parameter(
        2048,
        "Most connections",
        "Where so many are open, the one that waits longest is closed for a new one.",
        group="Network",
        ge=8,
        le=100_000,
        restart=True,
    )
    database: Database = parameter(
        "",
        "Database",
        "A PostgreSQL database for a fleet of gateways. Empty: one SQLite file in the profile's folder.",
        group="Ledger",
        restart=True,
        who="nobody",
    )
    silence_hours: Whole = parameter(
        26,
        "Longest silence",
        "A gateway sends something every day; after so long without, its log is said to lag.",
        group="Ledger",
        unit="h",
        ge=1,
        le=8760,
        restart=True,
    )
    ledger_secret: Secret = parameter(
        "",
        "Secret of the seed's form",
        "The secret that transactions in the seed's flat form are hashed with. Empty: hashes are kept unchecked.",
        group="Ledger",
        restart=True,
        seed=True,
    )
    ledger_template: Line = parameter(
        TEMPLATE,
        "What that hash is over",
        "The parts of a transaction that are hashed, in their order.",
        group="Ledger",
        restart=True,
    )
    open_transactions: Flag = parameter(
        False,
        "Transactions without a key",
        "Take transactions in the seed's form from everyone, also where no hash proves who sent them.",
        group="Ledger",
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


RECEIVER_PARAMETERS = Catalogue(ReceiverSettings, "MORTDECAI_RECEIVER_")


def load_settings(
    *, cli: Mapping[str, object], env: Mapping[str, str], env_file: Path | None, file: Path
) -> ReceiverSettings:
    """Command line before environment before file before default. Raises SettingError on the first bad value."""
    layer = dict(sources.from_file(file, RECEIVER_PARAMETERS, ()).layer)
    if env_file is not None:
        layer |= sources.from_env_file(env_file, RECEIVER_PARAMETERS)[0]
    layer |= sources.from_environment(env, RECEIVER_PARAMETERS)
    layer |= sources.from_command_line(cli, RECEIVER_PARAMETERS)
    typed: dict[str, Any] = {name: given.value for name, given in layer.items()}
    settings = ReceiverSettings(**typed)
    try:
        check_template(settings.ledger_template)
    except ValueError as error:
        raise SettingError(
            f"ledger_template cannot be used, for {error}: correct it.", "ledger_template"
        ) from None
    return settings
