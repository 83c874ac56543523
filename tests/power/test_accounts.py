"""The account book, told as scripts of events. Time in milliseconds here, microseconds in the book."""

import time

import pytest

from app.power.accounts import (
    GAP_US,
    HEAD_US,
    AccountError,
    ClosedAccount,
    EnergyBook,
    EnergyTotals,
    StaticWatts,
)
from app.power.curves import PowerSpan

SEED = StaticWatts(gpu_idle_w=15, gpu_load_w=54, system_idle_w=45, system_load_w=65)
MARGINAL_W = 59
IDLE_W = 15.0
MS = 1000
"""One watt for one millisecond is a thousand microjoules, too."""


def book(*, dedicated: bool = False, parallel: int = 1, source: str = "model") -> EnergyBook:
    return EnergyBook(SEED, dedicated, parallel, source=source)


def sampled(*, dedicated: bool = False, parallel: int = 1) -> EnergyBook:
    """A book with a sensor that has just said: 100 W at time 0."""
    made = book(dedicated=dedicated, parallel=parallel, source="nvml")
    made.reading(0, 100.0, None, IDLE_W)
    return made


def read(
    made: EnergyBook, at_ms: int, power_w: float, foreign_w: float = 0.0, resident_w: float = 0.0
) -> None:
    made.reading(at_ms * MS, power_w, None, IDLE_W, foreign_w, resident_w)


def spent(totals: EnergyTotals) -> int:
    return (
        totals.requests_uj
        + totals.idle_uj
        + totals.resident_uj
        + totals.loading_uj
        + totals.foreign_uj
        + totals.unattributed_uj
    )


# By the static watts.


def test_the_seeds_example_alone_is_billed_exactly() -> None:
    made = book()
    made.open("a", 7)
    assert made.close("a", 7 + 3_420_000) == ClosedAccount(
        201_780_000, 3_420_000, 3_420_000, 3_420_000, "model"
    )


def test_what_happens_meanwhile_to_time_does_not_change_the_bill() -> None:
    made = book()
    made.open("a", 0)
    for now_us in range(1, 3_420_000, 99_991):
        made.progress("a", now_us)
        made.accrued("a", now_us)
        made.totals()
    assert made.close("a", 3_420_000).energy_uj == 201_780_000


def test_dedicated_mode_bills_all_the_watts() -> None:
    made = book(dedicated=True)
    made.open("a", 0)
    assert made.close("a", 1000 * MS).energy_uj == (54 + 65) * 1_000_000


def test_a_queued_request_uses_nothing_until_its_turn_comes() -> None:
    made = book(parallel=1)
    made.open("a", 0)
    made.open("b", 0)
    assert (made.is_queued("a"), made.is_queued("b")) == (False, True)
    assert made.accrued("b", 500 * MS) == 0
    assert made.request_w("b") == 0.0
    assert made.close("a", 1000 * MS).energy_uj == MARGINAL_W * 1_000_000
    assert not made.is_queued("b")
    assert made.close("b", 1500 * MS) == ClosedAccount(
        MARGINAL_W * 500_000, 500 * MS, 1500 * MS, 500 * MS, "model"
    )


def test_a_request_that_leaves_the_queue_without_its_turn_costs_nothing() -> None:
    made = book()
    made.open("a", 0)
    made.open("b", 0)
    assert made.close("b", 900 * MS) == ClosedAccount(0, 0, 900 * MS, 0, "model")
    assert made.close("a", 1000 * MS).energy_uj == MARGINAL_W * 1_000_000


def test_requests_that_run_side_by_side_share_the_slice() -> None:
    made = book(parallel=3)
    made.open("a", 0)
    made.open("b", 200 * MS)
    made.open("c", 400 * MS)
    shares = {name: made.close(name, 1000 * MS) for name in "abc"}
    assert [shares[name].share_us for name in "abc"] == [500 * MS, 300 * MS, 200 * MS]
    assert [shares[name].busy_us for name in "abc"] == [1000 * MS, 800 * MS, 600 * MS]
    assert sum(account.energy_uj for account in shares.values()) == MARGINAL_W * 1_000_000


def test_output_out_of_turn_shows_who_really_runs() -> None:
    made = book(parallel=1)
    made.open("a", 0)
    made.open("b", 0)
    made.progress("b", 100 * MS)
    assert (made.is_queued("a"), made.is_queued("b")) == (True, False)
    assert made.close("b", 300 * MS).busy_us == 200 * MS
    assert made.close("a", 400 * MS).busy_us == 200 * MS


def test_an_engine_that_runs_more_than_it_was_said_to_is_believed() -> None:
    made = book(parallel=1)
    for name in "abc":
        made.open(name, 0)
        made.progress(name, 0)
    made.open("d", 0)
    closed = [made.close(name, 900 * MS) for name in "abc"]
    assert [account.share_us for account in closed] == [300 * MS] * 3
    assert not made.is_queued("d")


