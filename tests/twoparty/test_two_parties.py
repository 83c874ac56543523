"""Thousands of stories of two parties: honest ones end in agreement and without an alarm, frauds are found and named.

`make test` plays some of them, `make soak` 10,000 of each kind (some six minutes). What goes wrong is told with its
seed and as short as it still goes wrong; `play_all([seed])` plays it again.
"""

from __future__ import annotations

import os

import pytest

from app.ledger.sqlite.reader import Reader
from tests.twoparty.frauds import FRAUDS
from tests.twoparty.playing import play_all, play_fraud
from tests.twoparty.stories import fraudulent, honest

pytestmark = pytest.mark.soak
SEEDS = 10_000 if "SOAK" in os.environ else 300


def test_whatever_happens_to_two_honest_parties_they_agree_in_the_end_and_nobody_is_accused() -> None:
    told = play_all(range(SEEDS))
    assert not told, "\n\n".join(told)


def test_each_fraud_is_reported_for_what_it_is_at_the_record_that_it_is_and_nothing_else_is() -> None:
    told = play_all(range(SEEDS), fraudulent, play_fraud)
    assert not told, "\n\n".join(told)


def test_the_stories_hold_every_step_and_every_fraud() -> None:
    steps = {step[0] for seed in range(300) for step in honest(seed)}
    assert {
        "rotate",
        "restore_gateway",
        "restore_receiver",
        "skew_gateway",
        "withhold",
        "lie",
        "arrive",
    } <= steps
    faults = {
        fault[0] for seed in range(300) for step in honest(seed) if step[0] == "hurry" for fault in step[1:]
    }
    assert {
        "lost_request",
        "lost_answer",
        "doubled",
        "late",
        "gateway_dies_after",
        "receiver_dies_after",
    } <= faults
    assert {fraudulent(seed)[-1][1] for seed in range(len(FRAUDS))} == set(FRAUDS)


def test_a_fault_is_told_with_its_seed_and_as_the_shortest_story(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault: past checkpoints signed with a key that a receiver cannot know yet."""
    monkeypatch.setattr(Reader, "checkpoint_for", lambda self, log, known, size: self.checkpoint(log, size))
    told = play_all(range(40))
    assert told
    for story in told:
        assert story.startswith("seed ")
        assert "('rotate',)" in story
        assert len(story.splitlines()) <= 12
