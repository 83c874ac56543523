"""The SDK's client with a line that another thread can hang up.

Rule 1: a client serves one call and one thread, and is closed after it. requests' Session is not promised to be safe
between threads, and a connection kept from an earlier call may lead to a daemon that has been restarted since; a
connection to a local socket costs a tenth of a millisecond. Rule 2: `hang_up` may be called from any thread at any
moment, also before the connection is there: whoever reads wakes up, and a daemon that pulls stops pulling.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from typing import Any

import docker
from docker.tls import TLSConfig
from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnectionPool
from urllib3.connection import HTTPConnection

from app.containers.candidates import DaemonPlace

_NEWEST_KNOWN = (1, 51)


class HungUp(ConnectionError):
    """Somebody does not want this call any more."""


class DockerClient(docker.APIClient):
    """One call to one daemon. `timeout_s` is for connecting and for each silence while reading."""

    def __init__(self, place: DaemonPlace, version: str, timeout_s: float) -> None:
        self._lines: list[HTTPConnection] = []
        self._hung_up = False
        self._guard = threading.Lock()
        tls: bool | TLSConfig = False
        if place.tls is not None:
            pair = (place.tls.cert, place.tls.key) if place.tls.cert and place.tls.key else None
            tls = TLSConfig(client_cert=pair, ca_cert=place.tls.ca or None, verify=place.tls.verify)
        super().__init__(place.url, version=version, timeout=timeout_s, tls=tls)  # type: ignore[arg-type]
        if place.url.startswith("unix://"):
            # No proxy leads to a socket; looking for one in the environment took a third of a call's time.
            self.trust_env = False
            self.mount("http+docker://", _UnixAdapter(place.url.removeprefix("unix://"), timeout_s))
        for adapter in set(self.adapters.values()):
            self._watch(adapter)

    def _set_request_timeout(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The SDK's streams have no timeout of their own, so that a hung daemon would be waited for without end."""
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self.timeout
        return kwargs

    def wait_for_ever(self) -> None:
        """From now on silence is no failure: for streams in which nothing may happen for days."""
        for line in self._lines:
            if line.sock is not None:
                line.sock.settimeout(None)

    def hang_up(self) -> None:
        """End every connection now."""
        with self._guard:
            self._hung_up = True
            lines = list(self._lines)
        for line in lines:
            end = line.sock
            with contextlib.suppress(OSError):
                if isinstance(end, socket.socket):
                    # Of TLS too only the socket: its own shutdown would take the reader's state away under it.
                    socket.socket.shutdown(end, socket.SHUT_RDWR)
                elif end is not None:
                    end.close()

    def close(self) -> None:
        """Give everything back; also a connection whose reply was not read to its end."""
        super().close()
        for line in self._lines:
            line.close()

    def _watch(self, adapter: Any) -> None:
        find = adapter.get_connection_with_tls_context

        def found(*arguments: Any, **named: Any) -> Any:
            pool = find(*arguments, **named)
            if not hasattr(pool, "watched"):
                make = pool._new_conn
                pool._new_conn = lambda: self._kept(make())
                pool.watched = True
            return pool

        adapter.get_connection_with_tls_context = found

    def _kept(self, line: HTTPConnection) -> HTTPConnection:
        connect = line.connect

        def connected() -> None:
            connect()
            with self._guard:
                self._lines.append(line)
                if not self._hung_up:
                    return
            line.close()
            raise HungUp

        line.connect = connected  # type: ignore[method-assign]
        return line


class _UnixConnection(HTTPConnection):
    """As the SDK's own, which leaves its socket to the garbage collector where nobody listens."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.settimeout(self.timeout)
            line.connect(self._path)
        except BaseException:
            line.close()
            raise
        self.sock = line


class _UnixPool(UnixHTTPConnectionPool):
    def _new_conn(self) -> HTTPConnection:
        return _UnixConnection(self.socket_path, self.timeout)  # type: ignore[arg-type]


class _UnixAdapter(UnixHTTPAdapter):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__(f"http+unix://{path}", timeout_s)  # type: ignore[arg-type]

    def get_connection(
        self, url: bytes | str, proxies: Mapping[str, str] | None = None
    ) -> UnixHTTPConnectionPool:
        with self.pools.lock:
            pool = self.pools.get(url)
            if pool is None:
                pool = self.pools[url] = _UnixPool(str(url), self.socket_path, self.timeout)
            return pool


def spoken_version(newest: str, oldest: str) -> str:
    """The version of the API to speak with a daemon that speaks `oldest` to `newest`: the newest that we know, too."""
    known = min(_numbers(newest), _NEWEST_KNOWN)
    return "{}.{}".format(*max(known, _numbers(oldest)))


def _numbers(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return int(major), int(minor or 0)