def test_with_nobody_running_everything_is_idle() -> None:
    made = book()
    made.open("a", 0)
    made.close("a", 1000 * MS)
    made.open("b", 3000 * MS)
    totals = made.totals()
    assert totals.requests_uj == MARGINAL_W * 1_000_000
    assert totals.idle_uj == 60 * 3_000_000
    assert totals.measured_uj == 119 * 1_000_000 + 60 * 2_000_000
    assert totals.unattributed_uj == 0


def test_a_machine_that_draws_less_under_load_has_no_negative_margin() -> None:
    made = EnergyBook(StaticWatts(50, 40, 45, 65), False, 1)
    made.open("a", 0)
    assert made.close("a", 1000 * MS).energy_uj == 20_000_000
    assert made.totals().idle_uj == (40 + 45) * 1_000_000


def test_the_static_watts_say_what_requests_add_and_what_the_whole_draws() -> None:
    assert (SEED.marginal_w, SEED.full_w) == (59.0, 119.0)
    assert StaticWatts(50, 40, 45, 65).marginal_w == 20.0
    assert StaticWatts(15, 54, 65, 45).marginal_w == 39.0
    assert StaticWatts(0, 0, 0, 0).marginal_w == 0.0


# By a sensor.


def test_the_power_between_two_samples_is_their_mean() -> None:
    made = sampled()
    made.open("a", 0)
    read(made, 100, 200.0)
    assert made.accrued("a", 100 * MS) == (150 - 15 + 20) * 100_000
    assert made.totals().idle_uj == (15 + 45) * 100_000


def test_a_sample_is_distributed_by_time_over_those_who_ran() -> None:
    made = sampled(parallel=2)
    made.open("a", 0)
    made.open("b", 50 * MS)
    read(made, 100, 100.0)
    assert made.accrued("a", 100 * MS) == (85 + 20) * 75_000
    assert made.accrued("b", 100 * MS) == (85 + 20) * 25_000


def test_a_late_sample_is_billed_to_those_who_ran_when_it_was_taken() -> None:
    made = sampled()
    made.open("a", 0)
    read(made, 100, 100.0)
    made.progress("a", 100 * MS)
    made.open("b", 120 * MS)
    first = made.close("a", 180 * MS)
    assert first.energy_uj == (85 + 20) * 180_000
    read(made, 150, 200.0)  # taken while `a` ran alone; b began at 180
    assert made.accrued("b", 180 * MS) == 0
    # 50 ms at 150 W in the mean were really drawn; 80 ms at 100 W were billed.
    assert made.totals().unattributed_uj == (150 - 15 + 20) * 50_000 - 105 * 80_000


def test_a_request_closed_before_its_sample_pays_the_last_power_and_the_rest_is_unattributed() -> None:
    made = sampled()
    made.open("a", 0)
    read(made, 100, 100.0)
    closed = made.close("a", 160 * MS)
    assert closed.energy_uj == (85 + 20) * 160_000
    assert closed.source == "nvml"
    before = made.totals()
    assert before.requests_uj == closed.energy_uj
    assert before.unattributed_uj == -(85 + 20) * 60_000
    read(made, 200, 40.0)
    # The GPU drew 7 J in the 100 ms, evenly: 4.2 J while the request ran, of which idle is 0.9 J.
    really = (70 - 15 + 20) * 60_000
    rest = (70 - 15) * 40_000
    assert made.totals().unattributed_uj == really - closed.energy_uj + (85 + 20) * 100_000 + rest
    assert made.totals().requests_uj == closed.energy_uj


def test_a_sample_of_the_idle_gpu_says_nothing_about_a_request_that_came_later() -> None:
    made = sampled()
    read(made, 100, 15.0)
    made.open("a", 110 * MS)
    closed = made.close("a", 150 * MS)
    assert closed == ClosedAccount(MARGINAL_W * 40_000, 40 * MS, 40 * MS, 40 * MS, "model")


def test_one_after_the_other_without_a_sample_in_between_pay_the_power_under_load() -> None:
    made = sampled()
    made.open("a", 0)
    read(made, 100, 100.0)
    made.close("a", 120 * MS)
    made.open("b", 120 * MS)
    assert made.close("b", 180 * MS) == ClosedAccount(105 * 60_000, 60 * MS, 60 * MS, 60 * MS, "nvml")


def test_a_gpu_that_worked_for_half_of_the_time_up_to_a_sample_says_what_work_draws() -> None:
    made = sampled()
    made.open("a", 50 * MS)
    read(made, 100, 100.0)
    assert made.close("a", 160 * MS).source == "nvml"
    made = sampled()
    made.open("a", 50 * MS + 1)
    read(made, 100, 100.0)
    assert made.close("a", 160 * MS).source == "mixed"


def test_before_its_sample_a_request_pays_for_nothing_that_lies_under_it() -> None:
    made = sampled()
    made.open("a", 0)
    read(made, 100, 100.0, foreign_w=30.0, resident_w=20.0)
    assert made.marginal_w == 100 - 15 - 30 - 20 + 20
    read(made, 200, 60.0, foreign_w=30.0, resident_w=20.0)
    assert made.marginal_w == 20.0
    made = sampled(dedicated=True)
    made.open("a", 0)
    read(made, 100, 100.0, foreign_w=30.0, resident_w=20.0)
    assert made.marginal_w == 100 - 30 + 65
    read(made, 200, 20.0, foreign_w=30.0)
    assert made.marginal_w == 65.0


