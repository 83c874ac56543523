"""Where the energy of a stretch of time goes: the categories of the book and the rules that fill them.

Rule 1: whatever enters `measured` enters exactly one category too; what requests get is returned to the caller,
who must give all of it away. Rule 2: integers only, in the units of `exact`; power in microwatts, time in parts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from app.power.exact import PARTS_PER_US, UNITS_PER_UJ, microwatts, whole_parts


@dataclass(frozen=True, slots=True)
class StaticWatts:
    """The watts of the settings, for what no sensor measures."""

    gpu_idle_w: float
    gpu_load_w: float
    system_idle_w: float
    system_load_w: float

    def __post_init__(self) -> None:
        for watts in (self.gpu_idle_w, self.gpu_load_w, self.system_idle_w, self.system_load_w):
            if not math.isfinite(watts) or watts < 0:
                raise ValueError(f"Watts must be a number of at least 0, not {watts}.")

    @property
    def marginal_w(self) -> float:
        """What running requests add to an idle machine; never negative."""
        return max(0.0, self.gpu_load_w - self.gpu_idle_w) + max(0.0, self.system_load_w - self.system_idle_w)

    @property
    def full_w(self) -> float:
        """The whole machine while requests run."""
        return self.gpu_load_w + self.system_load_w


@dataclass(frozen=True, slots=True)
class Layers:
    """What lies under the requests in the GPU's power, bottom first, in microwatts."""

    idle_uw: int
    foreign_uw: int
    resident_uw: int

    @property
    def all_uw(self) -> int:
        """All of them together."""
        return self.idle_uw + self.foreign_uw + self.resident_uw

    def of(self, gpu_units: int, parts: int) -> tuple[int, int, int, int]:
        """Energy drawn during `parts` as (idle, foreign, resident, what is left above them)."""
        idle = min(gpu_units, self.idle_uw * parts)
        gpu_units -= idle
        foreign = min(gpu_units, self.foreign_uw * parts)
        gpu_units -= foreign
        resident = min(gpu_units, self.resident_uw * parts)
        return idle, foreign, resident, gpu_units - resident


class Rates:
    """The static watts in microwatts, taken apart into what is there anyway and what requests add."""

    __slots__ = (
        "base_uw",
        "full_uw",
        "idle_uw",
        "marginal_uw",
        "system_idle_uw",
        "system_load_uw",
        "system_marginal_uw",
    )

    def __init__(self, watts: StaticWatts) -> None:
        gpu_idle, gpu_load = microwatts(watts.gpu_idle_w), microwatts(watts.gpu_load_w)
        self.system_idle_uw = microwatts(watts.system_idle_w)
        self.system_load_uw = microwatts(watts.system_load_w)
        self.system_marginal_uw = max(0, self.system_load_uw - self.system_idle_uw)
        self.idle_uw = gpu_idle + self.system_idle_uw
        self.full_uw = gpu_load + self.system_load_uw
        self.marginal_uw = max(0, gpu_load - gpu_idle) + self.system_marginal_uw
        self.base_uw = self.full_uw - self.marginal_uw

    def billed_uw(self, dedicated: bool, gpu_uw: int | None, layers: Layers) -> int:
        """The power that running requests are billed at while the GPU draws `gpu_uw`; by these rates where None."""
        if gpu_uw is None:
            return self.full_uw if dedicated else self.marginal_uw
        if dedicated:
            return max(0, gpu_uw - layers.foreign_uw) + self.system_load_uw
        above_uw = gpu_uw - layers.idle_uw - layers.foreign_uw - layers.resident_uw
        return max(0, above_uw) + self.system_marginal_uw


@dataclass(frozen=True, slots=True)
class EnergyTotals:
    """Microjoules since the book began. The six categories add up to `measured_uj` exactly."""

    measured_uj: int
    """Everything accounted: what sensors measured, plus what is modelled."""
    idle_uj: int
    resident_uj: int
    loading_uj: int
    foreign_uj: int
    requests_uj: int
    unattributed_uj: int
    """Drawn and given to nobody, less what was billed before it was measured; may be negative."""
    gap_us: int
    """Time of which no sample tells."""


