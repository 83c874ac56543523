"""The client's side of a simulation: the receiver's real rules over a real file; only HTTP is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from app.access.refusals import Refusal
from app.gateway.delivery.outgoing import ReceiverAnswer
from app.ledger.cosignature import Cosigner
from app.ledger.errors import LedgerError
from app.receiver.audit import CopyReport, audit_copy
from app.receiver.commits import Outcome, Sent, commit
from app.receiver.errors import ReceiverError
from app.receiver.intake_endpoints import IntakeEndpoints, _answer
from app.receiver.parties import Charge, Enrolment, Listed
from app.receiver.refused import RefusedPushes
from app.receiver.server import of_error, refused
from app.receiver.sqlite.store import SqliteCopy
from app.receiver.verdicts import LogVerdict, judge

COSIGNER = Cosigner(bytes(32), "client.example")
ENROLMENT = Enrolment("e_1", "garage", bytes(32), "", 0)
PATIENCE_S = 400 * 86_400
"""Nothing is said of a gateway that is silent for less: the clocks of a story jump by months."""


class ClientSide:
    """A receiver at `path` whose wall clock is `now_s`; `empty` is a file in which a gateway is enrolled."""

    def __init__(self, path: Path, empty: bytes, now_s: Callable[[], int]) -> None:
        path.write_bytes(empty)
        self.path = path
        self.store = SqliteCopy(path)
        self.outcomes: list[Outcome] = []
        """What came of every push."""
        self.refused = RefusedPushes()
        self._now_s = now_s

    def close(self) -> None:
        """Let go of the file."""
        self.store.close()

    def die(self) -> None:
        """Be killed between two commits, and be started again."""
        self.store.close()
        self.store = SqliteCopy(self.path)
        self.refused = RefusedPushes()

    def copied(self) -> bytes:
        """The file as a backup has it."""
        self.die()
        self.store.close()
        data = self.path.read_bytes()
        self.store = SqliteCopy(self.path)
        return data

    def restore(self, data: bytes) -> None:
        """Another file in place of this one."""
        self.store.close()
        self.path.write_bytes(data)
        self.store = SqliteCopy(self.path)

    def answer(self, method: str, path: str, body: bytes) -> ReceiverAnswer:
        """See `Answering`."""
        if method == "GET":
            return self._shown(path)
        (outcome,) = commit(self.store, COSIGNER, [Sent(ENROLMENT, body)], self._now_s())
        self.outcomes.append(outcome)
        endpoints = IntakeEndpoints(None, None, None, self.refused, self._now_s)  # type: ignore[arg-type]
        endpoints._remember(ENROLMENT, outcome)
        try:
            said = _answer(outcome)
        except Refusal as refusal:
            self.refused.note(ENROLMENT, self._now_s(), refusal.code, refusal.sentence)
            said = refused(refusal)
        except (LedgerError, ReceiverError) as error:
            said = refused(of_error(error))
        assert isinstance(said.body, bytes)
        return ReceiverAnswer(said.status, said.body, None, "receiver:80")

    def _shown(self, path: str) -> ReceiverAnswer:
        asked = parse_qs(urlsplit(path).query)
        found = self.store.logs(ENROLMENT.id, asked["log"][0])
        if not found:
            return ReceiverAnswer(404, b"", None, "receiver:80")
        log = found[0].log
        if path.startswith("/ledger/checkpoint?"):
            note = log.head.checkpoint
            return ReceiverAnswer(
                200, (note + COSIGNER.cosign(note, log.cosigned_s)).encode(), None, "receiver:80"
            )
        leaves = self.store.bodies(log, int(asked["from"][0]), int(asked["limit"][0]))
        return ReceiverAnswer(200, b"".join(leaf + b"\n" for leaf in leaves), None, "receiver:80")

    # What it says of what it holds.

    @property
    def held(self) -> Listed | None:
        """The log, where something of it has come."""
        found = self.store.logs(ENROLMENT.id)
        return found[0] if found else None

    @property
    def size(self) -> int:
        """How many records it holds."""
        return self.held.log.size if self.held else 0

    def bodies(self) -> tuple[bytes, ...]:
        """All that it holds."""
        return self.store.bodies(self.held.log, 0, 1 << 20) if self.held else ()

    def charges(self) -> tuple[Charge, ...]:
        """What speaks against the gateway."""
        return self.store.charges(ENROLMENT.id, 1000)

    def verdict(self) -> LogVerdict:
        """As `/reconcile` has it."""
        held = self.held
        assert held is not None
        newest = self.store.newest(None, held.log, 1)
        verdict = judge(held, newest[0] if newest else b"", self._now_s(), PATIENCE_S)
        for push in self.refused.of(None):
            if not verdict.finding:
                verdict = replace(verdict, status="LAGGING", finding=push.sentence)
        return verdict

    def audit(self) -> CopyReport:
        """As `receiver verify` has it."""
        assert self.held is not None
        return audit_copy(self.store, self.held.log)


def empty_copy(path: Path) -> bytes:
    """The file that every client's side begins with."""
    store = SqliteCopy(path)
    store.enrol(ENROLMENT)
    store.close()
    return path.read_bytes()
