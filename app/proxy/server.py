"""The HTTP server: one table of endpoints, one place where refusals are written down.

Rule 1: what is not in the table does not exist; nothing is ever forwarded because it looked right. Rule 2: the
engine's management endpoints are refused to everybody. Rule 3: every answer carries X-Request-Id, and an error
comes in the dialect of its path.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader

from app.access.refusals import Refusal, management_forbidden
from app.basics.addresses import is_loopback
from app.basics.clock import wall_us
from app.basics.door import Door, listen_error
from app.basics.traces import where
from app.ledger.errors import LedgerClosed, LedgerError, LedgerFault, TailMissing
from app.proxy.bodies import Bodies
from app.proxy.connection import Host
from app.proxy.connections import Bounds, Connections, linger_s
from app.proxy.dialects.base import JSON, Dialect
from app.proxy.dialects.ollama import OLLAMA
from app.proxy.front import Front
from app.proxy.manners import Request, allow
from app.proxy.mishaps import Mishaps, QuietLoop
from app.proxy.not_served import not_served
from app.proxy.witness import Witness
from app.vault.base import VaultUnavailable

log = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Routes = Mapping[str, Mapping[str, Handler]]
"""Path → method → handler. A path that ends in `/*` takes everything below it."""

MANAGEMENT = (
    "/api/pull /api/push /api/create /api/copy /api/delete /api/blobs /api/me /api/signout /api/user "
    "/api/experimental /api/status"
).split()


VAULT_RETRY_S = 30
"""A keyring that is locked is opened by a person."""
BACKLOG = 512
"""Connections that the system keeps for us until we take them."""


class Server:
    """Listens at a door and hands each request to its handler."""

    def __init__(
        self,
        routes: Routes,
        max_body_b: Callable[[], int],
        *,
        bounds: Callable[[], Bounds] = Bounds.here,
        dialects: Mapping[str, Dialect] | None = None,
        front: Front | None = None,
        witness: Witness | None = None,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """`front`: what is asked of every request before its path is looked up, if anything. `witness`: who notes what
        came of them. `tls`: what a connection that comes now is encrypted with; without it none is. `dialects`: what a
        path speaks, or with `/*` everything below it that is not named; the rest is Ollama's."""
        self._dialects = dialects or {}
        self._front = front
        self._witness = witness
        self._tls = tls
        self._exact = {path: methods for path, methods in routes.items() if not path.endswith("/*")}
        self._below = {path[:-1]: methods for path, methods in routes.items() if path.endswith("/*")}
        self._max_body_b = max_body_b
        self._bounds = bounds
        self._mishaps = Mishaps()
        self._connections: Connections | None = None
        self._quiet: QuietLoop | None = None
        self._runner: web.ServerRunner | None = None
        self._sites: list[web.SockSite] = []

    async def start(self, door: Door) -> None:
        """Listen. Raises DoorTaken where somebody was quicker."""
        loop = asyncio.get_running_loop()
        bounds = self._bounds()
        self._connections = Connections(bounds, self._mishaps, loop)
        self._quiet = QuietLoop(loop, self._mishaps)
        server = Host(
            self._handle,
            self._connections,
            self._mishaps,
            Bodies(self._max_body_b, bounds.body_s),
            is_loopback if self._front is None else self._front.is_proxy,
            self._tls,
            request_factory=self._request,
            # A client that goes away cancels its handler, so the engine stops; settling needs no task.
            handler_cancellation=True,
            access_log=None,
            # A compressed body is refused, not unpacked.
            auto_decompress=False,
            lingering_time=linger_s(bounds),
        )
        runner = web.ServerRunner(server, shutdown_timeout=5.0)
        await runner.setup()
        self._runner = runner
        try:
            for taken in door.sockets:
                # asyncio takes it also for how often it tries to accept at once; where no descriptor is left, each of
                # them fails, and is logged with a traceback.
                site = web.SockSite(runner, taken, backlog=1)
                await site.start()
                taken.listen(BACKLOG)
                self._sites.append(site)
        except OSError as error:
            await self.stop()
            raise listen_error(error, door.host, door.port) from None

    async def stop_listening(self) -> None:
        """Take no new connection; those that are open go on."""
        for site in self._sites:
            await site.stop()
        self._sites = []

    async def stop(self) -> None:
        """Close everything."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            self._sites = []
        if self._connections is not None:
            self._connections.close()
            self._connections = None
        if self._quiet is not None:
            self._quiet.close()
            self._quiet = None

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        front = self._front
        return Request(
            message if front is None else front.received(message),
            payload,
            protocol,
            writer,
            task,
            asyncio.get_running_loop(),
            client_max_size=self._max_body_b(),
            dress=None if front is None else front.dress,
        )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        try:
            if self._front is not None:
                self._front.let_in(request)
            methods = self._exact.get(path)
            if methods is None:
                methods = self._find_below(path)
            handler = methods.get(request.method)
            if handler is None:
                if request.method == "HEAD" and "GET" in methods:
                    handler = methods["GET"]
                else:
                    return _other_method(request.method, list(methods), self._dialect(path))
            response = await handler(request)
            if self._witness is not None:
                self._witness.answered(request, self._endpoint(path), response.status)
            return response
        except Refusal as refusal:
            if self._witness is not None:
                self._witness.refused(request, self._endpoint(path), refusal)
            response = refuse(refusal, self._dialect(path))
            if not request.content.is_eof():
                # The client need not send the rest, and must not take what follows for a new request's answer.
                response.force_close()
            return response
        except LedgerError as error:
            return refuse(of_ledger(error), self._dialect(path))
        except VaultUnavailable as error:
            closed = Refusal(503, "vault_unavailable", str(error), retry_after_s=VAULT_RETRY_S)
            return refuse(closed, self._dialect(path))
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, the client hears 500)
            log.error("A request failed by a fault of our own: %s.", where(error))
            return refuse(
                Refusal(500, "internal_error", "The gateway made a mistake. Its log says which."),
                self._dialect(path),
            )

    def _dialect(self, path: str) -> Dialect:
        found = self._dialects.get(path)
        if found is not None:
            return found
        below = [name for name in self._dialects if name.endswith("/*") and path.startswith(name[:-1])]
        return self._dialects[max(below, key=len)] if below else OLLAMA

    def _endpoint(self, path: str) -> str:
        """The path as the table has it; empty where it is not there."""
        if path in self._exact:
            return path
        below = next((prefix + "*" for prefix in self._below if path.startswith(prefix)), "")
        return below or next((name for name in MANAGEMENT if path == name or path.startswith(name + "/")), "")

    def _find_below(self, path: str) -> Mapping[str, Handler]:
        if path == "*":  # «OPTIONS *» asks about the whole server
            return {}
        for prefix, methods in self._below.items():
            if path.startswith(prefix) and len(path) > len(prefix):
                return methods
        for managed in MANAGEMENT:
            if path == managed or path.startswith(managed + "/"):
                raise management_forbidden()
        raise not_served(path)


def _other_method(method: str, methods: list[str], dialect: Dialect) -> web.Response:
    """The answer to OPTIONS, and to a method that an endpoint does not have."""
    if method == "OPTIONS":
        # Whether a page may ask is said at the door; see `front`.
        return web.Response(status=204, headers={"Allow": allow(methods)})
    refusal = Refusal(405, "method_not_allowed", f"This endpoint answers {', '.join(methods)} only.")
    response = refuse(refusal, dialect)
    response.headers["Allow"] = allow(methods)
    return response


def of_ledger(error: LedgerError) -> Refusal:
    """What went wrong in the ledger, which says it in one sentence itself, as a refusal."""
    match error:
        case LedgerFault():
            return Refusal(507, "ledger_fault", str(error), retry_after_s=60)
        case TailMissing():
            return Refusal(503, "tail_lost", str(error), retry_after_s=30)
        case LedgerClosed():
            return Refusal(503, "stopping", "The gateway is stopping.", retry_after_s=60)
        case _:
            log.error("The ledger could not do what was asked: %s.", where(error))
            return Refusal(500, "ledger_error", str(error))


def refuse(refusal: Refusal, dialect: Dialect) -> web.Response:
    """A refusal as a response."""
    headers = {"Content-Type": JSON, **refusal.headers}
    if refusal.rates:
        headers |= dialect.rate_headers(refusal.rates, wall_us())
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(refusal.retry_after_s)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="mortdecai-gateway"'
    if refusal.status == 501:
        # OpenAI's and Anthropic's SDKs ask again after every 5xx, unless they are told that it does not help.
        headers["X-Should-Retry"] = "false"
    return web.Response(body=dialect.error(refusal), status=refusal.status, headers=headers)
