"""The seed's figures: usage, money and the machine, of one client or of the whole.

Rule: whoever is shown one log is shown nothing from which another client's use could be reckoned.
"""

from __future__ import annotations

from typing import Any

from app.billing.money import pico_to_float
from app.face import MoneyView, RunningRequest, Snapshot
from app.ledger.sqlite.store import Ledger
from app.proxy.labour_book import LabourBook, labour_json
from app.proxy.metadata import three_figures
from app.settings.store import SettingsStore

_UJ_PER_WH = 3_600_000_000


def running(snapshot: Snapshot, log: str | None) -> list[RunningRequest]:
    """The requests that run now and count into `log`, or (None) all of them."""
    return [request for request in snapshot.running if log is None or request.log == log]


def _period(money: MoneyView, *, to_client: bool) -> dict[str, Any]:
    """What the cap is for, and how far its running period is; a client hears of it only when it begins anew."""
    spent = None if to_client else money.spent_pico
    return {
        "cap_period": money.cap_period,
        "period_cost": None if spent is None else pico_to_float(spent),
        "period_cost_pico": None if spent is None else str(spent),
        "cap_renews": None if money.renews_us is None else money.renews_us / 1e6,
        "cap_renews_text": money.renews or None,
    }


def figures(
    snapshot: Snapshot, ledger: Ledger, store: SettingsStore, labour: LabourBook, log: str | None
) -> dict[str, Any]:
    """The seed's figures, of one log or (None) of all: what `/stats` answers and the dashboard shows."""
    totals = ledger.totals(log)
    mine = running(snapshot, log)
    settings = store.current
    money = snapshot.money
    room = max(0, money.cap_pico - money.spent_pico)
    # To a client the cap is as far as it could come itself: the whole would tell what the others spent.
    spent = money.ever_pico if log is None else totals.cost_pico
    cap = money.cap_pico if log is None else spent + room
    held = money.held_pico if log is None else sum(request.held_pico for request in mine)
    gpu = snapshot.gpu
    average = totals.cost_pico // totals.requests if totals.requests else None
    blocker = snapshot.blocker
    return {
        "requests": totals.requests,
        "prompt_tokens": totals.tok_in,
        "completion_tokens": totals.tok_out,
        "inference_seconds": totals.dur_us / 1e6,
        "energy_wh": three_figures(totals.e_uj, _UJ_PER_WH),
        "energy_uj": str(totals.e_uj),
        "client_cost": pico_to_float(totals.cost_pico),
        "total_cost": pico_to_float(spent),
        "total_cost_pico": str(spent),
        "spending_cap": pico_to_float(cap),
        "spending_cap_pico": str(cap),
        "budget_remaining": pico_to_float(room),
        "budget_remaining_pico": str(room),
        "held": pico_to_float(held),
        **_period(money, to_client=log is not None),
        # To a client the cap is another, and how near the contributor's own is would tell what the others spent.
        "cap_warning_percent": (money.cap_warning_pct or None) if log is None else None,
        "average_cost": None if average is None else pico_to_float(average),
        "requests_left": money.remaining_pico // average if average and average > 0 else None,
        **labour_json(labour.sum(log)),
        "currency": money.currency,
        "billing_mode": money.billing_mode,
        "electricity_rate": pico_to_float(money.price_pico_per_kwh),
        "base_rate_per_hour": float(settings.base_rate_per_hour),
        "labor_rate_per_hour": float(settings.labor_rate_per_hour),
        "profit_margin": float(settings.profit_margin),
        "power_model": {
            "gpu_idle_watts": settings.gpu_idle_watts,
            "gpu_load_watts": settings.gpu_load_watts,
            "system_idle_watts": settings.system_idle_watts,
            "system_inference_watts": settings.system_inference_watts,
        },
        "total_watts": round(snapshot.total_w, 1),
        "marginal_watts": round(snapshot.marginal_w, 1),
        "gpu": {
            "name": gpu.name,
            "source": gpu.source,
            "measured": gpu.measured,
            "power_watts": gpu.power_w,
            "utilization_percent": gpu.utilisation_pct,
            "temperature_c": gpu.temperature_c,
            "memory_used_b": gpu.memory_used_b,
            "memory_total_b": gpu.memory_total_b,
        },
        "engine": {
            "name": snapshot.engine.name,
            "version": snapshot.engine.version,
            "simulated": snapshot.engine.simulated,
            "loaded": list(snapshot.engine.loaded),
        },
        "running": sum(not request.queued for request in mine),
        "waiting": sum(request.queued for request in mine),
        "accepting": blocker is None,
        "reason": None if blocker is None else blocker.sentence,
        "ends": None if blocker is None else blocker.ends,
    }
