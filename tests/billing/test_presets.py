"""Every preset is a tariff, and takes the prices of one's own bill."""

from decimal import Decimal
from pathlib import Path

import pytest

from app.billing.presets import PRESETS, Preset, preset_named
from app.billing.series import PriceSeries
from app.gateway.terms import plan_of
from app.settings.store import SettingsStore

NOW_US = 1_795_000_000_000_000


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_a_preset_is_settings_that_the_gateway_takes_and_a_tariff_for_today(
    preset: Preset, tmp_path: Path
) -> None:
    store = SettingsStore.load(cli=dict(preset.settings({})), env={}, file=tmp_path / "settings.toml")
    settings = store.current
    day = plan_of(settings, PriceSeries()).on(NOW_US)
    assert day.span.holds(NOW_US)
    if preset.kind == "hours":
        assert len({part.price_pico_per_kwh for part in day.tariff.intervals}) > 1


def test_ones_own_prices_take_the_place_of_the_examples() -> None:
    preset = preset_named("ES-2.0TD")
    assert preset is not None
    made = preset.settings({"punta": Decimal("0.77"), "usual": Decimal("0.11")})
    assert "mon-fri 10:00-14:00 0.77" in made["tariff_hours"]
    assert made["electricity_rate"] == "0.11"


def test_a_price_that_a_preset_does_not_have_is_refused_with_those_that_it_has() -> None:
    preset = preset_named("day-night")
    assert preset is not None
    with pytest.raises(ValueError, match="day-night has no price called nihgt: it has usual, night"):
        preset.settings({"nihgt": Decimal(1)})
