"""Every rule that may keep this gateway from serving, one line each; see `presence/rules.py`."""

from __future__ import annotations

from app.billing.money import format_money
from app.gateway.books import Books
from app.gateway.engine_blockers import engine_blocker
from app.gateway.quiet import Quiet
from app.gateway.upstream import Upstream
from app.power.meter import Meter
from app.presence.blockers import Blocker
from app.presence.rules import Rule, cap_reached, storage_fault
from app.settings.store import SettingsStore


def rules(
    books: Books, meter: Meter, upstream: Upstream, quiet: Quiet, store: SettingsStore
) -> tuple[Rule, ...]:
    """What stands in the way besides the contributor's own word."""

    def cap(now_us: int) -> Blocker | None:
        """The cap blocks where not even one request would fit beside what is spent."""
        budget = books.budget
        least = books.pricing.ceiling(meter.full_w, store.current.hold_seconds, now_us)
        if budget.spent + least <= budget.cap:
            return None
        return cap_reached(format_money(budget.cap, books.pricing.tariff.currency))

    def storage(_: int) -> Blocker | None:
        return None if books.ledger.fault is None else storage_fault(books.ledger.fault)

    def engine(_: int) -> Blocker | None:
        return engine_blocker(
            upstream.watch.state,
            upstream.engine.url,
            upstream.host.state,
            gpu_expected=upstream.gpu_expected,
        )

    return (cap, storage, engine, quiet.rule)
