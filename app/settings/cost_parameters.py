"""What power draws and what it costs: the parameters behind every figure in the ledger."""

from dataclasses import dataclass
from decimal import Decimal

from app.settings.declare import (
    Callback,
    CapPeriod,
    Currency,
    EnergyBy,
    Flag,
    Mode,
    Money,
    Ratio,
    Secret,
    Template,
    Watts,
    Whole,
    Zone,
    parameter,
)


@dataclass(frozen=True, kw_only=True)
class CostSettings:
    """Power, price and ledger."""

    gpu_idle_watts: Watts = parameter(
        15.0,
        "GPU at rest",
        "Power of the GPU when nothing runs on it. Not set, it is learned where a sensor measures; set, it wins.",
        group="Power",
        unit="W",
        ge=0,
        le=10_000,
        seed=True,
    )
    gpu_load_watts: Watts = parameter(
        54.0,
        "GPU at work",
        "Power of the GPU while it answers. Used where no sensor can measure.",
        group="Power",
        unit="W",
        ge=0,
        le=10_000,
        seed=True,
    )
    system_idle_watts: Watts = parameter(
        45.0,
        "Rest of the machine, idle",
        "Power of processor, memory and fans when nothing runs.",
        group="Power",
        unit="W",
        ge=0,
        le=10_000,
        seed=True,
    )
    system_inference_watts: Watts = parameter(
        65.0,
        "Rest of the machine, at work",
        "Power of processor, memory and fans while the GPU answers.",
        group="Power",
        unit="W",
        ge=0,
        le=10_000,
        seed=True,
    )
    energy_by: EnergyBy = parameter(
        "sensor",
        "Energy by",
        "What requests are billed by: what a sensor measures, where there is one, or always the watts above times the "
        "time (formula). Both stand in every answer.",
        group="Power",
    )
    sample_rate_hz: Whole = parameter(
        10,
        "Readings a second",
        "How often the sensor is read while requests run. More than 10 gains nothing.",
        group="Power",
        unit="Hz",
        ge=1,
        le=10,
        restart=True,
    )
    idle_tail_seconds: Whole = parameter(
        10,
        "Reading after the last request",
        "How long the sensor is still read when the last request has ended; then the GPU may sleep.",
        group="Power",
        unit="s",
        ge=0,
        le=600,
        restart=True,
    )
    electricity_rate: Money = parameter(
        Decimal("0.15"),
        "Price of electricity",
        "What one kilowatt-hour costs. May be negative.",
        group="Price",
        unit="per kWh",
        ge=-1_000_000,
        le=1_000_000,
        seed=True,
    )
    currency: Currency = parameter(
        "USD", "Currency", "The currency of every amount here and in the ledger.", group="Price", restart=True
    )
    billing_mode: Mode = parameter(
        "marginal",
        "What is billed",
        "marginal: the watts a request adds. dedicated: all power for all uptime, plus the base rate.",
        group="Price",
        seed=True,
    )
    base_rate_per_hour: Money = parameter(
        Decimal(0),
        "Base rate",
        "Added for each hour in dedicated mode.",
        group="Price",
        unit="per hour",
        ge=0,
        le=1_000_000,
        seed=True,
    )
    labor_rate_per_hour: Money = parameter(
        Decimal(0),
        "Your own time",
        "Price of an hour of work that you log by hand.",
        group="Price",
        unit="per hour",
        ge=0,
        le=1_000_000,
        seed=True,
    )
    profit_margin: Ratio = parameter(
        Decimal(0),
        "Margin",
        "Part added to every cost: 0.10 adds 10 %.",
        group="Price",
        ge=0,
        le=100,
        seed=True,
    )
    spending_cap: Money = parameter(
        Decimal(10),
        "Spending cap",
        "When this much is spent, no more requests are accepted.",
        group="Price",
        ge=0,
        # 64 bits of pico-units end a little above this.
        le=9_000_000,
        seed=True,
    )
    cap_period: CapPeriod = parameter(
        "total",
        "Period of the cap",
        "total: the cap is for all that is ever spent. day, week (from Monday), month: for each of them anew.",
        group="Price",
    )
    time_zone: Zone = parameter(
        "",
        "Time zone",
        "By whose clocks days, weeks and months begin. Empty: by this machine's.",
        group="Price",
    )
    ledger_secret: Secret = parameter(
        "",
        "Ledger secret",
        "Shared with clients whose receiver checks the older SHA-256 hash; it is hashed into each transaction.",
        group="Ledger",
        seed=True,
    )
    callback_url: Callback = parameter(
        "",
        "Receiver of transactions",
        "Each transaction is sent there as one flat JSON object, again and again until it is taken.",
        group="Ledger",
        seed=True,
    )
    ledger_template: Template = parameter(
        "{id}{tokens}{cost}{secret}",
        "What is hashed",
        "The text whose SHA-256 goes with each transaction. Both sides must have the same.",
        group="Ledger",
    )
    private_receivers: Flag = parameter(
        False,
        "Receivers in your network",
        "Let the receivers that clients enrol be in this machine or its network too. The one above always may be.",
        group="Ledger",
    )
    max_unacked_cost: Money = parameter(
        Decimal(0),
        "Trust without receipts",
        "When clients have not acknowledged more than this, no more requests are accepted. 0: without bound.",
        group="Ledger",
        ge=0,
        le=9_000_000,
    )
