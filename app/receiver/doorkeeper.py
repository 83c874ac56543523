"""Who may send and who may read: gateways by the secret they were enrolled with, the owner by the owner's key.

Rule 1: every wrong key gets the same answer after the same work. Rule 2: who was enrolled a moment ago gets in, and who
was removed stays out after AGE_S at the latest, though a command changed it beside this process.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.access.credentials import presented_key
from app.access.origin import origin
from app.access.refusals import Refusal
from app.access.throttle import Throttle
from app.access.web_pages import from_foreign_page
from app.receiver.errors import StoreFault
from app.receiver.identity import digest
from app.receiver.keeper import Keeper
from app.receiver.parties import Enrolment

AGE_S = 2.0
"""For so long the list of gateways is believed."""
LOOK_AGAIN_S = 0.2
"""Whoever is not on it has it read again, at most so often."""
_NOBODY = bytes(32)
_SENTENCE = "The key is missing or not valid here. Send it as «Authorization: Bearer mr_…»."


@dataclass(frozen=True, slots=True)
class MayRead:
    """Whose logs may be read: those of one enrolment, or (None) all."""

    enrolment: str | None


class Doorkeeper:
    """The keys that work now."""

    def __init__(self, keeper: Keeper, owner_key: str, now_us: Callable[[], int]) -> None:
        """`now_us` is a monotonic clock."""
        self._keeper = keeper
        self._owner = digest(owner_key.encode())
        self._now_us = now_us
        self._throttle = Throttle(now_us)
        self._enrolled: dict[bytes, Enrolment] = {}
        self._names: dict[str, str] = {}
        self._senders: frozenset[str] = frozenset()
        self._read_us = -1
        self._reading: asyncio.Task[None] | None = None

    def name_of(self, enrolment: str) -> str:
        """What its owner calls a gateway, removed ones too; the id where it is not known."""
        return self._names.get(enrolment, enrolment)

    def may_send(self, enrolment: str) -> bool:
        """Whether it is enrolled, and was not removed."""
        return enrolment in self._senders

    async def refresh(self) -> None:
        """Read the list of gateways. Raises StoreFault."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        await asyncio.shield(self._reading)

    async def sender(self, headers: Mapping[str, str], remote: str | None) -> Enrolment:
        """The gateway that sends. Refusal 401, 403, 429 or 503."""
        found = await self._found(headers)
        if not isinstance(found, Enrolment):
            if found:
                raise Refusal(
                    403, "owner_sends_nothing", "The owner's key reads; gateways send with their own."
                )
            raise self.no(headers, remote)
        return found

    async def reader(self, headers: Mapping[str, str], remote: str | None) -> MayRead:
        """What may be read. Refusal 401, 403, 429 or 503."""
        found = await self._found(headers)
        if isinstance(found, Enrolment):
            return MayRead(found.id)
        if found:
            return MayRead(None)
        raise self.no(headers, remote)

    async def owner(self, headers: Mapping[str, str], remote: str | None) -> None:
        """Refusal for everybody but the owner."""
        if (await self.reader(headers, remote)).enrolment is not None:
            raise Refusal(403, "owner_only", "Only the receiver's owner may read this.")

    async def _found(self, headers: Mapping[str, str]) -> Enrolment | bool:
        """Whose key it is: a gateway's, the owner's (True) or nobody's (False)."""
        if from_foreign_page(headers):
            raise Refusal(403, "foreign_page", "A web page of another origin sent this request.")
        hashed = digest(presented_key(headers))
        if hmac.compare_digest(hashed, self._owner):
            return True
        age_us = self._now_us() - self._read_us
        found = self._match(hashed)
        if found is None and (self._read_us < 0 or age_us > LOOK_AGAIN_S * 1e6):
            try:
                await self.refresh()
            except StoreFault as error:
                raise Refusal(503, "store_away", str(error), retry_after_s=5) from None
            found = self._match(hashed)
        elif age_us > AGE_S * 1e6 and self._reading is None:
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(_heard)
        return found if found is not None else False

    def _match(self, hashed: bytes) -> Enrolment | None:
        found = self._enrolled.get(hashed)
        # The same comparison is made for a key that was not found, so both answers take the same time.
        same = hmac.compare_digest(hashed, found.sha256 if found is not None else _NOBODY)
        return found if same else None

    def no(self, headers: Mapping[str, str], remote: str | None) -> Refusal:
        """What whoever has no key hears: 401, or 429 after too many tries."""
        if self._throttle.failed(origin(headers, remote) or "?"):
            return Refusal(
                429, "too_many_failures", "Too many wrong keys came from this address.", retry_after_s=60
            )
        return Refusal(401, "invalid_key", _SENTENCE)

    async def _read(self) -> None:
        try:
            everybody = await self._keeper.read(lambda store: store.enrolments())
            self._enrolled = {each.sha256: each for each in everybody if each.removed_s is None}
            self._senders = frozenset(each.id for each in everybody if each.removed_s is None)
            self._names = {each.id: each.name for each in everybody}
            self._read_us = self._now_us()
        finally:
            self._reading = None


def _heard(task: asyncio.Task[None]) -> None:
    """The list stays as it was while the store does not answer; the keeper says why."""
    if not task.cancelled():
        task.exception()
