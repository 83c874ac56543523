"""From the running parts to one `Snapshot`. Reads, never changes."""

from __future__ import annotations

from app.basics.clock import mono_us, wall_us
from app.face import (
    EngineView,
    GpuView,
    MoneyView,
    RunningRequest,
    Serving,
    Snapshot,
    UsageView,
)
from app.gateway.books import Books
from app.gateway.cap_watch import CapWatch
from app.gateway.delivery.deliveries import Deliveries
from app.gateway.duty import Duty
from app.gateway.encryption import Encryption
from app.gateway.public_address import PublicAddress
from app.gateway.tariff_watch import TariffWatch
from app.gateway.upstream import Upstream
from app.power.meter import Meter
from app.presence.conduct import Conduct, Wish
from app.proxy.jobs import Job, Jobs
from app.proxy.waiting import Queue, QueuePlace


class View:
    """What the faces see of the parts."""

    def __init__(
        self,
        address: str,
        conduct: Conduct,
        upstream: Upstream,
        meter: Meter,
        books: Books,
        queue: Queue,
        jobs: Jobs,
        duty: Duty,
        public: PublicAddress,
        deliveries: Deliveries,
        encryption: Encryption,
        cap: CapWatch,
        prices: TariffWatch,
    ) -> None:
        self._address = address
        self._conduct = conduct
        self._upstream = upstream
        self._meter = meter
        self._books = books
        self._queue = queue
        self._jobs = jobs
        self._duty = duty
        self._public = public
        self._deliveries = deliveries
        self._encryption = encryption
        self._cap = cap
        self._prices = prices

    def look(self) -> Snapshot:
        """The present moment, for somebody who asks over HTTP: the engine is asked anew where that is due."""
        self._upstream.watch.wake()
        return self.now()

    def now(self) -> Snapshot:
        """The present moment, for a face that looks all the time."""
        if self._meter.watched:
            self._upstream.watch.wake()
        meter, cap, pricing = self._meter, self._books.cap.purse, self._books.pricing
        wall, mono = wall_us(), mono_us()
        cap.look(wall)
        power = meter.now()
        totals = self._books.ledger.totals()
        tls = self._encryption.view()
        return Snapshot(
            at_us=wall,
            serving=serving(self._conduct),
            blocker=self._conduct.first(),
            address=self._address,
            simulated=self._upstream.engine.simulated,
            total_w=power.total_w,
            marginal_w=power.marginal_w,
            gpu=_gpu(meter),
            engine=_engine(self._upstream),
            money=MoneyView(
                currency=pricing.tariff.currency,
                cap_pico=cap.cap,
                spent_pico=cap.spent,
                held_pico=cap.held,
                price_pico_per_kwh=pricing.tariff.price_at(wall),
                billing_mode=pricing.mode.value,
                cost_pico_per_hour=meter.cost_per_hour(power.marginal_w),
                cap_warning_pct=self._cap.level_pct,
                cap_period=cap.period.value,
                total_pico=cap.total,
                renews_us=cap.span.to_us,
                renews=self._books.cap.renews(wall),
            ),
            usage=UsageView(
                requests=totals.requests,
                tokens_in=totals.tok_in,
                tokens_out=totals.tok_out,
                duration_us=totals.dur_us,
                energy_uj=totals.e_uj,
            ),
            running=(
                *(_running(job, meter, mono) for job in self._jobs if not job.settled),
                *map(_waiting, self._queue),
            ),
            notice=self._duty.notice
            or (None if tls is None else tls.problem or None)
            or self._prices.note(wall),
            others=self._duty.others,
            host=self._upstream.host.state,
            public=self._public.state,
            receipts=self._deliveries.receipts(),
            tls=tls,
        )


def serving(conduct: Conduct) -> Serving:
    """The one word for icons and headlines."""
    first = conduct.blockers.first()
    if first is None:
        return Serving.CONTRIBUTING
    if first.code == "stopping":
        return Serving.STOPPING
    if first.code == "starting":
        return Serving.STARTING
    if conduct.wish is Wish.FINISH:
        return Serving.FINISHING
    if conduct.wish in (Wish.PAUSE, Wish.SNOOZE):
        return Serving.PAUSED
    return Serving.BLOCKED


def _engine(upstream: Upstream) -> EngineView:
    engine, state = upstream.engine, upstream.watch.state
    return EngineView(
        name=engine.name,
        url=engine.url,
        simulated=engine.simulated,
        reachable=state.reachable,
        version=state.version,
        models=tuple(model.name for model in state.models),
        loaded=tuple(model.name for model in state.loaded),
        native=engine.native,
    )


def _running(job: Job, meter: Meter, mono: int) -> RunningRequest:
    seconds = max(1e-6, (mono - job.mono0_us) / 1e6)
    frames = job.call.frames
    tokens = frames.deltas if frames is not None else 0
    energy_uj = meter.accrued(job.id)
    return RunningRequest(
        id=job.id,
        key_label=job.call.principal.label,
        model=job.call.model,
        endpoint=job.call.endpoint.path,
        started_us=job.started_us,
        queued=meter.is_queued(job.id),
        tokens=tokens,
        tokens_per_s=tokens / seconds,
        watts=meter.request_w(job.id),
        cost_pico=job.cost_by(energy_uj, mono),
        log=job.call.principal.log,
        held_pico=job.hold_pico,
    )


def _waiting(place: QueuePlace) -> RunningRequest:
    """Nothing of it costs anything yet."""
    call = place.call
    return RunningRequest(
        id=place.id,
        key_label=call.principal.label,
        model=call.model,
        endpoint=call.endpoint.path,
        started_us=place.since_us,
        queued=True,
        tokens=0,
        tokens_per_s=0.0,
        watts=0.0,
        cost_pico=0,
        log=call.principal.log,
    )


def _gpu(meter: Meter) -> GpuView:
    info, reading = meter.sensor_info, meter.last_reading
    if info is None or reading is None:
        return GpuView(
            name=info.name if info is not None else "GPU",
            source=info.source if info is not None else "model",
            measured=False,
            power_w=None,
            limit_w=info.limit_w if info is not None else None,
            utilisation_pct=None,
            memory_used_b=None,
            memory_total_b=info.memory_total_b if info is not None else None,
            temperature_c=None,
        )
    return GpuView(
        name=info.name,
        source=info.source,
        measured=reading.power_w is not None,
        power_w=reading.power_w,
        limit_w=info.limit_w,
        utilisation_pct=reading.utilisation_pct,
        memory_used_b=reading.memory_used_b,
        memory_total_b=reading.memory_total_b or info.memory_total_b,
        temperature_c=reading.temperature_c,
    )
