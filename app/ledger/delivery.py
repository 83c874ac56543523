"""Delivery of one log to one receiver, as a life without I/O: events and the time come in, wishes go out.

Rule 1: pure. Whoever carries the wishes out tells what came of each, once. Rule 2: the log is the outbox: all that is
kept is how much the receiver has acknowledged, and when it is asked again. Rule 3: nothing that a receiver says is
believed here: an acknowledgement or the proof of a fork was verified before it is told.

All times are wall times in µs since the epoch: a machine that slept through an appointment is late, not early. A clock
that is set back puts nothing off for longer than a day.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

SECOND_US = 1_000_000
DAY_S = 86_400
DAY_US = DAY_S * SECOND_US
RETRY_S = (5, 300, 1_800, 7_200, 18_000, 36_000, DAY_S)
"""Waits after a try that failed; the last one repeats for ever. The first try of a record is at once."""
OVERDUE_US = 600 * SECOND_US
"""A record that was not acknowledged for so long is worth a word."""
FETCHES_MAX = 2
"""So often a lost tail is asked for in vain before the receiver's word is only its word. As long as that counts nothing
is recorded: who recorded on because one answer went astray would have forked the log."""
TURNS_MAX = 3
"""So often in a row a receiver may answer with another size before that counts as a failure."""


class DeliveryWay(StrEnum):
    """How a log is delivered."""

    LEDGER = "ledger"
    """Leaves and checkpoint, for a cosignature."""
    SEED = "seed"
    """One flat JSON a transaction: delivered, never cosigned."""


class DeliveryTrouble(StrEnum):
    """What is wrong beyond a receiver that cannot be reached."""

    NONE = ""
    AHEAD = "ahead"
    """It has more records of ours than we have: our tail is lost, and is being fetched."""
    DISPUTED = "disputed"
    """It says that our records are not those that it has."""
    FORK = "fork"
    """It has shown our signature on other records than ours."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far it is, as it is kept. `acked` records are acknowledged, the newest of them at `acked_us`; `since_us` is
    from when on a record waits, `next_us` when the receiver is asked again (0: at once), `note` the newest checkpoint
    with the receiver's cosignature under it."""

    acked: int = 0
    acked_us: int = 0
    since_us: int = 0
    failures: int = 0
    next_us: int = 0
    trouble: DeliveryTrouble = DeliveryTrouble.NONE
    said: str = ""
    """The last thing that went wrong, in a sentence; empty where nothing did since."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """What is kept of one log's way to a receiver: where that is and by which key it cosigns (both empty in the seed's
    way, where the settings say it), and how far it is."""

    log: str
    way: DeliveryWay
    url: str
    vkey: str
    standing: Standing


# Events.


@dataclass(frozen=True, slots=True)
class Grew:
    """The log has `size` records."""

    size: int


@dataclass(frozen=True, slots=True)
class Came:
    """Time has passed, or somebody wants to know whether it is time."""


@dataclass(frozen=True, slots=True)
class Hurry:
    """Whatever stood in the way may have gone (another address, a person's word): try at once."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The receiver has the first `size` records; `note` is the checkpoint over them with its cosignature."""

    size: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Progressed:
    """The receiver has the first `acked` records, and the Push goes on."""

    acked: int


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be told, or not understood. A receiver that is busy may say when to ask again. `proven`: that it has
    newer records of ours, which cannot be fetched, was shown by our own signatures and is not its word alone."""

    sentence: str
    retry_after_s: float | None = None
    proven: bool = False


@dataclass(frozen=True, slots=True)
class Sized:
    """It has `size` records, and not as many as it was told from."""

    size: int


@dataclass(frozen=True, slots=True)
class Contested:
    """It says that our records are not those it has; `forked` where it has proven that."""

    sentence: str
    forked: bool = False


@dataclass(frozen=True, slots=True)
class Refilled:
    """The lost records are back in the log, which has `size` of them."""

    size: int


DeliveryEvent = Grew | Came | Hurry | Acknowledged | Progressed | Failed | Sized | Contested | Refilled


# Wishes.


@dataclass(frozen=True, slots=True)
class Push:
    """Tell the receiver the records from `old` on; Acknowledged, Failed, Sized or Contested comes of it."""

    old: int


@dataclass(frozen=True, slots=True)
class Refill:
    """Fetch the records from `have` up to `size` from the receiver; Refilled, Failed or Contested comes of it."""

    have: int
    size: int


@dataclass(frozen=True, slots=True)
class Beat:
    """A day has passed without a record: write a heartbeat into the log."""


DeliveryWish = Push | Refill | Beat


class Delivery:
    """One log on its way to one receiver. `told` gives what is to be done; `look_us` says when to tell it `Came`.

    `asks`: the receiver is asked once at the start how many records it has, also where nothing waits, and every day
    brings a heartbeat; False for the seed's way, whose receivers understand neither.
    """

    def __init__(self, standing: Standing, size: int, *, asks: bool) -> None:
        # A loss that the last run did not come to mend is found anew by asking.
        ahead = standing.trouble is DeliveryTrouble.AHEAD
        self.standing = replace(standing, trouble=DeliveryTrouble.NONE) if ahead else standing
        self.size = size
        self.busy = False
        """A Push or a Refill is under way."""
        self._asks = asks
        self._asked = not asks
        self._from = 0
        self._turns = 0
        self._in_vain = 0
        self._beat_us = 0

    @property
    def agreed(self) -> bool:
        """The receiver has acknowledged, since the start or since what was lost came back, as much as there was."""
        return self._asks and self._asked

    @property
    def waits(self) -> bool:
        """Whether the receiver has something to hear."""
        return (
            self.standing.acked < self.size
            or not self._asked
            or self.standing.trouble is not DeliveryTrouble.NONE
        )

    def overdue(self, now_us: int) -> bool:
        """Whether something waits for longer than it should, or is contested."""
        standing = self.standing
        if standing.trouble is not DeliveryTrouble.NONE:
            return True
        return standing.acked < self.size and now_us - standing.since_us >= OVERDUE_US

    def look_us(self, now_us: int) -> int | None:
        """The wall time of the next `Came`; None where only another event can change anything."""
        if self.busy:
            return None
        if self.waits:
            return max(self.standing.next_us, now_us)
        return self._beat_due_us() if self._asks else None

    def told(self, event: DeliveryEvent, now_us: int) -> tuple[DeliveryWish, ...]:
        """What is to be done about `event`."""
        self._heed_clock(now_us)
        before = self.standing
        match event:
            case Grew(size):
                self.size = size
            case Came():
                pass
            case Hurry():
                self.standing = replace(before, failures=0, next_us=0)
            case Acknowledged(size, note):
                self._accepted(size, note, now_us)
            case Progressed(acked):
                self.size = max(self.size, acked)
                self.standing = replace(before, acked=acked, acked_us=now_us, failures=0)
            case Failed():
                self._failed(event, now_us)
            case Contested(sentence, forked):
                trouble = DeliveryTrouble.FORK if forked else DeliveryTrouble.DISPUTED
                self._failed(Failed(sentence, DAY_S if forked else None), now_us, trouble)
            case Sized(size):
                refill = self._sized(size, now_us)
                if refill is not None:
                    return (refill,)
            case Refilled(size):
                self.busy, self.size, self._in_vain = False, size, 0
                self.standing = replace(
                    before, acked=size, trouble=DeliveryTrouble.NONE, failures=0, next_us=0, said=""
                )
                self._asked = False
        self._note_since(now_us)
        return self._next(now_us)

    def _accepted(self, size: int, note: str, now_us: int) -> None:
        self.busy, self._asked, self._turns, self._in_vain = False, True, 0, 0
        self.size = max(self.size, size)  # what was told is in the log, though nobody said so yet
        # What still waits came while these were on their way.
        self.standing = Standing(acked=size, acked_us=now_us, since_us=0, note=note or self.standing.note)

    def _failed(self, failed: Failed, now_us: int, trouble: DeliveryTrouble | None = None) -> None:
        self.busy, self._turns = False, 0
        standing = self.standing
        failures = standing.failures + 1
        wait_s = max(RETRY_S[min(failures, len(RETRY_S)) - 1], min(failed.retry_after_s or 0, DAY_S))
        if trouble is None:
            trouble = standing.trouble
            if trouble is DeliveryTrouble.AHEAD and not failed.proven:
                self._in_vain += 1
                wait_s = RETRY_S[0]
                if self._in_vain >= FETCHES_MAX:
                    # A tail that cannot be fetched is the receiver's word against ours.
                    trouble = DeliveryTrouble.DISPUTED
        self.standing = replace(
            standing,
            failures=failures,
            next_us=now_us + round(wait_s * SECOND_US),
            trouble=trouble,
            said=failed.sentence,
        )

    def _sized(self, size: int, now_us: int) -> Refill | None:
        self._turns += 1
        if size > self.size:
            self.standing = replace(
                self.standing,
                trouble=DeliveryTrouble.AHEAD,
                said=f"The receiver has {size} records of ours and we have {self.size}: our newest ones are lost.",
            )
            return Refill(self.size, size)
        if size == self._from:
            self._failed(
                Failed(f"The receiver goes not on from {size} records, though it says that it has so many."),
                now_us,
            )
        elif self._turns > TURNS_MAX:
            self._failed(Failed("The receiver says another number of records each time it is asked."), now_us)
        else:
            self.busy = False
            said = self.standing.said
            if size < self.standing.acked:
                said = f"The receiver has only {size} of the {self.standing.acked} records it had: it gets them again."
            self.standing = replace(self.standing, acked=size, next_us=0, said=said)
        return None

    def _heed_clock(self, now_us: int) -> None:
        """A clock that was set back puts nothing off for longer than a day from now."""
        standing, latest_us = self.standing, now_us + DAY_US
        if standing.next_us > latest_us or standing.acked_us > now_us or standing.since_us > now_us:
            self.standing = replace(
                standing,
                next_us=min(standing.next_us, latest_us),
                acked_us=min(standing.acked_us, now_us),
                since_us=min(standing.since_us, now_us),
            )
        self._beat_us = min(self._beat_us, now_us)

    def _note_since(self, now_us: int) -> None:
        standing = self.standing
        if standing.acked >= self.size:
            since_us = 0
        elif not standing.since_us:
            since_us = now_us
        else:
            return
        if since_us != standing.since_us:
            self.standing = replace(standing, since_us=since_us)

    def _beat_due_us(self) -> int:
        return max(self.standing.acked_us, self._beat_us) + DAY_US

    def _next(self, now_us: int) -> tuple[DeliveryWish, ...]:
        if self.busy:
            return ()
        if self.waits:
            if self.standing.next_us > now_us:
                return ()
            self.busy, self._from = True, self.standing.acked
            return (Push(self._from),)
        if self._asks and self._beat_due_us() <= now_us:
            self._beat_us = now_us
            return (Beat(),)
        return ()
