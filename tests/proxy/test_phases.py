"""What the engine says of its own time reaches the energy accounts, from each shape of Ollama's answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.power.attribution import Phases
from app.proxy.dialects.ollama import CHAT, NdjsonFrames

LAST: dict[str, Any] = {
    "model": "m",
    "message": {"role": "assistant", "content": ""},
    "done": True,
    "done_reason": "stop",
    "total_duration": 5_000_000_000,
    "load_duration": 1_000_000_999,
    "prompt_eval_count": 26,
    "prompt_eval_duration": 300_000_000,
    "eval_count": 290,
    "eval_duration": 3_500_000_000,
}


def streamed(frame: dict[str, Any]) -> Phases | None:
    frames = NdjsonFrames("m", {})
    frames.feed(json.dumps(frame).encode() + b"\n")
    assert frames.ended
    return frames.tokens.phases


def test_a_whole_answer_and_a_streams_last_frame_say_the_same() -> None:
    said = Phases(
        load_us=1_000_000, prompt_us=300_000, answer_us=3_500_000, prompt_tokens=26, answer_tokens=290
    )
    assert CHAT.whole_tokens(LAST).phases == said
    assert streamed(LAST) == said


def test_durations_that_were_left_out_are_zero() -> None:
    frame = {
        name: value for name, value in LAST.items() if name not in ("load_duration", "prompt_eval_duration")
    }
    assert streamed(frame) == Phases(0, 0, 3_500_000, 26, 290)


@pytest.mark.parametrize("odd", [-5, "300ms", None, True, 1.5, 2**60, [1]])
def test_a_duration_that_is_none_is_zero(odd: object) -> None:
    assert streamed({**LAST, "load_duration": odd}) == Phases(0, 300_000, 3_500_000, 26, 290)


def test_an_engine_that_says_nothing_of_its_time_has_no_phases() -> None:
    frame = {name: value for name, value in LAST.items() if not name.endswith("_duration")}
    assert streamed(frame) is None
    assert CHAT.whole_tokens(frame).phases is None
