"""What the faces see: one immutable picture of the running gateway, and the verbs they may call.

Rule 1: everything here is data or a protocol; nothing here does anything.
Rule 2: a face never reaches past it. The window, the tray, the dashboard and `/health` read the same `Snapshot`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from app.engine.host import NO_HOST_STATE, HostState
from app.ledger.comparing import Comparison
from app.ledger.invitation import Invitation
from app.ledger.listing import Page
from app.ledger.parties import Client
from app.models.base import ModelsFace
from app.power.history import PowerPoint
from app.presence.blockers import Blocker
from app.tunnel.state import OFF, TunnelState


class Serving(StrEnum):
    """What the gateway does right now, for icons and headlines."""

    STARTING = "starting"
    CONTRIBUTING = "contributing"
    FINISHING = "finishing"
    """Running requests end in peace, new ones are refused; then paused."""
    PAUSED = "paused"
    BLOCKED = "blocked"
    """The contributor wants to serve, and something stands in the way (see `Snapshot.blocker`)."""
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class RunningRequest:
    """One request between its admission and its settlement."""

    id: str
    key_label: str
    model: str
    endpoint: str
    started_us: int
    """Wall clock, microseconds since the epoch."""
    queued: bool
    """It waits for its turn, here or at the engine, and uses nothing."""
    tokens: int
    tokens_per_s: float
    watts: float
    cost_pico: int
    log: str = ""
    """The log of the client it is billed to."""
    held_pico: int = 0
    """What is reserved for it under the cap."""


@dataclass(frozen=True, slots=True)
class GpuView:
    """The GPU as last read, or as modelled where no sensor can say."""

    name: str
    source: str
    """nvml, amdgpu, simulated, or model where the watts are the configured ones."""
    measured: bool
    power_w: float | None
    limit_w: float | None
    utilisation_pct: float | None
    memory_used_b: int | None
    memory_total_b: int | None
    temperature_c: float | None


@dataclass(frozen=True, slots=True)
class EngineView:
    """The inference engine behind the proxy."""

    name: str
    url: str
    simulated: bool
    reachable: bool
    version: str | None
    models: tuple[str, ...]
    loaded: tuple[str, ...]
    native: bool = True
    """It speaks Ollama's own API; False: clients may use `/v1` only."""


@dataclass(frozen=True, slots=True)
class MoneyView:
    """All amounts in pico-units of `currency`."""

    currency: str
    cap_pico: int
    spent_pico: int
    held_pico: int
    price_pico_per_kwh: int
    billing_mode: str
    cost_pico_per_hour: int
    """What clients cost at this moment, extrapolated to an hour."""
    cap_warning_pct: int = 0
    """80 or 95 once so much of the cap is spent, otherwise 0."""
    cap_period: str = "total"
    """What the cap is for: `total`, or each `day`, `week` or `month`; `spent_pico` is that of the running one."""
    total_pico: int | None = None
    """What was ever spent, where that is another amount than `spent_pico`."""
    renews_us: int | None = None
    """Wall time at which spending begins anew; None where it never does."""
    renews: str = ""
    """The same in words, by the contributor's clocks."""

    @property
    def ever_pico(self) -> int:
        """What was ever spent."""
        return self.spent_pico if self.total_pico is None else self.total_pico

    @property
    def remaining_pico(self) -> int:
        """Room under the cap after what is spent and held; never negative."""
        return max(0, self.cap_pico - self.spent_pico - self.held_pico)


@dataclass(frozen=True, slots=True)
class UsageView:
    """Totals since the ledger began."""

    requests: int
    tokens_in: int
    tokens_out: int
    duration_us: int
    energy_uj: int


class ReceiptState(StrEnum):
    """What a receiver has said of a log's records."""

    ACKNOWLEDGED = "acknowledged"
    WAITING = "waiting"
    OVERDUE = "overdue"
    """Waiting for longer than it should."""
    DISPUTED = "disputed"
    """It says something else than we do; `ReceiptsView.trouble` says what."""


@dataclass(frozen=True, slots=True)
class ReceiptsView:
    """How far one log is with one receiver. Times are wall times in µs since the epoch, 0 where there is none."""

    log: str
    way: str
    """`ledger`: it cosigns. `seed`: it takes flat transactions, and cosigns nothing."""
    where: str
    """Host and port."""
    acked: int
    """So many records, from the first on, are acknowledged."""
    size: int
    state: ReceiptState
    trouble: str
    """`ahead`, `disputed` or `fork`; empty where nothing is contested."""
    sentence: str
    """The last thing that went wrong; empty where nothing did since."""
    since_us: int
    """From when on something waits."""
    next_us: int
    """When it is asked again."""
    unacked_pico: int
    """What the records that are not acknowledged cost."""
    checkpoint: str
    """The newest checkpoint that it has cosigned, with the cosignature; empty where there is none."""
    vkey: str
    """The verifier key of its cosignatures."""


