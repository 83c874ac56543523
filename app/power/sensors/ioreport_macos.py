"""IOReport as macOS has it (`/usr/lib/libIOReport.dylib`). Imported on macOS only; see `ioreport` for what it says.

Rule: what a function with «Copy» or «Create» in its name returned is released, and nothing else.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_int32, c_int64, c_long, c_uint32, c_uint64, c_void_p
from typing import Any

from app.power.sensors.ioreport import IoChannel, IoChannels

_FOUNDATION = "/System/Library/Frameworks/CoreFoundation.framework/CoreFoundation"
_REPORT = "/usr/lib/libIOReport.dylib"
_UTF8 = 0x0800_0100
_GROUP = "Energy Model"
_NAME_MAX_B = 256


def subscribe() -> IoChannels | None:
    """A subscription to the group; None where this Mac has no such library or group."""
    try:
        foundation, report = _libraries()
    except (OSError, AttributeError):
        return None
    group = _string(foundation, _GROUP)
    desired = report.IOReportCopyChannelsInGroup(group, None, 0, 0, 0)
    foundation.CFRelease(group)
    if not desired:
        return None
    # IOReport wants a dictionary that can be changed.
    channels = foundation.CFDictionaryCreateMutableCopy(None, 0, desired)
    foundation.CFRelease(desired)
    subscribed = c_void_p()
    subscription = report.IOReportCreateSubscription(None, channels, ctypes.byref(subscribed), 0, None)
    if not subscription:
        foundation.CFRelease(channels)
        return None
    return _Subscription(foundation, report, subscription, channels)


class _Subscription:
    def __init__(self, foundation: Any, report: Any, subscription: int, channels: int) -> None:
        self._foundation = foundation
        self._report = report
        self._subscription = subscription
        self._channels = channels
        self._key = _string(foundation, "IOReportChannels")

    def look(self) -> list[IoChannel]:
        foundation, report = self._foundation, self._report
        samples = report.IOReportCreateSamples(self._subscription, self._channels, None)
        if not samples:
            raise OSError("IOReport gave no sample")
        try:
            listed = foundation.CFDictionaryGetValue(samples, self._key)
            count = foundation.CFArrayGetCount(listed) if listed else 0
            told = []
            for place in range(count):
                item = foundation.CFArrayGetValueAtIndex(listed, place)
                name = _text(foundation, report.IOReportChannelGetChannelName(item))
                unit = _text(foundation, report.IOReportChannelGetUnitLabel(item))
                told.append(IoChannel(name, unit, int(report.IOReportSimpleGetIntegerValue(item, 0))))
            return told
        finally:
            foundation.CFRelease(samples)

    def close(self) -> None:
        for held in (self._key, self._channels, self._subscription):
            self._foundation.CFRelease(held)


def _libraries() -> tuple[Any, Any]:
    """Both libraries with the types of what is called in them. Raises OSError and AttributeError."""
    foundation, report = ctypes.CDLL(_FOUNDATION), ctypes.CDLL(_REPORT)
    for library, name, result, arguments in (
        (foundation, "CFRelease", None, [c_void_p]),
        (foundation, "CFStringCreateWithCString", c_void_p, [c_void_p, c_char_p, c_uint32]),
        (foundation, "CFStringGetCString", ctypes.c_bool, [c_void_p, c_char_p, c_long, c_uint32]),
        (foundation, "CFDictionaryGetValue", c_void_p, [c_void_p, c_void_p]),
        (foundation, "CFDictionaryCreateMutableCopy", c_void_p, [c_void_p, c_long, c_void_p]),
        (foundation, "CFArrayGetCount", c_long, [c_void_p]),
        (foundation, "CFArrayGetValueAtIndex", c_void_p, [c_void_p, c_long]),
        (
            report,
            "IOReportCopyChannelsInGroup",
            c_void_p,
            [c_void_p, c_void_p, c_uint64, c_uint64, c_uint64],
        ),
        (
            report,
            "IOReportCreateSubscription",
            c_void_p,
            [c_void_p, c_void_p, c_void_p, c_uint64, c_void_p],
        ),
        (report, "IOReportCreateSamples", c_void_p, [c_void_p, c_void_p, c_void_p]),
        (report, "IOReportChannelGetChannelName", c_void_p, [c_void_p]),
        (report, "IOReportChannelGetUnitLabel", c_void_p, [c_void_p]),
        (report, "IOReportSimpleGetIntegerValue", c_int64, [c_void_p, c_int32]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return foundation, report


def _string(foundation: Any, text: str) -> int:
    return int(foundation.CFStringCreateWithCString(None, text.encode(), _UTF8))


def _text(foundation: Any, string: int | None) -> str:
    buffer = ctypes.create_string_buffer(_NAME_MAX_B)
    if not string or not foundation.CFStringGetCString(string, buffer, _NAME_MAX_B, _UTF8):
        return ""
    return buffer.value.decode("utf-8", "replace")
