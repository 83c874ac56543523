"""Whose a stretch of work was, once the engine has said when each request was loading, reading and writing.

Rule 1: while requests run, they share every stretch evenly; when one ends, the engine's own durations say what it did
when, and its shares are corrected before it is priced. Nothing is made or lost by that: what one gives back, the others
that are still open get, and where there are none it is nobody's. A bill that was written stays as it is.
Rule 2: only what is sure is moved: a stretch that lies wholly in one phase. What a request waited for in the engine's
queue it did not use; the load of a model belongs to the request that caused it, the oldest; and side by side,
streaming the weights and each one's tokens weigh as `token_power` has learned.
Rule 3: what is moved onto an open request between two looks at its bill is bounded, so that its hold covers it.
Pure. Energy in units, times in monotonic microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.power.slices import Account, Stretch
from app.power.token_power import TokenCosts, TokenPower

WAIT_LEAST_US = 250_000
"""A shorter wait is the engine's own overhead."""
LOAD_LEAST_US = 300_000
"""Ollama says some milliseconds of load also where nothing had to be loaded."""
STRETCHES_MOST = 2_048
"""So many are remembered of a request, its first; later ones stay shared evenly."""
MOVED_MOST_US = 4_000_000
"""So much time of work may be moved onto a request between two looks at its bill."""
MODELS_MOST = 16


@dataclass(frozen=True, slots=True)
class Phases:
    """What the engine said of one request at its end, in microseconds, and its tokens, where it counted them."""

    load_us: int
    prompt_us: int
    answer_us: int
    prompt_tokens: int | None
    answer_tokens: int | None


