"""The ledger against a model of it: any sequence of appends, holds, crashes and audits."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.ledger.checkpoint import Signer, verify_checkpoint
from app.ledger.drafts import OUTCOMES
from app.ledger.errors import DuplicateRecord
from app.ledger.heads import Totals
from app.ledger.holds import HoldRow
from app.ledger.merkle import leaf_hash, root_from_leaves, verify_consistency, verify_inclusion
from app.ledger.records import UsageDraft, decode
from app.ledger.sqlite.store import Ledger

SIGNER = Signer(bytes(range(32)), "gw_test")
COSTS = st.integers(-1000, 10**12)


class LedgerMachine(RuleBasedStateMachine):
    """The model: what each log must hold, and which requests are held."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.ledger = None
        self.logs: dict[str, list] = {}
        self.held: dict[str, HoldRow] = {}
        self.now_us = 1_763_650_000_000_000

    def clock(self):
        self.now_us += 1000
        return self.now_us

    def run(self, awaitable):
        async def wait():
            return await awaitable

        return self.loop.run_until_complete(wait())

    def open(self):
        self.ledger = self.run(
            Ledger.open(self.folder / "ledger.db", signer=SIGNER, gateway_id="gw_test", clock_us=self.clock)
        )

    @initialize()
    def begin(self):
        self.open()
        self.new_client()

    def call(self, function, *arguments, **options):
        """Call on the loop and wait for the future that it gives."""

        async def wait():
            return await function(*arguments, **options)

        return self.loop.run_until_complete(wait())

    def draft(self, cost, outcome="complete", tokens=1):
        now = self.clock()
        return UsageDraft(
            self.ledger.new_id(), now, now + 5, 5, None, "k", "m", None, "/api/chat", tokens, tokens, "engine",
            outcome, 100, "nvml", "t", cost,
        )  # fmt: skip

    @precondition(lambda self: len(self.logs) < 3)
    @rule()
    def new_client(self):
        client = self.call(self.ledger.create_client, f"client {len(self.logs)}")
        self.logs[client.log] = ["genesis"]

    @rule(data=st.data())
    def new_key(self, data):
        client = data.draw(st.sampled_from(self.ledger.clients()))
        secret = sha256(str(self.clock()).encode()).digest()
        self.call(self.ledger.create_key, label="a key", sha256=secret, client=client.id)
        self.logs[client.log].append("key")

    @rule(data=st.data(), costs=st.lists(COSTS, min_size=1, max_size=300))
    def append_many(self, data, costs):
        log = data.draw(st.sampled_from(list(self.logs)))
        outcome = data.draw(st.sampled_from(sorted(OUTCOMES)))
        drafts = [self.draft(cost, outcome) for cost in costs]

        async def together():
            return await asyncio.gather(*[self.ledger.append(log, draft) for draft in drafts])

        receipts = self.loop.run_until_complete(together())
        first = len(self.logs[log])
        assert [receipt.seq for receipt in receipts] == list(range(first, first + len(drafts)))
        self.logs[log] += drafts
        assert receipts[-1].cum_pico == sum(getattr(entry, "cost", 0) for entry in self.logs[log])

    @rule(data=st.data())
    def append_the_same_again(self, data):
        log = data.draw(st.sampled_from(list(self.logs)))
        recorded = [entry for entry in self.logs[log] if isinstance(entry, UsageDraft)]
        if recorded:
            try:
                self.call(self.ledger.append, log, data.draw(st.sampled_from(recorded)))
            except DuplicateRecord:
                return
            raise AssertionError("a record was written twice")

    @rule(data=st.data(), later=st.booleans())
    def hold(self, data, later):
        log, now = data.draw(st.sampled_from(list(self.logs))), self.clock()
        row = HoldRow(self.ledger.new_id(), log, "k", "m", "/api/chat", "t", now, 50, now, 3, 4)
        if later:
            self.loop.call_soon(self.ledger.hold_later, row)
            self.loop.run_until_complete(asyncio.sleep(0))
        else:
            self.call(self.ledger.hold, row)
        self.held[row.request_id] = row

    @precondition(lambda self: self.held)
    @rule(data=st.data(), cost=COSTS)
    def renew(self, data, cost):
        identity = data.draw(st.sampled_from(list(self.held)))
        row = self.held[identity].renewed(60, self.clock(), 9, cost)
        self.call(self.ledger.renew, identity, 60, row.seen_us, e_uj=9, cost_pico=cost)
        self.held[identity] = row

    @precondition(lambda self: self.held)
    @rule(data=st.data(), cost=COSTS, settle=st.booleans())
    def end_a_hold(self, data, cost, settle):
        row = self.held.pop(data.draw(st.sampled_from(list(self.held))))
        if settle:
            now = self.clock()
            draft = UsageDraft(
                row.request_id, row.t0_us, now, now - row.t0_us, None, "k", "m", None, "/api/chat", None, 7, "counted",
                "client_abort", 11, "mixed", "t", cost,
            )  # fmt: skip
            self.call(self.ledger.append, row.log, draft, release=row.request_id)
            self.logs[row.log].append(draft)
        else:
            self.call(self.ledger.release, row.request_id)

    @rule()
    def reopen(self):
        self.call(self.ledger.close)
        self.open()
        expected = [self.held[identity].crash_record() for identity in sorted(self.held)]
        assert list(self.ledger.recovered) == expected
        for draft in expected:
            self.logs[self.held.pop(draft.id).log].append(draft)

    @rule(data=st.data())
    def prove(self, data):
        log = data.draw(st.sampled_from(list(self.logs)))
        seq = data.draw(st.integers(0, len(self.logs[log]) - 1))
        found = self.call(self.ledger.inclusion, log, seq)
        claim = verify_checkpoint(found.checkpoint, SIGNER.verifier, log)
        assert claim.size == len(self.logs[log])
        verify_inclusion(leaf_hash(found.body), seq, claim.size, found.proof, claim.root)
        bodies = self.call(self.ledger.entries, log, 0, 1024)
        since = data.draw(st.integers(1, min(len(bodies), claim.size)))
        growth = self.call(self.ledger.consistency, log, since)
        before = root_from_leaves(map(leaf_hash, bodies[:since]))
        verify_consistency(since, claim.size, growth.proof, before, claim.root)

    @rule()
    def audit(self):
        report = self.call(self.ledger.verify)
        assert report.verdict == "OK", report.sentence
        assert report.records == sum(map(len, self.logs.values()))

    @rule(data=st.data())
    def read(self, data):
        log = data.draw(st.sampled_from(list(self.logs)))
        entries = self.logs[log]
        bodies = self.call(self.ledger.entries, log, 0, 1024)
        for entry, body in zip(entries, bodies, strict=False):
            draft = decode(body).draft
            assert draft.kind == entry if isinstance(entry, str) else draft == entry
        rows, before = [], None
        while True:
            page = self.call(self.ledger.page, before, data.draw(st.integers(1, 500)), log=log)
            rows += page.rows
            before = page.next
            if before is None:
                break
        assert [row.seq for row in rows] == list(range(len(entries) - 1, -1, -1))

    @invariant()
    def sums_are_those_of_the_model(self):
        if self.ledger is None:
            return
        usage = [
            entry for entries in self.logs.values() for entry in entries if isinstance(entry, UsageDraft)
        ]
        assert self.ledger.totals() == Totals(
            len(usage),
            sum(draft.tok_in or 0 for draft in usage),
            sum(draft.tok_out or 0 for draft in usage),
            sum(draft.dur_us for draft in usage),
            sum(draft.e_uj for draft in usage),
            sum(draft.cost for draft in usage),
        )
        assert self.ledger.spent_pico == self.ledger.totals().cost_pico

    def teardown(self):
        if self.ledger is not None:
            self.call(self.ledger.close)
        self.loop.close()
        shutil.rmtree(self.folder)


LedgerMachine.TestCase.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestTheLedgerAgainstItsModel = LedgerMachine.TestCase
