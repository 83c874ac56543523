"""How much time and energy the tokens of one model take here, by what was recorded.

Rule 1: pure. Each token that goes in has its share and each that comes out has, found by least squares over the
records; no share is below zero, and where the records cannot tell the two apart, all of it is the output's. Rule 2: a
request that had to wait for its model to be loaded tells nothing of its tokens: what took many times as long as others
is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.ledger.listing import LedgerRow

TOO_SLOW = 3.0
"""Times the median of all requests, by the time a token."""


@dataclass(frozen=True, slots=True)
class PerToken:
    """What one token that goes in takes, and one that comes out."""

    prompt: float
    completion: float

    def of(self, prompt: int, completion: int) -> int:
        """What so many take together, rounded."""
        return round(self.prompt * prompt + self.completion * completion)


@dataclass(frozen=True, slots=True)
class TokenPace:
    """`time` is in µs a token, `energy` in µJ."""

    requests: int
    usual_completion: int
    """Tokens of an answer, on average."""
    time: PerToken
    energy: PerToken

    def dur_us(self, prompt: int, completion: int) -> int:
        """From the engine's turn to the end of the answer."""
        return self.time.of(prompt, completion)

    def energy_uj(self, prompt: int, completion: int) -> int:
        """What would be billed."""
        return self.energy.of(prompt, completion)


def pace_of(rows: Sequence[LedgerRow]) -> TokenPace:
    """From usage records of one model whose tokens the engine has counted."""
    rows = _usual(rows)
    counts = [(row.tok_in or 0, row.tok_out or 0) for row in rows]
    usual = round(sum(out for _, out in counts) / len(counts)) if counts else 0
    return TokenPace(
        len(rows),
        usual,
        per_token(counts, [row.dur_us or 0 for row in rows]),
        per_token(counts, [row.e_uj or 0 for row in rows]),
    )


def _usual(rows: Sequence[LedgerRow]) -> Sequence[LedgerRow]:
    paces = [(row.dur_us or 0) / max(1, (row.tok_in or 0) + (row.tok_out or 0)) for row in rows]
    if not paces:
        return rows
    most = TOO_SLOW * sorted(paces)[(len(paces) - 1) // 2]
    return [row for row, pace in zip(rows, paces, strict=True) if pace <= most]


def per_token(counts: Sequence[tuple[int, int]], amounts: Sequence[int]) -> PerToken:
    """The non-negative shares of (prompt, completion) tokens that come nearest to `amounts` (two unknowns, so the
    normal equations and their edges are all there is to look at)."""
    xx = sum(x * x for x, _ in counts)
    xy = sum(x * y for x, y in counts)
    yy = sum(y * y for _, y in counts)
    xz = sum(x * z for (x, _), z in zip(counts, amounts, strict=True))
    yz = sum(y * z for (_, y), z in zip(counts, amounts, strict=True))
    rank = xx * yy - xy * xy
    if rank > 0:
        prompt, completion = (xz * yy - yz * xy) / rank, (yz * xx - xz * xy) / rank
        if prompt >= 0 and completion >= 0:
            return PerToken(prompt, completion)
        if completion < 0:
            return PerToken(xz / xx, 0.0)
    return PerToken(0.0, yz / yy) if yy else PerToken(xz / xx if xx else 0.0, 0.0)