def test_dedicated_mode_bills_the_measured_power_whole() -> None:
    made = sampled(dedicated=True)
    made.open("a", 0)
    read(made, 100, 100.0)
    assert made.close("a", 100 * MS).energy_uj == (100 + 65) * 100_000
    assert made.totals().idle_uj == 0


def test_foreign_use_and_the_resident_model_are_never_the_clients_bill() -> None:
    made = sampled()
    made.open("a", 0)
    read(made, 100, 100.0, foreign_w=30.0, resident_w=20.0)
    assert made.close("a", 100 * MS).energy_uj == (100 - 15 - 30 - 20 + 20) * 100_000
    totals = made.totals()
    assert (totals.foreign_uj, totals.resident_uj) == (3_000_000, 2_000_000)


def test_even_dedicated_mode_does_not_bill_what_other_programs_draw() -> None:
    made = sampled(dedicated=True)
    made.open("a", 0)
    read(made, 100, 100.0, foreign_w=30.0)
    assert made.close("a", 100 * MS).energy_uj == (70 + 65) * 100_000


def test_a_gpu_below_its_idle_power_bills_nothing_but_the_system() -> None:
    made = book(source="nvml")
    read(made, 0, 10.0)
    made.open("a", 0)
    read(made, 100, 10.0)
    assert made.close("a", 100 * MS).energy_uj == 20 * 100_000
    assert made.totals().idle_uj == (10 + 45) * 100_000


def test_power_above_idle_that_nobody_asked_for_is_unattributed() -> None:
    made = sampled()
    read(made, 100, 100.0)
    totals = made.totals()
    assert totals.idle_uj == (15 + 45) * 100_000
    assert totals.unattributed_uj == 85 * 100_000


def test_a_model_that_the_gateway_loads_itself_is_nobodys_request() -> None:
    made = sampled()
    made.loading(0, active=True)
    read(made, 100, 100.0)
    made.loading(100 * MS, active=False)
    read(made, 200, 100.0)
    totals = made.totals()
    assert totals.loading_uj == (85 + 20) * 100_000
    assert totals.unattributed_uj == 85 * 100_000


@pytest.mark.parametrize("dedicated", [False, True])
def test_while_a_model_loads_what_lies_under_it_keeps_its_name(dedicated: bool) -> None:
    made = sampled(dedicated=dedicated)
    made.loading(0, active=True)
    made.loading(60 * MS, active=False)
    read(made, 100, 100.0, foreign_w=30.0, resident_w=20.0)
    totals = made.totals()
    # 60 ms with the system under load, 40 ms with it at rest; what is above everything else is the work's.
    assert totals.measured_uj == 100 * 100_000 + 65 * 60_000 + 45 * 40_000
    assert totals.idle_uj == (15 + 45) * 100_000
    assert totals.foreign_uj == 30 * 100_000
    assert totals.resident_uj == 20 * 100_000
    assert totals.loading_uj == 35 * 100_000 + 20 * 60_000
    assert totals.unattributed_uj == 0
    uptime = (totals.measured_uj - totals.foreign_uj, 100_000) if dedicated else (0, 0)
    assert made.take_uptime(100 * MS) == uptime


@pytest.mark.parametrize("dedicated", [False, True])
def test_a_load_that_nobody_measures_is_told_by_the_static_watts(dedicated: bool) -> None:
    made = book(dedicated=dedicated)
    made.loading(0, active=True)
    made.loading(60 * MS, active=False)
    made.open("a", 100 * MS)
    totals = made.totals()
    assert totals.measured_uj == 119 * 60_000 + 60 * 40_000
    assert (totals.loading_uj, totals.idle_uj) == (59 * 60_000, 60 * 100_000)
    assert made.take_uptime(100 * MS) == ((totals.measured_uj, 100_000) if dedicated else (0, 0))


@pytest.mark.parametrize("dedicated", [False, True])
def test_requests_rest_and_a_load_between_two_samples_share_them_by_time(dedicated: bool) -> None:
    made = sampled(dedicated=dedicated)
    made.open("a", 0)
    made.close("a", 0)
    made.loading(20 * MS, active=True)
    made.loading(50 * MS, active=False)
    made.open("b", 60 * MS)
    read(made, 100, 100.0, foreign_w=30.0, resident_w=20.0)
    bill = made.close("b", 100 * MS).energy_uj
    # 35 W for 100 ms are 50 W for the 70 ms in which there was work.
    assert bill == ((15 + 20 + 50 + 65) if dedicated else (50 + 20)) * 40_000
    totals = made.totals()
    assert totals.foreign_uj == 30 * 100_000
    assert totals.loading_uj == (50 + 20) * 30_000
    assert totals.unattributed_uj == 0
    assert totals.resident_uj == 20 * (60_000 if dedicated else 100_000)
    assert totals.idle_uj == (15 + 45) * (60_000 if dedicated else 100_000)
    assert spent(totals) == totals.measured_uj == 100 * 100_000 + 65 * 70_000 + 45 * 30_000
    uptime_uj = totals.measured_uj - totals.foreign_uj - bill
    assert made.take_uptime(100 * MS) == ((uptime_uj, 60_000) if dedicated else (0, 0))


