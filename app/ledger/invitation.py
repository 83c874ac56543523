"""What a receiver prints and a contributor pastes: where it is, the secret it knows the gateway by, its public key.

Rule: pure. One line holds all three:

    mortdecai-receiver:<address>#<secret>,<verifier key of its cosignatures>

Whoever has it may send records in this enrolment's name, and read what was sent; so it is shown once and never logged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.ledger.cosignature import CosignerKey
from app.ledger.errors import CheckpointError, LedgerError

PREFIX = "mortdecai-receiver:"
_is_url = re.compile(r"https?://[!-~]{1,1900}").fullmatch
_is_secret = re.compile(r"mr_[A-Za-z0-9_-]{43}").fullmatch


class NoInvitation(LedgerError):
    """The text is no invitation; `str()` is one sentence, which repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """A gateway's place at a receiver: its base address without a slash at the end, the secret, the verifier key."""

    url: str
    secret: str
    vkey: str

    def __repr__(self) -> str:
        return f"Invitation({self.url!r}, ********, {self.vkey!r})"

    @property
    def line(self) -> str:
        """The one line that holds all three."""
        return f"{PREFIX}{self.url}#{self.secret},{self.vkey}"


def parse_invitation(text: str) -> Invitation:
    """What `text` says, spaces around it left out. Raises NoInvitation."""
    line = text.strip()
    if not line.startswith(PREFIX):
        raise NoInvitation(f"The line must begin with {PREFIX}; paste what `receiver enrol` printed.")
    url, _, rest = line.removeprefix(PREFIX).partition("#")
    secret, _, vkey = rest.partition(",")
    if not _is_url(url):
        raise NoInvitation("The line names no http address: paste it whole, as `receiver enrol` printed it.")
    if not _is_secret(secret):
        raise NoInvitation("The line lacks its secret: paste it whole, as `receiver enrol` printed it.")
    try:
        CosignerKey.parse(vkey)
    except CheckpointError as error:
        raise NoInvitation(f"The receiver's key in the line is damaged: {error}; paste it whole.") from None
    return Invitation(url.rstrip("/"), secret, vkey)
