"""What the contributor pays for electricity, and when: the parameters behind every price."""

from dataclasses import dataclass
from decimal import Decimal

from app.settings.declare import (
    Holidays,
    Hours,
    Money,
    OptionalUrl,
    Ratio,
    Secret,
    TariffKind,
    Tiers,
    Whole,
    parameter,
)


@dataclass(frozen=True, kw_only=True)
class TariffSettings:
    """Prices that change; the usual one, `electricity_rate`, holds wherever these say nothing."""

    tariff: TariffKind = parameter(
        "flat",
        "Kind of tariff",
        "flat: one price. hours: by the hours of the week. tiers: by how much you use. series: published prices.",
        group="Tariff",
    )
    tariff_hours: Hours = parameter(
        "",
        "Prices by the hour",
        "For hours. One after the other with ; between, such as mon-fri 17:00-20:00 0.42; the first that fits holds. "
        "Days are mon to sun and holidays, seasons are jan to dec, as in jun-sep.",
        group="Tariff",
    )
    tariff_holidays: Holidays = parameter(
        "",
        "Holidays",
        "Days on which only hours hold that say holidays: 2026-04-06, or 12-25 for every year.",
        group="Tariff",
    )
    tariff_tiers: Tiers = parameter(
        "",
        "Prices of the tiers",
        "For tiers. From the first kilowatt-hour of a month to the last, such as 0.25, 0.31, 0.36.",
        group="Tariff",
    )
    tariff_tier: Whole = parameter(
        1,
        "Your tier",
        "The tier in which your month ends: what others use comes on top of the rest, so it is paid by this one.",
        group="Tariff",
        ge=1,
        le=12,
    )
    tariff_url: OptionalUrl = parameter(
        "",
        "Where prices are published",
        "For series. Asked every hour: a supplier's list, or a price entity of Home Assistant (/api/states/sensor.x).",
        group="Tariff",
    )
    tariff_token: Secret = parameter(
        "", "Token for that address", "Sent as Bearer, as Home Assistant wants it.", group="Tariff"
    )
    tariff_surcharge: Money = parameter(
        Decimal(0),
        "Added to published prices",
        "Grid, taxes and whatever else your bill adds to them.",
        group="Tariff",
        unit="per kWh",
        ge=-1_000,
        le=1_000,
    )
    ac_factor: Ratio = parameter(
        Decimal(1),
        "AC factor",
        "What the socket gives for each watt that is counted. A power supply takes about 9 % on top of what the GPU "
        "reports: 1.09. Leave it at 1 where the watts were read at the socket.",
        group="Tariff",
        ge=1,
        le=2,
    )
    carbon_intensity: Whole = parameter(
        0,
        "Carbon of the grid",
        "Shown beside the energy of an estimate. 0: not shown.",
        group="Tariff",
        unit="g/kWh",
        ge=0,
        le=5_000,
    )
