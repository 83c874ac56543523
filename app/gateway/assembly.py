"""Where the parts are made and wired, from the bottom up, and taken down in reverse.

Rule 1: this is the only place where rooms meet; it is handed settings, folders, a vault, an engine and a sensor, and
knows neither the command line nor any desktop. Rule 2: a part is whole when it is made; what it must hear of higher
parts comes as a signal that those connect to. Rule 3: stopping is staged: first the door, then the running requests,
then the books, then everything that was opened. Whatever fails half way, what was opened is closed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from app.access.trail import TRAIL_FILE, Trail, TrailFile
from app.basics.clock import wall_us
from app.basics.door import Door
from app.billing.pricing import BillingMode
from app.engine.base import Engine
from app.engine.host import EngineHost, HostCare, NoHost
from app.gateway.books import Books
from app.gateway.bounds import bounds_of, patience_of, queue_bounds_of
from app.gateway.cap_watch import CapWatch
from app.gateway.changes import Changes
from app.gateway.configuration import Configuration
from app.gateway.delivery.deliveries import Deliveries
from app.gateway.duty import Duty
from app.gateway.encryption import Encryption
from app.gateway.gateway import Gateway
from app.gateway.power_file import POWER_FILE, PowerFile
from app.gateway.public_address import PublicAddress, no_docker
from app.gateway.quiet import Quiet
from app.gateway.routes import DIALECTS, routes
from app.gateway.rules import rules
from app.gateway.tariff_watch import TariffWatch
from app.gateway.terms import watts_of
from app.gateway.traits import traits_of
from app.gateway.upstream import Upstream
from app.gateway.uptime import Uptime
from app.gateway.view import View
from app.power.meter import Meter
from app.power.sensors.base import Sensor
from app.presence.alarm import Alarm
from app.presence.conduct import Conduct
from app.proxy.front import Front
from app.proxy.jobs import Jobs
from app.proxy.server import Server
from app.proxy.waiting import Queue
from app.proxy.witness import Witness
from app.settings.errors import FolderError
from app.settings.folders import Folders
from app.settings.instance import InstanceLock
from app.settings.parameters import Settings
from app.settings.store import SettingsStore
from app.vault.base import Vault

if TYPE_CHECKING:
    from app.containers.docker import Docker

log = logging.getLogger(__name__)

FIRST_WORD_S = 1.0
"""So long serving waits, once, for clients' receivers to say whether they have newer records of ours than we have."""


def no_host(care: HostCare) -> EngineHost:
    """The engine runs by itself."""
    return NoHost()


