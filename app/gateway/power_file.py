"""What was learned of this machine's power, kept over restarts: each GPU's watts at rest, and the socket's factor.

Rule 1: a file that cannot be read is as none: its figures are learned anew, and a line in the log says so. Rule 2: it
is written when the sensor comes to rest and something new was learned, away from the loop, and never for each window.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.basics.threads import launch
from app.power.baseline import KeptIdle, KeptState
from app.power.supply import LEAST, MOST, SupplyFactor
from app.settings.errors import SettingError
from app.settings.files import read_text, write_private

POWER_FILE = "power.json"
_VERSION = 1
_WHAT = "The file of learned watts"

log = logging.getLogger(__name__)


class PowerFile:
    """One profile's file. Reading and writing block; `keep_idle` does not."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def idle(self, gpu: str) -> KeptIdle | None:
        """What was learned of the GPU, or the GPUs, called `gpu`; None where nothing was."""
        told = self._told()
        try:
            kept = told.get("gpus", {}).get(gpu)
            return None if kept is None else _idle(kept)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("The watts at rest in %s are learned anew: %s", self.path, error)
            return None

    def supply(self) -> SupplyFactor | None:
        """The socket's factor as it was measured; None where it was not."""
        told = self._told()
        try:
            kept = told.get("supply")
            if kept is None:
                return None
            ratio = float(kept["ratio"])
            if not LEAST <= ratio <= MOST:
                raise ValueError(f"{ratio:g} is no factor")
            return SupplyFactor(ratio, str(kept["source"]), int(kept["at_us"]))
        except (ValueError, TypeError, KeyError) as error:
            log.warning("The socket's factor in %s cannot be used: %s", self.path, error)
            return None

    def write_idle(self, gpu: str, kept: KeptIdle) -> None:
        """Keep it beside what is kept of others. Raises OSError."""
        told = self._told()
        gpus = told.get("gpus")
        self._write({**told, "gpus": {**(gpus if isinstance(gpus, dict) else {}), gpu: asdict(kept)}})

    def write_supply(self, factor: SupplyFactor) -> None:
        """Keep it in place of an older one. Raises OSError."""
        self._write({**self._told(), "supply": asdict(factor)})

    def keep_idle(self, gpu: str, kept: KeptIdle) -> None:
        """Keep it soon, in a thread."""

        def work() -> None:
            try:
                self.write_idle(gpu, kept)
            except OSError as error:
                log.warning("The watts at rest could not be kept in %s: %s", self.path, error)

        launch(work, "watts at rest", lambda error: log.warning("%s", error))

    def _told(self) -> dict[str, Any]:
        """What stands in the file; nothing where it is of no use."""
        if not self.path.exists():
            return {}
        try:
            told = json.loads(read_text(self.path, _WHAT))
            if told["version"] != _VERSION:
                raise ValueError(f"its version is {told['version']}")
            return dict(told)
        except (SettingError, ValueError, TypeError, KeyError) as error:
            log.warning("%s %s is as none: %s", _WHAT, self.path, error)
            return {}

    def _write(self, told: Mapping[str, Any]) -> None:
        write_private(self.path, json.dumps({**told, "version": _VERSION}, indent=1) + "\n")


def _idle(told: Mapping[str, Any]) -> KeptIdle:
    least_b = told["least_memory_b"]
    return KeptIdle(
        empty=_state(told["empty"]),
        resident=_state(told["resident"]),
        least_memory_b=None if least_b is None else int(least_b),
    )


def _state(told: Mapping[str, Any] | None) -> KeptState | None:
    if told is None:
        return None
    windows = tuple(float(watts) for watts in told["windows_w"])
    if not windows or not all(0 <= watts <= 10_000 for watts in windows):
        raise ValueError("a figure is none")
    return KeptState(windows_w=windows, at_us=int(told["at_us"]))
