"""Text for the clipboard.

Rule: a key is marked as a secret, so that clipboard histories leave it out where they honour such marks.
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


def copy_text(text: str) -> None:
    """Put plain text on the clipboard."""
    QGuiApplication.clipboard().setText(text)


def copy_secret(text: str) -> None:
    """Put plain text on the clipboard, and ask clipboard histories not to keep it."""
    data = QMimeData()
    data.setText(text)
    for name, value in (_LINUX_SECRET, _WINDOWS_SECRET):
        data.setData(name, QByteArray(value))
    QGuiApplication.clipboard().setMimeData(data)