@asynccontextmanager
async def running(
    store: SettingsStore,
    folders: Folders,
    vault: Vault,
    engine: Engine,
    sensor: Sensor,
    *,
    contribute: bool,
    host: Callable[[HostCare], EngineHost] = no_host,
    docker: Callable[[], Awaitable[Docker]] = no_docker,
) -> AsyncIterator[Gateway]:
    """A gateway that listens, until the context is left. `engine` is closed with it.

    Raises one of the errors whose text is a sentence, with nothing left open.
    """
    async with AsyncExitStack() as opened:
        folders.prepare()
        lock = InstanceLock.acquire(folders.state)
        opened.callback(lock.release)
        opened.push_async_callback(engine.close)
        books = await Books.open(folders, vault, lambda: store.current)
        opened.push_async_callback(books.close)
        encryption = await Encryption.open(lambda: store.current, folders.config / "tls")
        opened.push_async_callback(encryption.close)
        scheme = "https" if encryption.on else "http"
        door = await Door.take(store.current.host, store.current.port, scheme)
        opened.callback(door.close)
        changes = Changes()
        trail = Trail(TrailFile(folders.data / TRAIL_FILE), lambda: store.current.audit_days)
        opened.push_async_callback(trail.close)

        # What counts.
        learned, gpu = PowerFile(folders.state / POWER_FILE), sensor.info.id
        meter = Meter(
            sensor,
            watts_of(store.current),
            dedicated=books.pricing.mode is BillingMode.DEDICATED,
            by_formula=store.current.energy_by == "formula",
            rate_hz=store.current.sample_rate_hz,
            tail_s=store.current.idle_tail_seconds,
            cost_per_hour=lambda watts: books.pricing.ceiling(watts, 3600, wall_us()),
            loop=asyncio.get_running_loop(),
            own_idle=store.is_set("gpu_idle_watts"),
            kept=await asyncio.to_thread(learned.idle, gpu),
            keep=lambda idle: learned.keep_idle(gpu, idle),
        )
        opened.callback(meter.stop)
        jobs = Jobs(
            books.funds,
            books.ledger,
            meter,
            hold_seconds=lambda: store.current.hold_seconds,
            patience=lambda: patience_of(store.current),
        )
        queue = Queue(queue_bounds_of(store.current), meter.beside)
        uptime = Uptime(books.ledger, meter, books.cap.purse, lambda: books.pricing, books.keys.first_log)
        configuration = Configuration(store, books, meter, uptime, encryption)
        prices = TariffWatch(books, folders.data, lambda: store.current, configuration.renew_prices)
        opened.push_async_callback(prices.stop)
        configuration.repriced.connect(prices.settled)
        deliveries = Deliveries(
            books.ledger,
            vault,
            settings=lambda: store.current,
            never=lambda: (door.url, upstream.engine.url),
            lost=books.lost,
        )
        opened.push_async_callback(deliveries.close)

        # Where inference happens.
        quiet = Quiet(jobs)
        upstream = Upstream(
            engine,
            host,
            meter,
            quiet,
            settings=lambda: store.current,
            folder=folders.data / "downloads",
            changed=changes,
            audit=books.record_update,
        )

        # Serving and not serving.
        alarm = Alarm()
        opened.callback(alarm.stop)
        conduct = Conduct(rules(books, meter, upstream, quiet, store, deliveries), wake_at=alarm.set)
        duty = Duty(conduct, queue, jobs, upstream, uptime, changed=changes)

        def engine_known() -> None:
            queue.know(traits_of(upstream, store.current))

        engine_known()
        upstream.moved.connect(engine_known)
        cap = CapWatch(books.cap.purse, lambda: store.current.currency)
        conduct.looked.connect(cap.look)
        cap.warned.connect(changes)
        alarm.rang.connect(conduct.look)
        alarm.set_back.connect(conduct.look)

        def tail_told() -> None:
            books.tail(deliveries.tail_lost())
            conduct.look()

        deliveries.moved.connect(tail_told)
        deliveries.changed.connect(tail_told)
        deliveries.changed.connect(changes)
        deliveries.refilled.connect(lambda cost: books.came_back(cost, store.current))
        books.cap.counted.connect(conduct.look)
        books.labour.charged.connect(conduct.look)
        books.labour.charged.connect(changes)
        quiet.changed.connect(conduct.look)
        books.ledger.on_fault(duty.storage_changed)
        jobs.began.connect(changes)
        books.keys.revoked.connect(jobs.end_key)
        books.keys.revoked.connect(lambda _: queue.look_again())

        # What is seen of it.
        public = PublicAddress(
            docker,
            profile=folders.profile,
            home=folders.fingerprint,
            mark=folders.state / "public-address",
            vault=vault,
            settings=lambda: store.current,
            configure=configuration.configure,
            # Its own machine reaches it there whatever it listens on.
            address=door.url,
            changed=changes,
        )
        view = View(
            door.url,
            conduct,
            upstream,
            meter,
            books,
            queue,
            jobs,
            duty,
            public,
            deliveries,
            encryption,
            cap,
            prices,
        )

        def settings_changed(before: Settings, now: Settings) -> None:
            jobs.respect_cap()
            prices.start()
            queue.configure(queue_bounds_of(now))
            engine_known()
            upstream.host.settings_changed()
            deliveries.settings_changed(before, now)
            # They may set or end a blocker: the cap, or the processor that is a choice from now on and no fault.
            conduct.look()
            public.settings_changed(before, now)
            changes()

        async def certificate_taken() -> None:
            try:
                await asyncio.to_thread(_announce, lock, door, books, encryption)
            except FolderError as error:
                log.error("%s", error)
            changes()

        configuration.changed.connect(settings_changed)
        # A price that has changed may leave room under the cap again, or none any more.
        configuration.repriced.connect(conduct.look)
        configuration.repriced.connect(changes)
        gateway = Gateway(
            door.url,
            books.identity,
            books.ledger,
            books.keys,
            meter,
            upstream,
            duty,
            configuration,
            public,
            deliveries,
            view,
            changes,
            trail.note,
        )
        server = Server(
            routes(books, gateway, queue, jobs, conduct, store, trail),
            lambda: store.current.max_body_mb << 20,
            bounds=lambda: bounds_of(store.current),
            dialects=DIALECTS,
            front=Front(books.access, lambda: store.current),
            witness=Witness(books.access, trail.note),
            tls=encryption.context if encryption.on else None,
        )

        opened.push_async_callback(server.stop)
        # First what operators may still wait for, a pull or a start: their answers end with it.
        opened.push_async_callback(upstream.close)
        opened.push_async_callback(duty.stop)
        opened.push_async_callback(server.stop_listening)
        opened.push_async_callback(public.shut)
        await server.start(door)
        await asyncio.to_thread(_announce, lock, door, books, encryption)
        encryption.watch(certificate_taken)
        await deliveries.begin()
        await upstream.watch.refresh()
        await deliveries.first_word(FIRST_WORD_S)
        tail_told()
        duty.started(contribute=contribute)
        public.start()
        prices.start()
        _tell(books)
        yield gateway


def _announce(lock: InstanceLock, door: Door, books: Books, encryption: Encryption) -> None:
    """Tell this machine's user where the gateway is and by what it is known."""
    certificate = encryption.view()
    lock.announce(door.url, books.run_token, None if certificate is None else certificate.fingerprint)


def _tell(books: Books) -> None:
    for record in books.ledger.recovered:
        log.warning("Request %s was cut off by a crash; what it had cost is in the ledger.", record.id)
