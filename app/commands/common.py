"""What several commands share: from options to settings, folders and vault, and whether a gateway runs."""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from app.settings.folders import Folders
from app.settings.instance import running
from app.settings.store import SettingsStore
from app.vault.base import Vault
from app.vault.choice import open_vault


class CommandError(Exception):
    """One sentence for the person who typed the command."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a command stands on."""

    folders: Folders
    store: SettingsStore
    profile: str

    async def vault(self) -> Vault:
        """The profile's vault. Raises VaultUnavailable."""
        return await open_vault(self.store.current.vault, profile=self.profile, directory=self.folders.config)

    def running_url(self) -> str | None:
        """Where the profile's running gateway answers; None where none runs."""
        instance = running(self.folders.state)
        if instance is None:
            return None
        if instance.url is None:
            raise CommandError("The gateway of this profile is just starting. Try again in a moment.")
        return instance.url


def overrides(options: argparse.Namespace) -> dict[str, object]:
    """The settings that the command line gives, by name."""
    given: dict[str, object] = {}
    for assignment in options.set:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise CommandError(f"--set wants NAME=VALUE, and {assignment!r} has no equals sign.")
        given[name.strip().lower()] = value
    named = {"host": "host", "port": "port", "upstream": "upstream_url", "vault": "vault"}
    for option, parameter in named.items():
        value = getattr(options, option, None)
        if value is not None:
            given[parameter] = value
    return given


def ground(options: argparse.Namespace) -> Ground:
    """Folders and settings of the profile that was asked for. Raises SettingError."""
    folders = Folders.for_profile(options.profile)
    store = SettingsStore.load(
        cli=overrides(options),
        env=os.environ,
        env_file=Path(options.env_file) if options.env_file else None,
        file=folders.settings_file,
    )
    return Ground(folders, store, options.profile)


@contextlib.contextmanager
def kept_or_not(base: Ground) -> Iterator[Ground]:
    """The same ground, with its ledger in a folder that goes away where the vault keeps nothing either.

    A ledger outlives the key that signs it to no purpose: at the next start nothing could be added to it.
    """
    if base.store.current.vault != "memory":
        yield base
        return
    with tempfile.TemporaryDirectory(prefix="mortdecai-") as folder:
        yield replace(base, folders=replace(base.folders, data=Path(folder)))
