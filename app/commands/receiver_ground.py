"""What the receiver's commands stand on: its own folders and settings within the profile, its vault and its store."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from app.commands.common import CommandError, overrides
from app.receiver.assembly import kind_of, own_folders, store_of
from app.receiver.settings import FILE, ReceiverSettings, load_settings
from app.receiver.store import CopyStore
from app.settings.folders import Folders
from app.settings.instance import running as running_instance
from app.vault.base import Vault
from app.vault.choice import open_vault

ASK_S = 10.0


@dataclass(frozen=True, slots=True)
class ReceiverGround:
    """The receiver of one profile."""

    profile: str
    folders: Folders
    settings: ReceiverSettings

    async def vault(self) -> Vault:
        """Its vault. Raises VaultUnavailable."""
        return await open_vault(self.settings.vault, profile=self.profile, directory=self.folders.config)

    def url(self) -> str | None:
        """Where the receiver of this profile listens now."""
        instance = running_instance(self.folders.state)
        return None if instance is None else instance.url

    async def vkey_at(self, url: str) -> str:
        """By which key the receiver that runs there cosigns. Raises CommandError where it does not answer."""
        return str((await _health(url))["vkey"])

    async def require_same_store(self) -> None:
        """Raise CommandError where a receiver of this profile runs on another kind of store than this command was told
        of: whoever is enrolled in the other one is unknown to it."""
        url = self.url()
        if url is None:
            return
        try:
            theirs = (await _health(url))["store"]
        except CommandError:
            return  # it does not answer now, and the store is asked without it
        if theirs != kind_of(self.settings):
            way = (
                "name the same one, with --database or MORTDECAI_RECEIVER_DATABASE"
                if not self.settings.database
                else "leave out the database"
            )
            raise CommandError(f"The receiver that runs keeps its copy in {theirs}: {way}.")

    @contextmanager
    def store(self) -> Iterator[CopyStore]:
        """The store, beside a receiver that may run."""
        self.folders.prepare()
        store = store_of(self.settings, self.folders.data)()
        try:
            yield store
        finally:
            store.close()


async def _health(url: str) -> Mapping[str, Any]:
    """What it says of itself: `store` and `vkey` are in it."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_S)) as session,
            session.get(url + "/health") as reply,
        ):
            said = await reply.json(content_type=None)
            if {"store", "vkey"} <= said.keys():
                return dict(said)
            problem = "it is no receiver"
    except (aiohttp.ClientError, TimeoutError, ValueError, AttributeError) as error:
        problem = str(error) or type(error).__name__
    raise CommandError(f"The receiver at {url} did not answer as it should: {problem}.")


def receiver_ground(options: argparse.Namespace) -> ReceiverGround:
    """Folders and settings of the receiver that was asked for. Raises SettingError."""
    folders = own_folders(Folders.for_profile(options.profile))
    given = overrides(options)
    for name in ("database", "public_url"):
        if getattr(options, name) is not None:
            given[name] = getattr(options, name)
    settings = load_settings(
        cli=given,
        env=os.environ,
        env_file=Path(options.env_file) if options.env_file else None,
        file=folders.config / FILE,
    )
    return ReceiverGround(options.profile, folders, settings)
