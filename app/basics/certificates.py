"""aiohttp, imported without the machine's certificates: they are read at the first connection that needs them.

aiohttp reads them twice while it is imported, which takes 75 ms and 2 MB of each start, for a gateway that usually
speaks plain HTTP to an engine on its own machine. Where aiohttp is there already, nothing changes.

Rule: whatever goes wrong, nobody is trusted: a context that has read no certificates refuses every server.
"""

from __future__ import annotations

import ssl
import sys
from typing import Any


class LateContext(ssl.SSLContext):
    """A client's context, as `ssl.create_default_context()` makes it, whose certificates are read on first use."""

    _read = False

    def read(self) -> None:
        """Read them now: some 50 ms, so better in a thread. May be called again."""
        if not self._read:
            self._read = True
            self.load_default_certs(ssl.Purpose.SERVER_AUTH)

    def wrap_bio(self, *args: Any, **more: Any) -> ssl.SSLObject:
        """Begin a connection."""
        self.read()
        return super().wrap_bio(*args, **more)

    def wrap_socket(self, *args: Any, **more: Any) -> ssl.SSLSocket:
        """Begin a connection."""
        self.read()
        return super().wrap_socket(*args, **more)


def late_context() -> LateContext:
    """Checks certificates and names like Python's own default, and like it only trusts whom the machine trusts."""
    context = LateContext(ssl.PROTOCOL_TLS_CLIENT)
    if sys.version_info >= (3, 13):
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    return context


def import_aiohttp() -> None:
    """Import aiohttp so that it reads no certificates. Call it before another thread runs."""
    own = ssl.create_default_context
    setattr(ssl, "create_default_context", lambda *_, **__: late_context())  # noqa: B010  # for mypy
    # The context it makes for those who want no checks reads them too, which is of no use at all.
    setattr(ssl.SSLContext, "set_default_verify_paths", lambda _: None)  # noqa: B010
    try:
        import aiohttp.connector  # noqa: F401
    finally:
        setattr(ssl, "create_default_context", own)  # noqa: B010
        delattr(ssl.SSLContext, "set_default_verify_paths")
