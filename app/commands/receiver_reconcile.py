"""`receiver reconcile`: the copy held here against the gateway's own log, and what its signatures prove.

Rule: the gateway is asked with the client's key, as any client may, or its copy was handed over as two files. It works
beside a receiver that runs, and changes nothing.
"""

from __future__ import annotations

import argparse
from urllib.parse import quote

from app.commands.asking_gateway import asking_gateway
from app.commands.common import CommandError
from app.commands.compared import given_copy, told
from app.commands.receiver_ground import ReceiverGround
from app.ledger.checkpoint import VerifierKey
from app.ledger.comparing import Comparison, Holder, LogCopy, compare
from app.ledger.copies import AskedCopy, LeavesCopy
from app.ledger.cosignature import CosignerKey
from app.ledger.errors import BadProof
from app.ledger.evidence import write_evidence
from app.ledger.signing_keys import SigningKeys
from app.receiver.enrolling import find
from app.receiver.held_copy import HeldCopy
from app.receiver.identity import ReceiverIdentity
from app.receiver.kept import KeptLog
from app.receiver.store import CopyStore


async def reconcile_copy(place: ReceiverGround, options: argparse.Namespace) -> int:
    """`receiver reconcile NAME`; the exit status is 0 where both copies are the same, else 1."""
    handed = given_copy(options)
    with place.store() as store:
        log = _log(store, options)
        note, cosigner = log.head.checkpoint, None
        if place.settings.vault != "memory":
            identity = await ReceiverIdentity.load(await place.vault())
            cosigner = identity.cosigner.verifier
            note += identity.cosigner.cosign(note, log.cosigned_s)
        ours = HeldCopy(store, log, note)
        try:
            found = await _against(log, ours, handed, cosigner, options)
        except BadProof as error:
            raise CommandError(f"The two copies cannot be compared: {error}") from None
    return told(str(found.verdict), found.sentence, found.log, write_evidence(found), options.out)


async def _against(
    log: KeptLog,
    ours: HeldCopy,
    handed: LeavesCopy | None,
    cosigner: CosignerKey | None,
    options: argparse.Namespace,
) -> Comparison:
    keys = SigningKeys.known(log.name, [(first, VerifierKey.parse(vkey)) for first, vkey in log.keys])
    if handed is not None:
        return await compare(log.name, ours, handed, keys.verify, holder=Holder.RECEIVER, cosigner=cosigner)
    if not options.url or not options.key:
        raise CommandError(
            "Name the gateway's address with --url and your key there with --key, or the copy that you were given"
            " with --leaves and --checkpoint."
        )
    async with asking_gateway(options.url, options.key, options.fingerprint) as fetch:
        asked = AskedCopy(fetch, f"log={quote(log.name, safe='')}", "gateway")
        theirs: LogCopy = asked
        if options.every_record and (note := await asked.newest()):
            theirs = LeavesCopy(await asked.leaves(), note)
        return await compare(log.name, ours, theirs, keys.verify, holder=Holder.RECEIVER, cosigner=cosigner)


def _log(store: CopyStore, options: argparse.Namespace) -> KeptLog:
    enrolment = None
    if options.name:
        found = find(store, options.name)
        if found is None:
            raise CommandError(f"No gateway is called {options.name}: `receiver list` names them.")
        enrolment = found.id
    logs = store.logs(enrolment, options.log)
    if len(logs) != 1:
        some = ", ".join(each.log.name for each in logs[:8]) + (", …" if len(logs) > 8 else "")
        raise CommandError(
            f"There are {len(logs)} logs: name the gateway, and one of its logs with --log ({some})."
            if logs
            else "No such log is held."
        )
    return logs[0].log
