"""The running whole: where the parts are made, wired, started and stopped.

Rule 1: this is the only place where rooms meet; it is handed settings, folders, a vault, an engine and a sensor, and
knows neither the command line nor any desktop. Rule 2: stopping is staged and repeatable: first the door, then the
running requests, then the books, then everything that was opened, in reverse.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from app.billing.budget import Budget
from app.billing.money import pico_to_decimal, to_pico
from app.billing.pricing import BillingMode
from app.client_keys import ClientKeys
from app.clock import mono_us, wall_us
from app.duty import Duty
from app.engine.base import Engine
from app.engine.health import EngineWatch
from app.identity import Identity
from app.ledger.checkpoint import Signer
from app.ledger.drafts import TariffDraft
from app.ledger.reader import LedgerRow, Page
from app.ledger.records import decode
from app.ledger.schema import LEDGER_FILE
from app.ledger.store import Ledger
from app.power.history import PowerPoint
from app.power.meter import Meter
from app.power.sensors.base import Sensor
from app.presence.conduct import Conduct
from app.proxy.access import Access
from app.proxy.admission import Admission, Policy
from app.proxy.control import Control
from app.proxy.dialects.ollama import CHAT, GENERATE
from app.proxy.dialects.openai import CHAT_COMPLETIONS
from app.proxy.inference import Inference
from app.proxy.jobs import Jobs
from app.proxy.models import Models
from app.proxy.public import Public
from app.proxy.readonly import ReadOnly
from app.proxy.server import Server
from app.settings.errors import SettingError
from app.settings.folders import Folders
from app.settings.instance import InstanceLock
from app.settings.parameters import Settings
from app.settings.store import SettingsStore
from app.snapshot import Snapshot
from app.terms import pricing_of, terms_record, watts_of
from app.uptime import Uptime
from app.vault.base import Vault
from app.view import snapshot as view

log = logging.getLogger(__name__)


class Gateway:
    """One gateway. Make it with `open`, use it as an asynchronous context manager, stop it by leaving."""

    def __init__(
        self, store: SettingsStore, folders: Folders, vault: Vault, engine: Engine, sensor: Sensor
    ) -> None:
        self._store = store
        self._folders = folders
        self._vault = vault
        self._engine = engine
        self._sensor = sensor
        self._listeners: list[Callable[[], None]] = []
        self._changing = False
        self.conduct = Conduct(self._changed)
        self.address = ""

    # Starting and stopping.

    async def start(self, *, contribute: bool) -> None:
        """Open everything and listen. Raises one of the errors whose text is a sentence, with nothing left open."""
        self._folders.prepare()
        self._lock = InstanceLock.acquire(self._folders.state)
        try:
            await self._open_books()
        except BaseException:
            self._lock.release()
            raise
        try:
            await self._listen(contribute)
        except BaseException:
            await self._close_books()
            raise

    async def _open_books(self) -> None:
        settings = self._store.current
        self.identity = await Identity.load(self._vault)
        self._ledger = await Ledger.open(
            self._folders.data / LEDGER_FILE,
            signer=Signer(self.identity.seed, self.identity.signer_name),
            gateway_id=self.identity.gateway_id,
            clock_us=wall_us,
        )
        self.pricing = pricing_of(settings)
        self._access = Access(mono_us, remote_admin=lambda: self._store.current.remote_admin)
        self._client_keys = ClientKeys(self._ledger, self._vault, self._access, self.identity.operator_token)
        await self._client_keys.load()
        await self._require_currency(settings.currency)
        self._budget = Budget(to_pico(settings.spending_cap), self._ledger.spent_pico)
        await self._record_terms()

    async def _require_currency(self, currency: str) -> None:
        """Amounts of two currencies cannot be added up, so a ledger keeps the one that it began with."""
        for body in await self._ledger.entries(self._client_keys.first_log(), 0, 16):
            first = decode(body).draft
            if isinstance(first, TariffDraft) and first.currency != currency:
                raise SettingError(
                    f"currency is {currency}, and the ledger of this profile counts in {first.currency}: set it "
                    "back, or begin a new profile with --profile NAME.",
                    "currency",
                )

    async def _listen(self, contribute: bool) -> None:
        settings = self._store.current
        loop = asyncio.get_running_loop()
        self._meter = Meter(
            self._sensor,
            watts_of(settings),
            dedicated=self.pricing.mode is BillingMode.DEDICATED,
            parallel=settings.engine_parallel,
            rate_hz=settings.sample_rate_hz,
            tail_s=settings.idle_tail_seconds,
            cost_per_hour=lambda watts: self.pricing.ceiling(watts, 3600, wall_us()),
            loop=loop,
        )
        self._duty = Duty(
            self.conduct,
            engine=self._engine,
            budget=self._budget,
            currency=lambda: self.pricing.tariff.currency,
            changed=self._changed,
        )
        self._watch = EngineWatch(self._engine, self._duty.engine_changed)
        self._jobs = Jobs(
            self._budget,
            self._ledger,
            self._meter,
            hold_seconds=lambda: self._store.current.hold_seconds,
            stall_seconds=lambda: self._store.current.request_timeout_seconds,
            began=self._changed,
            ended=self._duty.job_ended,
        )
        self._uptime = Uptime(
            self._ledger,
            self._meter,
            self._budget,
            lambda: self.pricing,
            self._client_keys.first_log,
            lambda: self._duty.on,
        )
        self._duty.attach(self._jobs, self._watch, self._uptime)
        self._server = Server(self._routes(), lambda: self._store.current.max_body_mb << 20)
        self._ledger.on_fault(self._duty.storage_changed)
        self._derive()
        port = await self._server.start(settings.host, settings.port)
        shown = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
        self.address = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
        self._lock.announce(self.address)
        await self._watch.refresh()
        self._duty.started(contribute=contribute)
        for name in ("callback_url", "ledger_secret", "allow_model_updates"):
            if getattr(settings, name):
                log.warning("%s is set, and this version does nothing with it yet.", name.upper())
        for record in self._ledger.recovered:
            log.warning("Request %s was cut off by a crash; what it had cost is in the ledger.", record)

    def _routes(self) -> dict[str, dict[str, Any]]:
        models = Models(self._watch)
        inference = Inference(
            access=self._access,
            admission=Admission(self.conduct.blockers.first, models, self._policy),
            budget=self._budget,
            ledger=self._ledger,
            meter=self._meter,
            engine=lambda: self._engine,
            pricing=lambda: self.pricing,
            hold_seconds=lambda: self._store.current.hold_seconds,
            jobs=self._jobs,
            engine_failed=self._watch.failed,
        )
        routes: dict[str, dict[str, Any]] = {}
        for endpoint in (CHAT, GENERATE, CHAT_COMPLETIONS):
            routes[endpoint.path] = {"POST": lambda request, to=endpoint: inference.serve(request, to)}
        routes |= ReadOnly(
            self._access, models, lambda: self._engine, self._policy, self._watch.failed
        ).routes()
        routes |= Control(self._access, self._ledger, self._store, self).routes()
        routes |= Public(self._access, self._ledger, self._store, self).routes()
        return routes

    async def stop(self) -> None:
        """Settle, record, close. Safe to call again."""
        if self.address:
            self.address = ""
            await self._server.stop_listening()
            await self._duty.stop()
            await self._server.stop()
            await self._watch.close()
            self._meter.stop()
            await self._close_books()

    async def _close_books(self) -> None:
        try:
            await self._ledger.close()
            await self._engine.close()
        finally:
            self._lock.release()

    async def __aenter__(self) -> Gateway:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # What faces see (GatewayFace).

    def snapshot(self) -> Snapshot:
        """The present moment."""
        if self._meter.watched:
            self._watch.wake()
        return view(
            address=self.address,
            conduct=self.conduct,
            engine=self._engine,
            watch=self._watch,
            meter=self._meter,
            budget=self._budget,
            pricing=self.pricing,
            ledger=self._ledger,
            jobs=self._jobs,
            notice=self._duty.notice,
        )

    def look(self) -> Snapshot:
        """The present moment, for somebody who asks over HTTP: the engine is asked anew where that is due."""
        self._watch.wake()
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
        return await self._ledger.page(before, limit, search=search)

    async def verify_ledger(self) -> str:
        """One sentence with the verdict."""
        return (await self._ledger.verify()).sentence

    async def record_body(self, row: LedgerRow) -> bytes:
        """The canonical bytes of one record."""
        (body,) = await self._ledger.entries(row.log, row.seq, 1)
        return body

    async def client_key(self) -> str:
        """The first client's key, for the clipboard."""
        return await self._client_keys.plain()

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
        self._budget.set_cap(to_pico(now.spending_cap))
        pricing = pricing_of(now)
        if pricing != self.pricing:
            self.pricing = pricing
            await self._record_terms()
        self._meter.configure(
            watts=watts_of(now),
            dedicated=pricing.mode is BillingMode.DEDICATED,
            parallel=now.engine_parallel,
        )
        self._uptime.begin()
        self._derive()
        self._duty.check_cap()
        self._changed()

    async def _record_terms(self) -> None:
        """Every log names the terms that its later records are priced by; unchanged terms are not repeated."""
        for client in self._ledger.clients():
            await self._ledger.record_tariff(client.log, terms_record(self.pricing, wall_us()))

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

    def stop_request(self, request_id: str) -> None:
        """Cut one request after settling it."""
        self._duty.stop_request(request_id)

    async def create_key(self, label: str, client: str | None) -> Mapping[str, Any]:
        """A new key, in plain text this once."""
        return await self._client_keys.create(label, client)

    async def revoke_key(self, key: str) -> Mapping[str, Any]:
        """By id or label; raises LookupError. It stops working with the next request."""
        return await self._client_keys.revoke(key)

    def keys(self) -> list[Mapping[str, Any]]:
        """Every key, without its secret."""
        return self._client_keys.all()

    # What follows from the settings, and who is told.

    def _policy(self) -> Policy:
        return self._bounds

    def _derive(self) -> None:
        """What every request needs from the settings, worked out once and not on every request."""
        settings = self._store.current
        self._bounds = Policy(
            max_body_b=settings.max_body_mb << 20,
            max_output_tokens=settings.max_output_tokens,
            allowed_models=frozenset(settings.allowed_models),
        )
        self._duty.least_room_pico = self.pricing.ceiling(
            self._meter.full_w, settings.hold_seconds, wall_us()
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
