"""Text for the clipboard.

Rule: a key is marked as a secret, so that clipboard histories leave it out where they honour such marks, and what we
put there as a secret does not stay when we go.
"""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QMimeData
from PySide6.QtGui import QGuiApplication

# KDE's Klipper, and the managers that followed it.
_LINUX_SECRET = ("x-kde-passwordManagerHint", b"secret")
# https://learn.microsoft.com/windows/win32/dataxchg/clipboard-formats, «Cloud Clipboard and Clipboard History
# Formats».
_WINDOWS_SECRET = (
    'application/x-qt-windows-mime;value="ExcludeClipboardContentFromMonitorProcessing"',
    b"\x00\x00\x00\x00",
)
_OURS = ("application/x-mortdecai-gateway-key", b"1")
"""By which we know our own again: password managers use the marks above as well."""


def copy_text(text: str) -> None:
    """Put plain text on the clipboard."""
    QGuiApplication.clipboard().setText(text)


def copy_secret(text: str) -> None:
    """Put plain text on the clipboard, and ask clipboard histories not to keep it."""
    data = QMimeData()
    data.setText(text)
    for name, value in (_LINUX_SECRET, _WINDOWS_SECRET, _OURS):
        data.setData(name, QByteArray(value))
    QGuiApplication.clipboard().setMimeData(data)


def forget_secret() -> None:
    """Take a key off the clipboard again, if it is still the one that we put there.

    For quitting: Qt's platform plugins may outlive the Python side of the data, and crash over it.
    """
    clipboard = QGuiApplication.clipboard()
    data = clipboard.mimeData()
    if data is not None and data.hasFormat(
        _OURS[0]
    ):  # None where nobody has copied anything, whatever the stubs say
        clipboard.clear()
