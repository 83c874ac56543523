"""One group commit: the operations of many requests become the rows of one SQLite transaction.

Rule 1: everything is worked out before SQLite is asked anything, so the transaction is short and a bad operation fails
alone. Rule 2: heads are copied when touched; until the commit succeeded nothing that others see has changed.

Every statement gives the interpreter lock away and must win it back, so there are few: one insert for up to
`ROWS_A_STATEMENT` records, one update a touched log.
"""

from __future__ import annotations

import json
from asyncio import Future
from hashlib import sha256
from itertools import repeat
from typing import Any, Protocol

import apsw

from app.ledger import usage
from app.ledger.checkpoint import Signer
from app.ledger.drafts import MONEY_MAX, Draft, GenesisDraft, TariffDraft, UsageDraft
from app.ledger.errors import DuplicateRecord, LedgerError, RecordError
from app.ledger.heads import LogHead, Receipt, terms_of
from app.ledger.holds import TEXTS, HoldRow
from app.ledger.ids import id_bytes
from app.ledger.merkle import Frontier
from app.ledger.parties import Parties
from app.ledger.records import decode, encode, searchable
from app.ledger.sqlite.rows import DROP_HOLDS, PUT_HOLD
from app.ledger.sqlite.schema import KEPT_EVERY, SPAN_RECORDS

