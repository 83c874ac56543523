"""`ledger reconcile`: our copy of a client's log held against the client's, and what its signatures prove.

Rule: the other copy is the enrolled receiver's, or one that was handed over as two files; neither is changed. A gateway
that runs asks its receiver itself, for the secret stays with it.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any
from urllib.parse import quote

from app.commands.books import shut
from app.commands.common import CommandError, Ground, ground
from app.commands.compared import given_copy, told
from app.commands.ledger_source import Threaded, named_log
from app.commands.operator import Operator, ask_running, operator
from app.gateway.delivery.enrolling import receiver_secret
from app.gateway.delivery.guard import Guard
from app.gateway.delivery.outgoing import Outgoing
from app.gateway.delivery.reconciling import keys_of, reconcile
from app.ledger.comparing import Comparison, Holder, LogCopy, compare
from app.ledger.copies import AskedCopy, LedgerCopy, leaves_of
from app.ledger.cosignature import CosignerKey
from app.ledger.delivery import DeliveryRow, DeliveryWay
from app.ledger.errors import BadProof
from app.ledger.evidence import write_evidence
from app.ledger.parties import Client
from app.ledger.signing_keys import SigningKeys
from app.ledger.sqlite.reader import Reader
from app.ledger.sqlite.schema import LEDGER_FILE


def reconcile_ledger(options: argparse.Namespace) -> int:
    """`ledger reconcile`; the exit status is 0 where both copies are the same, else 1."""
    return asyncio.run(_reconcile(ground(options), options))


async def _reconcile(base: Ground, options: argparse.Namespace) -> int:
    handed = given_copy(options)
    url = base.running_url()
    if url is not None and handed is None:
        wanted = {"client": await _client_of(base, url, options.log), "every_record": options.every_record}
        answer = await ask_running(base, url, "POST", "/admin/receivers/reconcile", wanted, answer_s=600)
        return told(answer["verdict"], answer["sentence"], answer["log"], answer["evidence"], options.out)
    try:
        if url is not None:
            assert handed is not None
            found = await _running_against(base, url, handed, options)
        else:
            found = await _lying_against(base, handed, options)
    except BadProof as error:
        raise CommandError(f"The two copies cannot be compared: {error}") from None
    return told(str(found.verdict), found.sentence, found.log, write_evidence(found), options.out)


async def _client_of(base: Ground, url: str, word: str | None) -> str:
    logs = (await ask_running(base, url, "GET", "/ledger/logs"))["logs"]
    return named_log(tuple(Client(at["log"], at["client"], at["log"], 0) for at in logs), word)


async def _running_against(
    base: Ground, url: str, theirs: LogCopy, options: argparse.Namespace
) -> Comparison:
    """A running gateway's log, which is read over HTTP, against a copy that was handed over."""
    async with operator(base, url) as owner:
        answer = await owner.ask("GET", "/ledger/logs")
        clients = tuple(Client(at["log"], at["client"], at["log"], 0) for at in answer["logs"])
        log = named_log(clients, options.log)
        mine = AskedCopy(_fetch(owner), f"log={quote(log, safe='')}", "gateway")

        async def entries(_: str, at: int, limit: int) -> list[bytes]:
            status, body = await _fetch(owner)(
                f"/ledger/entries?log={quote(log, safe='')}&from={at}&limit={limit}"
            )
            return leaves_of(body) if status == 200 else []

        keys = await keys_of(log, answer["vkey"], entries)
        rows = (await owner.ask("GET", "/admin/receivers"))["receivers"]
        kept: dict[str, Any] = next((row for row in rows if row["log"] == log and row.get("key")), {})
        return await _held_against(
            log, mine, theirs, keys, options, kept.get("key", ""), kept.get("checkpoint", "")
        )


async def _held_against(
    log: str,
    mine: LogCopy,
    theirs: LogCopy,
    keys: SigningKeys,
    options: argparse.Namespace,
    cosigner: str,
    acked: str,
) -> Comparison:
    cosigner = options.cosigner or cosigner
    key = CosignerKey.parse(cosigner) if cosigner else None
    return await compare(
        log, mine, theirs, keys.verify, holder=Holder.GATEWAY, cosigner=key, acked=acked or ""
    )


async def _lying_against(base: Ground, theirs: LogCopy | None, options: argparse.Namespace) -> Comparison:
    """The log of a gateway that does not run."""
    if base.store.current.vault != "memory" and not (base.folders.data / LEDGER_FILE).exists():
        raise CommandError(f"The profile {base.profile} has no ledger yet.")
    async with shut(base) as profile, Threaded.over(Reader(profile.path, profile.signer)) as ledger:
        log = named_log(await ledger.ask(ledger.reader.clients), options.log)
        client = next(one for one in await ledger.ask(ledger.reader.clients) if one.log == log)
        rows = await ledger.ask(ledger.reader.deliveries)
        row = next((one for one in rows if (one.log, one.way) == (log, DeliveryWay.LEDGER)), None)
        vkey = profile.signer.vkey
        if theirs is not None:
            keys = await keys_of(log, vkey, ledger.entries)
            known = ("", "") if row is None else (row.vkey, row.standing.note)
            return await _held_against(log, LedgerCopy(ledger, log), theirs, keys, options, *known)
        if row is None:
            raise CommandError(
                f"{client.name} has no receiver of its own: name the copy that you were given with --leaves and"
                " --checkpoint."
            )

        async def credentials() -> dict[str, str]:
            return {"Authorization": f"Bearer {await receiver_secret(profile.vault, client.id)}"}

        return await _asking(base, ledger, vkey, row, credentials, options.every_record)


async def _asking(
    base: Ground, ledger: Threaded, vkey: str, row: DeliveryRow, credentials: Any, every_record: bool
) -> Comparison:
    settings = base.store.current
    own = f"http://127.0.0.1:{settings.port}"
    guard = Guard(private=lambda: settings.private_receivers, never=lambda: (own, settings.upstream_url))
    outgoing = Outgoing(guard)
    try:
        return await reconcile(ledger, vkey, row, outgoing, credentials, every_record=every_record)
    finally:
        await outgoing.close()


def _fetch(owner: Operator) -> Any:
    async def fetch(path: str) -> tuple[int, bytes]:
        return 200, b"".join([line + b"\n" async for line in owner.read(path)])

    return fetch
