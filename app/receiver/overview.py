"""How the copy stands: the verdict on each log, whether anything can be kept now, and figures for Prometheus.

Rule 1: the verdict is over what is held: the newest checkpoint of each log is verified anew, with its root and its
total, and what speaks against a gateway is shown until it is settled. `receiver verify` re-hashes every record.
Rule 2: whether the receiver is well may be asked by anyone; everything else needs a key.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence

from aiohttp import web

from app import __version__
from app.billing.money import pico_to_float
from app.receiver.counts import CONTENT_TYPE, Counts
from app.receiver.doorkeeper import Doorkeeper
from app.receiver.errors import StoreFault
from app.receiver.flat_audit import AT_ONCE, FlatAudit, FlatReport
from app.receiver.keeper import Keeper
from app.receiver.parties import Charge, Listed
from app.receiver.refused import RefusedPush, RefusedPushes
from app.receiver.server import Routes, reply
from app.receiver.store import CopyStore
from app.receiver.verdicts import LogVerdict, gravest, judge

CHARGES_SHOWN = 100


class Overview:
    """Handlers of GET that tell how things stand."""

    def __init__(
        self,
        keeper: Keeper,
        doorkeeper: Doorkeeper,
        counts: Counts,
        refused_pushes: RefusedPushes,
        *,
        secret: str,
        template: str,
        silence_s: int,
        now_s: Callable[[], int],
        connections: Callable[[], int],
    ) -> None:
        self._keeper = keeper
        self._doorkeeper = doorkeeper
        self._counts = counts
        self._refused = refused_pushes
        self._secret = secret
        self._template = template
        self._silence_s = silence_s
        self._now_s = now_s
        self._connections = connections

    def routes(self) -> Routes:
        """Path → method → handler."""
        return {
            "/health": {"GET": self.health},
            "/reconcile": {"GET": self.reconcile},
            "/metrics": {"GET": self.metrics},
        }

    async def health(self, request: web.BaseRequest) -> web.Response:
        """Whether submissions are taken, and why not; 503 where not."""
        fault = self._keeper.fault
        response = reply(
            {
                "status": "ok" if fault is None else "fault",
                "service": "mortdecai-receiver",
                "version": __version__,
                "store": self._keeper.kind,
                "vkey": self._keeper.cosigner.vkey,
                "accepting": fault is None,
                "reason": fault,
            }
        )
        if fault is not None:
            response.set_status(503)
        return response

    async def reconcile(self, request: web.BaseRequest) -> web.Response:
        """The seed's fields over what this key may read, and ours."""
        reading = await self._doorkeeper.reader(request.headers, request.remote)
        enrolment, now_s, silence_s = reading.enrolment, self._now_s(), self._silence_s

        def look(store: CopyStore) -> tuple[list[tuple[Listed, LogVerdict]], tuple[Charge, ...]]:
            judged = []
            for each in store.logs(enrolment):
                newest = store.newest(None, each.log, 1)
                judged.append((each, judge(each, newest[0] if newest else b"", now_s, silence_s)))
            return judged, store.charges(enrolment, CHARGES_SHOWN)

        judged, charges = await self._keeper.read(look)
        flat = await self._flat(enrolment)
        told = sum(verdict.told_pico for _, verdict in judged) + flat.cost_pico
        held = sum(each.log.head.cum for each, _ in judged) + flat.cost_pico
        findings = [verdict.finding for _, verdict in judged if verdict.finding]
        statuses = [verdict.status for _, verdict in judged]
        refused = [each for each in self._refused.of(enrolment) if self._doorkeeper.may_send(each.enrolment)]
        # Where a log of its own is contested already, that says the same.
        contested = {each.log.enrolment for each, verdict in judged if verdict.finding}
        for push in refused:
            if push.enrolment not in contested:
                name = self._doorkeeper.name_of(push.enrolment)
                findings.append(f"What {name} sent last was refused: {push.sentence}")
                statuses.append("LAGGING")
        findings += flat.findings
        return reply(
            {
                "ledger_entries": sum(each.log.size for each, _ in judged) + flat.total,
                "ledger_total_cost": pico_to_float(told),
                "ledger_total_cost_pico": str(told),
                "stats_total_cost": pico_to_float(held),
                "stats_total_cost_pico": str(held),
                "discrepancy": pico_to_float(told - held),
                "hash_verification": {"total": flat.total, "valid": flat.valid, "invalid": flat.invalid},
                "status": gravest(statuses, flat.invalid),
                "findings": findings,
                "logs": self._listed(judged),
                "charges": [self._charged(charge) for charge in charges],
                "refused": [self._told(push) for push in refused],
            }
        )

    async def _flat(self, enrolment: str | None) -> FlatReport:
        """Every transaction in the seed's form hashed anew, in many short reads."""
        audit = FlatAudit(self._secret, self._template)

        def some(after: int) -> Callable[[CopyStore], int | None]:
            def take(store: CopyStore) -> int | None:
                rows = store.flat_rows(enrolment, after, AT_ONCE)
                audit.take(row for _, row in rows)
                return rows[-1][0] if rows else None

            return take

        after: int | None = 0
        while after is not None:
            after = await self._keeper.read(some(after))
        return audit.report()

    async def metrics(self, request: web.BaseRequest) -> web.Response:
        """For Prometheus, with the owner's key."""
        await self._doorkeeper.owner(request.headers, request.remote)
        gauges: list[tuple[str, str, float]] = [
            (
                "mortdecai_receiver_store_up",
                "Whether the store takes submissions.",
                self._keeper.fault is None,
            ),
            ("mortdecai_receiver_waiting", "Pieces of work that wait for a commit.", self._keeper.waiting),
            ("mortdecai_receiver_connections", "Open connections.", self._connections()),
        ]
        try:
            charges = await self._keeper.read(lambda store: store.charges(None, 1000))
        except StoreFault:
            pass  # what is known without the store is told all the same
        else:
            proofs = sum(charge.proof for charge in charges)
            gauges += [
                ("mortdecai_receiver_forks", "Proofs that a gateway signed two histories.", proofs),
                ("mortdecai_receiver_suspicions", "Charges that prove nothing yet.", len(charges) - proofs),
            ]
        return web.Response(body=self._counts.text(gauges).encode(), headers={"Content-Type": CONTENT_TYPE})

    def _listed(self, judged: Sequence[tuple[Listed, LogVerdict]]) -> list[dict[str, object]]:
        return [
            {
                "log": each.log.name,
                "gateway": self._doorkeeper.name_of(each.log.enrolment),
                "status": verdict.status,
                "size": each.log.size,
                "requests": each.log.head.requests,
                "total_cost": pico_to_float(each.log.head.cum),
                "total_cost_pico": str(each.log.head.cum),
                "root": b64encode(each.log.head.frontier.root()).decode(),
                "cosigned": each.log.cosigned_s,
                "heard": each.heard_s,
                "proofs": each.proofs,
            }
            for each, verdict in judged
        ]

    def _told(self, push: RefusedPush) -> dict[str, object]:
        return {
            "gateway": self._doorkeeper.name_of(push.enrolment),
            "time": push.at_s,
            "code": push.code,
            "seq": push.seq,
            "sentence": push.sentence,
        }

    def _charged(self, charge: Charge) -> dict[str, object]:
        return {
            "log": charge.log,
            "gateway": self._doorkeeper.name_of(charge.enrolment),
            "time": charge.at_s,
            "code": charge.code,
            "proof": charge.proof,
            "seq": charge.seq,
            "sentence": charge.sentence,
            "held_checkpoint": charge.held_note,
            "held_cosigned": charge.held_cosigned_s,
            "held_record": charge.held_body.decode(errors="replace"),
            "shown_checkpoint": charge.shown_note,
            "shown_record": charge.shown_body.decode(errors="replace"),
        }