ROWS_A_STATEMENT = 32
_ROW = "(?, ?, ?, ?, ?, ?, ?, ?)"
_COLUMNS_A_ROW = 8
_INSERTS = [
    "INSERT INTO record (n, log, seq, t0, id, find, leaf, body) VALUES " + ", ".join([_ROW] * rows)  # noqa: S608  (nothing but question marks)
    for rows in range(ROWS_A_STATEMENT + 1)
]
_UPDATE_LOG = (
    "UPDATE log SET size = ?, cum = ?, requests = ?, tok_in = ?, tok_out = ?, dur_us = ?, e_uj = ?, terms = ?,"
    " checkpoint = ?, frontier = ? WHERE k = ?"
)
_INSERT_LOG = (
    "INSERT INTO log (name, size, cum, requests, tok_in, tok_out, dur_us, e_uj, terms, checkpoint, frontier, k)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_RENEW = "UPDATE hold SET amount = ?, seen = ?, e_uj = coalesce(?, e_uj), cost = coalesce(?, cost) WHERE request_id = ?"


Place = tuple[str, int, int]
"""log, seq and cum of a record."""


class Write(Protocol):
    """Something to do in a group commit. Its future, where it has one, is resolved once that commit is durable."""

    @property
    def future(self) -> Future[Any] | None:
        """Who waits for it."""

    def plan(self, transaction: Transaction) -> object:
        """Work out the rows; what it returns is the future's result, a `Place` being made a Receipt."""


class Append:
    """Record `draft` in `log`; `release` is the request whose hold ends with it."""

    __slots__ = ("draft", "future", "log", "release")

    def __init__(self, log: str, draft: Draft, release: str | None, future: Future[Receipt] | None) -> None:
        self.log = log
        self.draft = draft
        self.release = release
        self.future = future

    def plan(self, transaction: Transaction) -> object:
        place = transaction.append(self.log, self.draft)
        if self.release is not None:
            transaction.release(self.release)
        return place


class RecordTariff:
    """Record the terms, unless the log's newest tariff record says the same; then the result is None."""

    __slots__ = ("draft", "future", "log")

    def __init__(self, log: str, draft: TariffDraft, future: Future[Receipt | None]) -> None:
        self.log = log
        self.draft = draft
        self.future = future

    def plan(self, transaction: Transaction) -> object:
        if transaction.head(self.log).terms == terms_of(self.draft):
            return None
        return transaction.append(self.log, self.draft)


class PutHold:
    """Make `row` durable."""

    __slots__ = ("future", "row")

    def __init__(self, row: HoldRow, future: Future[None] | None) -> None:
        self.row = row
        self.future = future

    def plan(self, transaction: Transaction) -> object:
        transaction.hold(self.row)
        return None


class RenewHold:
    """Say what a held request needs and has accrued by now; LookupError where there is no such hold."""

    __slots__ = ("amount_pico", "cost_pico", "e_uj", "future", "request_id", "seen_us")

    def __init__(
        self,
        request_id: str,
        amount_pico: int,
        seen_us: int,
        e_uj: int | None,
        cost_pico: int | None,
        future: Future[None] | None,
    ) -> None:
        self.request_id = request_id
        self.amount_pico = amount_pico
        self.seen_us = seen_us
        self.e_uj = e_uj
        self.cost_pico = cost_pico
        self.future = future

    def plan(self, transaction: Transaction) -> object:
        transaction.renew(self)
        return None


class DropHold:
    """End a hold without a record: the request never reached the engine."""

    __slots__ = ("future", "request_id")

    def __init__(self, request_id: str, future: Future[None] | None) -> None:
        self.request_id = request_id
        self.future = future

    def plan(self, transaction: Transaction) -> object:
        transaction.release(self.request_id)
        return None


class Transaction:
    """The rows of one commit. `n`, `t0_min` and `t0_max` continue the journal's (see there)."""

    def __init__(
        self, heads: dict[str, LogHead], parties: Parties, held: set[str], n: int, t0_min: int, t0_max: int
    ) -> None:
        self.touched: dict[str, LogHead] = {}
        self.parties = parties
        self.n = n
        self.t0_min = t0_min
        self.t0_max = t0_max
        self.statements: list[tuple[str, tuple[Any, ...]]] = []
        self.new_logs: set[str] = set()
        self.hold_puts: dict[str, HoldRow] = {}
        self.hold_drops: list[str] = []
        self.signer: Signer | None = None
        """Who signs from this commit on; None where that stays as it is."""
        self.refilling = False
        """Nothing else than what was lost is written, up to what today's key has signed."""
        self._heads = heads
        self._held = held
        self._values: list[Any] = []
        self._ids: set[bytes] = set()

    @property
    def logs(self) -> tuple[str, ...]:
        """The names of all logs."""
        return (*self._heads, *self.new_logs)

    @property
    def cum(self) -> int:
        """What all records cost, those of this commit so far too."""
        return sum(self.touched.get(name, head).cum for name, head in self._heads.items()) + sum(
            self.touched[name].cum for name in self.new_logs
        )

    def head(self, log: str) -> LogHead:
        """The head of `log` to work on; LedgerError where there is no such log."""
        head = self.touched.get(log)
        if head is None:
            published = self._heads.get(log)
            if published is None:
                raise LedgerError(f"There is no log {log!r:.80} here: create the client first.")
            head = self.touched[log] = published.copy()
        return head

    def begin_log(self, log: str, genesis: GenesisDraft) -> None:
        """A new log with its first record, or neither."""
        self.touched[log] = LogHead(len(self._heads) + len(self.new_logs) + 1, log, Frontier())
        try:
            self.append(log, genesis)
        except BaseException:
            del self.touched[log]
            raise
        self.new_logs.add(log)

    def append(self, log: str, draft: Draft) -> Place:
        """Give `draft` its place; returns log, seq and cum. RecordError, DuplicateRecord or LedgerError."""
        head = self.touched.get(log) or self.head(log)
        frontier = head.frontier
        seq = frontier.size
        cum = head.cum + draft.cost
        body = usage.encode(draft, log, seq, cum) if draft.__class__ is UsageDraft else None
        if body is None:
            body = encode(draft, log, seq, cum)
            draft = decode(body).draft  # as recorded: free text may have been cut
        record_id = id_bytes(draft.id)
        if record_id in self._ids:
            raise DuplicateRecord(f"The record {draft.id} was appended twice; it was written once.")
        # Nothing fails from here on.
        self._ids.add(record_id)
        leaf = sha256(b"\x00" + body).digest()
        for level, index, node in frontier.append(leaf):
            self.statements.append(
                ("INSERT INTO tile (log, level, i, hash) VALUES (?, ?, ?, ?)", (head.k, level, index, node))
            )
        head.cum = cum
        head.count(draft)
        self.n = n = self.n + 1
        t0 = draft.t0
        self._values += (n, head.k, seq, t0, record_id, searchable(draft), leaf, body)
        if t0 < self.t0_min:
            self.t0_min = t0
        if t0 > self.t0_max:
            self.t0_max = t0
        if not n % SPAN_RECORDS:
            block = n // SPAN_RECORDS - 1
            self.statements.append(
                (
                    "INSERT INTO span (block, t0_min, t0_max) VALUES (?, ?, ?)",
                    (block, self.t0_min, self.t0_max),
                )
            )
            self.t0_min, self.t0_max = NO_TIMES
        return log, seq, cum

    def hold(self, row: HoldRow) -> None:
        """Put a hold row, or replace it."""
        if row.log not in self._heads:
            raise LedgerError(f"There is no log {row.log!r:.80} here: create the client first.")
        columns = row.columns()
        if not all(map(isinstance, columns[:TEXTS], repeat(str))):
            raise RecordError(f"The hold of {row.request_id!r:.80} has a field of another type.")
        _require_ints(row.request_id, *columns[TEXTS:])
        self.hold_puts[row.request_id] = row

    def renew(self, renewal: RenewHold) -> None:
        """Change a hold row; LookupError where there is none."""
        request_id = renewal.request_id
        values = (renewal.amount_pico, renewal.seen_us, renewal.e_uj, renewal.cost_pico)
        _require_ints(request_id, *(value for value in values if value is not None))
        if row := self.hold_puts.get(request_id):
            self.hold_puts[request_id] = row.renewed(*values)
        elif request_id in self._held and request_id not in self.hold_drops:
            self.statements.append((_RENEW, (*values, request_id)))
        else:
            raise LookupError(f"There is no hold of the request {request_id!r:.80} to renew.")

    def release(self, request_id: str) -> None:
        """End a hold; one that does not exist has ended already."""
        self.hold_puts.pop(request_id, None)
        if request_id in self._held:
            self.hold_drops.append(request_id)

    def sign(self, signer: Signer) -> None:
        """Put a fresh checkpoint on every touched log."""
        for name, head in self.touched.items():
            size = head.frontier.size
            head.checkpoint = signer.sign_checkpoint(name, size, head.frontier.root())
            before = self._heads.get(name)
            if before is None or before.frontier.size // KEPT_EVERY != size // KEPT_EVERY:
                self.statements.append(
                    (
                        "INSERT INTO kept (log, size, checkpoint) VALUES (?, ?, ?)",
                        (head.k, size, head.checkpoint),
                    )
                )

    def write(self, connection: apsw.Connection) -> None:
        """Write and commit all of it, or nothing: apsw.Error, and then no transaction is open."""
        execute = connection.execute
        values, width = self._values, _COLUMNS_A_ROW * ROWS_A_STATEMENT
        execute("BEGIN IMMEDIATE")
        try:
            for at in range(0, len(values), width):
                part = values[at : at + width]
                execute(_INSERTS[len(part) // _COLUMNS_A_ROW], part)
            for name, head in self.touched.items():
                figures = (
                    head.frontier.size,
                    head.cum,
                    head.requests,
                    head.tok_in,
                    head.tok_out,
                    head.dur_us,
                    head.e_uj,
                    head.terms,
                    head.checkpoint,
                    head.frontier.to_bytes(),
                    head.k,
                )
                if name in self.new_logs:
                    execute(_INSERT_LOG, (name, *figures))
                else:
                    execute(_UPDATE_LOG, figures)
            for row in self.hold_puts.values():
                execute(PUT_HOLD, row.columns())
            if self.hold_drops:
                execute(DROP_HOLDS, (json.dumps(self.hold_drops),))
            for sql, bindings in self.statements:
                execute(sql, bindings)
            execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                execute("ROLLBACK")
            raise


def _require_ints(request_id: str, *values: object) -> None:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MONEY_MAX:
            raise RecordError(
                f"The hold of {request_id!r:.80} has a number of another type or beyond 64 bits."
            )


NO_TIMES = (2**63 - 1, -1)
"""The start of a span that has no records yet: later than every time, earlier than every time."""
