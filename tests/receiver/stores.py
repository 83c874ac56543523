"""Stores for tests that hold for every database."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from app.receiver.intake import Decision, Rejected, prepare
from app.receiver.parties import Enrolment
from app.receiver.store import CopyStore
from app.receiver.submission import parse_submission
from app.receiver.taking import log_name, take

NOW_S = 1_764_000_000


def enrolment(name: str, vkey: str = "") -> Enrolment:
    return Enrolment(f"e_{name}", name, hashlib.sha256(name.encode()).digest(), vkey, NOW_S)


@dataclass
class Counter:
    """A receiver's desk over a store: submissions one after the other, each in a transaction of its own."""

    store: CopyStore
    gateway: Enrolment
    now_s: int = NOW_S

    def take(self, body: bytes) -> Decision:
        sent = prepare(parse_submission(body))
        if isinstance(sent, Rejected):
            return sent
        with self.store.work({log_name(self.gateway, sent): sent.ids}) as work:
            return take(work, sent, self.gateway, self.now_s)
