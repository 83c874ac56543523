"""Hands for the tests of settings: a settings file, a user without rights, a disk without room."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from app.settings.store import SettingsStore

NOBODY = 65534


class Load(Protocol):
    def __call__(
        self,
        text: str | None = None,
        *,
        cli: Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
        env_file: str | None = None,
    ) -> SettingsStore: ...


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


@pytest.fixture
def load(file: Path) -> Load:
    """Load from these sources; texts become files."""

    def do(
        text: str | None = None,
        *,
        cli: Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
        env_file: str | None = None,
    ) -> SettingsStore:
        if text is not None:
            file.write_text(text, encoding="utf-8")
        dotenv = file.with_name(".env")
        if env_file is not None:
            dotenv.write_text(env_file, encoding="utf-8")
        return SettingsStore.load(
            cli=cli, env=env or {}, env_file=dotenv if env_file is not None else None, file=file
        )

    return do


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may look into; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def without_rights() -> Callable[[Path], AbstractContextManager[None]]:
    """Without the right to read this file or to write into this folder. Root has every right, so root becomes nobody;
    who cannot do that takes the right away from the file."""

    @contextmanager
    def do(path: Path) -> Iterator[None]:
        if os.geteuid() == 0:
            os.seteuid(NOBODY)
            try:
                yield
            finally:
                os.seteuid(0)
        else:
            mode = path.stat().st_mode
            path.chmod(0o500 if path.is_dir() else 0)
            try:
                yield
            finally:
                path.chmod(mode)

    return do


@pytest.fixture
def full_disk() -> AbstractContextManager[None]:
    """No file may grow any more: the kernel refuses every write, as a full disk does."""

    import resource

    @contextmanager
    def do() -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return do()