def test_readings_that_no_gpu_can_have_are_passed_over() -> None:
    made = sampled()
    made.open("a", 0)
    for broken in (None, float("nan"), float("inf"), -1.0, 65_535.0):
        made.reading(50 * MS, broken, None, IDLE_W)
    read(made, 100, 100.0)
    assert made.close("a", 100 * MS) == ClosedAccount(10_500_000, 100 * MS, 100 * MS, 100 * MS, "nvml")


# The counter.


def counting(made: EnergyBook, ticks: range, tick_uj: int, power_w: float | None = 100.0) -> None:
    for tick in ticks:
        made.reading(tick * 100 * MS, power_w, tick * tick_uj, IDLE_W)


def test_a_counter_is_believed_once_it_agreed_with_the_integral_for_thirty_seconds() -> None:
    made = book(source="nvml")
    made.open("a", 0)
    counting(made, range(300), 9_900_000)
    before = made.accrued("a", 29_900 * MS)
    assert before == 105 * 29_900_000
    counting(made, range(300, 401), 9_900_000)
    middle = made.accrued("a", 40_000 * MS)
    counting(made, range(401, 501), 9_900_000)
    assert made.close("a", 50_000 * MS).energy_uj - middle == (99 - 15 + 20) * 10_000_000


@pytest.mark.parametrize("tick_uj", [9_000_000, 11_000_000])
def test_a_counter_that_is_off_by_a_tenth_is_never_believed(tick_uj: int) -> None:
    made = book(source="nvml")
    made.open("a", 0)
    counting(made, range(700), tick_uj)
    assert made.close("a", 69_900 * MS).energy_uj == 105 * 69_900_000


def test_a_counter_that_stands_still_gives_way_to_the_power_at_once() -> None:
    made = book(source="nvml")
    made.open("a", 0)
    counting(made, range(400), 10_000_000)
    for tick in range(400, 500):
        made.reading(tick * 100 * MS, 100.0, 399 * 10_000_000, IDLE_W)
    assert made.close("a", 49_900 * MS) == ClosedAccount(
        105 * 49_900_000, 49_900 * MS, 49_900 * MS, 49_900 * MS, "nvml"
    )


def test_a_counter_alone_measures_too() -> None:
    made = book(source="nvml")
    counting(made, range(10), 1_500_000, None)
    made.open("a", 950 * MS)
    for tick in range(10, 30):
        made.reading(tick * 100 * MS, None, 13_500_000 + (tick - 9) * 10_000_000, IDLE_W)
    closed = made.close("a", 2950 * MS)
    # The first ten joules came between two readings of which the first was before the request: 50 ms are in doubt.
    assert closed.energy_uj == pytest.approx(105 * 2_000_000, abs=85 * 50_000)
    assert (closed.share_us, closed.source) == (2_000 * MS, "nvml")


def test_a_counter_alone_that_stands_still_says_nothing_and_never_zero() -> None:
    made = book(source="nvml")
    made.open("a", 0)
    for tick in range(50):
        made.reading(tick * 100 * MS, None, 5_000_000, IDLE_W)
    closed = made.close("a", 4_900 * MS)
    assert (closed.energy_uj, closed.source) == (MARGINAL_W * 4_900_000, "model")


@pytest.mark.parametrize(("counted_uj", "source"), [(-1, "model"), (1_000_000_001, "model"), (10**9, "nvml")])
def test_a_counter_that_went_back_or_jumped_further_than_a_gpu_can_draw_was_reset(
    counted_uj: int, source: str
) -> None:
    made = book(source="nvml")
    made.open("a", 0)
    made.reading(0, None, 10**9, IDLE_W)
    made.reading(100 * MS, None, 10**9 + counted_uj, IDLE_W)
    closed = made.close("a", 100 * MS)
    assert closed.source == source
    if source == "model":
        assert closed.energy_uj == MARGINAL_W * 100_000


def test_after_its_reset_a_counter_goes_on_from_there() -> None:
    made = book(source="nvml")
    made.open("a", 0)
    counting(made, range(21), 10_000_000, None)
    before = made.accrued("a", 2000 * MS)
    for tick in range(21, 41):
        made.reading(tick * 100 * MS, None, (tick - 20) * 10_000_000, IDLE_W)
    closed = made.close("a", 4000 * MS)
    assert closed.source == "mixed"
    # One renewal is lost with the reset, and told by the static watts.
    assert closed.energy_uj - before == 105 * 1_900_000 + MARGINAL_W * 100_000


