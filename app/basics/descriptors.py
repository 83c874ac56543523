"""How many files and connections this process may have open at once."""

from __future__ import annotations

import sys

WANTED = 8192
WINDOWS_HAS = 8192
"""There is no such limit on Windows sockets; so many are plenty."""

if sys.platform == "win32":

    def raise_descriptors(wanted: int = WANTED) -> int:
        """As many as there may be; nothing has to be raised here."""
        return WINDOWS_HAS

else:
    import resource

    def raise_descriptors(wanted: int = WANTED) -> int:
        """Raise the soft limit towards `wanted`, as far as the hard one allows; the limit that counts now."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY:
            return wanted
        better = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if better > soft:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (better, hard))
            except (OSError, ValueError):  # macOS bounds it once more, by a number of the kernel's own
                return soft
            return better
        return soft
