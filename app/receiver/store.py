"""What a receiver's store can do, whichever database is behind it.

Rule 1: an object belongs to one thread and blocks it; the writer and the reader have one each. Rule 2: what `work`
yields is one transaction: durable as a whole when the block ends, or as if it had never been. Rule 3: errors are
`StoreFault`s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from app.ledger.merkle import Frontier
from app.ledger.tiled import TiledNodes
from app.receiver.kept import Growth, HeldRecords, KeptLog
from app.receiver.parties import Charge, Enrolment, FlatOutcome, FlatRow, Listed

CHARGES_A_LOG = 64
"""More are not kept: a gateway that forks with every request would fill the disk. A suspicion gives way to a proof."""
LOGS_AN_ENROLMENT = 64
"""A secret that leaked must not fill the disk with logs either."""
KEPT_EVERY = 4096
"""Of a log, besides its newest checkpoint, the first one after every so many records is kept."""


class LogName(NamedTuple):
    """Which log: two gateways may call theirs the same."""

    enrolment: str
    log: str


class Held(HeldRecords, Protocol):
    """The records of one log within a transaction."""

    def body(self, seq: int) -> bytes:
        """The record's exact bytes."""

    def frontier(self, size: int) -> Frontier:
        """See HeldRecords."""


class IntakeWork(Protocol):
    """One transaction over some logs, which nobody else changes meanwhile."""

    @property
    def logs(self) -> Mapping[LogName, KeptLog]:
        """Those of the logs asked for that there are."""

    def count_logs(self, enrolment: str) -> int:
        """How many logs there are of an enrolment."""

    def held(self, log: KeptLog | None) -> Held:
        """What is kept of a log; of None, nothing."""

    def keep(self, growth: Growth, now_s: int) -> None:
        """Add it; one growth a log."""

    def heard(self, log: KeptLog, now_s: int) -> None:
        """Its newest checkpoint is cosigned once more."""

    def charge(self, charge: Charge) -> None:
        """Keep what speaks against a gateway, once, and while there is room for it. Proofs go before suspicions."""

    def suspicions(self, log: KeptLog) -> Sequence[Charge]:
        """The charges against a log that prove nothing yet."""

    def settle(self, charge: Charge, proven: bool) -> None:
        """It proves something after all, or it was nothing and is forgotten."""

    def keep_flat(self, row: FlatRow) -> FlatOutcome:
        """Keep a transaction in the seed's form, once."""


class CopyStore(Protocol):
    """Everything a receiver keeps."""

    kind: str
    """What to call it: SQLite or PostgreSQL."""

    def close(self) -> None:
        """Let go of it. Again is harmless."""

    def work(self, asked: Mapping[LogName, Sequence[bytes]]) -> AbstractContextManager[IntakeWork]:
        """Lock these logs and change them; at its end all of it is durable. The ids are those that `held.known` will be
        asked for, so that they can be looked up together."""

    def enrolments(self) -> tuple[Enrolment, ...]:
        """Everybody, those removed too, oldest first."""

    def enrol(self, enrolment: Enrolment) -> None:
        """Add one, or change the secret and the key of the one of that id. EnrolmentError where the name is taken."""

    def remove(self, enrolment: str, now_s: int) -> None:
        """Its secret opens nothing from now on; what it sent stays."""

    def logs(self, enrolment: str | None, name: str | None = None) -> tuple[Listed, ...]:
        """The logs of one enrolment, or of all; with `name` only those called so."""

    def bodies(self, log: KeptLog, begin: int, limit: int) -> tuple[bytes, ...]:
        """The exact bytes of up to `limit` records from number `begin` on."""

    def newest(self, enrolment: str | None, log: KeptLog | None, limit: int) -> tuple[bytes, ...]:
        """The last records to come, of one log, of one enrolment or of all, the newest first."""

    def nodes(self, log: KeptLog) -> TiledNodes:
        """Its tree's nodes."""

    def charges(self, enrolment: str | None, limit: int) -> tuple[Charge, ...]:
        """What speaks against one gateway, or all, the newest first."""

    def flat_rows(self, enrolment: str | None, after: int, limit: int) -> Sequence[tuple[int, FlatRow]]:
        """What came in the seed's form, oldest first: up to `limit` with their numbers, which are above `after`."""

    def stretch(self, log: KeptLog, begin: int, limit: int) -> Iterable[tuple[int, bytes, bytes]]:
        """(seq, leaf hash as stored, body) of records from number `begin` on, for an audit."""

    def wrong_index(self) -> str | None:
        """What the database says where one of its indices does not lead to all that is held; None where each does.
        It reads everything that is held. IndicesUnchecked where this database cannot say."""
