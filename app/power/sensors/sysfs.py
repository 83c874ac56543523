"""Reading Linux's sysfs, where nothing is believed.

Rule: a file may be missing, vanish between two reads, be padded with NULs, be for root only or hold a firmware's «none»
(all ones); each of these is None or an empty text, and costs no other figure.
"""

from __future__ import annotations

import os
from pathlib import Path

NO_VALUE = frozenset({0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF * 1000, 0xFFFF * 1_000_000})
"""The firmware's 16, 32 and 64 bit «none», raw or scaled to milli and micro."""

_MAX_BYTES = 4096
"""Sysfs files are one page."""


def text(path: Path) -> str:
    """The file without white space and NULs around it; empty where it cannot be read."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        raw = os.read(file, _MAX_BYTES)
    except OSError:
        return ""
    finally:
        os.close(file)
    return raw.decode("ascii", "replace").strip(" \t\r\n\0")


def number(path: Path, none: frozenset[int] = NO_VALUE) -> int | None:
    """The whole number that the file holds; None for anything else, and for what is in `none`."""
    digits = text(path)
    if not digits.isascii() or not digits.isdigit() or len(digits) > 20:
        return None
    value = int(digits)
    return None if value in none else value


def scaled(path: Path, divisor: float) -> float | None:
    """The number over `divisor`."""
    value = number(path)
    return None if value is None else value / divisor


def uevent(device: Path) -> dict[str, str]:
    """What the kernel says of a device: DRIVER, PCI_ID, PCI_SLOT_NAME …"""
    pairs = (line.partition("=") for line in text(device / "uevent").splitlines())
    return {key: value for key, _, value in pairs}


def hwmon(device: Path, *names: str) -> Path | None:
    """The device's monitor of one of these names; its number changes with every reset."""
    try:
        monitors = sorted((device / "hwmon").iterdir())
    except OSError:
        return None
    return next((monitor for monitor in monitors if text(monitor / "name") in names), None)


def parked(device: Path) -> bool:
    """Whether the kernel has suspended the device (runtime power management). Asking does not wake it."""
    return text(device / "power" / "runtime_status") in ("suspended", "suspending")
