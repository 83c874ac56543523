"""Every rule that may keep this gateway from serving, one line each; see `presence/rules.py`."""

from __future__ import annotations

from app.billing.money import format_money, to_pico
from app.gateway.books import Books
from app.gateway.delivery.deliveries import Deliveries
from app.gateway.engine_blockers import engine_blocker
from app.gateway.quiet import Quiet
from app.gateway.upstream import Upstream
from app.power.meter import Meter
from app.presence.blockers import Blocker
from app.presence.receipts import receipts_missing, tail_lost
from app.presence.rules import Later, Rule, cap_reached, storage_fault
from app.settings.store import SettingsStore


def rules(
    books: Books, meter: Meter, upstream: Upstream, quiet: Quiet, store: SettingsStore, deliveries: Deliveries
) -> tuple[Rule, ...]:
    """What stands in the way besides the contributor's own word."""

    def cap(now_us: int) -> Blocker | Later | None:
        """The cap blocks where not even one request would fit beside what is spent, until its period ends."""
        purse = books.cap.purse
        purse.look(now_us)
        books.cap.make_sure(store.current, books.labour)
        books.purses.make_sure()
        least = books.pricing.ceiling(meter.full_w, store.current.hold_seconds, now_us)
        to_us = purse.span.to_us
        if purse.spent + least <= purse.cap:
            return None if to_us is None else Later(to_us)
        cap = f"{format_money(purse.cap, books.pricing.tariff.currency)} {purse.period.each}".rstrip()
        if to_us is None or least > purse.cap:
            return cap_reached(cap)
        return cap_reached(cap, to_us, books.cap.renews(now_us))

    def storage(_: int) -> Blocker | None:
        return None if books.ledger.fault is None else storage_fault(books.ledger.fault)

    def engine(_: int) -> Blocker | None:
        return engine_blocker(
            upstream.watch.state,
            upstream.engine.url,
            upstream.host.state,
            gpu_expected=upstream.gpu_expected,
        )

    def receipts(_: int) -> Blocker | None:
        """More may be unacknowledged than the bound by what was under way when it was passed."""
        allowed = to_pico(store.current.max_unacked_cost)
        if not allowed or (waiting := deliveries.unacked_pico()) <= allowed:
            return None
        currency = books.pricing.tariff.currency
        return receipts_missing(format_money(waiting, currency), format_money(allowed, currency))

    def tail(_: int) -> Blocker | None:
        sentence = deliveries.tail_lost()
        return None if sentence is None else tail_lost(sentence)

    return (cap, storage, engine, quiet.rule, receipts, tail)
