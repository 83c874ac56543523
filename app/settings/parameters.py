"""Every parameter of the gateway, declared once.

Rule 1: the file, the environment, the command line, `/config`, the settings window and docs/settings.md all come
from this one class; a parameter is added here and nowhere else. Rule 2: nothing here reads or writes anything.
"""

import os
from decimal import Decimal
from typing import Annotated, Any, Literal

# pydantic looks through every installed distribution for plugins when the first model is built: 14 ms of the start,
# and a way for a foreign package to read secrets.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.settings import values

Who = Literal["operator", "nobody"]
"""Who may change a parameter while the gateway runs. `nobody`: only before a start."""

Watts = Annotated[float, BeforeValidator(values.NUMBER.read), values.NUMBER]
Money = Annotated[Decimal, BeforeValidator(values.MONEY.read), values.MONEY]
Ratio = Annotated[Decimal, BeforeValidator(values.RATIO.read), values.RATIO]
Whole = Annotated[int, BeforeValidator(values.WHOLE.read), values.WHOLE]
Flag = Annotated[bool, BeforeValidator(values.FLAG.read), values.FLAG]
Host = Annotated[str, BeforeValidator(values.HOST.read), values.HOST]
BaseUrl = Annotated[str, BeforeValidator(values.BASE_URL.read), values.BASE_URL]
Callback = Annotated[str, BeforeValidator(values.CALLBACK.read), values.CALLBACK]
Models = Annotated[tuple[str, ...], BeforeValidator(values.MODELS.read), values.MODELS]
Secret = Annotated[str, BeforeValidator(values.SECRET.read), values.SECRET]
Currency = Annotated[str, BeforeValidator(values.CURRENCY.read), values.CURRENCY]
Mode = Annotated[Literal["marginal", "dedicated"], BeforeValidator(values.CHOICE.read), values.CHOICE]
VaultKind = Annotated[
    Literal["keyring", "file", "memory"], BeforeValidator(values.CHOICE.read), values.CHOICE
]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(values.LEVEL.read), values.LEVEL
]


def _parameter(
    default: object,
    label: str,
    help: str,
    *,
    group: str,
    unit: str = "",
    ge: int | None = None,
    le: int | None = None,
    restart: bool = False,
    who: Who = "operator",
    seed: bool = False,
) -> Any:
    """One declaration; `seed` parameters keep their bare upper-case name in the environment."""
    about: dict[str, Any] = {"group": group, "unit": unit, "restart": restart, "who": who, "seed": seed}
    return Field(default, title=label, description=help, ge=ge, le=le, json_schema_extra=about)


