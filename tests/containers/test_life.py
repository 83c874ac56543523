"""A container's life: a table, read row by row. Nothing here asks a daemon, and time is what the test says."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import pytest

from app.containers.life import LIMIT, TABLE, WANTED, WINDOW_S, Happening, Life, LifeWish, Stage

REST, TRIAL, RISING, UP, AWAY, FAILED = Stage
BRING_UP, AGAIN, CALL_OFF, LOOK, CHECK, AWAIT, GIVE_UP = LifeWish
PAUSES_S = (0.5, 2.0, 5.0)


def at(stage: Stage) -> Life:
    life = Life(PAUSES_S)
    life.stage = stage
    return life


# What happens, at which stage, what becomes of it, and what is to be done.
ROWS = [
    # A person's word counts at every stage.
    (Happening.START, {REST, TRIAL, RISING, AWAY, FAILED}, RISING, {BRING_UP}),
    (Happening.START, {UP}, UP, {BRING_UP}),
    (Happening.STOP, set(Stage), REST, {CALL_OFF}),
    # What is made anew is wanted, or only tried, and whoever makes it brings it up.
    (Happening.KEEP, set(Stage), RISING, set()),
    (Happening.TRY, {REST, TRIAL}, TRIAL, set()),
    (Happening.TRY, {RISING, UP, AWAY, FAILED}, RISING, set()),
    (Happening.RESTS, {TRIAL, REST}, REST, set()),
    # What answers is up where it is wanted, and what was only tried stays a trial.
    (Happening.ANSWERS, {RISING, UP, AWAY}, UP, set()),
    (Happening.ANSWERS, {TRIAL}, TRIAL, set()),
    # Only what is wanted is restarted.
    (Happening.ENDED, {RISING, UP, AWAY}, RISING, {AGAIN}),
    (Happening.ENDED, {REST}, REST, set()),
    (Happening.ENDED, {FAILED}, FAILED, set()),
    (Happening.ENDED, {TRIAL}, FAILED, {GIVE_UP}),
    (Happening.ENDED_AGAIN, {TRIAL, RISING, UP, AWAY}, FAILED, {GIVE_UP}),
    (Happening.ENDED_AGAIN, {REST}, REST, set()),
    (Happening.REFUSED, set(Stage), FAILED, {GIVE_UP}),
    # A daemon is waited for only while the container is wanted.
    (Happening.LOST, {RISING, UP, AWAY}, AWAY, {AWAIT}),
    (Happening.LOST, {REST, TRIAL, FAILED}, REST, set()),
    (Happening.FOUND, {AWAY, RISING}, RISING, {BRING_UP}),
    (Happening.FOUND, {UP}, UP, {BRING_UP}),
    # A hint is looked into, and never believed.
    *((Happening.HINT, {stage}, stage, {LOOK}) for stage in (RISING, UP, AWAY)),
    (Happening.DOUBT, {UP}, UP, {CHECK}),
    # What rests or has failed is left alone until a person says otherwise.
    *(
        (what, {stage}, stage, set())
        for what, stage in itertools.product((Happening.FOUND, Happening.HINT, Happening.DOUBT), (REST, TRIAL, FAILED))
    ),
    *((Happening.DOUBT, {stage}, stage, set()) for stage in (RISING, AWAY)),
    # A stop that ends after a new start was said changes nothing of it.
    *((Happening.RESTS, {stage}, stage, set()) for stage in (RISING, UP, AWAY, FAILED)),
    *((Happening.ANSWERS, {stage}, stage, set()) for stage in (REST, FAILED)),
    (Happening.ENDED_AGAIN, {FAILED}, FAILED, set()),
]  # fmt: skip
CASES = [(what, stage, then, wishes) for what, stages, then, wishes in ROWS for stage in stages]


@pytest.mark.parametrize(("what", "stage", "then", "wishes"), CASES)
def test_what_happens_at_a_stage_leads_to_a_stage_and_to_wishes(
    what: Happening, stage: Stage, then: Stage, wishes: set[LifeWish]
) -> None:
    life = at(stage)
    assert (set(life.told(what, 0.0)), life.stage) == (wishes, then)


def test_the_rows_above_say_something_of_every_happening_at_every_stage() -> None:
    assert {(what, stage) for what, stage, _, _ in CASES} == set(itertools.product(Happening, Stage))
    assert set(TABLE) == set(Happening)


def test_whatever_happens_nobody_restarts_waits_or_looks_for_what_is_not_wanted() -> None:
    busy = {LifeWish.BRING_UP, LifeWish.TRY_AGAIN, LifeWish.LOOK, LifeWish.CHECK, LifeWish.AWAIT_DAEMON}
    for row in TABLE.values():
        for then, wishes in row.values():
            assert then in WANTED or not busy & set(wishes)


def ends(life: Life, *times_s: float) -> list[Stage]:
    """The stage after each end; between two it answers again where it may."""
    stages = []
    for now_s in times_s:
        life.told(Happening.ENDED, now_s)
        stages.append(life.stage)
        life.told(Happening.ANSWERS, now_s)
    return stages


def test_the_fourth_end_within_ten_minutes_is_the_last() -> None:
    assert LIMIT == 3
    assert ends(at(UP), 0.0, 10.0, 599.0, 599.9) == [RISING, RISING, RISING, FAILED]


def test_an_end_ten_minutes_ago_is_forgiven_and_one_a_moment_later_is_not() -> None:
    assert WINDOW_S == 600
    assert ends(at(UP), 0.0, 10.0, 599.0, 600.0, 601.0) == [RISING, RISING, RISING, RISING, FAILED]


def test_a_person_starting_it_begins_the_count_anew() -> None:
    life = at(UP)
    assert ends(life, 0.0, 1.0, 2.0, 3.0) == [RISING, RISING, RISING, FAILED]
    assert life.told(Happening.START, 4.0) == (LifeWish.BRING_UP,)
    assert ends(life, 5.0, 6.0, 7.0, 8.0) == [RISING, RISING, RISING, FAILED]


def test_a_daemon_that_comes_and_goes_uses_up_none_of_the_restarts() -> None:
    life = at(UP)
    for now in range(10):
        life.told(Happening.LOST, float(now))
        life.told(Happening.FOUND, float(now))
        life.told(Happening.ANSWERS, float(now))
    assert ends(life, 10.0, 11.0, 12.0) == [RISING] * 3


def test_each_restart_within_the_window_waits_longer_than_the_one_before() -> None:
    life = at(UP)
    pauses = []
    for now_s in (0.0, 1.0, 2.0, 700.0):
        life.told(Happening.ENDED, now_s)
        pauses.append(life.pause_s)
    assert pauses == [0.5, 2.0, 5.0, 0.5]
    assert Life((0.1,)).pause_s == 0.1
    assert Life(PAUSES_S).pause_s == 0.5


def test_an_end_that_nobody_minds_uses_up_no_restart() -> None:
    life = at(REST)
    ends(life, 0.0, 0.0, 0.0, 0.0)
    life.stage = UP
    assert ends(life, 1.0, 2.0, 3.0) == [RISING] * 3


@pytest.mark.parametrize("name", ["containers/life.py", "managed/life.py", "managed/processor.py"])
def test_what_decides_asks_no_clock_no_daemon_and_no_task(name: str) -> None:
    tree = ast.parse((Path(__file__).parents[2] / "app" / name).read_text())
    assert not any(isinstance(node, ast.AsyncFunctionDef | ast.Await) for node in ast.walk(tree))
    imported = {
        module
        for node in ast.walk(tree)
        for module in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert not {"asyncio", "time", "threading", "random", "app.containers.docker"} & imported
