"""Other programs on the GPU: what they draw is theirs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from app.power.accounts import EnergyBook, StaticWatts
from app.power.foreign import SETTLE_US, ForeignUse, others_pct
from app.power.sensors.engine_programs import EnginePrograms

S = 1_000_000
ENGINE = 7


@dataclass(frozen=True)
class User:
    pid: int
    busy_pct: float | None
    graphics: bool = False


def is_engine(pid: int) -> bool:
    return pid == ENGINE


def test_what_draws_or_is_no_engine_is_another_program() -> None:
    users = [User(ENGINE, 60.0), User(8, 20.0), User(9, 5.0, graphics=True)]
    assert others_pct(users, is_engine) == (25.0, 60.0)
    assert others_pct([], is_engine) == (0.0, 0.0)
    assert others_pct(None, is_engine) is None
    assert others_pct([User(8, None)], is_engine) is None


def fed(
    *, above_w: float, shares: tuple[float, float] | None, pct: float | None = None, seconds: int = 3
) -> ForeignUse:
    use = ForeignUse()
    for tick in range(seconds * 10):
        use.sample(tick * 100_000, above_w, ours=False, utilisation_pct=pct, shares=shares)
    return use


def test_what_is_drawn_above_idle_while_none_of_ours_runs_is_theirs_where_somebody_uses_the_gpu() -> None:
    assert fed(above_w=150.0, shares=(80.0, 0.0)).foreign_w == 150.0
    assert fed(above_w=150.0, shares=None, pct=80.0).foreign_w == 150.0
    assert fed(above_w=150.0, shares=(0.0, 0.0), pct=80.0).foreign_w == 0.0
    assert fed(above_w=150.0, shares=None, pct=None).foreign_w == 0.0


@pytest.mark.parametrize(
    ("shares", "foreign_w"),
    [
        ((80.0, 20.0), 150.0),
        ((40.0, 60.0), 75.0),
        ((4.0, 90.0), 0.0),
        (None, 150.0),
        ((99.0, 0.0), 150.0),  # the engine goes by a name that nobody knows
    ],
)
def test_beside_ours_theirs_goes_on_by_the_share_of_the_gpu_that_they_take_now(
    shares: tuple[float, float] | None, foreign_w: float
) -> None:
    use = fed(above_w=150.0, shares=(80.0, 0.0))
    use.sample(3 * S, 400.0, ours=True, utilisation_pct=99.0, shares=shares)
    assert use.foreign_w == pytest.approx(foreign_w)


def test_theirs_is_never_more_than_what_is_drawn() -> None:
    use = fed(above_w=150.0, shares=(80.0, 0.0))
    use.sample(3 * S, 90.0, ours=True, utilisation_pct=99.0, shares=(80.0, 20.0))
    assert use.foreign_w == 90.0
    use.sample(4 * S, -5.0, ours=True, utilisation_pct=99.0, shares=(80.0, 20.0))
    assert use.foreign_w == 0.0


def test_those_who_began_while_ours_ran_share_by_time() -> None:
    use = ForeignUse()
    use.sample(0, 300.0, ours=True, utilisation_pct=99.0, shares=(25.0, 75.0))
    assert use.foreign_w == 75.0


def test_our_own_clocks_that_come_down_after_work_are_nobody_elses() -> None:
    use = ForeignUse()
    use.sample(0, 300.0, ours=True, utilisation_pct=99.0, shares=None)
    use.sample(SETTLE_US - 1, 60.0, ours=False, utilisation_pct=30.0, shares=None)
    assert use.foreign_w == 0.0
    use.sample(SETTLE_US, 60.0, ours=False, utilisation_pct=30.0, shares=None)
    assert use.foreign_w == 60.0


@pytest.mark.parametrize("told", [True, False])
def test_a_game_beside_a_request_changes_its_bill_by_less_than_three_percent(told: bool) -> None:
    def bill(game_w: float) -> int:
        use = ForeignUse()
        book = EnergyBook(StaticWatts(20, 400, 0, 0), False, 1, source="nvml")
        energy_uj = 0
        for tick in range(140):
            at_us = tick * 100_000
            ours = 5 * S < at_us <= 10 * S
            if at_us == 5 * S:
                book.open("request", at_us)
            power_w = 20 + game_w * (1 + 0.05 * (tick % 3 - 1)) + (180 if ours else 0)
            game_pct = 60.0 if game_w else 0.0
            shares = (game_pct, 35.0 if ours else 0.0) if told else None
            use.sample(at_us, power_w - 20, ours=ours, utilisation_pct=game_pct, shares=shares)
            book.reading(at_us, power_w, None, 20.0, use.foreign_w)
            if at_us == 10 * S:
                energy_uj = book.close("request", at_us).energy_uj
        totals = book.totals()
        assert totals.foreign_uj == pytest.approx(game_w * 14 * S, rel=0.05)
        return energy_uj

    alone, beside = bill(0.0), bill(150.0)
    print(f"{beside / alone - 1:+.2%}")
    assert abs(beside / alone - 1) <= 0.03


def test_an_engine_is_known_by_its_programs_name_and_looked_up_once_in_a_while() -> None:
    asked: list[int] = []
    names = {7: "ollama", 8: "Cyberpunk2077.e", 9: ""}
    now = [0.0]

    def name_of(pid: int) -> str:
        asked.append(pid)
        return names[pid]

    programs = EnginePrograms(name_of, lambda: now[0])
    assert [programs.is_engine(pid) for pid in (7, 8, 9, 7, 8)] == [True, False, False, True, False]
    assert asked == [7, 8, 9]
    now[0] = 31.0
    names[8] = "llama-server"
    assert programs.is_engine(8)
