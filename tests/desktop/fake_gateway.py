"""A gateway for the faces to look at: the edge of these tests, and the lively one behind `look.py`.

It keeps what it was told and answers what it was given; the figures move only when asked to.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.billing.money import PICO
from app.engine.host import HostPhase, HostState, Processor, Progress
from app.face import (
    EngineView,
    GpuView,
    MoneyView,
    ReceiptState,
    ReceiptsView,
    RunningRequest,
    Serving,
    Snapshot,
    UsageView,
)
from app.ledger.listing import LedgerRow, Page
from app.power.history import DAY_US, HOUR_US, MINUTE_US, PowerHistory, PowerPoint
from app.presence.blockers import Blocker, Weight
from app.tunnel.state import TunnelPhase, TunnelState
from tests.desktop.fake_models import FakeModels

NOW_US = 1_796_306_551_000_000
"""3 December 2026, some time in the afternoon of Europe."""

GB = 2**30


def a_request(number: int = 1, **changes: Any) -> RunningRequest:
    """A running request; `number` tells several apart."""
    request = RunningRequest(
        id=f"r{number}",
        key_label=f"client {number}",
        model="llama3.1:8b",
        endpoint="/api/chat",
        started_us=NOW_US - number * 1_000_000,
        queued=False,
        tokens=40 * number,
        tokens_per_s=38.4 + number,
        watts=56.0,
        cost_pico=8_407_500 * number,
    )
    return replace(request, **changes)


def a_snapshot(**changes: Any) -> Snapshot:
    """A gateway that contributes while nobody asks."""
    snapshot = Snapshot(
        at_us=NOW_US,
        serving=Serving.CONTRIBUTING,
        blocker=None,
        address="http://127.0.0.1:8434",
        simulated=False,
        total_w=60.0,
        marginal_w=0.0,
        gpu=GpuView(
            name="NVIDIA GeForce RTX 3090",
            source="nvml",
            measured=True,
            power_w=15.2,
            limit_w=350.0,
            utilisation_pct=0.0,
            memory_used_b=int(0.4 * GB),
            memory_total_b=24 * GB,
            temperature_c=41.0,
        ),
        engine=EngineView(
            name="Ollama",
            url="http://127.0.0.1:11434",
            simulated=False,
            reachable=True,
            version="0.13.0",
            models=("llama3.1:8b", "qwen2.5:3b"),
            loaded=("llama3.1:8b",),
        ),
        money=MoneyView(
            currency="USD",
            cap_pico=10 * PICO,
            spent_pico=3_420_000_000_000,
            held_pico=0,
            price_pico_per_kwh=150_000_000_000,
            billing_mode="marginal",
            cost_pico_per_hour=0,
        ),
        usage=UsageView(
            requests=412, tokens_in=81_204, tokens_out=240_113, duration_us=9 * HOUR_US, energy_uj=10**12
        ),
        running=(),
        notice=None,
    )
    return replace(snapshot, **changes)


def busy(snapshot: Snapshot, *requests: RunningRequest) -> Snapshot:
    """The same gateway with requests running, and with the watts that they take."""
    return replace(
        snapshot,
        total_w=171.4,
        marginal_w=111.6,
        gpu=replace(
            snapshot.gpu,
            power_w=158.0,
            utilisation_pct=98.0,
            memory_used_b=int(7.8 * GB),
            temperature_c=61.0,
        ),
        money=replace(snapshot.money, held_pico=10_300_000_000, cost_pico_per_hour=16_740_000_000),
        running=requests,
    )


PAUSED = Blocker("paused", "You paused it", "It serves again when you choose Contribute", Weight.CHOSEN)
SNOOZED = replace(
    PAUSED,
    code="snoozed",
    sentence="You snoozed it",
    ends="It contributes again by itself",
    until_us=NOW_US + HOUR_US,
)
CAP_REACHED = Blocker(
    "cap_reached", "The spending cap of $10.00 is reached", "Raise the cap to serve again", Weight.FAULT
)
ENGINE_DOWN = Blocker(
    "engine_down",
    "Ollama does not answer at http://127.0.0.1:11434",
    "Start Ollama; serving goes on by itself as soon as it answers",
    Weight.FAULT,
)
GPU_UNUSED = Blocker(
    "gpu_unused",
    "The engine computes on the processor, not on the GPU",
    "Restart the engine; if that does not help, restart Docker",
    Weight.FAULT,
)
DOCKER_GONE = Blocker(
    "engine_failed",
    "Docker is not running",
    "Start Docker Desktop, or choose an Ollama that already runs",
    Weight.FAULT,
)

MANAGED = HostState(
    HostPhase.RUNNING,
    container="mortdecai-default-engine",
    image="ollama/ollama",
    isolated=True,
    processor=Processor.GPU,
)
PULLING = HostState(
    HostPhase.PULLING,
    progress=Progress("Downloading Ollama", 900_000_000, 1_600_000_000, 38_000_000.0, 18.4),
)
CRASHED = HostState(
    HostPhase.FAILED,
    problem="Ollama has ended three times within ten minutes.",
    fix="Read its log, then try again.",
    log_tail=("time=12:00 level=INFO source=routes.go", "CUDA error: out of memory", "exit status 2"),
)
PUBLIC = TunnelState(TunnelPhase.OPEN, "https://meadow-lantern-copper-finch.trycloudflare.com")


def receipts_of(state: ReceiptState, **changes: Any) -> ReceiptsView:
    """Ada's receiver and the first million records of `a_row`, of which it lacks the newest three where any waits."""
    acked = 10**6 + 1 if state is ReceiptState.ACKNOWLEDGED else 10**6 - 2
    view = ReceiptsView(
        log="c_ada",
        way="ledger",
        where="ada.example:8435",
        acked=acked,
        size=10**6 + 1,
        state=state,
        trouble="",
        sentence="",
        since_us=0 if state is ReceiptState.ACKNOWLEDGED else NOW_US - HOUR_US,
        next_us=0,
        unacked_pico=0,
        checkpoint="",
        vkey="",
    )
    return replace(view, **changes)


