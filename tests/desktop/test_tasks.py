"""Coroutines started from slots: kept until they end, and never silent about a fault."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from app.desktop.tasks import FaceTasks, sentence_of
from tests.desktop.playing import play, settled


def test_a_failure_goes_to_the_log_and_as_one_sentence_to_the_person(
    qapp: object, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []

    async def story() -> None:
        tasks = FaceTasks(said.append)

        async def fail() -> None:
            raise ValueError("The cap must be 0 or more.")

        tasks.start(fail(), "The cap could not be set")
        await settled(tasks)

    with caplog.at_level(logging.ERROR, logger="app.desktop.tasks"):
        play(story)
    assert said == ["The cap could not be set. The cap must be 0 or more."]
    assert caplog.records[0].exc_info is not None


def test_a_task_lives_although_nobody_else_holds_it(qapp: object) -> None:
    done: list[int] = []

    async def story() -> None:
        tasks = FaceTasks(lambda _: None)

        async def work() -> None:
            gate: asyncio.Future[None] = asyncio.Future()
            asyncio.get_running_loop().call_later(0.01, gate.set_result, None)
            await gate
            done.append(1)

        tasks.start(work(), "It failed")
        gc.collect()
        await settled(tasks)

    play(story)
    assert done == [1]


def test_cancelling_is_no_fault(qapp: object) -> None:
    said: list[str] = []

    async def story() -> None:
        tasks = FaceTasks(said.append)
        tasks.start(asyncio.Event().wait(), "It failed")
        await asyncio.sleep(0)
        tasks.cancel()
        await settled(tasks)

    play(story)
    assert said == []


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("It is full."), "The page failed. It is full."),
        (ValueError("disk full"), "The page failed: disk full."),
        (TimeoutError(), "The page failed: TimeoutError."),
    ],
)
def test_the_sentence_ends_with_one_full_stop(error: Exception, sentence: str) -> None:
    assert sentence_of(error, "The page failed") == sentence
