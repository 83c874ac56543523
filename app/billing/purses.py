"""What pays for a request: the contributor's cap, and beside it the purses of its key and its client.

Rule 1: a request is held in all of them or in none, and what it is charged is the least that each of them covers, so
that one amount is recorded and none is overspent. Rule 2: a purse that comes while a request runs is charged for it all
the same, though nothing was held there. Rule 3: where nobody has a purse, nobody pays for looking.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from app.billing.purse import Purse


@dataclass(frozen=True, slots=True)
class PurseOf:
    """A purse, and whose: a `key`'s or a `client`'s."""

    whose: str
    purse: Purse


Purses = tuple[PurseOf, ...]


class Funds:
    """All amounts in pico-units, all times wall time in µs. `key` is a key's id and `log` its client's log."""

    def __init__(self, cap: Purse) -> None:
        self.cap = cap
        self._of_cap = PurseOf("cap", cap)
        self._of_key: Mapping[str, Purses] = {}
        self._of_client: Mapping[str, Purses] = {}
        self._new: frozenset[PurseOf] = frozenset()
        self.beside_cap = False
        """Whether anybody has a purse beside the cap."""
        self._beside: dict[str, Purses] = {}
        """Hold → the purses beside the cap in which it is."""

    def know(
        self,
        of_key: Mapping[str, Purses],
        of_client: Mapping[str, Purses],
        new: Collection[PurseOf] = (),
    ) -> None:
        """From now on these have purses, by key's id and by client's log. Those that are `new` are charged already, and
        hold nothing before it is known what was spent until now."""
        self._of_key, self._of_client, self._new = of_key, of_client, frozenset(new)
        self.beside_cap = bool(of_key or of_client)

    def of(self, key: str, log: str) -> Purses:
        """The purses of this key and its client."""
        if not self.beside_cap:
            return ()
        return self._of_key.get(key, ()) + self._of_client.get(log, ())

    def _payers(self, key: str, log: str) -> Purses:
        purses = self.of(key, log)
        return tuple(each for each in purses if each not in self._new) if self._new else purses

    def look(self, now_us: int) -> None:
        """See `Purse.look`: all that have something held."""
        self.cap.look(now_us)
        for each in self._held_in():
            each.purse.look(now_us)

    def spent_out(self, amount: int, key: str, log: str, now_us: int) -> PurseOf | None:
        """The purse of this key or its client in which `amount` has no room beside what is spent, whatever is held."""
        for each in self._payers(key, log):
            each.purse.look(now_us)
            if not each.purse.exact or each.purse.spent + amount > each.purse.cap:
                return each
        return None

    def hold(self, hold_id: str, amount: int, key: str, log: str, now_us: int) -> PurseOf | None:
        """Reserve `amount`; what has no room for it, or whose spending is not known yet, and then nothing is reserved.
        Raises HoldError."""
        if not self.beside_cap:
            return None if self.cap.hold(hold_id, amount, now_us) else self._of_cap
        beside = self._payers(key, log)
        held: list[PurseOf] = []
        for each in (*beside, self._of_cap):
            each.purse.look(now_us)
            known = each is self._of_cap or each.purse.exact
            if not known or not each.purse.hold(hold_id, amount, now_us):
                for other in held:
                    other.purse.release(hold_id)
                return each
            held.append(each)
        if beside:
            self._beside[hold_id] = beside
        return None

    def renew(self, hold_id: str, amount: int, now_us: int) -> PurseOf | None:
        """Set a hold to `amount`; what has no room for it, and then the old amount is kept everywhere."""
        beside = self._beside.get(hold_id)
        if beside is None:
            return None if self.cap.renew(hold_id, amount, now_us) else self._of_cap
        before = self.cap.held_by(hold_id)
        grown: list[PurseOf] = []
        for each in (*beside, self._of_cap):
            if not each.purse.renew(hold_id, amount, now_us):
                for other in grown:
                    other.purse.renew(hold_id, before, now_us)
                return each
            grown.append(each)
        return None

    def settle(self, hold_id: str, cost: int, key: str, log: str, ended_us: int, now_us: int) -> int:
        """Release the hold and charge `cost`, at most what all of them cover; returns the charge: it is recorded."""
        beside = self._beside.pop(hold_id, ())
        for each in beside:
            cost = min(cost, each.purse.cover(hold_id, cost, ended_us, now_us))
        charged = self.cap.settle(hold_id, cost, ended_us, now_us)
        for each in beside:
            each.purse.settle(hold_id, charged, ended_us, now_us)
        if self.beside_cap:
            for each in self.of(key, log):
                if each not in beside:
                    each.purse.restore(charged, ended_us, now_us)
        return charged

    def release(self, hold_id: str) -> None:
        """Give a hold back without charging anything. Raises HoldError."""
        self.cap.release(hold_id)
        for each in self._beside.pop(hold_id, ()):
            each.purse.release(hold_id)

    def refund(self, cost: int, key: str, log: str, ended_us: int, now_us: int) -> None:
        """Give back what a settled request was charged."""
        for purse in (self.cap, *(each.purse for each in self.of(key, log))):
            purse.restore(-cost, ended_us, now_us)

    def left(self, key: str, log: str) -> int:
        """What this key may still spend, as things were when they were looked at last; holds are not taken off."""
        left = self.cap.cap - self.cap.spent
        for each in self.of(key, log):
            left = min(left, each.purse.cap - each.purse.spent)
        return max(0, left)

    def over(self) -> Iterator[PurseOf]:
        """Whose sum is passed by what is spent and held: it was lowered, or its period began without room for that."""
        if self.cap.over:
            yield self._of_cap
        for each in self._held_in():
            if each.purse.over:
                yield each

    def holds_in(self, hold_id: str, purse: PurseOf) -> bool:
        """Whether something is held in that purse under this name."""
        return purse is self._of_cap or purse in self._beside.get(hold_id, ())

    def _held_in(self) -> tuple[PurseOf, ...]:
        return tuple(dict.fromkeys(each for beside in self._beside.values() for each in beside))