def test_a_counter_alone_says_the_watts_too() -> None:
    made = book(source="nvml")
    made.open("a", 0)
    counting(made, range(4), 10_000_000, None)
    assert made.marginal_w == 100 - 15 + 20


# What a card renews ten times a second.


def renewed(made: EnergyBook, at_ms: int, power_w: float) -> None:
    made.reading(at_ms * MS, power_w, None, IDLE_W, span=PowerSpan.UPDATE)


def test_a_power_that_has_not_changed_says_nothing_until_it_must_have_been_renewed() -> None:
    made = book(source="nvml")
    made.open("a", 0)
    renewed(made, 0, 100.0)
    for at_ms in (20, 40, 60, 80, 120, 200):
        renewed(made, at_ms, 100.0)
        assert made.totals().measured_uj == 0
    renewed(made, 260, 100.0)
    # Whenever it was renewed last, it spoke of everything up to 160 ms.
    assert made.totals().measured_uj == 100 * 160_000 + (100 - 15) * 50_000 + 65 * 160_000


def test_a_power_that_changed_speaks_up_to_the_middle_of_the_two_readings() -> None:
    made = book(source="nvml")
    made.open("a", 0)
    renewed(made, 0, 100.0)
    renewed(made, 100, 200.0)
    assert made.totals().measured_uj == 200 * 100_000 - 15 * 50_000 + 65 * 50_000
    renewed(made, 120, 300.0)
    assert (
        made.totals().requests_uj == 200 * 100_000 - 15 * 100_000 + 300 * 60_000 - 15 * 60_000 + 20 * 110_000
    )


def test_where_work_begins_between_two_knots_the_time_before_it_gets_the_idle_watts_and_work_the_rest() -> (
    None
):
    made = book(source="nvml")
    for at_ms in range(0, 1000, 100):
        renewed(made, at_ms, 15.0 + at_ms % 200 / 1e6)
    made.open("a", 930 * MS)
    renewed(made, 1000, 15.1)
    renewed(made, 1100, 80.0)
    # Known up to 1050: 80 W for 100 ms, of which none but idle watts were drawn before 930 or 950.
    assert made.totals().requests_uj == pytest.approx((80 - 15) * 100_000 + 20 * 120_000, rel=0.01)


def test_what_no_knot_has_told_at_the_end_is_billed_by_the_last_stretch_of_work_and_mended_elsewhere() -> (
    None
):
    made = book(source="nvml")
    made.open("a", 0)
    renewed(made, 0, 15.0)
    renewed(made, 100, 107.5)
    for at_ms in range(200, 1000, 100):
        renewed(made, at_ms, 200.0 + at_ms / 1000)
    closed = made.close("a", 990 * MS)
    assert closed.energy_uj == pytest.approx((200.5 - 15 + 20) * 990_000, rel=0.01)
    before = made.totals()
    renewed(made, 1000, 150.0)
    renewed(made, 1100, 15.0)
    after = made.totals()
    assert after.requests_uj == before.requests_uj == closed.energy_uj
    assert spent(after) == after.measured_uj
    assert after.unattributed_uj > before.unattributed_uj


def test_an_average_is_undone() -> None:
    made = book(source="nvml")
    made.open("a", 2000 * MS)
    for at_ms in range(0, 4100, 100):
        since_ms = min(1000, max(0, at_ms - 50 - 2000))
        made.reading(at_ms * MS, 15.0 + 200 * since_ms / 1000, None, IDLE_W, span=PowerSpan.SECOND)
    closed = made.close("a", 4000 * MS)
    assert closed.energy_uj == pytest.approx(220 * 2_000_000, rel=0.005)


def test_no_reading_above_the_most_a_card_can_draw_is_believed() -> None:
    made = EnergyBook(SEED, False, 1, source="nvml", most_w=400.0)
    made.open("a", 0)
    read(made, 0, 100.0)
    read(made, 50, 401.0)
    read(made, 100, 100.0)
    assert made.close("a", 100 * MS).energy_uj == 105 * 100_000


@pytest.mark.parametrize(("power_w", "source"), [(5_000.0, "nvml"), (5_000.5, "model"), (0.0, "nvml")])
def test_a_single_gpu_draws_five_kilowatts_at_most(power_w: float, source: str) -> None:
    made = book(source="nvml")
    made.open("a", 0)
    made.reading(100 * MS, power_w, None, IDLE_W)
    assert made.close("a", 100 * MS).source == source


# Gaps, loss and rest.


def test_nothing_is_integrated_across_a_gap_and_what_ran_in_it_is_modelled() -> None:
    made = sampled()
    made.open("a", 0)
    read(made, 1000, 100.0)
    read(made, 4000, 300.0)
    read(made, 5000, 300.0)
    closed = made.close("a", 5000 * MS)
    assert closed.energy_uj == 105 * 1_000_000 + MARGINAL_W * 3_000_000 + 305 * 1_000_000
    assert closed.source == "mixed"
    assert made.totals().gap_us == 3_000_000


def test_a_gap_with_nobody_running_is_time_without_energy() -> None:
    made = sampled()
    read(made, 10_000, 100.0)
    assert made.totals() == EnergyTotals(0, 0, 0, 0, 0, 0, 0, gap_us=10_000_000)


