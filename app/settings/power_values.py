"""Reading values that say what is metered.

Rule: as in `values`.
"""

from __future__ import annotations

import re

from app.settings.values import Kind, items, shown

_GPU = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._/-]{0,95}", re.ASCII)
_ENTITY = re.compile(r"[a-z0-9_]{1,60}\.[a-z0-9_]{1,180}", re.ASCII)


def _gpus(value: object) -> tuple[str, ...]:
    """Ids of GPUs as `power` shows them: a UUID or a PCI address; one given twice counts once."""
    ids = []
    for item in items(value):
        if not isinstance(item, str) or not _GPU.fullmatch(item):
            raise ValueError(f"{shown(item)} is not a GPU's id")
        ids.append(item)
    return tuple(dict.fromkeys(ids))


def _entity(value: object) -> str:
    """What Home Assistant calls a thing: its domain, a point, its name."""
    text = value.strip().lower() if isinstance(value, str) else ""
    if text and not _ENTITY.fullmatch(text):
        raise ValueError("")
    return text


ENTITY = Kind("entity", "an entity of Home Assistant, such as sensor.desk_power, or empty", _entity)
GPUS = Kind(
    "gpus", "ids of GPUs separated by commas, such as 0000:0a:00.0, or empty for all that compute", _gpus
)
