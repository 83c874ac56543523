"""A free port on 127.0.0.1.

Rule: never 11434. Whoever installs an Ollama of their own later finds its port free.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

NEVER = 11434
_LOWEST, _HIGHEST = 20_000, 32_000
"""Below what any system gives to outgoing connections, so that the port is still free after the next boot."""
_TRIES = 64


def free_port(avoid: Collection[int] = ()) -> int:
    """A port that nobody listens on at this moment, and none of `avoid`. Raises OSError where there is none."""
    for _ in range(_TRIES):
        port = random.randint(_LOWEST, _HIGHEST)  # noqa: S311 - no secret
        if port != NEVER and port not in avoid and _is_free(port):
            return port
    for _ in range(_TRIES):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port != NEVER and port not in avoid:
            return port
    raise OSError("no free port on 127.0.0.1")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
