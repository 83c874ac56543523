"""The address that clients will use: taken before anything is opened behind it, listened on when all of it is there.

Nobody can connect to a door that is only taken, and nobody else can take it meanwhile.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys


class DoorTaken(Exception):
    """The listen address cannot be had; the sentence says by whom, where the system tells."""


class Door:
    """Bound sockets. Take it with `take`."""

    def __init__(
        self, host: str, port: int, sockets: tuple[socket.socket, ...], scheme: str = "http"
    ) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        """The real one, also where any free one was asked for."""
        self.sockets = sockets

    @classmethod
    async def take(cls, host: str, port: int, scheme: str = "http") -> Door:
        """Bind `host`; port 0 is any free one; `scheme` is what will be spoken there. Raises DoorTaken."""
        sockets: list[socket.socket] = []
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, kind, protocol, _, address in dict.fromkeys(found):
                sockets.append(_bound(family, kind, protocol, address))
        except OSError as error:
            for taken in sockets:
                taken.close()
            raise listen_error(error, host, port) from None
        return cls(host, int(sockets[0].getsockname()[1]), tuple(sockets), scheme)

    @property
    def url(self) -> str:
        """Where clients on this machine reach it."""
        shown = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        named = f"[{shown}]" if ":" in shown else shown
        return f"{self.scheme}://{named}:{self.port}"

    def close(self) -> None:
        """Give the address back. Again is harmless."""
        for taken in self.sockets:
            taken.close()


def _bound(
    family: int,
    kind: int,
    protocol: int,
    address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes],
) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":  # there it would let two programs share a port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setblocking(False)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


def listen_error(error: OSError, host: str, port: int) -> DoorTaken:
    """What keeps us from listening, in a sentence."""
    if error.errno == errno.EADDRINUSE:
        return DoorTaken(
            f"Port {port} is already in use by {port_owner(port)}. Stop that, or choose another port with --port."
        )
    if error.errno == errno.EACCES:
        return DoorTaken(f"This user may not listen on port {port}. Choose one above 1023 with --port.")
    if error.errno == errno.EADDRNOTAVAIL:
        return DoorTaken(f"This machine has no address {host}. Choose 127.0.0.1, or 0.0.0.0 to share.")
    return DoorTaken(f"Listening on {host}:{port} failed: {error.strerror}.")


def port_owner(port: int) -> str:
    """Who listens on a local TCP port, in words: «ollama (process 812)», or «another program»."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        # Seeing other users' sockets needs rights we may not have.
        return "another program"
    return "another program"


def port_is_free(host: str, port: int) -> bool:
    """True where we could listen on it at this moment."""
    with socket.socket() as probe:
        if sys.platform != "win32":  # there SO_REUSEADDR would take a port that is in use
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
