"""`ledger accept-rollback`: going on where the newest records are lost, and saying so in every log that lost some.

Rule 1: nothing is given up that somebody may still have: the clients' receivers are asked first, and where one has our
newer records, or cannot be asked, that is said and nothing is changed. Rule 2: going on all the same takes an option of
its own. A receiver whose records are given up gets the log no more: it could only contest it.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence

from app.basics.clock import wall_us
from app.commands.books import Shut, shut
from app.commands.common import CommandError, Ground, ground
from app.commands.trace import leave_trace
from app.gateway.delivery.ahead import Ahead, Unheard, ask_receivers
from app.gateway.delivery.enrolling import forget_receiver
from app.ledger.drafts import AdjustDraft
from app.ledger.errors import LedgerRollback
from app.ledger.sqlite.store import Ledger

PATIENCE_S = 10.0
"""For each receiver's answer, all asked at once: what is given up here is gone, so this waits longer than a start."""


def accept_rollback(options: argparse.Namespace) -> int:
    """`ledger accept-rollback [--despite-receivers]`."""
    return asyncio.run(_accept_rollback(ground(options), despite_receivers=options.despite_receivers))


async def _accept_rollback(base: Ground, *, despite_receivers: bool) -> int:
    if base.running_url() is not None:
        raise CommandError("The gateway of this profile runs, so its ledger holds all that is remembered.")
    async with shut(base) as profile:
        claims = _claims(profile)
        said = await ask_receivers(
            profile.path,
            profile.signer.vkey,
            profile.vault,
            lambda: base.store.current,
            patience_s=PATIENCE_S,
            logs=claims,
        )
        if said and not despite_receivers:
            raise CommandError(_objection(said))
        tails = [one for one in said if isinstance(one, Ahead)]
        known = claims | {tail.log: max(tail.there, claims.get(tail.log, 0)) for tail in tails}
        ledger = await profile.open_ledger(remembered=())
        try:
            gone = await _go_on(ledger, known)
            given_up = [await _give_up(ledger, profile, tail) for tail in tails]
        finally:
            await ledger.close()
        await profile.newest.replace(ledger.newest())
    leave_trace(base, "ledger accept-rollback", [*map(str, claims)])
    print(f"The ledger goes on as it lies: {sum(gone)} records in {len(gone)} logs are gone for good.")
    for sentence in given_up:
        print(sentence)
    return 0


def _claims(profile: Shut) -> dict[str, int]:
    """Log → how many records the vault remembers of it; none where that is illegible, which is a way here too."""
    try:
        return {claim.origin: claim.size for claim in profile.newest.claims}
    except LedgerRollback:
        return {}


def _objection(said: Sequence[Ahead | Unheard]) -> str:
    """Why nothing is given up, of which log, and what to do: the gravest first."""
    tails = [one for one in said if isinstance(one, Ahead)]
    first = next((one for one in tails if one.outlived), (*tails, *said)[0])
    others = f" The same goes for {len(said) - 1} more." if len(said) > 1 else ""
    if isinstance(first, Ahead):
        return (
            f"Nothing was changed. {first}: {first.remedy}.{others} To give them up for good, and end the delivery to"
            " whoever has them, add --despite-receivers."
        )
    return (
        f"Nothing was changed, for it is not known whether a receiver still has what is lost. {first}{others} Try again"
        " once it can be asked; to go on without its word, add --despite-receivers."
    )


async def _go_on(ledger: Ledger, known: Mapping[str, int]) -> list[int]:
    """Say in every log that is there what it lost; how many records each of those that lost some did."""
    held = {claim.origin: claim.size for claim in ledger.newest()}
    lost = {log: size for log, size in known.items() if held.get(log, 0) < size}
    for log in lost.keys() & held.keys():
        reason = f"Records {held[log]} to {lost[log] - 1} were lost, and the operator went on without them."
        await ledger.append(log, AdjustDraft(ledger.new_id(), wall_us(), None, reason, 0))
    return [size - held.get(log, 0) for log, size in lost.items()]


async def _give_up(ledger: Ledger, profile: Shut, tail: Ahead) -> str:
    """Deliver a log no more to the receiver that has records of it which are gone here."""
    client = next(client for client in ledger.clients() if client.log == tail.log)
    await forget_receiver(ledger, profile.vault, client)
    return (
        f"The log of {client.name} goes to its receiver no more: that has {tail.there} records with our signature, and"
        " they stay good evidence of what was."
    )
