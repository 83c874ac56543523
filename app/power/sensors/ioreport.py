"""Apple silicon's GPU and processor on macOS, by the energy counters of IOReport's group «Energy Model».

Rule 1: what the counters say is (channel, unit, value), and making sense of it is pure, so that it is tested anywhere;
only `io_channels` knows macOS. Rule 2: IOReport is no public interface: whatever is not as it was makes the figure None
or the sensor absent, and is no error of the gateway. Rule 3: the GPU's figure is its own, without the processor's.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from app.power.curves import PowerSpan
from app.power.sensors.base import Clock, Reading, SensorError, SensorInfo, monotonic_us
from app.power.sensors.counted import CountedPower

_NANOJOULES = {"nJ": 1, "uJ": 1_000, "µJ": 1_000, "mJ": 1_000_000}
GPU, PROCESSOR = "GPU Energy", "CPU Energy"
"""The channels that hold the sums of their parts."""


class IoChannel(NamedTuple):
    """One counter: its name, its unit's label, and what it has counted."""

    name: str
    unit: str
    value: int


class IoChannels(Protocol):
    """A subscription to the energy counters, which is open."""

    def look(self) -> list[IoChannel]:
        """Every counter now. Raises OSError."""

    def close(self) -> None:
        """Let go of it."""


Subscribe = Callable[[], IoChannels | None]
"""None where this system has no such counters."""


def find_ioreport(subscribe: Subscribe | None = None, *, clock: Clock = monotonic_us) -> list[IoReportSensor]:
    """The GPU's sensor on a Mac that counts its energy; none elsewhere."""
    return _found(GPU, "apple-gpu", "Apple GPU", subscribe or io_channels, clock)


def find_ioreport_processor(
    subscribe: Subscribe | None = None, *, clock: Clock = monotonic_us
) -> list[IoReportSensor]:
    """The processor's sensor, likewise."""
    return _found(PROCESSOR, "apple-cpu", "Processor", subscribe or io_channels, clock)


class IoReportSensor:
    """One channel."""

    def __init__(self, channel: str, id: str, name: str, subscribe: Subscribe, clock: Clock) -> None:
        self._channel = channel
        self._subscribe = subscribe
        self._clock = clock
        self._channels: IoChannels | None = None
        self._power = CountedPower()
        self._info = SensorInfo(
            id=id, name=name, vendor="Apple", source="ioreport", limit_w=None, memory_total_b=None
        )

    @property
    def info(self) -> SensorInfo:
        """What it measures."""
        return self._info

    def read(self) -> Reading:
        """One sample. Raises SensorError."""
        at_us = self._clock()
        try:
            if self._channels is None:
                self._channels = self._subscribe()
            told = [] if self._channels is None else self._channels.look()
        except OSError as error:
            raise SensorError(
                f"macOS did not tell the energy of {self._info.name} ({error}). It will be asked again.",
                lost=False,
            ) from error
        energy_uj = counted_uj(told, self._channel)
        return Reading(
            at_us=at_us,
            power_w=self._power.look(at_us, energy_uj),
            energy_uj=energy_uj,
            utilisation_pct=None,
            memory_used_b=None,
            memory_total_b=None,
            temperature_c=None,
            power_span=PowerSpan.UPDATE,
            origin="" if energy_uj is None else self._channel,
        )

    def close(self) -> None:
        """End the subscription."""
        if self._channels is not None:
            self._channels.close()
            self._channels = None
        self._power.forget()

    def asleep(self) -> bool:
        """Never: this GPU is a part of the chip that asks."""
        return False


def counted_uj(told: Sequence[IoChannel], name: str) -> int | None:
    """Microjoules of the channel called `name`; None where it is not there, is negative, or is in another unit."""
    for channel in told:
        nanojoules = _NANOJOULES.get(channel.unit.strip())
        if channel.name == name and nanojoules is not None and channel.value >= 0:
            return channel.value * nanojoules // 1_000
    return None


def _found(channel: str, id: str, name: str, subscribe: Subscribe, clock: Clock) -> list[IoReportSensor]:
    try:
        channels = subscribe()
        if channels is None:
            return []
        try:
            known = counted_uj(channels.look(), channel) is not None
        finally:
            channels.close()
    except OSError:
        return []
    return [IoReportSensor(channel, id, name, subscribe, clock)] if known else []


def io_channels() -> IoChannels | None:
    """The counters of this Mac; None where this is none, or has none."""
    if sys.platform != "darwin":
        return None
    channels: IoChannels | None = importlib.import_module("app.power.sensors.ioreport_macos").subscribe()
    return channels
