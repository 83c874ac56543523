"""`receiver verify`: whether all that is held is still what was signed or hashed.

Rule: it reads, and changes nothing; it works beside a receiver that runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from itertools import accumulate

from app.commands.common import CommandError
from app.commands.progress import verifying
from app.commands.receiver_ground import ReceiverGround
from app.receiver.audit import audit_copy
from app.receiver.enrolling import find
from app.receiver.errors import IndicesUnchecked
from app.receiver.flat_audit import audit_flat
from app.receiver.store import CopyStore

_IN_ORDER = ("OK:", "NOTE:", "UNCHECKED:", "Nothing ")
"""How lines begin that convict nobody."""
_MENDING = {
    "SQLite": "put back a good copy of its file",
    "PostgreSQL": "say REINDEX DATABASE there, or put back a good copy of it",
}
"""What helps where an index is damaged, by the kind of the store."""


def verify_copy(place: ReceiverGround, options: argparse.Namespace) -> int:
    """`receiver verify [NAME]`; the exit status is 1 where something is not as it was."""
    with place.store() as store:
        enrolment = _enrolment(store, options.name) if options.name else None
        logs = _logs(store, enrolment)
        flat = _flat(store, enrolment, place)
        indices = _indices(store) if logs or flat else []
    lines = [*logs, *flat, *indices] or ["Nothing is held yet."]
    print("\n".join(lines))
    return 0 if all(line.startswith(_IN_ORDER) for line in lines) else 1


def _enrolment(store: CopyStore, name: str) -> str:
    found = find(store, name)
    if found is None:
        raise CommandError(f"No gateway is called {name}: `receiver list` names them.")
    return found.id


def _logs(store: CopyStore, enrolment: str | None) -> list[str]:
    lines = []
    found = store.logs(enrolment)
    total = sum(listed.log.size for listed in found)
    before = accumulate((listed.log.size for listed in found), initial=0)
    with verifying("Verifying the copy") as tell:
        reports = [
            audit_copy(store, listed.log, partial(_told, tell, total, begin))
            for listed, begin in zip(found, before, strict=False)
        ]
    for report in reports:
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


def _told(tell: Callable[[int, int], None], total: int, begin: int, read: int, _: int) -> None:
    """So many records are read of the log that `begin` records of other ones stand before."""
    tell(begin + read, total)


def _indices(store: CopyStore) -> list[str]:
    """Whether what is in order is found, too: a record that no index leads to would be taken a second time."""
    try:
        wrong = store.wrong_index()
    except IndicesUnchecked as error:
        return [
            f"UNCHECKED: Whether the indices of {store.kind} lead to every record cannot be said, for {error}."
        ]
    if wrong is None:
        return []
    return [
        f"UNVERIFIABLE: An index of the copy is damaged ({wrong}), so not everything that is held is found: stop the"
        f" receiver, and {_MENDING[store.kind]}; what came since, the gateways send again."
    ]


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
