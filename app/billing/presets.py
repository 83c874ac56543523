"""Tariffs that people know by name: their hours, which stay, with prices to be replaced, which change every year.

Rule 1: pure data; a preset becomes settings, and nothing else. Rule 2: a price here is an example of the right size in
the currency that is named; whoever takes a preset gives the prices of their own bill.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from app.basics.price_hours import parse_price

USUAL = "usual"
"""The band of all hours that no line names."""


@dataclass(frozen=True, slots=True)
class Preset:
    """`hours` names bands where prices will stand; `bands` are their examples in `currency`."""

    name: str
    title: str
    currency: str
    bands: Mapping[str, str]
    hours: str = ""
    kind: str = "hours"
    zone: str = ""
    url: str = ""
    tiers: tuple[str, ...] = field(default=())
    """Bands that are tiers, from the first kilowatt-hour to the last."""

    def settings(self, prices: Mapping[str, Decimal]) -> dict[str, str]:
        """What is to be set. `prices` replaces the examples by band. Raises ValueError for a band that is none."""
        unknown = sorted(set(prices) - set(self.bands))
        if unknown:
            raise ValueError(f"{self.name} has no price called {unknown[0]}: it has {', '.join(self.bands)}.")
        said = {band: str(prices.get(band, parse_price(example))) for band, example in self.bands.items()}
        made = {"tariff": self.kind, "electricity_rate": said.get(USUAL) or said[next(iter(said))]}
        if self.kind == "hours":
            lines = [line.split() for line in self.hours.split("; ")]
            made["tariff_hours"] = "; ".join(" ".join([*when, said[band]]) for *when, band in lines)
        if self.kind == "tiers":
            made["tariff_tiers"] = ", ".join(said[band] for band in self.tiers)
        if self.url:
            made["tariff_url"] = self.url
        if self.zone:
            made["time_zone"] = self.zone
        return made


PRESETS: tuple[Preset, ...] = (
    Preset("flat", "One price, day and night", "", {USUAL: "0.15"}, kind="flat"),
    Preset(
        "day-night",
        "Cheaper at night, 22:00 to 06:00",
        "",
        {USUAL: "0.30", "night": "0.20"},
        "22:00-06:00 night",
    ),
    Preset(
        "uk-economy-7",
        "United Kingdom: Economy 7, seven cheap hours at night",
        "GBP",
        {USUAL: "0.29", "night": "0.15"},
        "00:30-07:30 night",
        zone="Europe/London",
    ),
    Preset(
        "uk-octopus-agile",
        "United Kingdom: Octopus Agile, a price for every half-hour (region C, London)",
        "GBP",
        {USUAL: "0.25"},
        kind="series",
        zone="Europe/London",
        url="https://api.octopus.energy/v1/products/AGILE-24-10-01/electricity-tariffs/E-1R-AGILE-24-10-01-C/"
        "standard-unit-rates/",
    ),
    Preset(
        "de-awattar",
        "Germany: hourly prices of the exchange, as aWATTar publishes them (add your grid and taxes)",
        "EUR",
        {USUAL: "0.30"},
        kind="series",
        zone="Europe/Berlin",
        url="https://api.awattar.de/v1/marketdata",
    ),
    Preset(
        "fr-heures-creuses",
        "France: heures pleines, heures creuses 22:00 to 06:00",
        "EUR",
        {USUAL: "0.21", "creuses": "0.16"},
        "22:00-06:00 creuses",
        zone="Europe/Paris",
    ),
    Preset(
        "es-2.0td",
        "Spain: 2.0TD with punta, llano and valle",
        "EUR",
        {USUAL: "0.09", "llano": "0.13", "punta": "0.19"},
        "mon-fri 10:00-14:00 punta; mon-fri 18:00-22:00 punta; mon-fri 08:00-10:00 llano; mon-fri 14:00-18:00 llano; "
        "mon-fri 22:00-24:00 llano",
        zone="Europe/Madrid",
    ),
    Preset(
        "it-fasce",
        "Italy: F1, F2 and F3",
        "EUR",
        {USUAL: "0.21", "f1": "0.26", "f2": "0.24"},
        "mon-fri 08:00-19:00 f1; mon-fri 07:00-08:00 f2; mon-fri 19:00-23:00 f2; sat 07:00-23:00 f2",
        zone="Europe/Rome",
    ),
    Preset(
        "us-4-to-9",
        "California: dearer every day from 16:00 to 21:00, and in summer more so",
        "USD",
        {USUAL: "0.38", "peak": "0.41", "summer_peak": "0.52"},
        "jun-sep daily 16:00-21:00 summer_peak; oct-may daily 16:00-21:00 peak",
        zone="America/Los_Angeles",
    ),
    Preset(
        "us-tiers",
        "United States: the more in a month, the dearer; yours is the tier in which your month ends",
        "USD",
        {"first": "0.12", "second": "0.15", "third": "0.19"},
        kind="tiers",
        tiers=("first", "second", "third"),
    ),
    Preset(
        "ca-ontario",
        "Ontario: time of use, with other hours in winter and in summer",
        "CAD",
        {USUAL: "0.098", "mid": "0.157", "peak": "0.203"},
        "nov-apr mon-fri 07:00-11:00 peak; nov-apr mon-fri 17:00-19:00 peak; nov-apr mon-fri 11:00-17:00 mid; "
        "may-oct mon-fri 11:00-17:00 peak; may-oct mon-fri 07:00-11:00 mid; may-oct mon-fri 17:00-19:00 mid",
        zone="America/Toronto",
    ),
)


def preset_named(name: str) -> Preset | None:
    """The preset of that name; None where there is none."""
    return next((preset for preset in PRESETS if preset.name == name.strip().lower()), None)
