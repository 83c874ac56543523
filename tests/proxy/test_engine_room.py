"""Which requests may be at the engine together, by what is known of it."""

from __future__ import annotations

from app.proxy.engine_room import EngineRoom, EngineTraits
from app.proxy.turns import Room


def clock() -> int:
    return 2000


def traits(width: int | None = None, *loaded: str, by_model: bool = True, version: str = "1") -> EngineTraits:
    return EngineTraits(
        ("http://127.0.0.1:11434", version), width, by_model=by_model, loaded=frozenset(loaded)
    )


def test_what_somebody_said_counts_whatever_is_seen() -> None:
    room = EngineRoom(clock, traits(3))
    assert [room.room("m", {"m": count}) for count in (0, 1, 2, 3)] == [Room.FREE] * 3 + [Room.FULL]
    assert room.begin("m", 0, streamed=True) is None


def test_of_an_engine_of_which_nobody_says_anything_one_more_than_is_known_is_tried() -> None:
    room = EngineRoom(clock, traits())
    assert room.room("m", {}) is Room.FREE
    first = room.begin("m", 0, streamed=True)
    assert first is not None
    assert room.room("m", {"m": 1}) is Room.FREE
    trial = room.begin("m", 0, streamed=True)
    assert trial is not None
    assert trial.trial
    assert room.room("m", {"m": 2}) is Room.FULL
    trial.seen.showed(trial, 1000)
    assert room.room("m", {"m": 2}) is Room.FREE, "both made progress: a third is tried"


def test_two_models_go_together_only_where_both_lie_in_memory() -> None:
    room = EngineRoom(clock, traits(2, "a"))
    assert room.room("b", {"a": 1}) is Room.ALONE
    room.know(traits(2, "a", "b"))
    assert room.room("b", {"a": 2}) is Room.FREE
    assert room.room("c", {"a": 1, "b": 1}) is Room.ALONE


def test_an_engine_that_tells_no_models_apart_has_one_pool() -> None:
    room = EngineRoom(clock, traits(2, by_model=False))
    assert room.pool("a") == room.pool("b") == ""
    assert room.room("", {"": 2}) is Room.FULL


def test_another_engine_is_believed_nothing_that_was_seen_of_the_last() -> None:
    room = EngineRoom(clock, traits())
    for _ in range(2):
        visit = room.begin("m", 0, streamed=True)
        assert visit is not None
        visit.seen.showed(visit, 1000)
    assert room.width("m") == 3
    room.know(traits(None, "m"))
    assert room.width("m") == 3, "a model that was loaded makes no other engine"
    room.know(traits(version="2"))
    assert room.width("m") == 1


def test_pools_of_which_none_is_busy_are_forgotten_when_there_are_too_many() -> None:
    room = EngineRoom(clock, traits())
    busy = room.begin("busy", 0, streamed=True)
    assert busy is not None
    for number in range(1000):
        visit = room.begin(f"model {number}", number, streamed=False)
        assert visit is not None
        visit.seen.end(visit, number + 1, 5)
    assert len(room._seen) <= 256
    assert room.begin("busy", 2000, streamed=True).seen is busy.seen  # type: ignore[union-attr]