def test_samples_exactly_two_seconds_apart_have_no_gap_between_them() -> None:
    made = sampled()
    made.reading(2_000_000, 100.0, None, IDLE_W)
    assert made.totals().gap_us == 0
    made.reading(4_000_001, 100.0, None, IDLE_W)
    assert made.totals().gap_us == 2_000_001


def test_a_request_that_ends_in_a_gap_does_not_wait_for_the_sensor() -> None:
    made = sampled()
    made.open("a", 0)
    closed = made.close("a", 60_000 * MS)
    assert (closed.energy_uj, closed.source) == (MARGINAL_W * 60_000_000, "model")
    made.open("b", 61_000 * MS)
    assert made.close("b", 62_000 * MS).source == "model"
    totals = made.totals()
    assert totals.gap_us == 62_000_000
    assert totals.idle_uj == 60 * 61_000_000  # under the requests; the second between them is not guessed at


def test_a_sensor_whose_clock_goes_back_is_a_gap() -> None:
    made = sampled()
    made.open("a", 0)
    read(made, 1000, 100.0)
    made.progress("a", 1000 * MS)
    read(made, 1500, 100.0)
    read(made, 1200, 500.0)
    read(made, 2000, 500.0)
    closed = made.close("a", 2000 * MS)
    assert closed.busy_us == 2000 * MS
    # 1200 to 1500 is paid for already, so only 500 of those 800 ms count.
    assert closed.energy_uj == 105 * 1_500_000 + 505 * 500_000


def test_time_that_goes_back_stands_still() -> None:
    made = book()
    made.open("a", 1000 * MS)
    made.progress("a", 500 * MS)
    assert made.close("a", 400 * MS) == ClosedAccount(0, 0, 0, 0, "model")
    made.open("b", 900 * MS)
    assert made.close("b", 1100 * MS).busy_us == 100 * MS


def test_a_repeated_sample_changes_nothing() -> None:
    made = sampled()
    made.open("a", 0)
    read(made, 100, 100.0)
    read(made, 100, 900.0)
    assert made.marginal_w == 105.0
    read(made, 200, 100.0)
    assert made.close("a", 200 * MS).energy_uj == 21_000_000


def test_when_the_sensor_is_lost_the_static_watts_speak() -> None:
    made = sampled()
    made.open("a", 0)
    read(made, 1000, 100.0)
    made.sensor_lost(1500 * MS)
    closed = made.close("a", 3000 * MS)
    assert closed.energy_uj == 105 * 1_000_000 + MARGINAL_W * 2_000_000
    assert closed.source == "mixed"
    assert made.totals().gap_us == 0


def test_what_waited_when_the_sensor_went_to_rest_is_not_told_by_its_next_sample() -> None:
    made = sampled()
    made.open("a", 0)
    read(made, 100, 100.0)
    made.rest(150 * MS)
    read(made, 200, 100.0)
    closed = made.close("a", 200 * MS)
    assert (closed.energy_uj, closed.source) == (105 * 150_000 + MARGINAL_W * 50_000, "mixed")


def test_a_clock_that_went_back_at_the_rest_leaves_nothing_waiting() -> None:
    made = sampled()
    made.open("a", 0)
    read(made, 100, 100.0)
    made.accrued("a", 150 * MS)
    made.rest(120 * MS)
    read(made, 160, 100.0)
    closed = made.close("a", 160 * MS)
    assert closed.energy_uj == 105 * 110_000 + MARGINAL_W * 50_000


def test_however_much_happens_without_a_sensor_little_of_it_waits() -> None:
    made = book()
    for number in range(1000):
        made.open("a", number * 2 * MS)
        made.close("a", (number * 2 + 1) * MS)
        assert made._slices.count <= 256
    assert made.totals().requests_uj == MARGINAL_W * 1_000_000


def test_a_sensor_that_comes_back_measures_only_from_then_on() -> None:
    made = sampled()
    made.sensor_lost(0)
    made.open("a", 1000 * MS)
    read(made, 3000, 100.0)
    read(made, 3100, 100.0)
    closed = made.close("a", 3100 * MS)
    assert closed.energy_uj == MARGINAL_W * 2_000_000 + 105 * 100_000
    assert closed.source == "mixed"
    assert made.totals().measured_uj == 60 * 1_000_000 + 119 * 2_000_000 + 165 * 100_000


def test_a_sensor_woken_by_a_request_measures_it_wholly() -> None:
    made = book(source="amdgpu")
    made.rest(0)
    made.open("a", 9000 * MS)
    read(made, 9005, 40.0)
    read(made, 9105, 100.0)
    closed = made.close("a", 9105 * MS)
    assert closed.energy_uj == (40 - 15 + 20) * 5_000 + (70 - 15 + 20) * 100_000
    assert closed.source == "amdgpu"
    assert made.totals().idle_uj == 60 * 9_000_000 + 60 * 105_000


