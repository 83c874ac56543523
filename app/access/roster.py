"""From the rows of keys that the ledger keeps to the principals that the door knows.

Rule 1: pure. Rule 2: a row is a key, an address of one, or what all keys of its client may use together; its limits say
which. Rule 3: a key whose limits cannot be read opens nothing: a newer version may have allowed it less than we know.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.access.limits import UNLIMITED, LimitError, Limits
from app.access.principals import Principal, Role
from app.ledger.parties import Client, Key

log = logging.getLogger(__name__)


def is_whole(row: Key) -> bool:
    """Whether this row is no key but says what all of its client's keys may use together. One with limits that cannot
    be read is, too: then they are allowed nothing."""
    return '"whole_client":true' in row.limits


def address_of(row: Key) -> str | None:
    """The id of the key whose own address this row is; None where it is a key, or what it may do cannot be read."""
    try:
        return Limits.load(row.limits).address_of
    except LimitError:
        return None


def principals(clients: Sequence[Client], rows: Sequence[Key]) -> list[Principal]:
    """Who comes in with what: by the keys of `rows`, which all work, their addresses, and the secrets that either had
    before and that still count. `clients` has at least one, whose log is the operators'."""
    owners = {client.id: client for client in clients}
    whole = {row.client: row for row in rows if is_whole(row)}
    found: list[Principal] = []
    by_key: dict[str, Principal] = {}
    addresses: list[tuple[Key, Limits]] = []
    for row in rows:
        if is_whole(row):
            continue
        owner = owners[row.client] if row.client is not None else clients[0]
        try:
            limits = Limits.load(row.limits)
            shared = Limits.load(whole[row.client].limits) if row.client in whole else UNLIMITED
        except LimitError as error:
            log.warning("The key %s does not work here: its %s", row.id, error)
            continue
        if limits.address_of is not None:
            addresses.append((row, limits))
            continue
        present = Principal(
            row.id, row.label, Role(row.role), owner.name, owner.log, row.sha256, limits, shared
        )
        if present.role is Role.CLIENT:
            by_key[row.id] = present
        found += [present, *_before(present, limits)]
    for row, limits in addresses:
        # It is what its key is, for records, limits and budgets too; without that it opens nothing.
        if limits.address_of in by_key:
            present = replace(by_key[limits.address_of], sha256=row.sha256, address=row.id)
            found += [present, *_before(present, limits)]
    return found


def _before(present: Principal, limits: Limits) -> Iterator[Principal]:
    """The same by each of the secrets that its row had before, as long as that counts."""
    for former in limits.former:
        until_us = former.until_s * 1_000_000
        ends = present.limits.expires_us
        narrowed = replace(present.limits, expires_us=until_us if ends is None else min(ends, until_us))
        yield replace(present, sha256=former.sha256, limits=narrowed)
