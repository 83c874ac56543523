"""Idle power is a median over quiet windows, learned for the empty GPU and for the one with a model resident."""

from app.power.baseline import SETTLE_US, WINDOW_US, WINDOWS_KEPT, WINDOWS_NEEDED, IdleBaseline

TICK = 100_000
GB = 1024**3


class Gpu:
    """Feeds a baseline ten samples a second."""

    def __init__(self, baseline: IdleBaseline) -> None:
        self.baseline = baseline
        self.now = 0

    def idles(self, seconds: float, *powers: float, memory: int | None = GB, busy: bool = False) -> None:
        for tick in range(round(seconds * 10)):
            power = powers[tick % len(powers)]
            self.baseline.sample(self.now, power, busy=busy, memory_used_b=memory)
            self.now += TICK


LONG_ENOUGH_S = (SETTLE_US + WINDOWS_NEEDED * (WINDOW_US + TICK)) / 1e6 + 1


def test_until_it_has_learned_the_configured_watts_hold() -> None:
    baseline = IdleBaseline(15.0)
    Gpu(baseline).idles(SETTLE_US / 1e6 + 2 * WINDOW_US / 1e6, 25.0)
    assert not baseline.learned(resident=False)
    assert (baseline.idle_w, baseline.resident_w) == (15.0, 0.0)
    baseline.configure(17.0)
    assert baseline.idle_w == 17.0


def test_it_learns_the_median_and_not_the_minimum() -> None:
    baseline = IdleBaseline(15.0)
    Gpu(baseline).idles(LONG_ENOUGH_S, 30.0, 30.0, 30.0, 12.0, 90.0)
    assert baseline.idle_w == 30.0


def test_the_tail_of_a_request_is_not_quiet() -> None:
    baseline = IdleBaseline(15.0)
    gpu = Gpu(baseline)
    for _ in range(20):
        gpu.idles(1, 170.0, busy=True)
        gpu.idles(SETTLE_US / 1e6 - 0.1, 120.0)
    assert not baseline.learned(resident=False)
    assert baseline.idle_w == 15.0


def test_quiet_windows_of_several_tails_add_up() -> None:
    baseline = IdleBaseline(15.0)
    gpu = Gpu(baseline)
    for _ in range(WINDOWS_NEEDED):
        gpu.idles(1, 170.0, busy=True)
        gpu.idles(10, 28.0)
    assert baseline.idle_w == 28.0


def test_a_resident_model_has_its_own_line() -> None:
    baseline = IdleBaseline(15.0)
    gpu = Gpu(baseline)
    gpu.idles(LONG_ENOUGH_S, 14.0, memory=GB)
    gpu.idles(LONG_ENOUGH_S, 127.0, memory=9 * GB)
    assert (baseline.idle_w, baseline.resident_w) == (14.0, 113.0)
    gpu.idles(0.1, 127.0, memory=9 * GB, busy=True)
    assert baseline.resident_w == 113.0
    gpu.idles(0.1, 14.0, memory=GB)
    assert baseline.resident_w == 0.0


def test_what_was_learned_with_a_model_loaded_from_the_start_is_corrected_when_it_goes() -> None:
    baseline = IdleBaseline(15.0)
    gpu = Gpu(baseline)
    gpu.idles(LONG_ENOUGH_S, 127.0, memory=9 * GB)
    assert baseline.idle_w == 127.0
    gpu.idles(0.1, 60.0, memory=GB)
    assert baseline.idle_w == 15.0
    gpu.idles(0.1, 127.0, memory=9 * GB)
    assert baseline.resident_w == 112.0


def test_a_resident_model_that_draws_less_than_the_empty_gpu_is_not_a_gift() -> None:
    baseline = IdleBaseline(15.0)
    gpu = Gpu(baseline)
    gpu.idles(LONG_ENOUGH_S, 30.0, memory=GB)
    gpu.idles(LONG_ENOUGH_S, 20.0, memory=9 * GB)
    assert baseline.resident_w == 0.0


def test_somebody_elses_use_of_the_gpu_is_not_idle() -> None:
    baseline = IdleBaseline(15.0)
    for tick in range(600):
        baseline.sample(tick * TICK, 200.0, busy=False, memory_used_b=None, utilisation_pct=60.0)
    assert baseline.idle_w == 15.0


def test_samples_on_both_sides_of_a_sleep_are_not_one_window() -> None:
    baseline = IdleBaseline(15.0)
    gpu = Gpu(baseline)
    for _ in range(20):
        gpu.idles(SETTLE_US / 1e6 + WINDOW_US / 1e6 - 0.2, 40.0)
        gpu.now += 3_600_000_000
    assert not baseline.learned(resident=False)


def test_broken_readings_teach_nothing() -> None:
    baseline = IdleBaseline(15.0)
    gpu = Gpu(baseline)
    gpu.idles(60, float("nan"), 65_535.0, -3.0)
    assert baseline.idle_w == 15.0


def test_it_forgets_what_is_long_ago() -> None:
    baseline = IdleBaseline(15.0)
    gpu = Gpu(baseline)
    gpu.idles(LONG_ENOUGH_S, 80.0)
    gpu.idles(WINDOWS_KEPT * (WINDOW_US + TICK) / 1e6 + 10, 20.0)
    assert baseline.idle_w == 20.0
    assert all(len(windows) <= WINDOWS_KEPT for windows in baseline._windows.values())


def test_what_was_learned_outlives_a_restart_with_its_age() -> None:
    before = IdleBaseline(15.0)
    gpu = Gpu(before)
    gpu.idles(LONG_ENOUGH_S, 22.0)
    gpu.idles(LONG_ENOUGH_S, 127.0, memory=9 * GB)
    kept = before.kept(1_000)
    assert kept is not None
    assert kept.empty is not None
    assert kept.resident is not None
    assert (kept.empty.watts, kept.resident.watts, kept.least_memory_b) == (22.0, 127.0, GB)
    after = IdleBaseline(15.0, kept=kept)
    assert (after.idle_w, after.source) == (22.0, "learned")
    assert after.kept(2_000) is None
    assert after.learned_until(2_000) == kept


def test_a_model_that_is_there_from_the_start_is_known_by_the_memory_of_before() -> None:
    before = IdleBaseline(15.0)
    Gpu(before).idles(LONG_ENOUGH_S, 22.0)
    after = IdleBaseline(15.0, kept=before.kept(1_000))
    Gpu(after).idles(LONG_ENOUGH_S, 127.0, memory=9 * GB)
    assert (after.idle_w, after.resident_w) == (22.0, 105.0)


def test_only_the_state_that_learned_anew_is_younger() -> None:
    baseline = IdleBaseline(15.0)
    gpu = Gpu(baseline)
    gpu.idles(LONG_ENOUGH_S, 22.0)
    gpu.idles(LONG_ENOUGH_S, 127.0, memory=9 * GB)
    baseline.kept(1_000)
    gpu.idles(LONG_ENOUGH_S, 128.0, memory=9 * GB)
    kept = baseline.kept(2_000)
    assert kept is not None
    assert kept.empty is not None
    assert kept.resident is not None
    assert (kept.empty.at_us, kept.resident.at_us) == (1_000, 2_000)


def test_a_figure_of_the_owners_wins_over_what_was_learned() -> None:
    baseline = IdleBaseline(18.0, own=True)
    Gpu(baseline).idles(LONG_ENOUGH_S, 22.0)
    assert (baseline.idle_w, baseline.source) == (18.0, "own")
    baseline.configure(15.0, own=False)
    assert (baseline.idle_w, baseline.source) == (22.0, "learned")
