"""From settings to the terms of a bill (watts, tariff, pricing), and from those to the record of them."""

from __future__ import annotations

from decimal import Decimal

from app.basics.price_hours import parse_holidays, parse_hours, parse_tiers
from app.basics.zones import clocks
from app.billing.money import to_pico
from app.billing.plan import FlatPlan, PricePlan, SeriesPlan, WeeklyPlan
from app.billing.pricing import PPM, BillingMode, Pricing
from app.billing.series import PriceSeries
from app.billing.tariff import Tariff
from app.ledger.drafts import TariffDraft
from app.ledger.ids import new_id
from app.power.accounts import StaticWatts
from app.settings.parameters import Settings


def watts_of(settings: Settings) -> StaticWatts:
    """The configured watts, for what no sensor measures."""
    return StaticWatts(
        gpu_idle_w=settings.gpu_idle_watts,
        gpu_load_w=settings.gpu_load_watts,
        system_idle_w=settings.system_idle_watts,
        system_load_w=settings.system_inference_watts,
    )


def plan_of(settings: Settings, series: PriceSeries) -> PricePlan:
    """What the contributor pays, and when; `series` is what was imported. A tier that has no price has the last one."""
    currency, usual = settings.currency, settings.electricity_rate
    match settings.tariff:
        case "hours":
            hours, holidays = parse_hours(settings.tariff_hours), parse_holidays(settings.tariff_holidays)
            return WeeklyPlan(currency, usual, hours, holidays, clocks(settings.time_zone))
        case "tiers":
            tiers = parse_tiers(settings.tariff_tiers)[: settings.tariff_tier]
            return FlatPlan(currency, tiers[-1] if tiers else usual)
        case "series":
            return SeriesPlan(currency, usual, series, settings.tariff_surcharge, clocks(settings.time_zone))
    return FlatPlan(currency, usual)


def pricing_of(settings: Settings, tariff: Tariff) -> Pricing:
    """What requests, uptime and labour cost while `tariff` is in force."""
    return Pricing(
        mode=BillingMode(settings.billing_mode),
        tariff=tariff,
        margin_ppm=int((Decimal(settings.profit_margin) * 1_000_000).to_integral_value()),
        base_rate_pico_per_hour=to_pico(settings.base_rate_per_hour),
        labor_rate_pico_per_hour=to_pico(settings.labor_rate_per_hour),
        ac_factor_ppm=int((Decimal(settings.ac_factor) * PPM).to_integral_value()),
    )


def terms_record(pricing: Pricing, now_us: int) -> TariffDraft:
    """The record that lets anybody price the records after it anew."""
    return TariffDraft(
        id=new_id(now_us),
        t0=now_us,
        tariff=pricing.tariff.id,
        currency=pricing.tariff.currency,
        content=pricing.tariff.content,
        mode=pricing.mode.value,
        margin_ppm=pricing.margin_ppm,
        base_rate=pricing.base_rate_pico_per_hour,
        labor_rate=pricing.labor_rate_pico_per_hour,
        ac_factor_ppm=None if pricing.ac_factor_ppm == PPM else pricing.ac_factor_ppm,
    )
