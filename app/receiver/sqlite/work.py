"""One transaction of the receiver's on a SQLite file: `IntakeWork`.

Rule: nothing here begins or ends the transaction; `store.py` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apsw

from app.ledger.merkle import Frontier
from app.ledger.sqlite.nodes import StoredNodes
from app.receiver.kept import Growth, KeptLog
from app.receiver.parties import Charge, FlatOutcome, FlatRow
from app.receiver.rows import CHARGE, LOG, charge_of, keys_text, log_of
from app.receiver.store import CHARGES_A_LOG, KEPT_EVERY, LogName

IDS_AT_ONCE = 256


class SqliteHeld:
    """The records of log number `k`."""

    def __init__(self, connection: apsw.Connection, k: int) -> None:
        self._connection = connection
        self._k = k

    def hashes(self, begin: int, end: int) -> list[bytes]:
        """See HeldRecords."""
        query = "SELECT leaf FROM record WHERE log = ? AND seq >= ? AND seq < ? ORDER BY seq"
        return [leaf for (leaf,) in self._connection.execute(query, (self._k, begin, end))]

    def frontier(self, size: int) -> Frontier:
        """See HeldRecords."""
        return StoredNodes(self._connection, self._k).frontier(size)

    def known(self, ids: Sequence[bytes]) -> set[bytes]:
        """See HeldRecords."""
        found: set[bytes] = set()
        for at in range(0, len(ids), IDS_AT_ONCE):
            some = ids[at : at + IDS_AT_ONCE]
            query = f"SELECT id FROM record WHERE log = ? AND id IN ({','.join('?' * len(some))})"
            found |= {identity for (identity,) in self._connection.execute(query, (self._k, *some))}
        return found

    def body(self, seq: int) -> bytes:
        """See Held."""
        query = "SELECT body FROM record WHERE log = ? AND seq = ?"
        row = self._connection.execute(query, (self._k, seq)).fetchone()
        return bytes(row[0]) if row else b""


class SqliteWork:
    """Make it within a transaction that writes."""

    def __init__(self, connection: apsw.Connection, names: Iterable[LogName]) -> None:
        self._connection = connection
        self.logs: dict[LogName, KeptLog] = {}
        for name in names:
            query = f"SELECT {LOG} FROM log WHERE enrolment = ? AND name = ?"
            row = connection.execute(query, name).fetchone()
            if row is not None:
                self.logs[name] = log_of(row)

    def count_logs(self, enrolment: str) -> int:
        """See IntakeWork."""
        return int(self._one("SELECT count(*) FROM log WHERE enrolment = ?", enrolment))

    def held(self, log: KeptLog | None) -> SqliteHeld:
        """See IntakeWork."""
        return SqliteHeld(self._connection, 0 if log is None else log.head.k)

    def keep(self, growth: Growth, now_s: int) -> None:
        """See IntakeWork."""
        log, head = growth.log, growth.log.head
        counted = (head.cum, head.requests, head.tok_in, head.tok_out, head.dur_us, head.e_uj)
        newest = (
            head.size, *counted, head.frontier.to_bytes(), head.checkpoint, keys_text(log), log.cosigned_s, now_s,
        )  # fmt: skip
        k = head.k
        if k:
            self._connection.execute(
                "UPDATE log SET size = ?, cum = ?, requests = ?, tok_in = ?, tok_out = ?, dur_us = ?, e_uj = ?,"
                " frontier = ?, checkpoint = ?, keys = ?, cosigned = ?, heard = ? WHERE k = ?",
                (*newest, k),
            )
        else:
            k = self._one(
                "INSERT INTO log (size, cum, requests, tok_in, tok_out, dur_us, e_uj, frontier, checkpoint, keys,"
                " cosigned, heard, enrolment, name, begun)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING k",
                *newest, log.enrolment, log.name, now_s,
            )  # fmt: skip
        self._connection.executemany(
            "INSERT INTO record (log, seq, t0, id, kind, received, leaf, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (k, leaf.seq, leaf.t0, leaf.id, leaf.kind, now_s, leaf.leaf, leaf.body)
                for leaf in growth.leaves
            ],
        )
        self._connection.executemany(
            "INSERT INTO tile (log, level, i, hash) VALUES (?, ?, ?, ?)",
            [(k, level, index, node) for level, index, node in growth.tiles],
        )
        if head.size // KEPT_EVERY > (head.size - len(growth.leaves)) // KEPT_EVERY:
            self._connection.execute(
                "INSERT OR IGNORE INTO kept (log, size, checkpoint, cosigned) VALUES (?, ?, ?, ?)",
                (k, head.size, head.checkpoint, log.cosigned_s),
            )

    def heard(self, log: KeptLog, now_s: int) -> None:
        """See IntakeWork."""
        self._connection.execute(
            "UPDATE log SET cosigned = ?, heard = ? WHERE k = ?", (log.cosigned_s, now_s, log.head.k)
        )

    def charge(self, charge: Charge) -> None:
        """See IntakeWork."""
        held = "SELECT count(*) FROM charge WHERE enrolment = ? AND log = ?"
        if self._one(held, charge.enrolment, charge.log) >= CHARGES_A_LOG and not self._made_room(charge):
            return
        self._connection.execute(
            f"INSERT OR IGNORE INTO charge ({CHARGE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            (
                charge.enrolment,
                charge.log,
                charge.at_s,
                charge.code,
                charge.sentence,
                charge.seq,
                int(charge.proof),
                charge.held_note,
                charge.held_cosigned_s,
                charge.held_body,
                charge.shown_note,
                charge.shown_body,
            ),
        )

    def _made_room(self, charge: Charge) -> bool:
        """Whether a suspicion gave way to a new proof: nobody who lets himself be suspected often hides one so."""
        known = "SELECT count(*) FROM charge WHERE enrolment = ? AND log = ? AND code = ? AND shown_note = ?"
        if not charge.proof or self._one(known, charge.enrolment, charge.log, charge.code, charge.shown_note):
            return False
        oldest = "SELECT min(n) FROM charge WHERE enrolment = ? AND log = ? AND NOT proof"
        made = self._connection.execute(
            f"DELETE FROM charge WHERE n = ({oldest}) RETURNING n", (charge.enrolment, charge.log)
        )
        return made.fetchone() is not None

    def suspicions(self, log: KeptLog) -> list[Charge]:
        """See IntakeWork."""
        query = f"SELECT {CHARGE} FROM charge WHERE enrolment = ? AND log = ? AND NOT proof"
        return [charge_of(row) for row in self._connection.execute(query, (log.enrolment, log.name))]

    def settle(self, charge: Charge, proven: bool) -> None:
        """See IntakeWork."""
        query = "UPDATE charge SET proof = 1 WHERE n = ?" if proven else "DELETE FROM charge WHERE n = ?"
        self._connection.execute(query, (charge.n,))

    def keep_flat(self, row: FlatRow) -> FlatOutcome:
        """See IntakeWork."""
        query = "SELECT body FROM flat WHERE enrolment = ? AND id = ?"
        held = self._connection.execute(query, (row.enrolment, row.id)).fetchone()
        if held is not None:
            return FlatOutcome.AGAIN if held[0] == row.body else FlatOutcome.DIFFERS
        self._connection.execute(
            "INSERT INTO flat (enrolment, id, received, genuine, cost, body) VALUES (?, ?, ?, ?, ?, ?)",
            (
                row.enrolment,
                row.id,
                row.received_s,
                None if row.genuine is None else int(row.genuine),
                row.cost_pico,
                row.body,
            ),
        )
        return FlatOutcome.KEPT

    def _one(self, query: str, *values: object) -> int:
        for (value,) in self._connection.execute(query, values):
            found = int(value)
        return found
