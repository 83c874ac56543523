"""Gateways come and go: enrolled by name, given a secret that is shown once, removed.

Rule: it blocks; the secret is returned and nowhere kept, only its SHA-256 is.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from app.ledger.checkpoint import VerifierKey
from app.ledger.errors import CheckpointError
from app.receiver.errors import EnrolmentError
from app.receiver.identity import digest, new_secret
from app.receiver.parties import Enrolment
from app.receiver.store import CopyStore

NAME_MAX = 64


def enrol(
    store: CopyStore, name: str, vkey: str, now_s: int, *, renew: bool = False
) -> tuple[Enrolment, str]:
    """A new gateway and its secret; with `renew`, one that is known gets another secret, and the old one opens nothing.

    `vkey` is the only key that its logs may begin with; empty: any. Raises EnrolmentError or StoreFault.
    """
    name = name.strip()
    if not 0 < len(name) <= NAME_MAX or not name.isprintable():
        raise EnrolmentError(f"A gateway's name has 1 to {NAME_MAX} printable characters.")
    if vkey:
        try:
            VerifierKey.parse(vkey)
        except CheckpointError as error:
            raise EnrolmentError(f"The gateway's key cannot be read: {error}.") from None
    known = find(store, name)
    if known is not None and not renew:
        state = "was removed" if known.removed_s is not None else "is enrolled already"
        raise EnrolmentError(
            f"A gateway called {name} {state}: choose another name, or give it a new secret with --renew."
        )
    if known is None and renew:
        raise EnrolmentError(f"No gateway is called {name}: enrol it without --renew.")
    secret = new_secret()
    hashed = digest(secret.encode())
    if known is None:
        made = Enrolment("e_" + secrets.token_hex(6), name, hashed, vkey, now_s)
    else:
        made = replace(known, sha256=hashed, vkey=vkey or known.vkey, removed_s=None)
    store.enrol(made)
    return made, secret


def remove(store: CopyStore, name: str, now_s: int) -> Enrolment:
    """Its secret opens nothing any more; what it sent stays. Raises EnrolmentError or StoreFault."""
    known = find(store, name)
    if known is None:
        raise EnrolmentError(f"No gateway is called {name}: `receiver list` names them.")
    store.remove(known.id, now_s)
    return known


def find(store: CopyStore, name: str) -> Enrolment | None:
    """The gateway of that name, removed or not."""
    return next((each for each in store.enrolments() if each.name == name), None)
