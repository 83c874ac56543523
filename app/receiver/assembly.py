"""Where a receiver's parts are made and wired, from the bottom up, and taken down in reverse.

Rule: it is handed settings, folders and a vault, and knows no command line.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from app.basics.clock import mono_us, wall_us
from app.basics.descriptors import raise_descriptors
from app.basics.door import Door
from app.receiver.counts import Counts
from app.receiver.doorkeeper import Doorkeeper
from app.receiver.errors import ReceiverError
from app.receiver.identity import ReceiverIdentity
from app.receiver.intake_endpoints import IntakeEndpoints
from app.receiver.keeper import Keeper
from app.receiver.overview import Overview
from app.receiver.reading_endpoints import ReadingEndpoints
from app.receiver.refused import RefusedPushes
from app.receiver.server import ReceiverServer
from app.receiver.settings import ReceiverSettings
from app.receiver.sqlite.schema import RECEIVER_FILE
from app.receiver.sqlite.store import SqliteCopy
from app.receiver.store import CopyStore
from app.settings.folders import Folders
from app.settings.instance import InstanceLock
from app.vault.base import Vault

log = logging.getLogger(__name__)

KEPT_FOR_US = 64
"""Descriptors for files, the database and the log."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """A receiver that listens."""

    url: str
    identity: ReceiverIdentity
    keeper: Keeper


def own_folders(folders: Folders) -> Folders:
    """The receiver's own folders, below those of the profile."""
    return replace(
        folders,
        config=folders.config / "receiver",
        data=folders.data / "receiver",
        state=folders.state / "receiver",
    )


def now_s() -> int:
    """Wall time in whole seconds."""
    return wall_us() // 1_000_000


def kind_of(settings: ReceiverSettings) -> str:
    """What the store that the settings name calls itself, without opening it."""
    return "PostgreSQL" if settings.database else SqliteCopy.kind


def store_of(settings: ReceiverSettings, data: Path) -> Callable[[], CopyStore]:
    """Opens the store that the settings name; it blocks, and raises StoreFault.

    Raises ReceiverError where PostgreSQL is named and its library is not installed.
    """
    if not settings.database:
        return lambda: SqliteCopy(data / RECEIVER_FILE)
    try:
        from app.receiver.postgres.store import PostgresCopy
    except ImportError:
        raise ReceiverError(
            "The library for PostgreSQL is not installed: install it with pip install 'psycopg[binary]'."
        ) from None
    return lambda: PostgresCopy(settings.database, now_s)


@asynccontextmanager
async def running(settings: ReceiverSettings, folders: Folders, vault: Vault) -> AsyncIterator[Receiver]:
    """A receiver over its own `folders` (see `own_folders`), listening until the block ends.

    Raises AlreadyRunning, DoorTaken, VaultUnavailable or ReceiverError.
    """
    async with AsyncExitStack() as opened:
        lock = opened.enter_context(InstanceLock.acquire(folders.state))
        door = await Door.take(settings.host, settings.port)
        opened.callback(door.close)
        identity = await ReceiverIdentity.load(vault)
        counts, refused_pushes = Counts(), RefusedPushes()
        keeper = await Keeper.open(store_of(settings, folders.data), identity.cosigner, now_s, counts)
        opened.push_async_callback(keeper.close)
        doorkeeper = Doorkeeper(keeper, identity.owner_key, mono_us)
        most = max(8, min(settings.max_connections, raise_descriptors() - KEPT_FOR_US))
        server = ReceiverServer(counts, most)
        overview = Overview(
            keeper,
            doorkeeper,
            counts,
            refused_pushes,
            secret=settings.ledger_secret,
            template=settings.ledger_template,
            silence_s=settings.silence_hours * 3600,
            now_s=now_s,
            connections=lambda: server.connections,
        )
        opened.push_async_callback(server.stop)
        await server.start(
            door,
            IntakeEndpoints(keeper, doorkeeper, settings, refused_pushes, now_s).routes(),
            ReadingEndpoints(keeper, doorkeeper).routes(),
            overview.routes(),
        )
        lock.announce(door.url, identity.owner_key)
        log.info("Listening at %s; the copy is kept in %s.", door.url, keeper.kind)
        yield Receiver(door.url, identity, keeper)
