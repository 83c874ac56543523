"""The running whole: where the parts are made, wired, started and stopped.

Rule 1: this is the only place where rooms meet; it is handed settings, folders, a vault, an engine and a sensor, and
knows neither the command line nor any desktop. Rule 2: stopping is staged and repeatable: first the door, then the
running requests, then the books, then everything that was opened, in reverse.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from app.access.identity import Identity
from app.basics.clock import wall_us
from app.billing.money import pico_to_decimal
from app.billing.pricing import BillingMode, Pricing
from app.engine.base import Engine
from app.engine.host import EngineHost, HostCare, NoHost
from app.face import Snapshot
from app.gateway.books import Books
from app.gateway.duty import Duty
from app.gateway.public_address import PublicAddress, no_docker
from app.gateway.quiet import Quiet
from app.gateway.routes import routes
from app.gateway.rules import rules
from app.gateway.terms import watts_of
from app.gateway.upstream import Upstream
from app.gateway.uptime import Uptime
from app.gateway.view import snapshot as view
from app.ledger.reader import LedgerRow, Page
from app.models.shelf import Shelf
from app.power.history import PowerPoint
from app.power.meter import Meter
from app.power.sensors.base import Sensor
from app.presence.alarm import Alarm
from app.presence.conduct import Conduct
from app.proxy.admission import Policy
from app.proxy.jobs import Jobs
from app.proxy.server import Server
from app.settings.folders import Folders
from app.settings.instance import InstanceLock
from app.settings.parameters import Settings
from app.settings.store import SettingsStore
from app.vault.base import Vault

if TYPE_CHECKING:
    from app.containers.docker import Docker

log = logging.getLogger(__name__)

PUBLIC_SETTINGS = ("public_address", "public_hostname", "tunnel_image")


def no_host(care: HostCare) -> EngineHost:
    """The engine runs by itself."""
    return NoHost()


class Gateway:
    """One gateway. Make it with `open`, use it as an asynchronous context manager, stop it by leaving."""

    def __init__(
        self,
        store: SettingsStore,
        folders: Folders,
        vault: Vault,
        engine: Engine,
        sensor: Sensor,
        *,
        host: Callable[[HostCare], EngineHost] = no_host,
        docker: Callable[[], Awaitable[Docker]] = no_docker,
    ) -> None:
        self._store = store
        self._folders = folders
        self._vault = vault
        self._engine = engine
        self._sensor = sensor
        self._make_host = host
        self._docker = docker
        self._listeners: list[Callable[[], None]] = []
        self._changing = False
        self.address = ""

    # Starting and stopping.

    async def start(self, *, contribute: bool) -> None:
        """Open everything and listen. Raises one of the errors whose text is a sentence, with nothing left open."""
        self._folders.prepare()
        self._lock = InstanceLock.acquire(self._folders.state)
        try:
            self._books = await Books.open(self._folders, self._vault, lambda: self._store.current)
        except BaseException:
            self._lock.release()
            raise
        try:
            await self._listen(contribute)
        except BaseException:
            await (self.stop() if self.address else self._close_books())
            raise

    async def _listen(self, contribute: bool) -> None:
        settings = self._store.current
        loop = asyncio.get_running_loop()
        self._meter = Meter(
            self._sensor,
            watts_of(settings),
            dedicated=self._books.pricing.mode is BillingMode.DEDICATED,
            parallel=settings.engine_parallel,
            rate_hz=settings.sample_rate_hz,
            tail_s=settings.idle_tail_seconds,
            cost_per_hour=lambda watts: self._books.pricing.ceiling(watts, 3600, wall_us()),
            loop=loop,
        )
        self._jobs = Jobs(
            self._books.budget,
            self._books.ledger,
            self._meter,
            hold_seconds=lambda: self._store.current.hold_seconds,
            stall_seconds=lambda: self._store.current.request_timeout_seconds,
        )
        quiet = Quiet(self._jobs)
        self._upstream = Upstream(
            self._engine,
            self._make_host,
            self._meter,
            quiet,
            settings=lambda: self._store.current,
            folder=self._folders.data / "downloads",
            changed=self._changed,
            audit=self._books.record_update,
        )
        self._uptime = Uptime(
            self._books.ledger,
            self._meter,
            self._books.budget,
            lambda: self._books.pricing,
            self._books.keys.first_log,
        )
        self._alarm = Alarm()
        self.conduct = Conduct(
            rules(self._books, self._meter, self._upstream, quiet, self._store), wake_at=self._alarm.set
        )
        self._duty = Duty(self.conduct, self._jobs, self._upstream, self._uptime, changed=self._changed)
        self._jobs.began.connect(self._changed)
        quiet.changed.connect(self.conduct.look)
        self._alarm.rang.connect(self.conduct.look)
        table = routes(
            self._books,
            self._upstream,
            self._meter,
            self._jobs,
            self.conduct,
            self._store,
            lambda: self._bounds,
            self,
        )
        self._server = Server(table, lambda: self._store.current.max_body_mb << 20)
        self._public = PublicAddress(
            self._docker,
            profile=self._folders.profile,
            home=self._folders.fingerprint,
            mark=self._folders.state / "public-address",
            vault=self._vault,
            settings=lambda: self._store.current,
            # Its own machine reaches it there whatever it listens on.
            address=lambda: self.address,
            changed=self._changed,
        )
        self._books.ledger.on_fault(self._duty.storage_changed)
        self._derive()
        port = await self._server.start(settings.host, settings.port)
        shown = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
        self.address = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
        self._lock.announce(self.address)
        await self._upstream.watch.refresh()
        self._duty.started(contribute=contribute)
        self._public.start()
        for name in ("callback_url", "ledger_secret"):
            if getattr(settings, name):
                log.warning("%s is set, and this version does nothing with it yet.", name.upper())
        for record in self._books.ledger.recovered:
            log.warning("Request %s was cut off by a crash; what it had cost is in the ledger.", record)

    async def stop(self) -> None:
        """Settle, record, close. Safe to call again."""
        if self.address:
            self.address = ""
            await self._public.shut()
            await self._server.stop_listening()
            await self._duty.stop()
            self._alarm.stop()
            # First what operators may still wait for, a pull or a start: their answers end with it.
            await self._upstream.close()
            await self._server.stop()
            self._meter.stop()
            await self._close_books()

    async def _close_books(self) -> None:
        try:
            await self._books.close()
            await self._engine.close()
        finally:
            self._lock.release()

    async def __aenter__(self) -> Gateway:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def identity(self) -> Identity:
        """Who this gateway is."""
        return self._books.identity

    @property
    def pricing(self) -> Pricing:
        """What requests cost now."""
        return self._books.pricing

    # What faces see (GatewayFace).

    @property
    def models(self) -> Shelf:
        """The engine's models, and what can be done with them."""
        return self._upstream.models

    def snapshot(self) -> Snapshot:
        """The present moment."""
        if self._meter.watched:
            self._upstream.watch.wake()
        return view(
            address=self.address,
            conduct=self.conduct,
            engine=self._engine,
            watch=self._upstream.watch,
            meter=self._meter,
            budget=self._books.budget,
            pricing=self._books.pricing,
            ledger=self._books.ledger,
            jobs=self._jobs,
            notice=self._duty.notice,
            host=self._upstream.host.state,
            public=self._public.view(),
        )

    def look(self) -> Snapshot:
        """The present moment, for somebody who asks over HTTP: the engine is asked anew where that is due."""
        self._upstream.watch.wake()
        return self.snapshot()

    def watching(self, watcher: object, *, active: bool) -> None:
        """A visible face wants the sensor read."""
        self._meter.watching(watcher, active=active)

    def on_changed(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after state, cap or errors changed; several changes at once make one call."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def history(self, span_us: int) -> Sequence[PowerPoint]:
        """Points of the graph, oldest first."""
        return self._meter.history.series(span_us, wall_us())

    async def ledger_page(self, before: int | None, limit: int, search: str = "") -> Page:
        """Newest first."""
        return await self._books.ledger.page(before, limit, search=search)

    async def verify_ledger(self) -> str:
        """One sentence with the verdict."""
        return (await self._books.ledger.verify()).sentence

    async def record_body(self, row: LedgerRow) -> bytes:
        """The canonical bytes of one record."""
        (body,) = await self._books.ledger.entries(row.log, row.seq, 1)
        return body

    async def client_key(self) -> str:
        """The first client's key, for the clipboard."""
        return await self._books.keys.plain()

    # What faces and the operator do.

    async def set_cap(self, cap_pico: int) -> None:
        """At once, and kept."""
        await self.configure({"spending_cap": str(pico_to_decimal(cap_pico))})

    async def configure(self, changes: dict[str, Any]) -> Mapping[str, Any]:
        """Apply settings, all or none; raises SettingError."""
        before = self._store.current
        done = await asyncio.to_thread(self._store.update, changes)
        await self._apply(before, self._store.current)
        return {
            "changed": list(done.changed),
            "needs_restart": list(done.needs_restart),
            "notes": [override.sentence for override in done.overridden],
        }

    async def _apply(self, before: Settings, now: Settings) -> None:
        if now == before:
            return
        self._uptime.bill()  # under the old terms
        pricing = await self._books.settle_terms(now)
        self._meter.configure(
            watts=watts_of(now),
            dedicated=pricing.mode is BillingMode.DEDICATED,
            parallel=now.engine_parallel,
        )
        self._uptime.go_on()
        self._derive()
        self._upstream.host.settings_changed()
        # Settings may set or end a blocker: the cap, or the processor that is a choice from now on and no fault.
        self.conduct.look()
        if any(getattr(before, name) != getattr(now, name) for name in PUBLIC_SETTINGS):
            self._public.follow_settings()
        self._changed()

    def contribute(self) -> None:
        """Serve."""
        self._duty.contribute()

    def finish_then_pause(self) -> None:
        """Let what runs end, then pause and free the GPU."""
        self._duty.finish_then_pause()

    def pause_now(self) -> None:
        """Cut what runs after settling it, and free the GPU."""
        self._duty.pause_now()

    def snooze(self, seconds: float) -> None:
        """Pause now, contribute again after `seconds`."""
        self._duty.snooze(seconds)

    async def released(self) -> str | None:
        """Wait until the last pause has given the GPU back, or could not; the sentence about it."""
        return await self._duty.released()

    async def engine_verb(self, verb: str) -> str:
        """See `Upstream.verb`."""
        return await self._upstream.verb(verb)

    async def engine_log(self, lines: int = 200) -> str:
        """The end of the engine's container's log."""
        return await self._upstream.host.log_tail(lines)

    async def public_address(self, mode: str) -> None:
        """Open (`quick`, `named`) or close (`off`) the public address, and keep that for the next start."""
        await self.configure({"public_address": mode})
        # Also where the settings said so already: asking again is the way out of a failure.
        self._public.follow_settings()
        await self._public.settled()

    async def keep_tunnel_token(self, text: str) -> None:
        """See `PublicAddress.keep_token`."""
        await self._public.keep_token(text)

    def stop_request(self, request_id: str) -> None:
        """Cut one request after settling it."""
        self._duty.stop_request(request_id)

    async def create_key(self, label: str, client: str | None) -> Mapping[str, Any]:
        """A new key, in plain text this once."""
        return await self._books.keys.create(label, client)

    async def revoke_key(self, key: str) -> Mapping[str, Any]:
        """By id or label; raises LookupError. It stops working with the next request."""
        return await self._books.keys.revoke(key)

    def keys(self) -> list[Mapping[str, Any]]:
        """Every key, without its secret."""
        return self._books.keys.all()

    # What follows from the settings, and who is told.

    def _derive(self) -> None:
        """What every request needs from the settings, worked out once and not on every request."""
        settings = self._store.current
        self._bounds = Policy(
            max_body_b=settings.max_body_mb << 20,
            max_output_tokens=settings.max_output_tokens,
            allowed_models=frozenset(settings.allowed_models),
        )

    def _changed(self) -> None:
        """Tell the listeners soon, once for all the changes of this turn of the loop."""
        if not self._changing and self._listeners:
            self._changing = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._changing = False
        for listener in tuple(self._listeners):
            listener()
