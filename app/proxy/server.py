"""The HTTP server: one table of endpoints, one place where refusals are written down.

Rule 1: what is not in the table does not exist; nothing is ever forwarded because it looked right. Rule 2: the
engine's management endpoints are refused to everybody. Rule 3: every answer carries X-Request-Id, and an error
comes in the dialect of its path.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping

import psutil
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader

from app.access.refusals import Refusal, management_forbidden, not_found
from app.basics.clock import wall_us
from app.ledger.ids import new_id
from app.proxy.dialects.base import JSON, Dialect
from app.proxy.dialects.ollama import OLLAMA
from app.proxy.dialects.openai import OPENAI

log = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Routes = Mapping[str, Mapping[str, Handler]]
"""Path → method → handler. A path that ends in `/*` takes everything below it."""

MANAGEMENT = (
    "/api/pull /api/push /api/create /api/copy /api/delete /api/blobs /api/me /api/signout /api/user "
    "/api/experimental /api/status"
).split()


class PortTaken(Exception):
    """The listen address is in use; the sentence says by whom, where the system tells."""


class Server:
    """Listens on one address and hands each request to its handler."""

    def __init__(self, routes: Routes, max_body_b: Callable[[], int]) -> None:
        self._exact = {path: methods for path, methods in routes.items() if not path.endswith("/*")}
        self._below = {path[:-1]: methods for path, methods in routes.items() if path.endswith("/*")}
        self._max_body_b = max_body_b
        self._runner: web.ServerRunner | None = None
        self._site: web.TCPSite | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port, which is a free one where 0 was asked for. Raises PortTaken."""
        server = web.Server(
            self._handle,
            request_factory=self._request,
            # A client that goes away cancels its handler, so the engine stops; settling needs no task.
            handler_cancellation=True,
            access_log=None,
        )
        runner = web.ServerRunner(server, shutdown_timeout=5.0)
        await runner.setup()
        site = web.TCPSite(runner, host, port, backlog=512)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise _listen_error(error, host, port) from None
        self._runner, self._site = runner, site
        return int(runner.addresses[0][1])

    async def stop_listening(self) -> None:
        """Take no new connection; those that are open go on."""
        if self._site is not None:
            await self._site.stop()
            self._site = None

    async def stop(self) -> None:
        """Close everything."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            self._site = None

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        return web.BaseRequest(
            message,
            payload,
            protocol,
            writer,
            task,
            asyncio.get_running_loop(),
            client_max_size=self._max_body_b(),
        )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        try:
            methods = self._exact.get(path)
            if methods is None:
                methods = self._find_below(path)
            handler = methods.get(request.method)
            if handler is None:
                if request.method == "HEAD" and "GET" in methods:
                    handler = methods["GET"]
                else:
                    raise Refusal(405, "method_not_allowed", f"{path} answers {', '.join(methods)} only.")
            return await handler(request)
        except Refusal as refusal:
            return refuse(refusal, dialect_of(path))
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            log.exception("A request to %s failed by a fault of our own.", path)
            return refuse(
                Refusal(500, "internal_error", "The gateway made a mistake. Its log says which."),
                dialect_of(path),
            )

    def _find_below(self, path: str) -> Mapping[str, Handler]:
        for prefix, methods in self._below.items():
            if path.startswith(prefix) and len(path) > len(prefix):
                return methods
        for managed in MANAGEMENT:
            if path == managed or path.startswith(managed + "/"):
                raise management_forbidden()
        raise not_found()


def dialect_of(path: str) -> Dialect:
    """`/v1/…` speaks OpenAI's dialect, everything else Ollama's."""
    return OPENAI if path.startswith("/v1/") else OLLAMA


def refuse(refusal: Refusal, dialect: Dialect) -> web.Response:
    """A refusal as a response."""
    headers = {"Content-Type": JSON, "X-Request-Id": new_id(wall_us())}
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(refusal.retry_after_s)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="mortdecai-gateway"'
    return web.Response(body=dialect.error(refusal), status=refusal.status, headers=headers)


def _listen_error(error: OSError, host: str, port: int) -> PortTaken:
    if error.errno == errno.EADDRINUSE:
        return PortTaken(
            f"Port {port} is already in use by {port_owner(port)}. Stop that, or choose another port with --port."
        )
    if error.errno == errno.EACCES:
        return PortTaken(f"This user may not listen on port {port}. Choose one above 1023 with --port.")
    if error.errno == errno.EADDRNOTAVAIL:
        return PortTaken(f"This machine has no address {host}. Choose 127.0.0.1, or 0.0.0.0 to share.")
    return PortTaken(f"Listening on {host}:{port} failed: {error.strerror}.")


def port_owner(port: int) -> str:
    """Who listens on a local TCP port, in words: «ollama (process 812)», or «another program»."""
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