class Settings(BaseModel):
    """One consistent set of values. Frozen: a change makes a new one (see `store.py`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    gpu_idle_watts: Watts = _parameter(
        15.0,
        "GPU at rest",
        "Power of the GPU when nothing runs on it. Used where no sensor can measure.",
        group="Power",
        unit="W",
        ge=0,
        le=10_000,
        seed=True,
    )
    gpu_load_watts: Watts = _parameter(
        54.0,
        "GPU at work",
        "Power of the GPU while it answers. Used where no sensor can measure.",
        group="Power",
        unit="W",
        ge=0,
        le=10_000,
        seed=True,
    )
    system_idle_watts: Watts = _parameter(
        45.0,
        "Rest of the machine, idle",
        "Power of processor, memory and fans when nothing runs.",
        group="Power",
        unit="W",
        ge=0,
        le=10_000,
        seed=True,
    )
    system_inference_watts: Watts = _parameter(
        65.0,
        "Rest of the machine, at work",
        "Power of processor, memory and fans while the GPU answers.",
        group="Power",
        unit="W",
        ge=0,
        le=10_000,
        seed=True,
    )
    sample_rate_hz: Whole = _parameter(
        10,
        "Readings a second",
        "How often the sensor is read while requests run. More than 10 gains nothing.",
        group="Power",
        unit="Hz",
        ge=1,
        le=10,
        restart=True,
    )
    idle_tail_seconds: Whole = _parameter(
        10,
        "Reading after the last request",
        "How long the sensor is still read when the last request has ended; then the GPU may sleep.",
        group="Power",
        unit="s",
        ge=0,
        le=600,
        restart=True,
    )
    electricity_rate: Money = _parameter(
        Decimal("0.15"),
        "Price of electricity",
        "What one kilowatt-hour costs. May be negative.",
        group="Price",
        unit="per kWh",
        ge=-1_000_000,
        le=1_000_000,
        seed=True,
    )
    currency: Currency = _parameter(
        "USD", "Currency", "The currency of every amount here and in the ledger.", group="Price", restart=True
    )
    billing_mode: Mode = _parameter(
        "marginal",
        "What is billed",
        "marginal: the watts a request adds. dedicated: all power for all uptime, plus the base rate.",
        group="Price",
        seed=True,
    )
    base_rate_per_hour: Money = _parameter(
        Decimal(0),
        "Base rate",
        "Added for each hour in dedicated mode.",
        group="Price",
        unit="per hour",
        ge=0,
        le=1_000_000,
        seed=True,
    )
    labor_rate_per_hour: Money = _parameter(
        Decimal(0),
        "Your own time",
        "Price of an hour of work that you log by hand.",
        group="Price",
        unit="per hour",
        ge=0,
        le=1_000_000,
        seed=True,
    )
    profit_margin: Ratio = _parameter(
        Decimal(0),
        "Margin",
        "Part added to every cost: 0.10 adds 10 %.",
        group="Price",
        ge=0,
        le=100,
        seed=True,
    )
    spending_cap: Money = _parameter(
        Decimal(10),
        "Spending cap",
        "When this much is spent, no more requests are accepted.",
        group="Price",
        ge=0,
        # 64 bits of pico-units end a little above this.
        le=9_000_000,
        seed=True,
    )
    ledger_secret: Secret = _parameter(
        "",
        "Ledger secret",
        "Shared with a client whose receiver still checks the older SHA-256 hash. This version sends nothing yet.",
        group="Ledger",
        seed=True,
    )
    callback_url: Callback = _parameter(
        "",
        "Receiver of the ledger",
        "Where the client keeps its copy of the ledger. This version sends nothing yet; the records are kept.",
        group="Ledger",
        seed=True,
    )
    host: Host = _parameter(
        "127.0.0.1",
        "Listen address",
        "127.0.0.1 serves this machine only; 0.0.0.0 serves everyone who can reach it.",
        group="Network",
        restart=True,
    )
    port: Whole = _parameter(
        8434,
        "Port",
        "The port clients connect to; 0 takes any free one.",
        group="Network",
        ge=0,
        le=65535,
        restart=True,
    )
    remote_admin: Flag = _parameter(
        False,
        "Administration from elsewhere",
        "Let the operator's token work from other machines too.",
        group="Network",
    )
    upstream_url: BaseUrl = _parameter(
        "http://127.0.0.1:11434",
        "Engine",
        "Address of the Ollama that answers.",
        group="Engine",
        restart=True,
    )
    engine_parallel: Whole = _parameter(
        1,
        "Answers at once",
        "How many requests the engine works on at the same time (OLLAMA_NUM_PARALLEL).",
        group="Engine",
        ge=1,
        le=64,
        restart=True,
    )
    request_timeout_seconds: Whole = _parameter(
        600,
        "Patience",
        "How long the engine may be silent before a request is given up.",
        group="Engine",
        unit="s",
        ge=1,
        le=86_400,
        restart=True,
    )
    allow_model_updates: Flag = _parameter(
        False,
        "Model updates",
        "Let a client push new versions of a model. This version takes none yet.",
        group="Engine",
        seed=True,
    )
    allowed_models: Models = _parameter(
        (), "Models on offer", "Only these may be asked for. Empty: all of them.", group="Limits"
    )
    max_output_tokens: Whole = _parameter(
        4096, "Longest answer", "No answer gets longer.", group="Limits", unit="tokens", ge=1, le=1_000_000
    )
    max_body_mb: Whole = _parameter(
        32,
        "Largest request",
        "Larger requests are refused.",
        group="Limits",
        unit="MB",
        ge=1,
        le=256,
    )
    hold_seconds: Whole = _parameter(
        30,
        "Money held ahead",
        "A running request keeps money for this long at full power, so that the cap is never passed.",
        group="Limits",
        unit="s",
        ge=5,
        le=300,
    )
    start_contributing: Flag = _parameter(
        False,
        "Contribute at once",
        "Serve as soon as the gateway starts, instead of waiting for you.",
        group="System",
    )
    log_level: LogLevel = _parameter(
        "INFO", "Detail of the log", "DEBUG says the most, ERROR the least.", group="System", restart=True
    )
    vault: VaultKind = _parameter(
        "keyring",
        "Where secrets are kept",
        "The system's keyring, a file that only you can read, or memory (forgotten at the end).",
        group="System",
        restart=True,
        who="nobody",
    )

    def __repr_args__(self) -> Any:
        """Leave secrets out of every repr, and so out of logs and tracebacks."""
        for name, value in super().__repr_args__():
            field = type(self).model_fields[name or ""]
            yield name, values.MASK if value and values.SECRET in field.metadata else value
