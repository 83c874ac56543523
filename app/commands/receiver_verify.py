"""`receiver verify`: whether all that is held is still what was signed or hashed.

Rule: it reads, and changes nothing; it works beside a receiver that runs.
"""

from __future__ import annotations

import argparse
from functools import partial

from app.commands.common import CommandError
from app.commands.receiver_ground import ReceiverGround
from app.receiver.audit import audit_copy
from app.receiver.enrolling import find
from app.receiver.flat_audit import audit_flat
from app.receiver.store import CopyStore

_IN_ORDER = ("OK:", "NOTE:", "UNCHECKED:", "Nothing ")
"""How lines begin that convict nobody."""


def verify_copy(place: ReceiverGround, options: argparse.Namespace) -> int:
    """`receiver verify [NAME]`; the exit status is 1 where something is not as it was."""
    with place.store() as store:
        enrolment = _enrolment(store, options.name) if options.name else None
        logs = _logs(store, enrolment)
        flat = _flat(store, enrolment, place)
    lines = [*logs, *flat] or ["Nothing is held yet."]
    print("\n".join(lines))
    return 0 if all(line.startswith(_IN_ORDER) for line in lines) else 1


def _enrolment(store: CopyStore, name: str) -> str:
    found = find(store, name)
    if found is None:
        raise CommandError(f"No gateway is called {name}: `receiver list` names them.")
    return found.id


def _logs(store: CopyStore, enrolment: str | None) -> list[str]:
    lines = []
    for listed in store.logs(enrolment):
        report = audit_copy(store, listed.log)
        if report.sentence:
            order = f"{report.valid} of {report.size} are in order."
            lines.append(f"TAMPERED: {report.log}: {report.sentence} {order}")
        else:
            lines.append(f"OK: {report.log}: all {report.size} records are as they were signed.")
        lines += [f"NOTE: {report.log}: {note}" for note in report.notes]
    lines += [
        f"{'FORK' if charge.proof else 'UNVERIFIABLE'}: {charge.log}: {charge.sentence}"
        for charge in store.charges(enrolment, 1000)
    ]
    return lines


def _flat(store: CopyStore, enrolment: str | None, place: ReceiverGround) -> list[str]:
    settings = place.settings
    report = audit_flat(partial(store.flat_rows, enrolment), settings.ledger_secret, settings.ledger_template)
    if report.findings:
        order = f"{report.valid} of {report.total} carry their own hash."
        return [f"TAMPERED: {finding} {order}" for finding in report.findings]
    if not report.total:
        return []
    if not settings.ledger_secret:
        what = "Whether the transactions in the seed's form are as they came cannot be said without LEDGER_SECRET"
        return [f"UNCHECKED: {what}: {report.total} are held."]
    return [f"OK: The transactions in the seed's form carry their own hash, all {report.total}."]