OVERDUE = receipts_of(
    ReceiptState.OVERDUE,
    sentence="The receiver at ada.example:8435 cannot be reached: Connection refused.",
    next_us=NOW_US + 30 * MINUTE_US,
)
DISPUTED = receipts_of(
    ReceiptState.DISPUTED,
    trouble="disputed",
    sentence="The receiver at ada.example:8435 contests our records: record 1000000 is not the one it holds.",
)


def a_row(n: int, **changes: Any) -> LedgerRow:
    """The n-th record of a ledger in which every request costs the same."""
    row = LedgerRow(
        n=n,
        log="c_ada",
        seq=n,
        id=f"019b{n:028x}",
        kind="usage",
        t0_us=NOW_US - (10**6 - n) * 7_000_000,
        dur_us=3_420_000,
        key=("laptop", "workstation", "phone")[n % 3],
        model=("llama3.1:8b", "qwen2.5:3b")[n % 2],
        endpoint="/api/chat",
        tok_in=26 + n % 50,
        tok_out=120 + n % 90,
        tok_src="engine",
        outcome="client_abort" if n % 17 == 0 else "complete",
        e_uj=201_780_000,
        e_src="nvml",
        cost_pico=8_407_500,
        cum_pico=8_407_500 * n,
    )
    return replace(row, **changes)


@dataclass(frozen=True)
class Said:
    """A verdict."""

    sentence: str


