"""The keys that open the door: what the ledger knows of them, what the vault keeps, what the proxy checks.

The ledger stores who may come in (a SHA-256 and a label for each key) and records every change; the vault keeps the
plain text of the keys this gateway made, for «copy key»; the proxy's `Access` is told after every change.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.access.identify import Access
from app.access.kept import kept_name, kept_plain, next_name
from app.access.limits import UNLIMITED, LimitError, Limits
from app.access.own_address import new_secret, path_of
from app.access.principals import Principal, Role, key_digest, new_key
from app.access.roster import address_of, is_whole, principals
from app.basics.signal import Signal
from app.ledger.errors import LedgerError, TailMissing
from app.ledger.parties import Client, Key, client_named
from app.ledger.sqlite.durable import durable
from app.ledger.sqlite.store import Ledger
from app.vault.base import Vault

log = logging.getLogger(__name__)

FIRST_CLIENT = "First client"
FIRST_KEY = "first key"
WHOLE_CLIENT = "all keys"
_LABEL_MOST = 54
"""Letters of a key's label that its address's repeats; no label is longer than 64."""


class ClientKeys:
    """Clients, their keys, and the operator's tokens."""

    def __init__(self, ledger: Ledger, vault: Vault, access: Access, *operator_tokens: str) -> None:
        self._ledger = ledger
        self._vault = vault
        self._access = access
        self._operator = [key_digest(token) for token in operator_tokens]
        self._plain: str | None = None
        self.changing = asyncio.Lock()
        """Held while a row is read, changed and recorded: of two changes at once neither is lost."""
        self._first_due = False
        """The first key could not be recorded at the start."""
        self._shut: set[str] = set()
        """Keys whose end is on its way to the disk: they open nothing any more."""
        self._due: set[str] = set()
        """Those of them whose end cannot be recorded before the ledger's lost tail is back."""
        self.revoked: Signal[[str]] = Signal()
        """Told the id of a key that has just stopped working."""
        self.known: Signal[[list[Principal]]] = Signal()
        """Told all that may come in, just before they may."""

    async def load(self) -> None:
        """Make the first client and its key on the first start, and open the door to all that are known."""
        if not self._ledger.clients():
            await durable(self._ledger, self._ledger.create_client(FIRST_CLIENT))
        if await self._known() is None:
            # None was made yet, or the vault no longer knows any in plain text.
            try:
                await self.create(FIRST_KEY, None)
            except TailMissing:
                self._first_due = True
        self._tell()

    def refresh(self) -> None:
        """Open the door to all that the ledger knows by now."""
        self._tell()

    def make_up(self) -> None:
        """Record the end of the keys that were revoked while the ledger took no records."""
        for key_id in self._due:
            self._ledger.revoke_key(key_id).add_done_callback(_say_failure)
        self._due.clear()

    def first_log(self) -> str:
        """The log of the first client."""
        return self._ledger.clients()[0].log

    async def plain(self) -> str:
        """The plain text of a client's key, for the clipboard. Raises LookupError where no key is left of which it is
        known, and as `create` does where the first one could not be made before."""
        plain = await self._known()
        if plain is None and self._first_due:
            plain = str((await self.create(FIRST_KEY, None))["key"])
        if plain is None:
            raise LookupError("There is no key to copy: create one.")
        return plain

    async def _known(self) -> str | None:
        """The plain text of a client's key that works, where the vault knows one."""
        keys = [key for key in self._active() if key.role == Role.CLIENT]
        if self._plain is not None and key_digest(self._plain) not in {key.sha256 for key in keys}:
            self._plain = None
        for key in () if self._plain is not None else keys:
            self._plain = self._plain or await kept_plain(self._vault, key)
        return self._plain

    async def create(
        self, label: str, client: str | None, limits: Limits = UNLIMITED, *, role: Role = Role.CLIENT
    ) -> Mapping[str, Any]:
        """A new key for the client of that name (made where there is none), or for the first client; or one of the
        operator's, which is told this once and kept nowhere.

        Raises LedgerFault where the disk takes nothing, TailMissing, VaultUnavailable; a key that is durable all the
        same, then or later, is revoked, for nobody has seen it.
        """
        owner = await self._client(client) if role is Role.CLIENT else None
        plain = new_key()
        made = self._ledger.create_key(
            label=label,
            sha256=key_digest(plain),
            client=None if owner is None else owner.id,
            role=role,
            limits=limits.dump(),
        )
        try:
            key = await durable(self._ledger, made)
            if owner is not None:
                await self._vault.set(kept_name(key.id), plain)
        except BaseException:
            made.add_done_callback(self._revoke_unseen)
            raise
        if self._plain is None and owner is not None:
            self._plain = plain
        self._tell()
        return {
            "id": key.id,
            "label": key.label,
            "client": "" if owner is None else owner.name,
            "key": plain,
            "limits": limits.to_json(),
            **({} if owner is not None else {"role": role.value}),
        }

    async def create_address(self, name: str) -> Mapping[str, Any]:
        """An address of its own for the client's key of that id or label, for programs that can send no header.

        Its secret is told this once and kept nowhere. Raises LookupError as `revoke` does, and for an operator's key;
        LedgerFault.
        """
        key = self.called(name)
        if key.role != Role.CLIENT or address_of(key) is not None:
            raise LookupError(
                f"{name!r} is no client's key, and only such a key may have an address of its own."
            )
        secret = new_secret()
        label = f"{key.label[:_LABEL_MOST]} (address)"
        limits = Limits(address_of=key.id).dump()
        made = self._ledger.create_key(
            label=label, sha256=key_digest(secret), client=key.client, limits=limits
        )
        try:
            row = await durable(self._ledger, made)
        except BaseException:
            made.add_done_callback(self._revoke_unseen)
            raise
        self._tell()
        return {"id": row.id, "label": row.label, "address_of": key.id, "path": path_of(secret)}

    async def limit(self, name: str, changes: Mapping[str, Any], *, anew: bool = False) -> Mapping[str, Any]:
        """Change what the active key of that id or label may do, from its next request on: each of `changes` counts as
        said, None lifts it, and what is not named stays, or with `anew` is lifted as well.

        Raises LookupError as `revoke` does, LimitError, LedgerFault or TailMissing where it cannot be recorded now.
        """
        async with self.changing:
            key = self.called(name)
            if address_of(key) is not None:
                raise LimitError(
                    f"{name!r} is an address of a key, whose own limits count for it: limit that key."
                )
            before = _readable(key) if anew else Limits.load(key.limits)
            kept = {} if anew else replace(before, former=()).to_json()
            limits = Limits.of({**kept, **changes})
            if not limits.plain:
                raise LimitError(
                    "address_of, whole_client and former are no limits that a key could be given."
                )
            recorded = replace(limits, former=before.former).dump()
            await durable(self._ledger, self._ledger.limit_key(key.id, recorded))
        self._tell()
        return {"id": key.id, "label": key.label, "limits": limits.to_json()}

    async def limit_client(
        self, name: str, changes: Mapping[str, Any], *, anew: bool = False
    ) -> Mapping[str, Any]:
        """The same for all keys of a client together, named by its id, its name or its log; those that come later count
        in. Raises LookupError where there is no such client, and as `limit` does."""
        client = client_named(self._ledger.clients(), name)
        if client is None:
            raise LookupError(f"No client is called {name!r}.")
        async with self.changing:
            row = self._whole(client)
            before = {} if anew or row is None else Limits.load(row.limits).to_json()
            limits = Limits.of({**before, **changes, "whole_client": True})
            if limits.address_of is not None or limits.former:
                raise LimitError("address_of and former are no limits that a client could be given.")
            if row is not None:
                await durable(self._ledger, self._ledger.limit_key(row.id, limits.dump()))
            else:
                # What is recorded of a client is recorded of a key, and this one nobody has.
                nobodys = key_digest(new_key())
                made = self._ledger.create_key(
                    label=WHOLE_CLIENT, sha256=nobodys, client=client.id, limits=limits.dump()
                )
                await durable(self._ledger, made)
        self._tell()
        return {"client": client.name, "id": client.id, "limits": _of_client(limits)}

    async def revoke(self, name: str) -> Mapping[str, Any]:
        """Revoke by id or label, at once, a key with its addresses or one address alone; LookupError where no active
        key has it, or more than one has the label, LedgerFault or TailMissing where that cannot be recorded yet: it
        opens nothing all the same."""
        key = self.called(name)
        ended = [key, *(other for other in self._active() if address_of(other) == key.id)]
        self._shut.update(each.id for each in ended)
        self._tell()
        for each in ended:
            self.revoked(each.id)
        if self._ledger.missing is not None:
            self._due.update(each.id for each in ended)
        for each in ended:
            await durable(self._ledger, self._ledger.revoke_key(each.id))
        await self._vault.delete(kept_name(key.id))
        await self._vault.delete(next_name(key.id))
        return {"id": key.id, "label": key.label, "revoked": True}

    def clients(self) -> list[Mapping[str, Any]]:
        """Every client, with what all of its keys may use together."""
        shown: list[Mapping[str, Any]] = []
        for client in self._ledger.clients():
            row = self._whole(client)
            limits = {} if row is None else json.loads(row.limits)
            limits.pop("whole_client", None)
            shown.append({"id": client.id, "client": client.name, "log": client.log, "limits": limits})
        return shown

    def all(self) -> list[Mapping[str, Any]]:
        """Every key, without its secret. `old_secret_until`: when the last of those it had before is over; None where
        none was to count beside its own."""
        names = {client.id: client.name for client in self._ledger.clients()}
        shown: list[Mapping[str, Any]] = []
        for key in self._ledger.keys():
            if is_whole(key):
                continue
            limits = json.loads(key.limits)
            former = limits.pop("former", ())
            shown.append(
                {
                    "id": key.id,
                    "label": key.label,
                    "role": key.role,
                    "client": names.get(key.client or "", ""),
                    "created": key.created_us / 1e6,
                    "revoked": None if key.revoked_us is None else key.revoked_us / 1e6,
                    "old_secret_until": max((each["until"] for each in former), default=None),
                    "limits": limits,
                }
            )
        return shown

    def _whole(self, client: Client) -> Key | None:
        """The row that says what all keys of a client may use together."""
        rows = [key for key in self._rows() if key.client == client.id and is_whole(key)]
        return rows[0] if rows else None

    def called(self, name: str) -> Key:
        """The active key of that id or label; LookupError."""
        found = [key for key in self._active() if name in (key.id, key.label)]
        if not found:
            raise LookupError(f"No active key is called {name!r}.")
        if len(found) > 1:
            raise LookupError(f"{len(found)} keys are called {name!r}; name one by its id.")
        return found[0]

    async def _client(self, name: str | None) -> Client:
        clients = self._ledger.clients()
        if name is None:
            return clients[0]
        for client in clients:
            if client.name == name:
                return client
        try:
            return await durable(self._ledger, self._ledger.create_client(name))
        except LedgerError:
            # Two at once may have asked for keys of the same new client.
            for client in self._ledger.clients():
                if client.name == name:
                    return client
            raise

    def _revoke_unseen(self, made: asyncio.Future[Key]) -> None:
        if not made.cancelled() and made.exception() is None:
            self._shut.add(made.result().id)
            self._ledger.revoke_key(made.result().id)

    def _active(self) -> list[Key]:
        return [key for key in self._rows() if not is_whole(key)]

    def _rows(self) -> list[Key]:
        return [key for key in self._ledger.keys() if key.revoked_us is None and key.id not in self._shut]

    def _tell(self) -> None:
        first = self._ledger.clients()[0]
        found = principals(self._ledger.clients(), self._rows())
        for digest in self._operator:
            found.append(Principal("operator", "operator", Role.OPERATOR, first.name, first.log, digest))
        self.known(found)
        self._access.replace(found)


def _say_failure(ended: asyncio.Future[Key]) -> None:
    if not ended.cancelled() and (error := ended.exception()) is not None:
        # It may have ended in one of the records that are back.
        log.info("The end of a key was not recorded: %s", error)


def _readable(key: Key) -> Limits:
    """What a key may do, or nothing said where that cannot be read."""
    try:
        return Limits.load(key.limits)
    except LimitError:
        return UNLIMITED


def _of_client(limits: Limits) -> dict[str, Any]:
    said = limits.to_json()
    del said["whole_client"]
    return said
