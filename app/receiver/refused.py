"""What each gateway sent last and was refused, until something of it is taken.

Rule 1: in memory alone: whoever was refused sends again, and a signature that speaks against a gateway is kept by the
store. Rule 2: the log says which check failed and at which record; a sentence may repeat what was sent, and only
`/reconcile` shows it, to those with a key.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from app.receiver.parties import Enrolment

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RefusedPush:
    """A submission of which nothing was kept, at `at_s` since the epoch; `seq` is the first bad record, where one can
    be named."""

    enrolment: str
    at_s: int
    code: str
    sentence: str
    seq: int | None


class RefusedPushes:
    """The last one of each gateway."""

    def __init__(self) -> None:
        self._last: dict[str, RefusedPush] = {}

    def note(self, gateway: Enrolment, at_s: int, code: str, sentence: str, seq: int | None = None) -> None:
        """It was refused; the log hears of the same but once."""
        before = self._last.get(gateway.id)
        self._last[gateway.id] = RefusedPush(gateway.id, at_s, code, sentence, seq)
        if before is None or (before.code, before.seq) != (code, seq):
            where = "" if seq is None else f" at record {seq}"
            log.warning("What the gateway %s sent was refused: %s%s.", gateway.name, code, where)

    def taken(self, gateway: Enrolment) -> None:
        """Something of it was taken."""
        if self._last.pop(gateway.id, None) is not None:
            log.info("What the gateway %s sends is taken again.", gateway.name)

    def of(self, enrolment: str | None) -> tuple[RefusedPush, ...]:
        """That of one gateway; None is all."""
        return tuple(each for each in self._last.values() if enrolment in (None, each.enrolment))
