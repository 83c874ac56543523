"""Read-only views of the store: pages for the faces, raw bodies and proofs for the client.

Rule 1: nothing here writes; every read is a few short statements on a read-only connection.
Rule 2: the work of a call is bounded, whatever the ledger's size or the search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import apsw

from app.ledger.checkpoint import Checkpoint, Signer, parse_checkpoint, verify_checkpoint
from app.ledger.cosignature import Cosignature, CosignerKey, find_cosignature
from app.ledger.delivery import DeliveryRow
from app.ledger.errors import (
    CheckpointError,
    KeyNotYetKnown,
    LedgerCorrupt,
    LedgerError,
    LedgerTampered,
    NotInLog,
)
from app.ledger.heads import LabourSum
from app.ledger.listing import Page
from app.ledger.merkle import (
    Frontier,
    ProofError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from app.ledger.parties import Client
from app.ledger.proofs import Consistency, Inclusion
from app.ledger.spending import Spent
from app.ledger.sqlite.deliveries import stored_deliveries
from app.ledger.sqlite.labour import labour_sums
from app.ledger.sqlite.nodes import StoredNodes
from app.ledger.sqlite.pages import Window
from app.ledger.sqlite.rows import stored_parties
from app.ledger.sqlite.schema import explain, open_reader
from app.ledger.sqlite.spending import spent_by_quarter
from app.ledger.tiled import TileCache

PAGE_MAX = 500
ENTRIES_MAX = 1024
_BODIES = (
    "SELECT seq, leaf, CASE typeof(body) WHEN 'blob' THEN body END FROM record"
    " WHERE log = ? AND seq >= ? ORDER BY seq LIMIT ?"
)
_TOGETHER = (
    "SELECT CAST(group_concat(CAST(body AS TEXT), char(10) ORDER BY seq) AS BLOB),"
    " group_concat(hex(leaf), '' ORDER BY seq) FROM record WHERE log = ? AND seq >= ? AND seq < ?"
)
_KEPT = "SELECT checkpoint FROM kept WHERE log = ? AND size > ? AND size <= ? ORDER BY size DESC"
_KEPT_NEXT = "SELECT size, checkpoint FROM kept WHERE log = ? AND size > ? ORDER BY size LIMIT 1"


class Reader:
    """One read-only connection. Not thread-safe; opened with the first call. Every method may raise LedgerError."""

    def __init__(self, path: Path, signer: Signer, vfs: str | None = None) -> None:
        """`signer` is who signed the ledger's checkpoints: it signs past ones again where they are asked for."""
        self._path = path
        self.signer = signer
        self._vfs = vfs
        self._connection: apsw.Connection | None = None
        self._cached = 0, TileCache()
        """The number of the log that was proven from last, and its tiles as far as they were read."""
        self._vouched: dict[str, tuple[str, Checkpoint]] = {}
        """Each log's newest checkpoint that was found to hold: its signature is checked once."""

    def close(self) -> None:
        """Close the connection, if it was ever opened."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _snapshot(self) -> Iterator[apsw.Connection]:
        """All reads inside see one moment of the ledger."""
        if self._connection is None:
            self._connection = open_reader(self._path, self._vfs)
        connection = self._connection
        try:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")
        except UnicodeDecodeError as error:
            raise LedgerCorrupt(explain(apsw.CorruptError(), self._path)) from error
        except apsw.Error as error:
            raise LedgerError(explain(error, self._path)) from error

    def page(
        self,
        before: int | None,
        limit: int,
        log: str | None = None,
        words: Sequence[str] = (),
        since_us: int | None = None,
        until_us: int | None = None,
    ) -> Page:
        """See `Ledger.page`; a record matches where any of `words` (lower case) stands in its listed words."""
        limit = max(1, min(limit, PAGE_MAX))
        with self._snapshot() as connection:
            newest = connection.execute("SELECT coalesce(max(n), 0) FROM record").get
            before = newest + 1 if before is None else min(before, newest + 1)
            k = None if log is None else _log(connection, log)[0]
            window = Window(connection, k, tuple(words), since_us, until_us)
            if len(words) == 1 and (page := window.by_id(words[0], before, limit)):
                return page
            return window.scan(before, limit)

    def clients(self) -> tuple[Client, ...]:
        """Everyone who has a log, oldest first."""
        with self._snapshot() as connection:
            try:
                return stored_parties(connection).clients
            except ValueError as error:
                raise LedgerCorrupt(
                    f"{self._path} is damaged ({error}): run the ledger's verification."
                ) from None

    def entries(self, log: str, from_seq: int, limit: int) -> tuple[bytes, ...]:
        """The exact bytes of up to `limit` (at most ENTRIES_MAX) records of `log`, from `from_seq` upwards; none where
        `from_seq` is the log's size. They end before a record that is missing or not as it was hashed; LedgerCorrupt
        where that is the first. NotInLog where the log does not reach so far."""
        with self._snapshot() as connection:
            k, size, *_ = _log(connection, log)
            if not 0 <= from_seq <= size:
                raise NotInLog(f"The log {log} holds {size} records, so there are none from {from_seq} on.")
            count = max(0, min(limit, ENTRIES_MAX, size - from_seq))
            if count > 1 and (sound := _together(connection, k, from_seq, count)) is not None:
                return sound
            found: list[bytes] = []
            for seq, leaf, body in connection.execute(_BODIES, (k, from_seq, count)):
                if seq != from_seq + len(found) or not isinstance(body, bytes) or leaf_hash(body) != leaf:
                    break
                found.append(body)
            if count and not found:
                raise LedgerCorrupt(f"Record {from_seq} of {log} is damaged: run the ledger's verification.")
            return tuple(found)

    def checkpoint(self, log: str, size: int | None = None, *, cosigned: bool = False) -> str:
        """The newest signed checkpoint, or the one over the first `size` records, with the cosignatures that are known
        where they are asked for; NotInLog, LedgerTampered."""
        with self._snapshot() as connection:
            claimed = self._claimed(connection, log, size)
            return claimed.note + (_cosignatures(connection, claimed.claim) if cosigned else "")

    def checkpoint_for(self, log: str, known: int, size: int) -> str:
        """A signed checkpoint for whoever has read the first `known` records and gets more, up to `size`: the one over
        `size` or, where the key has passed on in a record beyond `known`, the longest up to there that is signed with
        a key of before. NotInLog, of which KeyNotYetKnown where that is longer than `size`; LedgerTampered."""
        with self._snapshot() as connection:
            k, *_ = _log(connection, log)
            for (note,) in connection.execute(_KEPT, (k, known, size)):
                if not self._signed(note):
                    return str(note)
            for beyond, note in connection.execute(_KEPT_NEXT, (k, size)):
                if not self._signed(note):
                    raise KeyNotYetKnown(log, known, size, int(beyond))
            return self._claimed(connection, log, size).note

    def passed_on_at(self, log: str) -> int:
        """How many records the log had when the key passed on to today's; 0 where it never did. NotInLog."""
        with self._snapshot() as connection:
            k, size, *_ = _log(connection, log)
            for (note,) in connection.execute(_KEPT, (k, 0, size)):
                if not self._signed(note):
                    return parse_checkpoint(note)[0].size
            return 0

    def _signed(self, note: str) -> bool:
        verifier = self.signer.verifier
        return any(item[:2] == (verifier.name, verifier.key_id) for item in parse_checkpoint(note)[1])

    def cosigned_size(self, log: str) -> int:
        """How many records the newest checkpoint covers that a receiver has cosigned; NotInLog where none has."""
        with self._snapshot() as connection:
            _log(connection, log)
            sizes = [found.checkpoint.size for found in _cosigned(connection, log)]
            if not sizes:
                raise NotInLog(f"No receiver has cosigned the log {log} yet.")
            return max(sizes)

    def inclusion(self, log: str, seq: int, size: int | None = None) -> Inclusion:
        """The proof that record `seq` is in the tree of the newest checkpoint, or of that over the first `size`
        records, with the cosignatures that are known of it. It was checked: LedgerCorrupt or LedgerTampered where the
        file does not hold what was signed."""
        with self._snapshot() as connection:
            claimed = self._claimed(connection, log, size)
            size = claimed.claim.size
            if not 0 <= seq < size:
                raise NotInLog(
                    f"There is no record {seq} among the first {size}: the log {log} holds {claimed.end}."
                )
            row = connection.execute(_BODIES, (claimed.k, seq, 1)).fetchone()
            if row is None or row[0] != seq or not isinstance(row[2], bytes):
                raise LedgerCorrupt(f"Record {seq} of {log} is damaged: run the ledger's verification.")
            proof = inclusion_proof(claimed.nodes, seq, size)
            try:
                verify_inclusion(leaf_hash(row[2]), seq, size, proof, claimed.claim.root)
            except ProofError:
                self._forget()
                raise LedgerTampered(
                    f"Record {seq} of {log}, or one beside it, is not as it was signed: run the ledger's verification."
                ) from None
            note = claimed.note + _cosignatures(connection, claimed.claim)
            return Inclusion(log, seq, size, row[2], tuple(proof), note)

    def consistency(self, log: str, since: int) -> Consistency:
        """The proof that the newest checkpoint only appended to the first `since` records."""
        with self._snapshot() as connection:
            k, size, checkpoint, edge = _log(connection, log)
            if not 0 < since <= size:
                raise NotInLog(f"The log {log} holds {size} records, so nothing is proven from {since} on.")
            proof = consistency_proof(self._nodes(connection, k, size, edge), since, size)
            return Consistency(log, since, size, tuple(proof), checkpoint)

    def deliveries(self) -> tuple[DeliveryRow, ...]:
        """How far each delivery is, as it is kept."""
        with self._snapshot() as connection:
            return stored_deliveries(connection)

    def labour(self) -> dict[str, LabourSum]:
        """What was logged of the operator's time: log → sum."""
        with self._snapshot() as connection:
            return labour_sums(connection)

    def spent(self, since_us: int, upto: int) -> tuple[Spent, ...]:
        """The sums over the first `upto` records of the file, as far as their work ended in that quarter or later."""
        with self._snapshot() as connection:
            return tuple(spent_by_quarter(connection, since_us, upto))

    def _claimed(self, connection: apsw.Connection, log: str, size: int | None) -> _Claimed:
        """The checkpoint over the first `size` records (None: over all).

        A past one is signed anew, with the same bytes as then, since Ed25519 is deterministic. The root is first
        proven to be that from which the newest checkpoint grew, so nothing is ever vouched for that was not before.
        """
        k, end, note, edge = _log(connection, log)
        nodes = self._nodes(connection, k, end, edge)
        newest = self._newest(log, note, end)
        if size is None or size == end:
            return _Claimed(k, end, nodes, newest, note)
        if not 0 < size < end:
            raise NotInLog(f"The log {log} holds {end} records, so it never had a checkpoint over {size}.")
        root = tree_root(nodes, size)
        try:
            verify_consistency(size, end, consistency_proof(nodes, size, end), root, newest.root)
        except ProofError:
            self._forget()
            raise LedgerTampered(
                f"The first {size} records of {log} are not those that were signed: run the ledger's verification."
            ) from None
        return _Claimed(
            k, end, nodes, Checkpoint(log, size, root), self.signer.sign_checkpoint(log, size, root)
        )

    def _nodes(self, connection: apsw.Connection, k: int, end: int, edge: object) -> StoredNodes:
        """The nodes of log number `k`, with what was read of it before and its stored right `edge` known already.

        Neither is trusted: whatever is made of them is compared with a signed root before it leaves.
        """
        if self._cached[0] != k:
            self._cached = k, TileCache()
        nodes = StoredNodes(connection, k, self._cached[1])
        with suppress(ValueError, TypeError):
            frontier = Frontier.from_bytes(cast("bytes", edge))
            if frontier.size == end:
                nodes.know(frontier)
        return nodes

    def _forget(self) -> None:
        """What was read before was wrong; it may have been mended since."""
        self._cached = 0, TileCache()

    def _newest(self, log: str, note: str, size: int) -> Checkpoint:
        """What the newest checkpoint claims, once its signature holds."""
        known = self._vouched.get(log)
        if known is not None and known[0] == note:
            return known[1]
        try:
            claim = verify_checkpoint(note, self.signer.verifier, log)
        except CheckpointError as error:
            raise LedgerTampered(
                f"The newest checkpoint of {log} is not as it was signed ({error}): run the ledger's verification."
            ) from None
        if claim.size != size:
            raise LedgerTampered(
                f"The newest checkpoint of {log} is of {claim.size} records, not of {size}: run the ledger's"
                " verification."
            )
        self._vouched[log] = note, claim
        return claim


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A checkpoint with what it stands on: `end` is the size of log number `k` now."""

    k: int
    end: int
    nodes: StoredNodes
    claim: Checkpoint
    note: str


def _together(connection: apsw.Connection, k: int, begin: int, count: int) -> tuple[bytes, ...] | None:
    """So many records from `begin` on, or None where one of them is not plainly in order.

    As one row: between two rows SQLite gives the interpreter lock away and must win it back from the loop, which at
    1,024 records a push cost every request a tenth of its time.
    """
    ((bodies, leaves),) = connection.execute(_TOGETHER, (k, begin, begin + count))
    if not isinstance(bodies, bytes):
        return None
    found = tuple(bodies.split(b"\n"))
    if len(found) != count or b"".join(map(leaf_hash, found)).hex().upper() != leaves:
        return None
    return found


def _cosigned(connection: apsw.Connection, log: str) -> list[Cosignature]:
    """The newest cosignature of each receiver of the log, as far as they hold."""
    found = []
    with suppress(apsw.SQLError):  # a file of an older version keeps none
        for row in stored_deliveries(connection):
            if row.log == log and row.standing.note:
                note = row.standing.note
                with suppress(CheckpointError):
                    found.append(
                        find_cosignature(note, note.rpartition("\n\n")[2], CosignerKey.parse(row.vkey))
                    )
    return found


def _cosignatures(connection: apsw.Connection, claim: Checkpoint) -> str:
    """The lines of those that are over this very checkpoint."""
    return "".join(found.line for found in _cosigned(connection, claim.origin) if found.checkpoint == claim)


def _log(connection: apsw.Connection, log: str) -> tuple[int, int, str, object]:
    """Number, size, newest checkpoint and stored frontier."""
    row = connection.execute(
        "SELECT k, size, checkpoint, frontier FROM log WHERE name = ?", (log,)
    ).fetchone()
    if row is None:
        raise NotInLog(f"There is no log {log!r:.80} here.")
    return row[0], row[1], row[2], row[3]
