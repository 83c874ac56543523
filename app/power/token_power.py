"""What a model's work costs apart: streaming its weights, and each token.

An engine that answers several requests at once reads the model's weights once for all of them and computes each one's
tokens for itself: v(S) = F + Σ mᵢ for every set S of requests that is not empty. The Shapley value of that game has a
closed form, φᵢ = F/n + mᵢ, and is the only division in which equals pay the same and nobody pays for another's tokens.
F (watts while anything runs) and m (joules a token, of a prompt and of an answer) are found from whole busy stretches
by non-negative least squares; until they are told apart well enough, nobody is charged by them.
Pure; floats, for they only weigh: what is divided stays exact elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import sqrt

ROWS_LEAST = 8
KEPT = 0.98
"""Each busy stretch counts so much of the one after it: drivers, clocks and contexts change."""
APART_LEAST = 0.01
"""The least determinant of the normalised equations with which their unknowns are told apart."""
MISFIT_MOST = 0.25
"""The root of the mean squared relative error above which the three figures do not describe this card."""

_N = 3
Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class TokenCosts:
    """Streaming in watts, tokens in joules each."""

    streaming_w: float
    prompt_j: float
    answer_j: float

    def weight_w(self, sharers: int, prompt_per_s: float, answer_per_s: float) -> float:
        """The Shapley value of one of `sharers`, as a power."""
        return self.streaming_w / sharers + self.prompt_j * prompt_per_s + self.answer_j * answer_per_s


class TokenPower:
    """Learns from busy stretches of one model."""

    __slots__ = ("_gram", "_rows", "_sides", "_squares")

    def __init__(self) -> None:
        self._gram = [[0.0] * _N for _ in range(_N)]
        self._sides = [0.0] * _N
        self._squares = 0.0
        self._rows = 0.0

    def observe(self, busy_s: float, prompt_tokens: int, answer_tokens: int, joules: float) -> None:
        """In `busy_s` so many tokens were read and made, and `joules` drawn above idle."""
        if joules <= 0 or busy_s <= 0:
            return
        # Divided by the joules, so that a long stretch does not outweigh all short ones: errors are relative.
        row = (busy_s / joules, prompt_tokens / joules, answer_tokens / joules)
        self._rows = self._rows * KEPT + 1
        self._squares = self._squares * KEPT + 1
        for i in range(_N):
            self._sides[i] = self._sides[i] * KEPT + row[i]
            for j in range(_N):
                self._gram[i][j] = self._gram[i][j] * KEPT + row[i] * row[j]

    def costs(self) -> TokenCosts | None:
        """What was found; None while it cannot be told apart."""
        if self._rows < ROWS_LEAST or self._apart() < APART_LEAST:
            return None
        found = non_negative_least_squares(self._gram, self._sides)
        misfit = self._squares
        for i in range(_N):
            misfit -= 2 * found[i] * self._sides[i]
            misfit += sum(found[i] * found[j] * self._gram[i][j] for j in range(_N))
        if misfit > MISFIT_MOST**2 * self._rows:
            return None
        return TokenCosts(*found)

    def _apart(self) -> float:
        """The determinant of the equations with a diagonal of ones: 1 where the unknowns are independent, 0 where one
        follows from the others."""
        scale = [sqrt(self._gram[i][i]) for i in range(_N)]
        if not all(scale):
            return 0.0
        a = [[self._gram[i][j] / (scale[i] * scale[j]) for j in range(_N)] for i in range(_N)]
        return (
            a[0][0] * (a[1][1] * a[2][2] - a[1][2] * a[2][1])
            - a[0][1] * (a[1][0] * a[2][2] - a[1][2] * a[2][0])
            + a[0][2] * (a[1][0] * a[2][1] - a[1][1] * a[2][0])
        )


def non_negative_least_squares(gram: list[list[float]], sides: list[float]) -> Vector:
    """x ≥ 0 that minimises x·(gram·x) - 2·x·sides, for three unknowns: the best of all subsets that may be positive."""
    best, least = (0.0, 0.0, 0.0), 0.0
    for count in range(1, _N + 1):
        for chosen in combinations(range(_N), count):
            solved = _solve([[gram[i][j] for j in chosen] for i in chosen], [sides[i] for i in chosen])
            if solved is None or min(solved) < 0:
                continue
            value = -sum(x * sides[i] for x, i in zip(solved, chosen, strict=True))
            if value < least:
                found = [0.0] * _N
                for x, i in zip(solved, chosen, strict=True):
                    found[i] = x
                best, least = (found[0], found[1], found[2]), value
    return best


def _solve(rows: list[list[float]], sides: list[float]) -> list[float] | None:
    """Gauss with the largest pivot; None where there is no single solution."""
    size = len(sides)
    a = [[*row, side] for row, side in zip(rows, sides, strict=True)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda i: abs(a[i][column]))
        if abs(a[pivot][column]) < 1e-12 * max(1e-300, abs(rows[column][column])):
            return None
        a[column], a[pivot] = a[pivot], a[column]
        for i in range(size):
            if i != column:
                factor = a[i][column] / a[column][column]
                a[i] = [x - factor * y for x, y in zip(a[i], a[column], strict=True)]
    return [a[i][size] / a[i][i] for i in range(size)]
