"""What gateways send: leaves for a cosignature, and transactions in the seed's form.

Rule 1: an answer of 200 leaves only after what it speaks of is durable. Rule 2: 409 says how many records are held, 422
that the content is not what it says; both mean that nothing was kept. Rule 3: what was refused is told to the gateway,
to the log and in `/reconcile`, until something of it is taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from aiohttp import web

from app.access.credentials import presented_key
from app.access.refusals import Refusal
from app.billing.money import to_pico
from app.ledger.errors import RecordError
from app.ledger.seed_form import LINE_MAX_B, parse_flat
from app.receiver.commits import Cosigned, Outcome, Sent
from app.receiver.doorkeeper import Doorkeeper
from app.receiver.errors import ReceiverError
from app.receiver.intake import Elsewhere, Rejected
from app.receiver.keeper import Keeper
from app.receiver.parties import Enrolment, FlatOutcome, FlatRow
from app.receiver.reception import Rooms, too_large
from app.receiver.refused import RefusedPushes
from app.receiver.server import TEXT, Routes, refused, reply
from app.receiver.settings import ReceiverSettings
from app.receiver.submission import BODY_MAX_B, MalformedSubmission, TooManyLeaves

log = logging.getLogger(__name__)

SIZE = "text/x.tlog.size"
BODIES_B = 256 << 20
"""What may be on its way in at once, over all connections."""
ANYBODY = ""
"""The enrolment of transactions that came without a key."""


class IntakeEndpoints:
    """Handlers of POST."""

    def __init__(
        self,
        keeper: Keeper,
        doorkeeper: Doorkeeper,
        settings: ReceiverSettings,
        refused_pushes: RefusedPushes,
        now_s: Callable[[], int],
    ) -> None:
        self._keeper = keeper
        self._doorkeeper = doorkeeper
        self._settings = settings
        self._refused = refused_pushes
        self._now_s = now_s
        self._rooms = Rooms(BODIES_B)

    def routes(self) -> Routes:
        """Path → method → handler."""
        return {"/ledger": {"POST": self.push}, "/transaction": {"POST": self.transaction}}

    async def push(self, request: web.BaseRequest) -> web.Response:
        """Leaves and checkpoint in, cosignature out."""
        gateway = await self._doorkeeper.sender(request.headers, request.remote)
        try:
            body = await self._rooms.body(request, BODY_MAX_B)
            outcome = await self._keeper.put(Sent(gateway, body))
            self._remember(gateway, outcome)
            return _answer(outcome)
        except Refusal as refusal:
            if refusal.status < 500:
                self._refused.note(gateway, self._now_s(), refusal.code, refusal.sentence)
            raise

    def _remember(self, gateway: Enrolment, outcome: Outcome) -> None:
        match outcome:
            case Cosigned():
                self._refused.taken(gateway)
            case Rejected():
                if outcome.proof:
                    log.error("The gateway %s has signed two histories: %s", gateway.name, outcome.sentence)
                self._refused.note(gateway, self._now_s(), outcome.code, outcome.sentence, outcome.seq)

    async def transaction(self, request: web.BaseRequest) -> web.Response:
        """One transaction in the seed's flat form: with a gateway's key, or a hash that proves the shared secret."""
        gateway = None
        if presented_key(request.headers):
            gateway = await self._doorkeeper.sender(request.headers, request.remote)
        body = await self._rooms.body(request, LINE_MAX_B)
        try:
            sent = parse_flat(body)
            cost_pico = to_pico(sent.cost)
            if not sent.id.isprintable():
                raise RecordError("The transaction's id must be printable.")
        except (RecordError, ValueError) as error:
            raise Refusal(400, "malformed", str(error)) from None
        settings = self._settings
        genuine = None
        if settings.ledger_secret:
            genuine = sent.is_genuine(settings.ledger_secret, settings.ledger_template)
        if gateway is None and genuine is not True and not settings.open_transactions:
            raise self._doorkeeper.no(request.headers, request.remote)
        sender = ANYBODY if gateway is None else gateway.id
        row = FlatRow(sender, sent.id, self._now_s(), genuine, cost_pico, body)
        outcome = await self._keeper.put(row)
        if outcome is FlatOutcome.DIFFERS:
            log.error("The transaction %r came again and says something else than what is held.", sent.id)
            raise Refusal(
                422, "other_transaction", "Another transaction of this id is held, and it stays as it is."
            )
        if not isinstance(outcome, FlatOutcome):
            return _answer(outcome)
        return reply({"status": "ok", "id": sent.id, "again": outcome is FlatOutcome.AGAIN, "valid": genuine})


def _answer(outcome: Outcome) -> web.Response:
    match outcome:
        case Cosigned(line):
            return web.Response(body=line.encode(), headers={"Content-Type": TEXT})
        case Elsewhere(size):
            return web.Response(body=b"%d\n" % size, status=409, headers={"Content-Type": SIZE})
        case Rejected():
            more: dict[str, object] = {"seq": outcome.seq}
            if outcome.proof:
                # With what it signed itself, whoever sends can see that this is so.
                more["checkpoint"] = outcome.held
            return refused(Refusal(422, outcome.code, outcome.sentence), more)
        case MalformedSubmission():
            raise Refusal(400, "malformed", str(outcome))
        case TooManyLeaves():
            raise Refusal(413, "too_many_leaves", str(outcome))
        case ReceiverError():
            raise outcome
        case _:
            raise too_large(BODY_MAX_B)
