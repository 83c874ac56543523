"""What every face says about the same moment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.billing.money import PICO
from app.desktop import format as fmt
from app.desktop import wording
from app.face import Serving
from app.power.history import DAY_US
from app.presence import conduct
from tests.desktop.fake_gateway import (
    CAP_REACHED,
    ENGINE_DOWN,
    NOW_US,
    PAUSED,
    SNOOZED,
    a_request,
    a_snapshot,
    busy,
)


def test_a_pause_with_an_end_says_when_it_ends() -> None:
    snoozed = a_snapshot(serving=Serving.PAUSED, blocker=SNOOZED)
    assert SNOOZED.until_us is not None
    assert wording.headline(snoozed) == f"Paused until {fmt.clock(SNOOZED.until_us)}"
    assert wording.headline(a_snapshot(serving=Serving.PAUSED, blocker=PAUSED)) == "Paused"


def test_a_pause_that_ends_on_another_day_names_the_day() -> None:
    long = replace(SNOOZED, until_us=NOW_US + DAY_US)
    assert fmt.day(NOW_US + DAY_US) in wording.headline(a_snapshot(serving=Serving.PAUSED, blocker=long))


def test_the_reason_says_what_stands_in_the_way_and_what_ends_it() -> None:
    down = a_snapshot(serving=Serving.BLOCKED, blocker=ENGINE_DOWN)
    assert wording.reason(down) == (
        "Ollama does not answer at http://127.0.0.1:11434. "
        "Start Ollama; serving goes on by itself as soon as it answers."
    )


def test_while_serving_the_reason_is_what_runs() -> None:
    three = busy(a_snapshot(), a_request(1), a_request(2, model="qwen2.5:3b"), a_request(3, queued=True))
    assert wording.reason(three) == "2 requests running, 1 waiting · llama3.1:8b, qwen2.5:3b · 61 °C"
    assert wording.reason(a_snapshot()) == "No requests right now · llama3.1:8b in memory · 41 °C"


def test_a_temperature_that_nobody_measures_is_not_named() -> None:
    snapshot = a_snapshot()
    cold = replace(snapshot, gpu=replace(snapshot.gpu, temperature_c=None))
    assert wording.reason(cold) == "No requests right now · llama3.1:8b in memory"


@pytest.mark.parametrize("serving", Serving)
def test_every_state_has_a_headline_and_the_menu_a_first_line(serving: Serving) -> None:
    snapshot = a_snapshot(serving=serving)
    assert wording.menu_line(snapshot) == f"{wording.headline(snapshot)}, $3.42 of $10.00"
    assert wording.headline(snapshot)


@pytest.mark.parametrize("serving", Serving)
def test_the_tooltip_has_watts_and_money_and_fits_into_the_127_characters_of_windows(
    serving: Serving,
) -> None:
    snapshot = busy(a_snapshot(serving=serving, blocker=SNOOZED, simulated=True), a_request())
    money = replace(snapshot.money, spent_pico=1_234_567 * PICO, cap_pico=9_000_000 * PICO, currency="CHF")
    tip = wording.tooltip(replace(snapshot, money=money))
    assert len(tip) <= 127
    assert wording.headline(snapshot).lower() in tip.lower()
    assert "171 W, 112 W for clients" in tip
    assert "CHF 1,234,567.00 of CHF 9,000,000.00" in tip


def test_a_simulation_says_so_in_the_menu_and_in_the_tooltip() -> None:
    simulated = a_snapshot(simulated=True)
    assert "simulation" in wording.menu_line(simulated)
    assert "simulation" in wording.tooltip(simulated)


def test_a_reached_cap_is_a_sentence_with_a_next_step() -> None:
    blocked = a_snapshot(serving=Serving.BLOCKED, blocker=CAP_REACHED)
    assert wording.headline(blocked) == "Not serving"
    assert wording.reason(blocked) == "The spending cap of $10.00 is reached. Raise the cap to serve again."


@pytest.mark.parametrize("code", ["engine_starting", "preparing"])
def test_what_passes_by_itself_is_shown_as_getting_ready_and_not_as_a_warning(code: str) -> None:
    coming = replace(
        ENGINE_DOWN, code=code, sentence="The engine is starting.", ends="Serving begins by itself."
    )
    snapshot = a_snapshot(serving=Serving.BLOCKED, blocker=coming)
    assert wording.headline(snapshot) == "Getting ready"
    assert wording.shown(snapshot) is Serving.STARTING
    assert wording.reason(snapshot) == "The engine is starting. Serving begins by itself."
    down = replace(snapshot, blocker=ENGINE_DOWN)
    assert (wording.headline(down), wording.shown(down)) == ("Not serving", Serving.BLOCKED)


def test_the_reason_does_not_repeat_the_headline() -> None:
    paused = a_snapshot(serving=Serving.PAUSED, blocker=conduct.PAUSED)
    assert wording.headline(paused) == "Paused"
    assert wording.reason(paused) == "Press Contribute to serve."


@pytest.mark.parametrize(
    ("source", "measured", "said"),
    [
        ("nvml", True, "measured by the card"),
        ("simulated", True, "simulated"),
        ("model", False, "estimated from the watts in the settings"),
    ],
)
def test_watts_say_where_they_come_from(source: str, measured: bool, said: str) -> None:
    gpu = replace(a_snapshot().gpu, source=source, measured=measured)
    assert wording.gpu_source(gpu) == said


def test_a_cap_for_a_period_is_named_with_it_everywhere() -> None:
    money = replace(a_snapshot().money, cap_period="day", cap_warning_pct=80)
    assert wording.menu_line(a_snapshot(money=money)).endswith("$3.42 of $10.00 today")
    assert "$3.42 of $10.00 today" in wording.tooltip(a_snapshot(money=money))
    assert wording.cap_warning(money) == "80 % of the spending cap is spent: $3.42 of $10.00 today."
    assert wording.menu_line(a_snapshot()).endswith("$3.42 of $10.00")