@dataclass(frozen=True, slots=True)
class TlsView:
    """The certificate of encrypted connections."""

    fingerprint: str
    """Its SHA-256, as browsers show it."""
    until_us: int
    """Wall time at which it expires."""
    path: str
    """The file, for clients that are to know it."""
    problem: str
    """One sentence where a newer one cannot be used, or this one ends soon; empty elsewhere."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of the gateway. `at_us` is wall time in microseconds."""

    at_us: int
    serving: Serving
    blocker: Blocker | None
    """The most important reason not to serve, or None."""
    address: str
    """The URL clients use, for example http://127.0.0.1:8434."""
    simulated: bool
    total_w: float
    """GPU plus system, now."""
    marginal_w: float
    """The part of it that running requests add."""
    gpu: GpuView
    engine: EngineView
    money: MoneyView
    usage: UsageView
    running: tuple[RunningRequest, ...]
    notice: str | None
    """One sentence about a fault that does not stop serving, or None."""
    others: tuple[str, ...] = ()
    """Models that the last pause left in the GPU's memory, since they were loaded without us."""
    host: HostState = NO_HOST_STATE
    """The engine's container, where it is ours."""
    public: TunnelState = OFF
    receipts: tuple[ReceiptsView, ...] = ()
    """What clients' receivers have acknowledged."""
    tls: TlsView | None = None
    """How connections are encrypted; None where they are not."""


class DutyFace(Protocol):
    """Serving and not serving."""

    def contribute(self) -> None:
        """Serve (ends a pause or a snooze)."""

    def finish_then_pause(self) -> None:
        """Refuse new requests, let the running ones end, then pause and free the GPU."""

    def pause_now(self) -> None:
        """Cut running streams after settling them, and free the GPU."""

    def snooze(self, seconds: float) -> None:
        """Pause now, and contribute again after `seconds`."""

    def unload_others(self) -> None:
        """Unload also the models that were loaded without us; nothing while the machine is lent."""

    def stop_request(self, request_id: str) -> None:
        """Cut one running request after settling it."""

    async def released(self) -> str | None:
        """Wait until the GPU is given back, or could not be; the sentence about it."""


class UpstreamFace(Protocol):
    """The engine, and its container where that is ours."""

    async def verb(self, verb: str) -> str:
        """`start`, `stop`, `restart`, `update` or `recreate` the engine's container. One sentence about what came of
        it; raises an error whose text is a sentence."""

    async def log_tail(self) -> str:
        """The end of the container's log."""


class PublicFace(Protocol):
    """The public address."""

    async def set_mode(self, mode: str) -> None:
        """`off`, `quick` or `named`: close or open it, and keep that."""

    async def keep_token(self, pasted: str) -> None:
        """Keep the token of a named tunnel, or what Cloudflare shows with the token at its end. Raises an error whose
        text is a sentence."""


class SettingsFace(Protocol):
    """Settings that take effect at once and are kept."""

    async def set_cap(self, cap_pico: int) -> None:
        """Raises SettingError on a value out of bounds."""

    async def configure(self, changes: dict[str, Any]) -> Mapping[str, Any]:
        """All or none; raises SettingError. What was changed and what waits for a restart."""


class LedgerVerdict(Protocol):
    """What came of reading the ledger again."""

    @property
    def sentence(self) -> str:
        """For a person."""


class LedgerFace(Protocol):
    """The ledger, for reading."""

    async def page(self, before: int | None, limit: int, *, search: str = "") -> Page:
        """Newest records first; `before` is the last page's `next`."""

    async def verify(self) -> LedgerVerdict:
        """Re-hash everything."""

    async def entries(self, log_id: str, from_seq: int, limit: int) -> tuple[bytes, ...]:
        """The canonical bytes of records, exactly as hashed."""


class DeliveriesFace(Protocol):
    """Who gets a copy of the ledger."""

    def receipts(self) -> tuple[ReceiptsView, ...]:
        """What each receiver has acknowledged."""

    async def enrol(self, client: Client, invitation: Invitation) -> None:
        """Deliver this client's log to that receiver, in place of another one. Raises NoInvitation where no receiver
        may be there, VaultUnavailable, LedgerError."""

    async def withdraw(self, client: Client) -> bool:
        """Deliver it to no receiver of its own any more; False where it had none."""

    async def reconcile(self, client: Client, *, every_record: bool) -> Comparison | None:
        """This client's log held against its receiver's copy; None where it has no receiver. Raises LedgerError."""


class KeysFace(Protocol):
    """Clients' keys."""

    async def plain(self) -> str:
        """The first client's key in plain text, for the clipboard."""


class GatewayFace(Protocol):
    """What a face may ask of the gateway. Everything runs on the loop's thread; nothing blocks."""

    @property
    def duty(self) -> DutyFace:
        """Serving and not serving."""

    @property
    def upstream(self) -> UpstreamFace:
        """The engine."""

    @property
    def models(self) -> ModelsFace:
        """The engine's models, and what can be done with them."""

    @property
    def public(self) -> PublicFace:
        """The public address."""

    @property
    def settings(self) -> SettingsFace:
        """The settings."""

    @property
    def ledger(self) -> LedgerFace:
        """The ledger."""

    @property
    def keys(self) -> KeysFace:
        """Clients' keys."""

    def at(self, place: str) -> GatewayFace:
        """The same for a face at `place`, `window` or `tray`: the audit trail notes which verbs were used there."""

    def snapshot(self) -> Snapshot:
        """The present moment; cheap enough for once a second."""

    def watching(self, watcher: object, *, active: bool) -> None:
        """A visible face says that it looks, so that the sensor is read; hidden faces must say so too."""

    def on_changed(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when what must be instant changed (state, cap, errors); returns the un-subscriber."""

    def history(self, span_us: int) -> Sequence[PowerPoint]:
        """Points of the graph for the last `span_us` microseconds, oldest first."""
