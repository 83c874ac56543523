"""What Qt for Python does behind our back, left out: reading the source of every module that is imported after it.

It looks there for its own name, because a module that uses it may choose another way of spelling its methods («from
__feature__ import snake_case»). Nobody here does. Left alone it costs 3 MB with the tray and 13 MB with the window,
which stay, for Python keeps every line it was asked for. Import this before anything that imports much.
"""

from __future__ import annotations

import linecache
import sys

import PySide6.QtCore  # noqa: F401  # brings the machinery along

_FEATURE = sys.modules.get("shibokensupport.feature")
if hasattr(_FEATURE, "_mod_uses_pyside"):
    # «True» means: Qt's own spelling.
    setattr(_FEATURE, "_mod_uses_pyside", lambda module: True)  # noqa: B010
linecache.clearcache()  # it has begun already, with its own parts