class Attribution:
    """Remembers who was given what, and corrects it."""

    def __init__(self) -> None:
        self._models: dict[str, TokenPower] = {}
        self._busy = _Busy()

    def costs(self, model: str) -> TokenCosts | None:
        """What the work of this model costs apart; None until that is known."""
        learned = self._models.get(model)
        return None if learned is None else learned.costs()

    def given(self, start_us: int, end_us: int, given: dict[Account, int]) -> None:
        """A stretch was shared out so."""
        if len(given) < 2 and all(account.seen for account in given):
            return  # whoever writes alone owes nobody anything
        stretch = Stretch(start_us, end_us, given)
        for account in given:
            if len(account.stretches) < STRETCHES_MOST:
                account.stretches.append(stretch)

    def closing(self, account: Account, now_us: int, phases: Phases | None) -> int:
        """Correct what `account` was given before it closes at `now_us`. Returns the units that are nobody's now."""
        if phases is None:
            return 0
        begin_us = now_us - phases.prompt_us - phases.answer_us
        loaded_us = min(account.opened_us + phases.load_us, begin_us)
        waits = begin_us - loaded_us >= WAIT_LEAST_US
        loads = phases.load_us >= LOAD_LEAST_US
        costs = self.costs(account.model)
        nobodys = 0
        for stretch in account.stretches:
            if stretch.start_us < loaded_us:
                if loads and stretch.end_us <= loaded_us:
                    self._load(account, stretch)
            elif stretch.end_us <= begin_us:
                if waits:
                    nobodys += self._give_back(account, stretch)
            elif stretch.start_us >= begin_us and costs is not None:
                self._weigh(account, stretch, now_us, phases, costs)
        return nobodys

    def closed(
        self, account: Account, now_us: int, energy_uj: int, phases: Phases | None, *, others: bool
    ) -> None:
        """It has closed with this bill. `others`: there are open ones still."""
        busy = self._busy
        known = phases is not None and phases.prompt_tokens is not None and phases.answer_tokens is not None
        if phases is not None and known and not account.modelled and phases.load_us < LOAD_LEAST_US:
            busy.add(account, energy_uj, phases.prompt_tokens or 0, phases.answer_tokens or 0)
        else:
            busy.spoiled = True
        if others:
            return
        if not busy.spoiled and busy.model:
            self._learn(busy.model, now_us - busy.since_us, busy)
        self._busy = _Busy()

    def _learn(self, model: str, span_us: int, busy: _Busy) -> None:
        learned = self._models.pop(model, None) or TokenPower()
        self._models[model] = (
            learned  # the newest last, so that the first is the one that was used the longest ago
        )
        if len(self._models) > MODELS_MOST:
            del self._models[next(iter(self._models))]
        learned.observe(span_us / 1e6, busy.prompt_tokens, busy.answer_tokens, busy.energy_uj / 1e6)

    def _give_back(self, account: Account, stretch: Stretch) -> int:
        """It waited then, and what it was given is the others'. Returns what nobody can take."""
        units = stretch.given[account]
        takers = [other for other in stretch.given if other is not account and _may_take(other, stretch)]
        _move(account, stretch, -units)
        if not takers:
            return units
        for index, other in enumerate(takers):
            _move(other, stretch, units * (index + 1) // len(takers) - units * index // len(takers))
        return 0

    def _load(self, account: Account, stretch: Stretch) -> None:
        """The model was loading for the oldest who waited for it."""
        waiting = [
            other
            for other in stretch.given
            if other is account
            or (not other.closed and other.model == account.model and not 0 < other.first_us < stretch.end_us)
        ]
        oldest = min(waiting, key=lambda other: other.order)
        payers = [account] if oldest is not account else [other for other in waiting if other is not account]
        for payer in payers:
            if _may_take(oldest, stretch, closing=account):
                units = stretch.given[payer]
                _move(payer, stretch, -units)
                _move(oldest, stretch, units)

    def _weigh(
        self, account: Account, stretch: Stretch, now_us: int, phases: Phases, costs: TokenCosts
    ) -> None:
        """Share the stretch by what each one's tokens weigh, as far as that is known and the others are open."""
        count = len(stretch.given)
        answer_begin_us = now_us - phases.answer_us
        if stretch.end_us <= answer_begin_us:
            mine = costs.weight_w(count, _rate(phases.prompt_tokens, phases.prompt_us), 0.0)
        elif stretch.start_us >= answer_begin_us:
            mine = costs.weight_w(count, 0.0, _rate(phases.answer_tokens, phases.answer_us))
        else:
            return
        weights = {account: mine}
        for other in stretch.given:
            if other is not account and _may_take(other, stretch) and 0 < other.first_us <= stretch.start_us:
                pace = _rate(other.tokens, other.told_us - other.first_us)
                weights[other] = costs.weight_w(count, 0.0, pace)
        whole = sum(weights.values())
        if len(weights) < 2 or whole <= 0:
            return
        pool = sum(stretch.given[sharer] for sharer in weights)
        left = pool
        for sharer in list(weights)[1:]:
            part = pool * round(weights[sharer] / whole * 1_000_000) // 1_000_000
            left -= part
            _move(sharer, stretch, part - stretch.given[sharer])
        _move(account, stretch, left - stretch.given[account])


class _Busy:
    """What ran since nobody did."""

    __slots__ = ("answer_tokens", "energy_uj", "model", "prompt_tokens", "since_us", "spoiled")

    def __init__(self) -> None:
        self.model = ""
        self.since_us = self.energy_uj = self.prompt_tokens = self.answer_tokens = 0
        self.spoiled = False

    def add(self, account: Account, energy_uj: int, prompt_tokens: int, answer_tokens: int) -> None:
        if not self.model:
            self.model, self.since_us = account.model, account.opened_us
        self.spoiled = self.spoiled or account.model != self.model
        self.since_us = min(self.since_us, account.opened_us)
        self.energy_uj += energy_uj
        self.prompt_tokens += prompt_tokens
        self.answer_tokens += answer_tokens


def _may_take(account: Account, stretch: Stretch, closing: Account | None = None) -> bool:
    """Whether the account is open, and its hold covers what comes onto it; what comes back to the one that closes is
    its own bill, which waits for nothing."""
    if account is closing:
        return True
    if account.closed or account.moved_us >= MOVED_MOST_US:
        return False
    account.moved_us += stretch.end_us - stretch.start_us
    return True


def _move(account: Account, stretch: Stretch, units: int) -> None:
    account.energy += units
    stretch.given[account] += units


def _rate(tokens: int | None, span_us: int) -> float:
    """Tokens a second."""
    return 0.0 if not tokens or span_us <= 0 else tokens * 1e6 / span_us