class Sums:
    """The running totals. `run`, `rest` and `loading` are parts of time with requests, without, and loading."""

    __slots__ = (
        "foreign",
        "gap_us",
        "idle",
        "loading",
        "measured",
        "requests",
        "resident",
        "unattributed",
        "uptime",
        "uptime_parts",
    )

    def __init__(self) -> None:
        self.measured = self.requests = self.unattributed = 0
        self.idle = self.resident = self.loading = self.foreign = 0
        self.gap_us = self.uptime = self.uptime_parts = 0

    def modelled(self, rates: Rates, dedicated: bool, run: int, rest: int, loading: int) -> int:
        """Account time by the static watts; returns the energy that belongs to the requests."""
        self.measured += rates.full_uw * (run + loading) + rates.idle_uw * rest
        self.idle += rates.idle_uw * rest + rates.base_uw * loading
        self.loading += rates.marginal_uw * loading
        if dedicated:
            self.uptime += rates.idle_uw * rest + rates.full_uw * loading
            self.uptime_parts += rest + loading
            return rates.full_uw * run
        self.idle += rates.base_uw * run
        return rates.marginal_uw * run

    def gap(self, rates: Rates, dedicated: bool, run: int, rest: int, loading: int) -> int:
        """Account a gap: what ran is modelled, what did not is not guessed at."""
        self.gap_us += (run + rest + loading) // PARTS_PER_US
        return self.modelled(rates, dedicated, run, 0, 0)

    def sampled(
        self,
        gpu: int,
        layers: Layers,
        rates: Rates,
        dedicated: bool,
        run: int,
        rest: int,
        loading: int,
        rest_uw: int,
    ) -> int:
        """Account `gpu` units that a sensor measured, and the modelled system; returns the requests' energy.

        While anybody worked, the time in which nobody did gets `rest_uw` and no more: nobody knows when within the
        stretch the power rose, but why it did is known.
        """
        work = run + loading
        gpu_work = max(0, gpu - rest_uw * rest) if work else 0
        gpu_run = gpu_work * run // work if work else 0
        gpu_loading = gpu_work - gpu_run
        self.measured += gpu + rates.system_load_uw * (run + loading) + rates.system_idle_uw * rest

        idle, foreign, resident, above = layers.of(gpu - gpu_run - gpu_loading, rest)
        idle += rates.system_idle_uw * rest
        self.idle += idle
        self.foreign += foreign
        self.resident += resident
        self.unattributed += above
        if dedicated:
            self.uptime += idle + resident + above
            self.uptime_parts += rest + loading

        if loading:
            idle, foreign, resident, above = layers.of(gpu_loading, loading)
            system_marginal = rates.system_marginal_uw * loading
            idle += rates.system_load_uw * loading - system_marginal
            above += system_marginal
            self.idle += idle
            self.foreign += foreign
            self.resident += resident
            self.loading += above
            if dedicated:
                self.uptime += idle + resident + above

        idle, foreign, resident, above = layers.of(gpu_run, run)
        self.foreign += foreign
        if dedicated:
            return idle + resident + above + rates.system_load_uw * run
        system_marginal = rates.system_marginal_uw * run
        self.idle += idle + rates.system_load_uw * run - system_marginal
        self.resident += resident
        return above + system_marginal

    def totals(self) -> EnergyTotals:
        """The totals in whole microjoules."""
        requests, idle, resident, loading, foreign, unattributed = whole_parts(
            (self.requests, self.idle, self.resident, self.loading, self.foreign, self.unattributed),
            UNITS_PER_UJ,
        )
        return EnergyTotals(
            measured_uj=self.measured // UNITS_PER_UJ,
            idle_uj=idle,
            resident_uj=resident,
            loading_uj=loading,
            foreign_uj=foreign,
            requests_uj=requests,
            unattributed_uj=unattributed,
            gap_us=self.gap_us,
        )
