"""Energy meters as Windows opens them. Imported on Windows only; see `emi` for what they say."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes
from uuid import UUID

from app.power.sensors.emi import EmiDevice

_METER = UUID("45bd8344-7ed6-49cf-a440-c276c933b053")
"""GUID_DEVICE_ENERGY_METER."""
_GENERIC_READ, _SHARE_READ_WRITE, _OPEN_EXISTING = 0x8000_0000, 3, 3
_INVALID_HANDLE = ctypes.c_void_p(-1).value

if sys.platform == "win32":
    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _manager = ctypes.WinDLL("cfgmgr32")
    _kernel.CreateFileW.restype = ctypes.c_void_p
    _kernel.CreateFileW.argtypes = [
        wintypes.LPCWSTR,
        wintypes.DWORD,
        wintypes.DWORD,
        ctypes.c_void_p,
        wintypes.DWORD,
        wintypes.DWORD,
        ctypes.c_void_p,
    ]
    _kernel.CloseHandle.argtypes = [ctypes.c_void_p]
    _kernel.DeviceIoControl.argtypes = [
        ctypes.c_void_p,
        wintypes.DWORD,
        ctypes.c_void_p,
        wintypes.DWORD,
        ctypes.c_void_p,
        wintypes.DWORD,
        ctypes.POINTER(wintypes.DWORD),
        ctypes.c_void_p,
    ]

    class _Meter:
        """One meter's handle."""

        def __init__(self, path: str) -> None:
            self._handle = _kernel.CreateFileW(
                path, _GENERIC_READ, _SHARE_READ_WRITE, None, _OPEN_EXISTING, 0, None
            )
            if self._handle == _INVALID_HANDLE:
                raise ctypes.WinError(ctypes.get_last_error())

        def ask(self, code: int, size_b: int) -> bytes:
            answer = ctypes.create_string_buffer(size_b)
            told = wintypes.DWORD()
            if not _kernel.DeviceIoControl(
                self._handle, code, None, 0, answer, size_b, ctypes.byref(told), None
            ):
                raise ctypes.WinError(ctypes.get_last_error())
            return answer.raw[: told.value]

        def close(self) -> None:
            if self._handle is not None:
                _kernel.CloseHandle(self._handle)
                self._handle = None

    def open_meters() -> list[EmiDevice]:
        """Every meter that this user may open."""
        guid = (ctypes.c_byte * 16).from_buffer_copy(_METER.bytes_le)
        length = wintypes.ULONG()
        if _manager.CM_Get_Device_Interface_List_SizeW(ctypes.byref(length), guid, None, 0):
            return []
        names = ctypes.create_unicode_buffer(length.value)
        if _manager.CM_Get_Device_Interface_ListW(guid, None, names, length, 0):
            return []
        found: list[EmiDevice] = []
        for path in names[:].split("\0"):
            if path:
                try:
                    found.append(_Meter(path))
                except OSError:
                    continue
        return found
