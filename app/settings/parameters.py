"""Every parameter of the gateway, declared once.

Rule 1: the file, the environment, the command line, `/config`, the settings window and docs/settings.md all come
from this one class; a parameter is added here, or to one of the two classes it is made of, and nowhere else.
Rule 2: nothing here reads or writes anything, and values are as `catalogue.parse` gives them.
"""

from dataclasses import dataclass

from app.settings.cost_parameters import CostSettings
from app.settings.declare import (
    Declared,
    Fields,
    Flag,
    Host,
    Image,
    LogLevel,
    Models,
    OptionalUrl,
    Public,
    VaultKind,
    Whole,
    parameter,
)
from app.settings.engine_parameters import EngineSettings


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings(Declared, EngineSettings, CostSettings):
    """One consistent set of values. Frozen: a change makes a new one (see `store.py`)."""

    host: Host = parameter(
        "127.0.0.1",
        "Listen address",
        "127.0.0.1 serves this machine only; 0.0.0.0 serves everyone who can reach it.",
        group="Network",
        restart=True,
    )
    port: Whole = parameter(
        8434,
        "Port",
        "The port clients connect to; 0 takes any free one.",
        group="Network",
        ge=0,
        le=65535,
        restart=True,
    )
    remote_admin: Flag = parameter(
        False,
        "Administration from elsewhere",
        "Let the operator's token work from other machines too.",
        group="Network",
    )
    public_address: Public = parameter(
        "off",
        "Public address",
        "off: none. quick: a Cloudflare address that changes with every start. named: your own tunnel and its token.",
        group="Network",
    )
    public_hostname: OptionalUrl = parameter(
        "",
        "Address of the named tunnel",
        "Where clients reach the named tunnel, as set up at Cloudflare.",
        group="Network",
    )
    tunnel_image: Image = parameter(
        "cloudflare/cloudflared:latest",
        "Image of the tunnel",
        "What the tunnel's container is made from.",
        group="Network",
    )
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
