"""One transaction of the receiver's in PostgreSQL: `IntakeWork`.

Rule 1: nothing here begins or ends the transaction; `store.py` does. Rule 2: a batch costs a fixed number of round
trips, however many submissions are in it: what they ask for is looked up together before, and what they add is written
together at the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from app.ledger.merkle import Frontier
from app.ledger.tiled import TiledNodes
from app.receiver.kept import Growth, KeptLog
from app.receiver.parties import Charge, FlatOutcome, FlatRow
from app.receiver.postgres.connection import Rows
from app.receiver.rows import CHARGE, LOG, charge_of, keys_text, log_of
from app.receiver.store import CHARGES_A_LOG, KEPT_EVERY, LogName

_LEAVES = "SELECT seq, leaf FROM record WHERE log = %s AND seq >= %s AND seq < %s ORDER BY seq"
_TILES = "SELECT i, hash FROM tile WHERE log = %s AND level = %s AND i >= %s AND i < %s ORDER BY i"


Query = Callable[[str, Sequence[Any]], Iterable[tuple[Any, ...]]]


class PostgresNodes(TiledNodes):
    """A `merkle.NodeGetter` over log number `k`, whose rows `query` reads; LedgerCorrupt where some are missing."""

    def __init__(self, query: Query, k: int) -> None:
        def fetch(level: int, begin: int, end: int) -> Iterable[tuple[Any, ...]]:
            return query(_TILES, (k, level, begin, end)) if level else query(_LEAVES, (k, begin, end))

        super().__init__(fetch)


class PostgresHeld:
    """The records of log number `k`, of whose ids those in `known` were looked up before."""

    def __init__(self, work: PostgresWork, k: int, known: set[bytes]) -> None:
        self._work = work
        self._k = k
        self._known = known

    def hashes(self, begin: int, end: int) -> list[bytes]:
        """See HeldRecords."""
        return [leaf for _, leaf in self._work.rows(_LEAVES, (self._k, begin, end))]

    def frontier(self, size: int) -> Frontier:
        """See HeldRecords."""
        self._work.flush()
        return PostgresNodes(self._work.rows, self._k).frontier(size)

    def known(self, ids: Sequence[bytes]) -> set[bytes]:
        """See HeldRecords; of the ids that the work was begun with."""
        return self._known.intersection(ids)

    def body(self, seq: int) -> bytes:
        """See Held."""
        query = "SELECT body FROM record WHERE log = %s AND seq = %s"
        row = self._work.connection.execute(query, (self._k, seq), binary=True).fetchone()
        return bytes(row[0]) if row else b""


class PostgresWork:
    """Make it within a transaction, and `flush` it at the end."""

    def __init__(self, connection: Rows, asked: Mapping[LogName, Sequence[bytes]]) -> None:
        self.connection = connection
        self.logs: dict[LogName, KeptLog] = {}
        self._known: dict[int, set[bytes]] = defaultdict(set)
        self._grown: list[tuple[Growth, int]] = []
        self._heard: list[tuple[KeptLog, int]] = []
        if asked:
            self._look_up(asked)

    def _look_up(self, asked: Mapping[LogName, Sequence[bytes]]) -> None:
        """Lock the logs, and find which of the ids they have already."""
        self._lock(asked)
        missing = [name for name in asked if name not in self.logs]
        if missing:
            # Two receivers may begin the same log at once: the second one waits here, and then finds it.
            self.connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(enrolment || ' ' || name, 0))"
                " FROM unnest(%s::text[], %s::text[]) AS wanted (enrolment, name)",
                _columns(missing),
            )
            self._lock({name: asked[name] for name in missing})

    def _lock(self, asked: Mapping[LogName, Sequence[bytes]]) -> None:
        places = [(name, identity) for name, ids in asked.items() for identity in ids]
        with self.connection.pipeline():
            logs = self.connection.execute(
                f"SELECT {LOG} FROM log WHERE (enrolment, name) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"
                " ORDER BY k FOR UPDATE OF log",
                _columns(asked),
                binary=True,
            )
            known = self.connection.execute(
                "SELECT log.k, record.id"
                " FROM unnest(%s::text[], %s::text[], %b::bytea[]) AS wanted (enrolment, name, id)"
                " JOIN log ON log.enrolment = wanted.enrolment AND log.name = wanted.name"
                " JOIN record ON record.log = log.k AND record.id = wanted.id",
                (*_columns(name for name, _ in places), [identity for _, identity in places]),
                binary=True,
            )
        for row in logs:
            log = log_of(row)
            self.logs[LogName(log.enrolment, log.name)] = log
        for k, identity in known:
            self._known[k].add(identity)

    def rows(self, query: str, values: Sequence[Any]) -> Iterable[tuple[Any, ...]]:
        """The rows of a query within the transaction."""
        return self.connection.execute(query.encode(), values, binary=True)

    def count_logs(self, enrolment: str) -> int:
        """See IntakeWork."""
        self.flush()
        return self._one("SELECT count(*) FROM log WHERE enrolment = %s", enrolment)

    def held(self, log: KeptLog | None) -> PostgresHeld:
        """See IntakeWork."""
        k = 0 if log is None else log.head.k
        return PostgresHeld(self, k, self._known[k])

    def keep(self, growth: Growth, now_s: int) -> None:
        """See IntakeWork."""
        self._grown.append((growth, now_s))

    def heard(self, log: KeptLog, now_s: int) -> None:
        """See IntakeWork."""
        self._heard.append((log, now_s))

    def flush(self) -> None:
        """Write what was kept so far."""
        grown, self._grown = self._grown, []
        heard, self._heard = self._heard, []
        ks = [growth.log.head.k or self._begin(growth, now_s) for growth, now_s in grown]
        if grown:
            with self.connection.pipeline():
                self._write(grown, ks)
        if heard:
            self.connection.execute(
                "UPDATE log SET cosigned = given.cosigned, heard = given.heard"
                " FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS given (k, cosigned, heard)"
                " WHERE log.k = given.k",
                (
                    [log.head.k for log, _ in heard],
                    [log.cosigned_s for log, _ in heard],
                    [now_s for _, now_s in heard],
                ),
            )

    def _begin(self, growth: Growth, now_s: int) -> int:
        """The row of a new log; what it holds is written with the others."""
        log = growth.log
        return self._one(
            "INSERT INTO log (enrolment, name, keys, size, cum, requests, tok_in, tok_out, dur_us, e_uj, frontier,"
            " checkpoint, cosigned, begun, heard)"
            " VALUES (%s, %s, '', 0, 0, 0, 0, 0, 0, 0, '', '', 0, %s, 0) RETURNING k",
            log.enrolment, log.name, now_s,
        )  # fmt: skip

    def _write(self, grown: Sequence[tuple[Growth, int]], ks: Sequence[int]) -> None:
        logs = [growth.log for growth, _ in grown]
        heads = [log.head for log in logs]
        self.connection.execute(
            "UPDATE log SET size = given.size, cum = given.cum, requests = given.requests, tok_in = given.tok_in,"
            " tok_out = given.tok_out, dur_us = given.dur_us, e_uj = given.e_uj, frontier = given.frontier,"
            " checkpoint = given.checkpoint, keys = given.keys, cosigned = given.cosigned, heard = given.heard"
            " FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],"
            " %s::bigint[], %s::bigint[], %b::bytea[], %s::text[], %s::text[], %s::bigint[], %s::bigint[])"
            " AS given (k, size, cum, requests, tok_in, tok_out, dur_us, e_uj, frontier, checkpoint, keys, cosigned,"
            " heard) WHERE log.k = given.k",
            (
                ks,
                [head.size for head in heads],
                [head.cum for head in heads],
                [head.requests for head in heads],
                [head.tok_in for head in heads],
                [head.tok_out for head in heads],
                [head.dur_us for head in heads],
                [head.e_uj for head in heads],
                [head.frontier.to_bytes() for head in heads],
                [head.checkpoint for head in heads],
                [keys_text(log) for log in logs],
                [log.cosigned_s for log in logs],
                [now_s for _, now_s in grown],
            ),
        )
        rows = [
            (k, now_s, leaf) for (growth, now_s), k in zip(grown, ks, strict=True) for leaf in growth.leaves
        ]
        self.connection.execute(
            "INSERT INTO record (log, seq, t0, id, kind, received, leaf, body)"
            " SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %b::bytea[], %s::text[], %s::bigint[],"
            " %b::bytea[], %b::bytea[])",
            (
                [k for k, _, _ in rows],
                [leaf.seq for _, _, leaf in rows],
                [leaf.t0 for _, _, leaf in rows],
                [leaf.id for _, _, leaf in rows],
                [leaf.kind for _, _, leaf in rows],
                [now_s for _, now_s, _ in rows],
                [leaf.leaf for _, _, leaf in rows],
                [leaf.body for _, _, leaf in rows],
            ),
        )
        tiles = [(k, *tile) for (growth, _), k in zip(grown, ks, strict=True) for tile in growth.tiles]
        if tiles:
            self.connection.execute(
                "INSERT INTO tile (log, level, i, hash)"
                " SELECT * FROM unnest(%s::bigint[], %s::integer[], %s::bigint[], %b::bytea[])",
                tuple(list(column) for column in zip(*tiles, strict=True)),
            )
        for (growth, _), k in zip(grown, ks, strict=True):
            head = growth.log.head
            if head.size // KEPT_EVERY > (head.size - len(growth.leaves)) // KEPT_EVERY:
                self.connection.execute(
                    "INSERT INTO kept (log, size, checkpoint, cosigned) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                    (k, head.size, head.checkpoint, growth.log.cosigned_s),
                )

    def charge(self, charge: Charge) -> None:
        """See IntakeWork."""
        held = "SELECT count(*) FROM charge WHERE enrolment = %s AND log = %s"
        if self._one(held, charge.enrolment, charge.log) >= CHARGES_A_LOG and not self._made_room(charge):
            return
        self.connection.execute(
            f"INSERT INTO charge ({CHARGE.removesuffix(', n')})"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (
                charge.enrolment,
                charge.log,
                charge.at_s,
                charge.code,
                charge.sentence,
                charge.seq,
                charge.proof,
                charge.held_note,
                charge.held_cosigned_s,
                charge.held_body,
                charge.shown_note,
                charge.shown_body,
            ),
        )

    def _made_room(self, charge: Charge) -> bool:
        """Whether a suspicion gave way to a new proof: nobody who lets himself be suspected often hides one so."""
        known = (
            "SELECT count(*) FROM charge WHERE enrolment = %s AND log = %s AND code = %s AND shown_note = %s"
        )
        if not charge.proof or self._one(known, charge.enrolment, charge.log, charge.code, charge.shown_note):
            return False
        oldest = "SELECT min(n) FROM charge WHERE enrolment = %s AND log = %s AND NOT proof"
        made = self.connection.execute(
            f"DELETE FROM charge WHERE n = ({oldest}) RETURNING n", (charge.enrolment, charge.log)
        )
        return made.fetchone() is not None

    def suspicions(self, log: KeptLog) -> list[Charge]:
        """See IntakeWork."""
        query = f"SELECT {CHARGE} FROM charge WHERE enrolment = %s AND log = %s AND NOT proof"
        return [charge_of(row) for row in self.connection.execute(query, (log.enrolment, log.name))]

    def settle(self, charge: Charge, proven: bool) -> None:
        """See IntakeWork."""
        query = "UPDATE charge SET proof = true WHERE n = %s" if proven else "DELETE FROM charge WHERE n = %s"
        self.connection.execute(query, (charge.n,))

    def keep_flat(self, row: FlatRow) -> FlatOutcome:
        """See IntakeWork."""
        kept = self.connection.execute(
            "INSERT INTO flat (enrolment, id, received, genuine, cost, body) VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING RETURNING n",
            (row.enrolment, row.id, row.received_s, row.genuine, row.cost_pico, row.body),
        ).fetchone()
        if kept is not None:
            return FlatOutcome.KEPT
        query = "SELECT body FROM flat WHERE enrolment = %s AND id = %s"
        held = self.connection.execute(query, (row.enrolment, row.id)).fetchone()
        same = held is not None and bytes(held[0]) == row.body
        return FlatOutcome.AGAIN if same else FlatOutcome.DIFFERS

    def _one(self, query: str, *values: object) -> int:
        row = self.connection.execute(query.encode(), values).fetchone()
        assert row is not None
        return int(row[0])


def _columns(names: Iterable[LogName]) -> tuple[list[str], list[str]]:
    """Names as two arrays."""
    every = list(names)
    return [name.enrolment for name in every], [name.log for name in every]
