"""What anyone may see: `/`, `/health`, and the dashboard's page; its figures are open to this machine alone.

A web page that a browser on this machine shows could ask for the figures under a name that it made point to
127.0.0.1 (DNS rebinding). So they are open only where the Host header names this machine itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from app import __version__
from app.access.identify import Access
from app.basics.resources import resource
from app.face import Snapshot, TlsView
from app.ledger.sqlite.store import Ledger
from app.proxy.control import reply
from app.proxy.figures import figures
from app.proxy.labour_book import LabourBook
from app.settings.store import SettingsStore

_PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Public:
    """Handlers that ask for no key."""

    def __init__(
        self,
        access: Access,
        ledger: Ledger,
        store: SettingsStore,
        labour: LabourBook,
        look: Callable[[], Snapshot],
    ) -> None:
        self._access = access
        self._ledger = ledger
        self._store = store
        self._labour = labour
        self._look = look
        self._page: bytes | None = None

    def routes(self) -> dict[str, dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]]]:
        """Path → method → handler."""
        return {
            "/": {"GET": self.root},
            "/health": {"GET": self.health},
            "/dashboard": {"GET": self.dashboard},
            "/dashboard/data": {"GET": self.data},
        }

    async def root(self, request: web.BaseRequest) -> web.Response:
        """A word for whoever opens the address, and the probe that Ollama's clients send."""
        return web.Response(text="Mortdecai Gateway is running")

    async def health(self, request: web.BaseRequest) -> web.Response:
        """Whether we accept requests, why not, and the engine's state; 200 also while we do not accept."""
        now = self._look()
        blocker = now.blocker
        return reply(
            {
                "status": "ok" if blocker is None else now.serving.value,
                "accepting": blocker is None,
                "reason": None if blocker is None else blocker.sentence,
                "code": None if blocker is None else blocker.code,
                "ends": None if blocker is None else blocker.ends,
                "until": None if blocker is None or blocker.until_us is None else blocker.until_us / 1e6,
                "ollama": "ok" if now.engine.reachable else "unreachable",
                "engine": {
                    "name": now.engine.name,
                    "reachable": now.engine.reachable,
                    "version": now.engine.version,
                    "simulated": now.engine.simulated,
                },
                "models": list(now.engine.loaded),
                "waiting": sum(request.queued for request in now.running),
                "version": __version__,
                "tls": tls_json(now.tls),
            }
        )

    async def dashboard(self, request: web.BaseRequest) -> web.Response:
        """The page itself holds no figures."""
        if self._page is None:
            self._page = resource("web/dashboard.html").read_bytes()
        return web.Response(body=self._page, headers=_PAGE_HEADERS)

    async def data(self, request: web.BaseRequest) -> web.Response:
        """What the page shows: everything to this machine and to the operator, a client's own to a client."""
        log = self._access.viewer(request.headers, request.remote)
        now = self._look()
        shown = figures(now, self._ledger, self._store, self._labour, log)
        shown["tls"] = tls_json(now.tls)
        if log is None:
            host = now.host
            shown["host"] = {
                "phase": host.phase.value,
                "problem": host.problem,
                "processor": host.processor.value,
            }
            shown["public"] = {"phase": now.public.phase.value, "url": now.public.url}
        return reply(shown)


def tls_json(tls: TlsView | None) -> dict[str, object] | None:
    """By what the gateway's certificate is known, for everybody: None where nothing is encrypted."""
    return None if tls is None else {"fingerprint": tls.fingerprint, "until": tls.until_us / 1e6}
