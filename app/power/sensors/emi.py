"""The processor's energy on Windows, through the Energy Meter Interface (EMI, Windows 10 and newer).

Rule 1: what a device answers is bytes, and reading them is pure, so that it is tested anywhere; only `emi_devices`
knows Windows. Rule 2: of a device's channels the processor's packages are added up (`RAPL_Package0_PKG`); cores and
memory are parts of them. Rule 3: only picowatt-hours are known as a unit, as Microsoft says; another is not read.

Source: Microsoft's emi.h (EMI_METADATA_V1 and _V2, EMI_CHANNEL_V2, EMI_CHANNEL_MEASUREMENT_DATA).
"""

from __future__ import annotations

import importlib
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from app.power.curves import PowerSpan
from app.power.sensors.base import Clock, Reading, SensorError, SensorInfo, monotonic_us
from app.power.sensors.counted import CountedPower

GET_VERSION, GET_METADATA_SIZE, GET_METADATA, GET_MEASUREMENT = 0x224000, 0x224004, 0x224008, 0x22400C
"""CTL_CODE(FILE_DEVICE_UNKNOWN, 0 to 3, METHOD_BUFFERED, FILE_READ_ACCESS)."""
_PICOWATT_HOURS = 0
_PACKAGE = "_PKG"
_MOST_B = 1 << 16


class EmiDevice(Protocol):
    """An energy meter that is open."""

    def ask(self, code: int, size_b: int) -> bytes:
        """Its answer to one control code, of at most `size_b` bytes. Raises OSError."""

    def close(self) -> None:
        """Let go of it."""


def find_emi(
    devices: Callable[[], Sequence[EmiDevice]] | None = None, *, clock: Clock = monotonic_us
) -> list[EmiSensor]:
    """The processor's sensor, where a meter has a channel for its packages; none on other systems."""
    found = (devices or emi_devices)()
    try:
        for device in found:
            if _packages(channels(device)):
                return [EmiSensor(devices or emi_devices, clock=clock)]
    except (OSError, ValueError, struct.error):
        return []
    finally:
        for device in found:
            device.close()
    return []


def channels(device: EmiDevice) -> list[str | None]:
    """The names of its channels, in the order of their measurements; None for one in a unit that nobody knows. Raises
    OSError, ValueError or struct.error where its answers are none."""
    (version,) = struct.unpack_from("<H", device.ask(GET_VERSION, 2))
    (size_b,) = struct.unpack_from("<I", device.ask(GET_METADATA_SIZE, 4))
    if not 0 < size_b <= _MOST_B:
        raise ValueError(f"metadata of {size_b} bytes")
    told = device.ask(GET_METADATA, size_b)
    if version == 1:
        unit, length_b = struct.unpack_from("<I64x2xH", told)
        return [_name(told, 72, length_b) if unit == _PICOWATT_HOURS else None]
    if version != 2:
        raise ValueError(f"EMI of version {version}")
    (count,) = struct.unpack_from("<H", told, 66)
    names: list[str | None] = []
    offset = 68
    for _ in range(count):
        unit, length_b = struct.unpack_from("<IH", told, offset)
        names.append(_name(told, offset + 6, length_b) if unit == _PICOWATT_HOURS else None)
        offset += 6 + length_b
    return names


def energies_uj(device: EmiDevice, count: int) -> list[int]:
    """What each of its `count` channels has counted, in microjoules. Raises OSError or struct.error."""
    told = device.ask(GET_MEASUREMENT, 16 * count)
    # A picowatt-hour is 3.6 nJ.
    return [struct.unpack_from("<QQ", told, 16 * place)[0] * 36 // 10_000 for place in range(count)]


class EmiSensor:
    """The processor's packages, added up."""

    info = SensorInfo(
        id="emi-package", name="Processor", vendor="", source="emi", limit_w=None, memory_total_b=None
    )

    def __init__(self, devices: Callable[[], Sequence[EmiDevice]], *, clock: Clock = monotonic_us) -> None:
        self._devices = devices
        self._clock = clock
        self._open: list[tuple[EmiDevice, int, list[int]]] = []
        """Each meter with its number of channels, and the places of its packages."""
        self._power = CountedPower()

    def read(self) -> Reading:
        """One sample. Raises SensorError."""
        at_us = self._clock()
        try:
            if not self._open:
                for device in self._devices():
                    names = channels(device)
                    self._open.append((device, len(names), _packages(names)))
            energy_uj = sum(
                energies_uj(device, count)[place] for device, count, places in self._open for place in places
            )
        except (OSError, ValueError, struct.error) as error:
            raise SensorError(
                f"Windows did not tell the processor's energy ({error}). It will be asked again.", lost=False
            ) from error
        return Reading(
            at_us=at_us,
            power_w=self._power.look(at_us, energy_uj),
            energy_uj=energy_uj,
            utilisation_pct=None,
            memory_used_b=None,
            memory_total_b=None,
            temperature_c=None,
            power_span=PowerSpan.UPDATE,
            origin="package",
        )

    def close(self) -> None:
        """Close the meters."""
        for device, _, _ in self._open:
            device.close()
        self._open = []
        self._power.forget()

    def asleep(self) -> bool:
        """Never: the processor that asks is awake."""
        return False


def _packages(names: Sequence[str | None]) -> list[int]:
    return [place for place, name in enumerate(names) if name is not None and name.endswith(_PACKAGE)]


def _name(told: bytes, offset: int, length_b: int) -> str:
    if offset + length_b > len(told):
        raise ValueError("a name that does not end")
    return told[offset : offset + length_b].decode("utf-16-le").rstrip("\0")


def emi_devices() -> list[EmiDevice]:
    """Every energy meter of this machine, opened; none where this is not Windows."""
    if sys.platform != "win32":
        return []
    meters: list[EmiDevice] = importlib.import_module("app.power.sensors.emi_windows").open_meters()
    return meters
