"""What a model's work costs apart, found again from busy stretches of which everything is known."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.power.token_power import TokenCosts, TokenPower, non_negative_least_squares

TRUE = TokenCosts(streaming_w=120.0, prompt_j=0.05, answer_j=0.6)


def learned(rng: random.Random, rows: int, noise: float, *, together_most: int = 6) -> TokenPower:
    power = TokenPower()
    for _ in range(rows):
        together = rng.randint(1, together_most)
        busy_s = rng.uniform(1, 20)
        prompt, answer = rng.randint(20, 4_000), round(together * 40 * busy_s * rng.uniform(0.6, 1))
        joules = TRUE.streaming_w * busy_s + TRUE.prompt_j * prompt + TRUE.answer_j * answer
        power.observe(busy_s, prompt, answer, joules * rng.gauss(1, noise))
    return power


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_streaming_and_tokens_are_told_apart_by_stretches_of_different_company(noise: float) -> None:
    costs = learned(random.Random(1), 60, noise).costs()
    assert costs is not None
    print(costs)
    assert costs.streaming_w == pytest.approx(TRUE.streaming_w, rel=0.01 + 4 * noise)
    assert costs.answer_j == pytest.approx(TRUE.answer_j, rel=0.01 + 4 * noise)
    assert costs.prompt_j == pytest.approx(TRUE.prompt_j, rel=0.01 + 8 * noise)


def test_whoever_always_writes_alone_at_the_same_pace_tells_nothing_apart() -> None:
    power = TokenPower()
    for seconds in range(1, 100):
        power.observe(seconds, 20 * seconds, 40 * seconds, 150.0 * seconds)
    assert power.costs() is None


def test_a_few_stretches_are_not_enough() -> None:
    assert learned(random.Random(2), 7, 0.0).costs() is None
    assert learned(random.Random(2), 20, 0.0).costs() is not None


def test_figures_that_fit_nothing_are_not_used() -> None:
    rng = random.Random(3)
    power = TokenPower()
    for _ in range(100):
        power.observe(rng.uniform(1, 20), rng.randint(1, 4_000), rng.randint(1, 4_000), rng.uniform(1, 5_000))
    assert power.costs() is None


def test_a_stretch_without_energy_or_time_is_passed_over() -> None:
    power = learned(random.Random(4), 30, 0.0)
    before = power.costs()
    power.observe(0.0, 1, 1, 5.0)
    power.observe(1.0, 1, 1, 0.0)
    assert power.costs() == before


@given(
    st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.1, 10)), min_size=3, max_size=9),
    st.data(),
)
def test_least_squares_never_come_out_negative_and_no_corner_is_better(
    rows: list[tuple[float, float, float]], data: st.DataObject
) -> None:
    sides = [data.draw(st.floats(0.1, 10)) for _ in rows]
    gram = [[sum(row[i] * row[j] for row in rows) for j in range(3)] for i in range(3)]
    right = [sum(row[i] * side for row, side in zip(rows, sides, strict=True)) for i in range(3)]

    def misfit(x: tuple[float, float, float]) -> float:
        return sum(
            (sum(a * b for a, b in zip(row, x, strict=True)) - side) ** 2
            for row, side in zip(rows, sides, strict=True)
        )

    found = non_negative_least_squares(gram, right)
    assert min(found) >= 0
    for i in range(3):
        for step in (-0.01, 0.01):
            beside = [*found]
            beside[i] = max(0.0, beside[i] + step)
            assert misfit(found) <= misfit((beside[0], beside[1], beside[2])) + 1e-6


def test_the_shapley_values_of_a_batch_add_up_to_what_it_draws() -> None:
    paces = [(0.0, 40.0), (0.0, 20.0), (900.0, 0.0)]
    shares = [TRUE.weight_w(3, *pace) for pace in paces]
    assert sum(shares) == pytest.approx(120 + 0.6 * 60 + 0.05 * 900)
    assert TRUE.weight_w(3, 0.0, 0.0) == 40.0
