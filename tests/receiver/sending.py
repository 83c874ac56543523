"""A gateway as far as a receiver sees it: logs with real records and signed checkpoints, and what it would send."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from app.ledger.checkpoint import Signer
from app.ledger.drafts import Draft, GenesisDraft, UsageDraft
from app.ledger.ids import id_bytes, uuid7
from app.ledger.merkle import Frontier, leaf_hash
from app.ledger.records import decode, encode
from app.receiver.kept import KeptLog
from app.receiver.submission import write_submission

START_US = 1_763_650_000_000_000
_numbers = itertools.count(1)


def usage(**changes: object) -> UsageDraft:
    """A request that was answered; each call has an id of its own."""
    number = next(_numbers)
    t0 = START_US + number * 1_000_000
    draft = UsageDraft(
        id=uuid7(t0, number),
        t0=t0,
        t1=t0 + 400_000,
        dur_us=400_000,
        req=None,
        key="k_laptop",
        model="llama3.1:8b",
        model_digest=None,
        endpoint="/api/chat",
        tok_in=26,
        tok_out=298,
        tok_src="engine",
        outcome="complete",
        e_uj=1000 + number,
        e_src="nvml",
        tariff="t_1",
        cost=100 + number,
    )
    return dataclasses.replace(draft, **changes)


class SendingLog:
    """One log of one gateway. `bodies` may be changed by a test that wants to see a fraud."""

    def __init__(self, seed: int = 1, log: str | None = None, *, records: int = 0) -> None:
        name = f"gw_{seed}"
        self.signer = Signer(seed.to_bytes(32, "big"), name)
        self.log = log or f"{name}/c_1"
        self.bodies: list[bytes] = []
        self.cum = 0
        number = next(_numbers)
        self.append(GenesisDraft(uuid7(START_US, number), START_US, name, "Anna", self.signer.vkey))
        for _ in range(records):
            self.append(usage())

    def append(self, draft: Draft) -> bytes:
        """Record it."""
        self.cum += draft.cost
        self.bodies.append(encode(draft, self.log, len(self.bodies), self.cum))
        return self.bodies[-1]

    def twin(self) -> SendingLog:
        """Another copy of the log under the same key, as a backup of the gateway's files is one."""
        twin = SendingLog.__new__(SendingLog)
        twin.signer, twin.log, twin.bodies, twin.cum = self.signer, self.log, self.bodies.copy(), self.cum
        return twin

    def root(self, size: int | None = None) -> bytes:
        return tree(self.bodies[:size]).root()

    def note(self, size: int | None = None) -> str:
        size = len(self.bodies) if size is None else size
        return self.signer.sign_checkpoint(self.log, size, self.root(size))

    def push(self, old: int = 0, size: int | None = None, *, note: str | None = None) -> bytes:
        """The body that hands records old to size - 1 over."""
        size = len(self.bodies) if size is None else size
        return write_submission(old, tuple(self.bodies[old:size]), note or self.note(size))


def tree(bodies: Sequence[bytes]) -> Frontier:
    frontier = Frontier()
    for body in bodies:
        frontier.append(leaf_hash(body))
    return frontier


class Remembered:
    """`HeldRecords` in memory: what a store answers, without one."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.log: KeptLog | None = None

    def hashes(self, begin: int, end: int) -> list[bytes]:
        assert 0 <= begin <= end <= len(self.bodies), "they are all there"
        return [leaf_hash(body) for body in self.bodies[begin:end]]

    def frontier(self, size: int) -> Frontier:
        assert 0 <= size <= len(self.bodies)
        return tree(self.bodies[:size])

    def known(self, ids: Sequence[bytes]) -> set[bytes]:
        return set(ids) & {id_bytes(decode(body).draft.id) for body in self.bodies}
