"""The names by which programs on this machine may call it.

A page that a browser on this machine shows can make a name of its own lead to 127.0.0.1 (DNS rebinding), and is then of
the same origin as we are. Such a name gives it away: it stands in the Host header, which no page can set.

Rule 1: an address is no name, and nobody can make one lead elsewhere. Rule 2: names that the internet's registries
cannot hand out (`.localhost`, `.local`, `.internal`) and the machine's own are let in, as Ollama does; any other one
is named in the settings. Rule 3: asked only of what comes from this machine itself: whoever comes from elsewhere, or
through a proxy, needs a key for all that matters.

Sources: RFC 6761 (localhost), RFC 6762 (.local), ICANN's reservation of .internal.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from functools import lru_cache

from app.basics.addresses import parsed

_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(?::\d{0,5})?", re.ASCII)
_OWN_ENDS = (".localhost", ".local", ".internal")


def is_own_name(host: str, named: Iterable[str]) -> bool:
    """Whether a Host header (empty where there is none) calls this machine by a name of its own, or by an address;
    `named` are the further ones, of which one may begin with `*.`."""
    found = _HOST.fullmatch(host.strip().lower())
    if found is None:
        return False
    name = found[1].strip("[]").removesuffix(".")
    if name in ("", "localhost") or parsed(name) is not None or name.endswith(_OWN_ENDS):
        return True
    return name == machine_name() or any(_is_named(name, entry) for entry in named)


@lru_cache(maxsize=1)
def machine_name() -> str:
    """What this machine calls itself."""
    return socket.gethostname().lower()


def _is_named(name: str, entry: str) -> bool:
    return name.endswith(entry[1:]) if entry.startswith("*.") else name == entry
