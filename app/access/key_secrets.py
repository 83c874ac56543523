"""Another secret for a key that stays what it is, and the secret of one, told again to its operator.

Rule 1: the new secret is in the vault before it is in the ledger, under a name of its own, so that no end of the
program between the two loses it. Rule 2: a secret of before opens the door until the grace ends that the operator
named, and never longer than it would have: a rotation without grace ends them all.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from app.access.client_keys import ClientKeys
from app.access.former import MOST, FormerSecret, ended_by
from app.access.kept import kept_name, kept_plain, next_name
from app.access.limits import LimitError, Limits
from app.access.own_address import new_secret, path_of
from app.access.principals import Role, key_digest, new_key
from app.access.roster import address_of
from app.basics.clock import wall_us
from app.ledger.parties import Key
from app.ledger.sqlite.durable import durable
from app.ledger.sqlite.store import Ledger
from app.vault.base import Vault, VaultUnavailable

GRACE_MOST_S = 31 * 86_400


class KeySecrets:
    """The secrets of the keys that `keys` knows."""

    def __init__(
        self, ledger: Ledger, vault: Vault, keys: ClientKeys, wall_us: Callable[[], int] = wall_us
    ) -> None:
        self._ledger = ledger
        self._vault = vault
        self._keys = keys
        self._wall_us = wall_us

    async def rotate(self, name: str, grace_s: int = 0) -> Mapping[str, Any]:
        """A new secret for the active key, or the address of one, of that id or label: label, limits and records stay
        its own. The old one goes on opening the door for `grace_s` seconds, 0 to GRACE_MOST_S.

        Raises LookupError as `ClientKeys.revoke` does, LimitError where too many old ones still count;
        VaultUnavailable, LedgerFault or TailMissing where it cannot be recorded now: the old one counts on.
        """
        async with self._keys.changing:
            key = self._keys.called(name)
            limits = Limits.load(key.limits)
            now_s = self._wall_us() // 1_000_000
            end_s = now_s + grace_s
            former = ended_by((*limits.former, FormerSecret(key.sha256, end_s)), end_s, now_s)
            if len(former) > MOST:
                raise LimitError(
                    f"{name!r} has {MOST} old secrets that still count: end them by a rotation without grace."
                )
            is_address = limits.address_of is not None
            kept = key.role == Role.CLIENT and not is_address
            secret = new_secret() if is_address else new_key()
            if kept:
                await self._vault.set(next_name(key.id), secret)
            recorded = replace(limits, former=former).dump()
            made = self._ledger.rotate_secret(key.id, key_digest(secret), recorded)
            try:
                await durable(self._ledger, made)
            except BaseException:
                # It may be recorded all the same, later: then it counts, and the vault knows it.
                made.add_done_callback(self._look_again)
                raise
            self._keys.refresh()
            if kept:
                # It is found by the other name as well.
                with suppress(VaultUnavailable):
                    await self._vault.set(kept_name(key.id), secret)
                    await self._vault.delete(next_name(key.id))
        told = {"path": path_of(secret)} if is_address else {"key": secret}
        until = max((each.until_s for each in former), default=None)
        return {"id": key.id, "label": key.label, **told, "old_secret_until": until}

    def _look_again(self, made: Future[Key]) -> None:
        if not made.cancelled() and made.exception() is None:
            self._keys.refresh()

    async def reveal(self, name: str) -> Mapping[str, Any]:
        """The secret of the active client's key of that id or label. Raises LookupError as `ClientKeys.revoke` does,
        and where it is kept nowhere; VaultUnavailable."""
        key = self._keys.called(name)
        plain = None
        if key.role == Role.CLIENT and address_of(key) is None:
            plain = await kept_plain(self._vault, key)
        if plain is None:
            raise LookupError(
                f"The secret of {name!r} is kept nowhere: give it another one with `mortdecai-gateway keys rotate`."
            )
        return {"id": key.id, "label": key.label, "key": plain}
