"""The spending cap, and the money that running requests hold under it.

Rule 1: spent + held never exceeds the cap, whatever order things happen in, so long as the cap itself is not
lowered below what is already spent and held; even then nothing more is charged than the new cap leaves. Rule 2:
nothing is charged that nobody recorded: every method that takes money returns what it really took. No clock, no lock:
one thread owns a budget.
"""

from __future__ import annotations


class HoldError(LookupError):
    """A hold was made twice, or the one named does not exist: a mistake of the program, not of a person."""


class Budget:
    """All amounts in pico-units. Every operation is O(1)."""

    __slots__ = ("_cap", "_held", "_holds", "_spent")

    def __init__(self, cap_pico: int, spent_pico: int = 0) -> None:
        self._cap = _not_negative("cap", cap_pico)
        self._spent = spent_pico
        self._held = 0
        self._holds: dict[str, int] = {}

    @property
    def cap(self) -> int:
        """The most that may ever be spent."""
        return self._cap

    @property
    def spent(self) -> int:
        """What was charged so far, adjustments included."""
        return self._spent

    @property
    def held(self) -> int:
        """The sum of all open holds."""
        return self._held

    @property
    def remaining(self) -> int:
        """Room for new holds; zero where a lowered cap is already passed."""
        return max(0, self._cap - self._spent - self._held)

    @property
    def over(self) -> int:
        """By how much a lowered cap is passed by what is spent and held; zero where all of it fits."""
        return max(0, self._spent + self._held - self._cap)

    def held_by(self, hold_id: str) -> int:
        """The amount of one open hold. Raises HoldError for an unknown id."""
        try:
            return self._holds[hold_id]
        except KeyError:
            raise HoldError(f"no hold {hold_id!r}") from None

    def hold(self, hold_id: str, amount: int) -> bool:
        """Reserve `amount`; False, and nothing reserved, where the cap has no room for it."""
        if hold_id in self._holds:
            raise HoldError(f"hold {hold_id!r} exists already")
        if self._spent + self._held + _not_negative("hold", amount) > self._cap:
            return False
        self._holds[hold_id] = amount
        self._held += amount
        return True

    def renew(self, hold_id: str, amount: int) -> bool:
        """Set a hold to `amount`; False, and the old amount kept, where the cap has no room for a larger one."""
        more = _not_negative("hold", amount) - self.held_by(hold_id)
        if more > 0 and self._spent + self._held + more > self._cap:
            return False
        self._holds[hold_id] = amount
        self._held += more
        return True

    def cover(self, hold_id: str, cost: int) -> int:
        """How much of `cost` settling this hold would charge. Raises HoldError for an unknown id."""
        return min(cost, self.held_by(hold_id) + self.remaining, max(0, self._cap - self._spent))

    def settle(self, hold_id: str, cost: int) -> int:
        """Release the hold and charge `cost`, at most what the hold and the remaining room cover.

        Returns what was charged: the amount to record. Negative costs (negative prices) are charged in full.
        A cap that was lowered meanwhile holds for what ran before, too: above it nothing is charged.
        """
        charged = self.cover(hold_id, cost)
        self.release(hold_id)
        self._spent += charged
        return charged

    def release(self, hold_id: str) -> None:
        """Give a hold back without charging anything. Raises HoldError for an unknown id."""
        self._held -= self.held_by(hold_id)
        del self._holds[hold_id]

    def charge(self, cost: int) -> int:
        """Charge what had no hold (labour, uptime, adjustments), at most the remaining room; returns the charge."""
        charged = min(cost, self.remaining)
        self._spent += charged
        return charged

    def restore(self, cost: int) -> None:
        """Count what was charged before and was lost from the count: in full, whatever the cap."""
        self._spent += cost

    def begin_with(self, spent_pico: int) -> None:
        """From now on so much is spent: a period of `Purse` began, or what is known of it changed. Holds stay."""
        self._spent = spent_pico

    def set_cap(self, cap_pico: int) -> None:
        """Takes effect at once. Below what is spent and held it refuses new holds; `over` says by how much, so that
        whoever runs something under a hold can end it."""
        self._cap = _not_negative("cap", cap_pico)


def _not_negative(what: str, amount: int) -> int:
    if amount < 0:
        raise ValueError(f"A {what} cannot be negative; {amount} was asked for.")
    return amount
