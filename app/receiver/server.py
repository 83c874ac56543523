"""The receiver's HTTP server: one table of endpoints, one place where refusals are written down.

Rule 1: what is not in the table does not exist. Rule 2: every error is `{"error": {"code", "message"}}`, and the
message one sentence that repeats nothing secret.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from app.access.refusals import Refusal, not_found
from app.basics.compact import compact
from app.basics.door import Door, listen_error
from app.basics.traces import where
from app.ledger.errors import LedgerError
from app.receiver.counts import Counts
from app.receiver.errors import ReceiverError, StoreAway, StoreFault, StoreFull
from app.receiver.reception import Reception

log = logging.getLogger(__name__)

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BACKLOG = 512
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Routes = Mapping[str, Mapping[str, Handler]]
"""Path → method → handler. A path that ends in `/*` takes everything below it."""


class ReceiverServer:
    """Listens at a door and hands each request to its handler."""

    def __init__(self, counts: Counts, max_connections: int) -> None:
        self._exact: Routes = {}
        self._below: Routes = {}
        self._counts = counts
        self._most = max_connections
        self._reception: Reception | None = None
        self._runner: web.ServerRunner | None = None

    @property
    def connections(self) -> int:
        """How many are open."""
        return 0 if self._reception is None else len(self._reception)

    async def start(self, door: Door, *tables: Routes) -> None:
        """Answer what stands in the `tables`, which may share paths. Raises DoorTaken where somebody was quicker."""
        routes: dict[str, dict[str, Handler]] = {}
        for path, methods in (row for table in tables for row in table.items()):
            routes.setdefault(path, {}).update(methods)
        self._exact = {path: methods for path, methods in routes.items() if not path.endswith("/*")}
        self._below = {path[:-1]: methods for path, methods in routes.items() if path.endswith("/*")}
        self._reception = Reception(self._handle, self._most)
        self._runner = web.ServerRunner(self._reception, shutdown_timeout=5.0)
        await self._runner.setup()
        try:
            for taken in door.sockets:
                # asyncio takes it also for how often it tries to accept at once; see proxy/server.py.
                await web.SockSite(self._runner, taken, backlog=1).start()
                taken.listen(BACKLOG)
        except OSError as error:
            await self.stop()
            raise listen_error(error, door.host, door.port) from None

    async def stop(self) -> None:
        """Take no more, let what is being answered end, and close everything. Again is harmless."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._reception is not None:
            await self._reception.close()
            self._reception = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            methods = self._find(request.raw_path.partition("?")[0])
            handler = methods.get("GET" if request.method == "HEAD" else request.method)
            if handler is None:
                names = ", ".join(sorted(methods))
                refusal = Refusal(405, "method_not_allowed", f"This endpoint answers {names} only.")
                return self._refuse(request, refusal, {"Allow": names})
            return await handler(request)
        except Refusal as refusal:
            return self._refuse(request, refusal)
        except (LedgerError, ReceiverError) as error:
            return self._refuse(request, of_error(error))
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, whoever asked hears 500)
            log.error("A request failed by a fault of our own: %s.", where(error))
            mistake = Refusal(500, "internal_error", "The receiver made a mistake. Its log says which.")
            return self._refuse(request, mistake)

    def _find(self, path: str) -> Mapping[str, Handler]:
        found = self._exact.get(path)
        if found is not None:
            return found
        for prefix, methods in self._below.items():
            if path.startswith(prefix) and len(path) > len(prefix):
                return methods
        raise not_found()

    def _refuse(
        self, request: web.BaseRequest, refusal: Refusal, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        self._counts.refusals[refusal.status] += 1
        response = refused(refusal)
        response.headers.update(headers or {})
        if not request.content.is_eof():
            # The rest need not be sent, and must not be taken for another request.
            response.force_close()
        return response


def reply(value: object) -> web.Response:
    """200 with `value` as JSON."""
    return web.Response(body=compact(value), headers={"Content-Type": JSON})


def refused(refusal: Refusal, more: Mapping[str, Any] | None = None) -> web.Response:
    """A refusal as a response; `more` stands beside its code and sentence."""
    headers = {"Content-Type": JSON}
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(refusal.retry_after_s)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="mortdecai-receiver"'
    body = {"error": {"code": refusal.code, "message": refusal.sentence, **(more or {})}}
    return web.Response(body=compact(body), status=refusal.status, headers=headers)


def of_error(error: LedgerError | ReceiverError) -> Refusal:
    """What went wrong in the store, which says it in one sentence itself, as a refusal."""
    match error:
        case StoreFull():
            return Refusal(507, "store_full", str(error), retry_after_s=60)
        case StoreAway():
            return Refusal(503, "store_away", str(error), retry_after_s=5)
        case StoreFault():
            return Refusal(503, "store_fault", str(error), retry_after_s=60)
        case _:
            return Refusal(500, "ledger_error", str(error))
