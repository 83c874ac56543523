"""NVML for the tests of power: NVIDIA's real binding on a library that plays a waveform."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import pynvml
import pytest

from tests.power.played_nvml import PlayedNvml, build
from tests.power.played_plug import device

__all__ = ["device", "nvml", "nvml_library"]


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`libnvidia-ml.so.1`, built once."""
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedNvml]:
    """Two RTX 3090; the real binding talks to them in this process."""
    played = PlayedNvml(tmp_path)
    library = ctypes.CDLL(str(nvml_library))
    assert library.played_nvml_open(str(played.file).encode()) == 0
    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    yield played
    assert played.users == 0, "NVML was left initialised"