class FakeGateway:
    """A `GatewayFace`, and every part of it at once. `present` is what `snapshot` returns; `calls` what was asked."""

    def __init__(self, present: Snapshot | None = None, records: int = 0) -> None:
        self.present = present or a_snapshot()
        self.records = records
        self.odd_rows: dict[int, dict[str, Any]] = {}
        """What is different about some records, by their number."""
        self.calls: list[tuple[Any, ...]] = []
        self.watchers: set[object] = set()
        self.asked_snapshots = 0
        self.graph: Callable[[int], Sequence[PowerPoint]] = lambda _span: ()
        self.pages_asked: list[tuple[int | None, int, str]] = []
        self.hold_pages: asyncio.Event | None = None
        self.cap_error: Exception | None = None
        self.key_error: Exception | None = None
        self.models = FakeModels(self.calls)
        self.verb_error: Exception | None = None
        self.verb_says = "Ollama was started."
        self.hold_verbs: asyncio.Event | None = None
        self.public_error: Exception | None = None
        self.token_error: Exception | None = None
        self._callbacks: list[Callable[[], None]] = []
        self.duty = self.upstream = self.public = self.settings = self.ledger = self.keys = self

    @property
    def subscribers(self) -> int:
        return len(self._callbacks)

    def at(self, place: str) -> FakeGateway:
        return self

    def change(self, present: Snapshot) -> None:
        """Become another moment, and say so, as a change of state does."""
        self.present = present
        self.tell()

    def tell(self) -> None:
        for callback in tuple(self._callbacks):
            callback()

    def snapshot(self) -> Snapshot:
        self.asked_snapshots += 1
        return self.present

    def watching(self, watcher: object, *, active: bool) -> None:
        if active:
            self.watchers.add(watcher)
        else:
            self.watchers.discard(watcher)

    def on_changed(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def history(self, span_us: int) -> Sequence[PowerPoint]:
        return self.graph(span_us)

    async def page(self, before: int | None, limit: int, *, search: str = "") -> Page:
        self.pages_asked.append((before, limit, search))
        records = self.records
        await asyncio.sleep(0)
        if self.hold_pages is not None:
            await self.hold_pages.wait()
        first = records if before is None else before - 1
        rows: list[LedgerRow] = []
        n = first
        while n > 0 and len(rows) < limit:
            row = a_row(n, **self.odd_rows.get(n, {}))
            if not search or search in f"{row.key} {row.model} {row.outcome}":
                rows.append(row)
            n -= 1
        return Page(tuple(rows), rows[-1].n if rows and n > 0 else None)

    async def verify(self) -> Said:
        await asyncio.sleep(0)
        return Said(f"All {self.records:,} records are as they were signed.")

    async def entries(self, log_id: str, from_seq: int, limit: int) -> tuple[bytes, ...]:
        await asyncio.sleep(0)
        row = a_row(from_seq)
        body = json.dumps(
            {"cost": str(row.cost_pico), "cum": str(row.cum_pico), "id": row.id, "kind": row.kind, "log": row.log,
             "model": row.model, "outcome": row.outcome, "seq": row.seq, "t0": row.t0_us, "v": 1},
            separators=(",", ":"), sort_keys=True,
        ).encode()  # fmt: skip
        return (body,)

    async def set_cap(self, cap_pico: int) -> None:
        self.calls.append(("set_cap", cap_pico))
        await asyncio.sleep(0)
        if self.cap_error is not None:
            raise self.cap_error
        self.change(replace(self.present, money=replace(self.present.money, cap_pico=cap_pico)))

    async def configure(self, changes: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(("configure", changes))
        return {}

    async def verb(self, verb: str) -> str:
        self.calls.append(("engine_verb", verb))
        await asyncio.sleep(0)
        if self.hold_verbs is not None:
            await self.hold_verbs.wait()
        if self.verb_error is not None:
            raise self.verb_error
        return self.verb_says

    async def set_mode(self, mode: str) -> None:
        self.calls.append(("public_address", mode))
        await asyncio.sleep(0)
        if self.public_error is not None:
            raise self.public_error

    async def keep_token(self, pasted: str) -> None:
        await asyncio.sleep(0)
        if self.token_error is not None:
            raise self.token_error
        self.calls.append(("keep_tunnel_token", pasted))

    def contribute(self) -> None:
        self.calls.append(("contribute",))

    def finish_then_pause(self) -> None:
        self.calls.append(("finish_then_pause",))

    def pause_now(self) -> None:
        self.calls.append(("pause_now",))

    def snooze(self, seconds: float) -> None:
        self.calls.append(("snooze", seconds))

    async def plain(self) -> str:
        await asyncio.sleep(0)
        if self.key_error is not None:
            raise self.key_error
        return "mg_0123456789"

    async def log_tail(self) -> str:
        return ""

    async def released(self) -> str | None:
        return self.present.notice

    def unload_others(self) -> None:
        self.calls.append(("unload_others",))

    def stop_request(self, request_id: str) -> None:
        self.calls.append(("stop_request", request_id))


def a_week(now_us: int = NOW_US) -> PowerHistory:
    """A believable week up to `now_us`: nights asleep, requests in bursts, a pause of a minute just now."""
    history = PowerHistory()
    step_us = 15 * MINUTE_US
    at_us = now_us - 7 * DAY_US
    while at_us < now_us - 5 * MINUTE_US:
        hour = at_us // HOUR_US % 24
        if 1 <= hour < 7:
            at_us += step_us
            continue
        wave = math.sin(at_us / HOUR_US) + math.sin(at_us / HOUR_US * 2.7)
        marginal = max(0.0, 60.0 + 45.0 * wave)
        _add(history, at_us, marginal)
        if now_us - at_us < HOUR_US:
            step_us = 10_000_000
        elif now_us - at_us < DAY_US:
            step_us = 2 * MINUTE_US
        at_us += step_us
    for second in range(-300, 1):
        if not -200 <= second < -170:
            _add(history, now_us + second * 1_000_000, marginal_at(second))
    return history


def marginal_at(second: int) -> float:
    """What clients add in a second: bursts of some length, with a little ripple."""
    phase = second % 47
    if phase > 29:
        return 0.0
    return 111.0 + 7.0 * math.sin(second / 2) + 4.0 * math.sin(second * 1.9)


def _add(history: PowerHistory, at_us: int, marginal: float) -> None:
    idle = 59.0 + math.sin(at_us / 3e6)
    requests = 0 if marginal < 1 else 1 + (at_us // 10_000_000) % 3
    history.add(
        at_us,
        idle - 45 + marginal,
        marginal,
        requests,
        round(marginal * 150_000_000),
        total_w=idle + marginal,
    )
