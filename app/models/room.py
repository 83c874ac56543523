"""Whether the disk, and what the contributor allows of it, has room for one more model.

Rule: sizes are of files, in GB of 1e9 bytes; two names of one model count once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from app.basics.addresses import url_is_here
from app.engine.base import Model
from app.models.base import ModelError
from app.models.names import same

_SPARE_B = 1_000_000_000


def occupied_b(models: tuple[Model, ...], but: str = "") -> int:
    """Bytes of all models but the one called `but`."""
    sizes = {
        model.digest or model.name: model.size_b
        for model in models
        if not same(model.name, but) and not model.remote
    }
    return sum(sizes.values())


def require_quota(quota_gb: int, occupied: int, coming: int) -> None:
    """Raises ModelError where `coming` bytes more are too much; `quota_gb` 0 is no limit."""
    if quota_gb and occupied + coming > quota_gb * 1_000_000_000:
        raise ModelError(
            f"Models may take {quota_gb} GB, and with this one they would take {(occupied + coming) / 1e9:.1f} GB: "
            "delete one, or raise «Room for models» (models_quota_gb)."
        )


def require_disk(free_b: int | None, coming: int) -> None:
    """Raises ModelError where the disk has no room for `coming` bytes; None: nobody knows."""
    if free_b is not None and free_b < coming + _SPARE_B:
        raise ModelError(
            f"The disk has {free_b / 1e9:.1f} GB free, and {coming / 1e9:.1f} GB are to come: make room first."
        )


def place_of(url: str, environ: Mapping[str, str] = os.environ, home: Path | None = None) -> Path | None:
    """Where an Ollama at `url` keeps its models, as far as that can be told from here; None where it cannot.

    Blocks as long as the disk does.
    """
    if not url_is_here(url):
        return None
    named = environ.get("OLLAMA_MODELS")
    places = [Path(named)] if named else [(home or Path.home()) / ".ollama" / "models"]
    return next((place for place in places if place.is_dir()), None)


def free_b(place: Path | None) -> int | None:
    """Free bytes there. Blocks as long as the disk does."""
    try:
        return None if place is None else shutil.disk_usage(place).free
    except OSError:
        return None