def test_a_sensor_that_never_spoke_yet_measures_the_first_request_wholly() -> None:
    made = book(source="nvml")
    made.open("a", 0)
    read(made, 5, 40.0)
    assert made.close("a", 5 * MS) == ClosedAccount((40 - 15 + 20) * 5_000, 5 * MS, 5 * MS, 5 * MS, "nvml")


@pytest.mark.parametrize(("first_us", "source"), [(250_000, "nvml"), (250_001, "model")])
def test_a_first_sample_speaks_for_a_quarter_of_a_second_before_it_and_no_more(
    first_us: int, source: str
) -> None:
    made = book(source="nvml")
    made.rest(0)
    made.open("a", 9_000_000)
    made.reading(9_000_000 + first_us, 100.0, None, IDLE_W)
    assert made.close("a", 9_000_000 + first_us).source == source


def test_a_request_that_was_measured_at_first_and_closed_before_the_sensor_knew_work_is_mixed() -> None:
    made = book(source="nvml")
    made.open("a", 0)
    read(made, 5, 40.0)
    closed = made.close("a", 50 * MS)
    assert (closed.energy_uj, closed.source) == (45 * 5_000 + MARGINAL_W * 45_000, "mixed")


def test_a_sensor_that_comes_back_does_not_know_yet_what_work_draws() -> None:
    made = sampled()
    made.open("a", 0)
    read(made, 100, 100.0)
    assert made.marginal_w == 105.0
    made.sensor_lost(100 * MS)
    read(made, 200, 100.0)
    assert made.marginal_w == MARGINAL_W
    read(made, 300, 100.0)
    assert made.marginal_w == 105.0


def test_in_a_gap_the_static_watts_are_shown_and_billed() -> None:
    made = sampled()
    made.open("a", 0)
    read(made, 100, 100.0)
    made.accrued("a", 100 * MS + GAP_US)
    assert made.marginal_w == 105.0
    made.accrued("a", 100 * MS + GAP_US + 1)
    assert made.marginal_w == MARGINAL_W
    read(made, 2200, 100.0)
    assert made.marginal_w == MARGINAL_W
    read(made, 2300, 100.0)
    assert made.marginal_w == 105.0


def test_a_sensor_that_wakes_late_measures_only_from_then_on() -> None:
    made = book(source="amdgpu")
    made.rest(0)
    made.open("a", 9000 * MS)
    made.reading(9_000_000 + HEAD_US + 1, 100.0, None, IDLE_W)
    made.reading(9_000_000 + HEAD_US + 100_001, 100.0, None, IDLE_W)
    closed = made.close("a", 9_000_000 + HEAD_US + 100_001)
    assert closed.source == "mixed"
    assert closed.energy_uj == MARGINAL_W * (HEAD_US + 1) + 105 * 100_000


def test_a_sample_that_speaks_of_the_time_before_the_request_covers_its_beginning() -> None:
    made = book(source="nvml")
    made.rest(0)
    made.open("a", 9000 * MS)
    read(made, 8910, 15.0)  # read at 9010, and 100 ms late by nature
    read(made, 9010, 115.0)
    # 6.5 W.s in 100 ms, of which the 90 ms before the request drew 1.35.
    assert made.accrued("a", 9010 * MS) == 65 * 100_000 - 15 * 100_000 + 20 * 10_000
    read(made, 9110, 115.0)
    assert made.close("a", 9110 * MS).source == "nvml"


# Dedicated uptime.


def test_in_dedicated_mode_shares_and_uptime_are_the_whole_time_and_all_the_energy() -> None:
    made = book(dedicated=True, parallel=2)
    made.take_uptime(0)
    made.open("a", 1000 * MS)
    made.open("b", 1500 * MS)
    first = made.close("a", 2000 * MS)
    second = made.close("b", 3000 * MS)
    energy_uj, dur_us = made.take_uptime(10_000 * MS)
    assert dur_us == 8_000_000
    assert dur_us + first.share_us + second.share_us == 10_000_000
    assert energy_uj == 60 * 8_000_000
    assert energy_uj + first.energy_uj + second.energy_uj == made.totals().measured_uj
    assert made.take_uptime(10_000 * MS) == (0, 0)


def test_uptime_is_what_was_measured_and_waits_for_its_sample() -> None:
    made = sampled(dedicated=True)
    assert made.take_uptime(50 * MS) == (0, 0)
    read(made, 100, 100.0, foreign_w=40.0)
    assert made.take_uptime(120 * MS) == ((60 + 45) * 100_000, 100_000)


def test_uptime_is_not_billed_across_a_gap() -> None:
    made = sampled(dedicated=True)
    read(made, 100_000, 100.0)
    assert made.take_uptime(100_000 * MS) == (0, 0)


def test_marginal_mode_has_no_uptime() -> None:
    made = book()
    made.open("a", 0)
    made.close("a", 10)
    assert made.take_uptime(10_000 * MS) == (0, 0)


# Settings, faces, mistakes.


