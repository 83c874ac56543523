"""What the receiver's commands stand on: its own folders and settings within the profile, its vault and its store."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.commands.common import overrides
from app.receiver.assembly import own_folders, store_of
from app.receiver.settings import FILE, ReceiverSettings, load_settings
from app.receiver.store import CopyStore
from app.settings.folders import Folders
from app.settings.instance import running as running_instance
from app.vault.base import Vault
from app.vault.choice import open_vault


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

    @contextmanager
    def store(self) -> Iterator[CopyStore]:
        """The store, beside a receiver that may run."""
        self.folders.prepare()
        store = store_of(self.settings, self.folders.data)()
        try:
            yield store
        finally:
            store.close()


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
