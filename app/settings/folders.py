"""Where a profile keeps its files.

Rule 1: profiles share nothing; each has its own folders for configuration, data and state. Rule 2: folders are the
owner's own (0700). Rule 3: a profile's name becomes a folder's name, so nothing but a plain word is one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.settings.errors import FolderError, reason
from app.settings.files import others_can_read
from app.settings.instance import InstanceLock
from app.settings.values import shown

APP = "mortdecai-gateway"
DEFAULT_PROFILE = "default"

_PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
# Windows opens these as devices, whatever folder they are in.
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
)


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders of one profile. Naming them touches no disk; `prepare` makes them."""

    profile: str
    config: Path
    """settings.toml and, with `vault = file`, the secrets."""
    data: Path
    """The ledger."""
    state: Path
    """The lock, instance.json and the logs."""

    @classmethod
    def for_profile(cls, name: str = DEFAULT_PROFILE, root: Path | None = None) -> Folders:
        """The folders of profile `name`, below `root`, else below $MORTDECAI_HOME, else where this system keeps such
        things. Raises FolderError where the name cannot be a profile's."""
        check_profile_name(name)
        return cls(name, *(base / name for base in _bases(root)))

    @property
    def fingerprint(self) -> str:
        """Tells this home's profile from one of the same name in another home, without saying where it is."""
        return hashlib.sha256(os.fsencode(self.state)).hexdigest()[:16]

    @property
    def logs(self) -> Path:
        """Inside the state folder: beside it, as some systems have it, «logs» would read as a profile."""
        return self.state / "logs"

    @property
    def settings_file(self) -> Path:
        """The profile's settings."""
        return self.config / "settings.toml"

    def prepare(self) -> None:
        """Make the folders, or make them the owner's own. Raises FolderError."""
        for folder in dict.fromkeys(self):
            try:
                # mkdir gives its mode to the last folder only.
                folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.mkdir(mode=0o700, exist_ok=True)
                if others_can_read(folder):
                    folder.chmod(0o700)
                effective = os.access in os.supports_effective_ids
                usable = os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=effective)
            except OSError as error:
                raise FolderError(
                    f"The folder {folder} cannot be made private or written because {reason(error)}: correct that, "
                    "or name another place in MORTDECAI_HOME."
                ) from error
            if not usable:
                raise FolderError(
                    f"The folder {folder} cannot be written because permission is denied: give it to your user, or "
                    "name another place in MORTDECAI_HOME."
                )

    def __iter__(self) -> Iterator[Path]:
        yield from (self.config, self.data, self.state)


def check_profile_name(name: str) -> None:
    """Raise FolderError unless `name` can be a profile's."""
    if not _PROFILE.fullmatch(name):
        raise FolderError(
            f"A profile cannot be called {shown(name)}: use 1 to 63 letters, digits, hyphens and underscores without "
            "accents, beginning with a letter or digit."
        )
    if name.lower() in _DEVICES:
        raise FolderError(
            f"A profile cannot be called {name} because Windows keeps that name for a device: choose another."
        )


def list_profiles(root: Path | None = None) -> tuple[str, ...]:
    """The profiles that have folders, `default` first whether or not it has any."""
    names = set()
    for base in _bases(root):
        try:
            names |= {
                entry.name for entry in base.iterdir() if entry.is_dir() and _PROFILE.fullmatch(entry.name)
            }
        except FileNotFoundError:
            continue
        except OSError as error:
            raise FolderError(
                f"The folder {base} cannot be listed because {reason(error)}: correct that, or name another place in "
                "MORTDECAI_HOME."
            ) from error
    return (DEFAULT_PROFILE, *sorted(names - {DEFAULT_PROFILE}, key=lambda name: (name.lower(), name)))


def create_profile(name: str, root: Path | None = None) -> Folders:
    """Make a new profile's folders. Raises FolderError where it exists, also in another case (on Windows and macOS
    they would be the same folder)."""
    folders = Folders.for_profile(name, root)
    clash = next((known for known in list_profiles(root) if known.lower() == name.lower()), None)
    if clash and (clash != DEFAULT_PROFILE or name != clash or any(folder.exists() for folder in folders)):
        raise FolderError(f"There is a profile {clash} already: use it, or choose another name.")
    folders.prepare()
    return folders


def delete_profile(name: str, root: Path | None = None) -> None:
    """Delete a profile's folders with its settings and its ledger; its secrets are the vault's to delete.

    Raises AlreadyRunning while its gateway runs, FolderError where there is no such profile.
    """
    folders = Folders.for_profile(name, root)
    present = [folder for folder in dict.fromkeys(folders) if os.path.lexists(folder)]
    if not present:
        raise FolderError(f"There is no profile {name}: the profiles are {', '.join(list_profiles(root))}.")
    folders.prepare()
    # Holding the lock keeps a gateway from starting on half a profile.
    with InstanceLock.acquire(folders.state):
        for folder in {folders.data, folders.config} - {folders.state}:
            _remove(folder)
    # Windows deletes no open file, so the lock goes first.
    _remove(folders.state)


def _remove(folder: Path) -> None:
    try:
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise FolderError(
            f"The folder {folder} cannot be deleted because {reason(error)}: correct that and try again."
        ) from error


def _bases(root: Path | None) -> tuple[Path, Path, Path]:
    """The folders that hold the profiles' folders for config, data, state; on Windows and macOS all the same one."""
    if root is None and os.environ.get("MORTDECAI_HOME"):
        root = Path(os.environ["MORTDECAI_HOME"])
    if root is not None:
        root = Path(os.path.abspath(root.expanduser()))
        return root / "config", root / "data", root / "state"
    # Some 20 ms that only a start without MORTDECAI_HOME needs.
    import platformdirs

    dirs = platformdirs.PlatformDirs(APP, appauthor=False, roaming=False)
    return dirs.user_config_path, dirs.user_data_path, dirs.user_state_path