def test_new_settings_hold_from_their_moment_on() -> None:
    made = book(parallel=1)
    made.open("a", 0)
    made.open("b", 0)
    made.configure(1000 * MS, watts=StaticWatts(0, 100, 0, 0), parallel=2)
    first = made.close("a", 2000 * MS)
    assert first.energy_uj == MARGINAL_W * 1_000_000 + 100 * 500_000
    made.configure(2000 * MS, mode_dedicated=True, parallel=1, watts=SEED)
    assert made.close("b", 3000 * MS).energy_uj == 100 * 500_000 + 119 * 1_000_000


def test_another_sensor_takes_over() -> None:
    made = sampled()
    made.configure(100 * MS, source="simulated")
    made.open("a", 100 * MS)
    read(made, 100, 100.0)
    read(made, 200, 100.0)
    assert made.close("a", 200 * MS).source == "simulated"
    assert made.source == "simulated"


def test_another_sensor_begins_with_what_it_says_itself_and_not_with_the_last_ones_words() -> None:
    made = sampled()
    made.open("a", 0)
    read(made, 100, 100.0)
    assert made.marginal_w == 105.0
    made.configure(100 * MS, source="simulated")
    assert made.marginal_w == MARGINAL_W
    read(made, 200, 300.0)
    # Its first sample speaks for the time before it; the 100 W of the other one are no end of a mean.
    assert made.accrued("a", 200 * MS) == 105 * 100_000 + 305 * 100_000
    made.configure(200 * MS, source="model")
    assert made.marginal_w == MARGINAL_W
    assert made.close("a", 300 * MS).energy_uj == 105 * 100_000 + 305 * 100_000 + MARGINAL_W * 100_000


def test_another_sensors_counter_has_to_prove_itself_anew() -> None:
    made = book(source="nvml")
    made.open("a", 0)
    counting(made, range(400), 9_900_000)
    made.configure(39_900 * MS, source="amdgpu")
    before = made.accrued("a", 39_900 * MS)
    counting(made, range(400, 500), 9_900_000)
    assert made.close("a", 49_900 * MS).energy_uj == before + 105 * 10_000_000


def test_two_samples_a_microsecond_apart_are_two_samples() -> None:
    made = sampled()
    made.open("a", 0)
    read(made, 100, 100.0)
    made.reading(100 * MS + 1, 100.0, None, IDLE_W)
    assert made.marginal_w == 105.0
    assert made.totals().gap_us == 0


def test_a_system_that_draws_the_same_under_load_adds_nothing() -> None:
    made = EnergyBook(StaticWatts(15, 54, 45, 45), False, 1)
    made.open("a", 0)
    assert made.marginal_w == 39.0


def test_faces_see_the_watts_of_this_moment() -> None:
    made = sampled()
    assert made.marginal_w == 0.0
    made.open("a", 0)
    read(made, 100, 171.0)
    assert made.marginal_w == 171.0 - 15 + 20
    assert made.request_w("a") == 176.0
    made.sensor_lost(100 * MS)
    assert made.marginal_w == 59.0
    made.close("a", 200 * MS)
    assert made.marginal_w == 0.0


def test_each_of_those_side_by_side_is_billed_its_part_of_the_watts() -> None:
    made = book(parallel=2)
    for name in "abc":
        made.open(name, 0)
    assert [made.request_w(name) for name in "abc"] == [29.5, 29.5, 0.0]
    assert made.marginal_w == 59.0


def test_what_accrued_is_what_closing_bills() -> None:
    made = sampled(parallel=3)
    for name in "abc":
        made.open(name, 3)
    read(made, 100, 123.456)
    for name, now_us in (("a", 133_337), ("b", 140_001), ("c", 155_555)):
        accrued = made.accrued(name, now_us)
        assert made.close(name, now_us).energy_uj == accrued > 0


def test_mistakes_of_the_program_are_errors_and_change_nothing() -> None:
    made = book()
    made.open("a", 0)
    with pytest.raises(AccountError):
        made.open("a", 1)
    for wrong in (made.close, made.progress, made.accrued):
        with pytest.raises(AccountError):
            wrong("nobody", 1)
    with pytest.raises(ValueError, match="set its source"):
        made.reading(1, 100.0, None, IDLE_W)
    with pytest.raises(ValueError, match="at least one"):
        EnergyBook(SEED, False, 0)
    for broken in (float("nan"), float("inf"), -0.001):
        with pytest.raises(ValueError, match="Watts"):
            StaticWatts(broken, 1, 1, 1)
    assert made.close("a", 1000 * MS).energy_uj == MARGINAL_W * 1_000_000
    assert spent(made.totals()) == made.totals().measured_uj


def test_a_long_queue_costs_no_time() -> None:
    def best_ns(queued: int) -> int:
        made = sampled()
        for number in range(queued):
            made.open(str(number), 0)
        times = []
        for number in range(200):
            before = time.perf_counter_ns()
            made.open(str(queued + number), number * MS)
            made.close(str(number), number * MS)
            times.append(time.perf_counter_ns() - before)
        return min(times)

    assert best_ns(20_000) < 5 * best_ns(32)
