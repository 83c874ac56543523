"""A real card's own readings through the account book, against an external meter.

The bands are those of FACTS.md (SC'24, arXiv 2312.02741) for the instant power shifted by 100 ms, which is what
the NVML sensor does, widened by what the phase of a 10 Hz sampler adds. The card itself reads 5 % low.
"""

import json
from pathlib import Path

import pytest

from app.power.accounts import ClosedAccount, EnergyBook, StaticWatts
from app.power.sensors.nvml import AVERAGE_DELAY_US, INSTANT_DELAY_US

TRACE = json.loads((Path(__file__).parent / "data" / "rtx3090_step.json").read_text(encoding="utf-8"))
BEGAN_US = round(TRACE["load_began_s"] * 1e6)
ENDED_US = round(TRACE["load_ended_s"] * 1e6)
PHASES_US = range(0, 100_000, 10_000)
GPU_ONLY = StaticWatts(0, 400, 0, 0)
INSTANT, AVERAGE = 1, 2


def truth_uj(start_us: int, end_us: int) -> float:
    """What the external meter saw, piece by piece of 10 ms."""
    step_us = round(TRACE["truth_step_s"] * 1e6)
    total = 0.0
    for index, power_w in enumerate(TRACE["truth_w"]):
        begin = index * step_us
        total += power_w * max(0, min(end_us, begin + step_us) - max(start_us, begin))
    return total


def reported_w(at_us: int, column: int) -> float:
    """What the card said at that moment."""
    return next(row[column] for row in reversed(TRACE["reported"]) if row[0] * 1e6 <= at_us)


def billed(
    end_us: int, phase_us: int, *, column: int, delay_us: int, dedicated: bool, idle_w: float
) -> ClosedAccount:
    """One request over the marked load, sampled at 10 Hz as the sampler would."""
    book = EnergyBook(GPU_ONLY, dedicated, 1, source="nvml")
    events = [(BEGAN_US, "open"), (end_us, "close")]
    events += [(at_us, "sample") for at_us in range(10_000 + phase_us, end_us, 100_000)]
    closed = None
    for at_us, what in sorted(events):
        if what == "open":
            book.open("request", at_us)
        elif what == "close":
            closed = book.close("request", at_us)
        else:
            book.reading(at_us - delay_us, reported_w(at_us, column), None, idle_w)
    assert closed is not None
    return closed


def errors_pct(
    end_us: int, *, column: int = INSTANT, delay_us: int = INSTANT_DELAY_US, dedicated: bool
) -> tuple[float, float]:
    """The least and the largest error over all phases of the sampler, in percent of the truth."""
    seconds_us = end_us - BEGAN_US
    true_uj = truth_uj(BEGAN_US, end_us)
    if not dedicated:
        true_uj -= truth_uj(0, 900_000) / 900_000 * seconds_us
    idle_w = reported_w(900_000, column)
    errors = []
    for phase_us in PHASES_US:
        account = billed(
            end_us, phase_us, column=column, delay_us=delay_us, dedicated=dedicated, idle_w=idle_w
        )
        assert account.source == "nvml"
        assert account.dur_us == account.share_us == seconds_us
        errors.append((account.energy_uj / true_uj - 1) * 100)
    return min(errors), max(errors)


LENGTHS = [
    (BEGAN_US + 1_000_000, (-10.0, -4.0), (-12.5, -3.5)),
    (BEGAN_US + 2_000_000, (-8.0, -4.0), (-9.0, -4.0)),
    (ENDED_US, (-7.0, -4.0), (-7.0, -4.0)),
]


@pytest.mark.parametrize(("end_us", "whole_band", "marginal_band"), LENGTHS, ids=["1 s", "2 s", "5.9 s"])
def test_a_request_is_billed_within_the_error_of_the_card(
    end_us: int, whole_band: tuple[float, float], marginal_band: tuple[float, float]
) -> None:
    whole = errors_pct(end_us, dedicated=True)
    marginal = errors_pct(end_us, dedicated=False)
    print(
        f"{(end_us - BEGAN_US) / 1e6:.1f} s: whole {whole[0]:+.1f} to {whole[1]:+.1f} %, "
        f"marginal {marginal[0]:+.1f} to {marginal[1]:+.1f} %"
    )
    assert whole_band[0] <= whole[0] <= whole[1] <= whole_band[1]
    assert marginal_band[0] <= marginal[0] <= marginal[1] <= marginal_band[1]


@pytest.mark.parametrize("end_us", [length[0] for length in LENGTHS], ids=["1 s", "2 s", "5.9 s"])
def test_stamping_the_instant_power_with_its_moment_brings_every_bill_closer(
    end_us: int,
) -> None:
    shifted = errors_pct(end_us, dedicated=True)
    raw = errors_pct(end_us, delay_us=0, dedicated=True)
    print(f"{(end_us - BEGAN_US) / 1e6:.1f} s: raw {raw[0]:+.1f} to {raw[1]:+.1f} %")
    assert raw[0] < shifted[0] < 0
    assert raw[1] < shifted[1] < 0


def test_an_averaged_power_is_far_worse_and_its_stamp_makes_it_bearable() -> None:
    end_us = BEGAN_US + 1_000_000
    raw = errors_pct(end_us, column=AVERAGE, delay_us=0, dedicated=True)
    stamped = errors_pct(end_us, column=AVERAGE, delay_us=AVERAGE_DELAY_US, dedicated=True)
    print(
        f"average, 1 s: raw {raw[0]:+.1f} to {raw[1]:+.1f} %, stamped {stamped[0]:+.1f} to {stamped[1]:+.1f} %"
    )
    assert raw[1] < -40
    assert stamped[0] > -30
