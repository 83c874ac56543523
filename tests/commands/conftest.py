"""A played card and a played plug for the commands of power."""

from __future__ import annotations

from tests.power.conftest import device, nvml, nvml_library

__all__ = ["device", "nvml", "nvml_library"]
