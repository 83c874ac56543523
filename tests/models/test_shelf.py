"""The shelf: pulling, loading, removing, and how operations run and end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.containers.base import DaemonUnreachable
from app.engine.base import Model
from app.models.base import Doing, Fit, ModelError, Operation, Outcome
from app.models.names import is_passing, spelled
from app.models.room import occupied_b
from app.models.said import in_words
from app.models.shelf import Busy
from app.models.updates import Ended
from app.simulator import Faults
from tests.models.conftest import CountingHost, Furnish


async def test_a_pull_brings_the_model_and_has_a_way_out_only_meanwhile(furnish: Furnish) -> None:
    room = await furnish(empty=True, speed=20)
    assert room.names() == set()
    operation = room.shelf.pull("qwen3:0.6b")
    assert (operation.doing, operation.outcome) == (Doing.PULL, Outcome.RUNNING)
    await room.until(lambda: room.shelf.operations()[0].progress.done > 0)
    assert room.host.open == 1
    last = await room.ended(operation)
    assert (last.outcome, last.sentence) == (Outcome.DONE, "The model qwen3:0.6b is here.")
    assert last.progress.done == last.progress.total == 523_000_000
    assert (room.host.open, room.host.opened) == (0, 1)
    assert room.names() == {"qwen3:0.6b"}
    assert room.changes >= 2


async def test_the_speed_and_the_time_left_are_told(furnish: Furnish) -> None:
    room = await furnish(empty=True, speed=5)
    room.shelf.pull("qwen3:0.6b")
    await room.until(lambda: room.shelf.operations()[0].progress.seconds_left is not None)
    progress = room.shelf.operations()[0].progress
    assert 2e8 < progress.rate_b_per_s < 8e8
    assert progress.seconds_left is not None
    assert 0 < progress.seconds_left < 3


async def test_asking_twice_joins_and_a_third_model_waits_its_turn(furnish: Furnish) -> None:
    room = await furnish(empty=True, speed=1)
    first = room.shelf.pull("qwen3:0.6b")
    assert room.shelf.pull("registry.ollama.ai/library/QWEN3:0.6b").id == first.id
    room.shelf.pull("gemma3:1b")
    with pytest.raises(Busy, match="Two models are being pulled already"):
        room.shelf.pull("qwen3:4b")
    assert [operation.model for operation in room.shelf.operations()] == ["gemma3:1b", "qwen3:0.6b"]


async def test_a_cancelled_pull_is_taken_up_by_the_next(furnish: Furnish) -> None:
    room = await furnish(empty=True, speed=4)
    operation = room.shelf.pull("qwen3:0.6b")
    await room.until(lambda: room.shelf.operations()[0].progress.done > 50_000_000)
    room.shelf.cancel(operation.id)
    last = await room.ended(operation)
    assert (last.outcome, last.sentence) == (Outcome.CANCELLED, "Cancelled; what has come is kept.")
    assert room.host.open == 0
    room.shelf.cancel(operation.id)
    again = room.shelf.pull("qwen3:0.6b")
    assert again.id != operation.id
    await room.until(lambda: room.shelf.operations()[0].progress.done > 0)
    assert room.shelf.operations()[0].progress.done > 50_000_000


async def test_a_pull_that_breaks_off_says_so_and_the_next_one_ends_it(furnish: Furnish) -> None:
    room = await furnish(empty=True)
    room.simulator.faults = Faults(pull_breaks_after_b=300_000_000)
    last = await room.ended(room.shelf.pull("qwen3:0.6b"))
    assert last.outcome is Outcome.FAILED
    assert last.sentence == (
        "The engine could not reach the library of models: check the network, then try again; what has come is kept."
    )
    room.simulator.faults = Faults()
    assert (await room.ended(room.shelf.pull("qwen3:0.6b"))).outcome is Outcome.DONE


async def test_a_model_that_does_not_exist_is_one_sentence(furnish: Furnish) -> None:
    room = await furnish()
    last = await room.ended(room.shelf.pull("no-such:model"))
    assert last.outcome is Outcome.FAILED
    assert last.sentence == "The library has no model no-such:model: check its spelling and its tag."


async def test_an_engine_that_went_away_is_one_sentence(furnish: Furnish) -> None:
    room = await furnish()
    await room.simulator.stop()
    last = await room.ended(room.shelf.pull("qwen3:0.6b"))
    assert last.sentence == "The engine does not answer: see that it runs, then try again."
    with pytest.raises(ModelError, match=r"engine"):
        await room.shelf.unload("qwen2.5:3b")


async def test_a_container_without_a_way_out_is_one_sentence(
    furnish: Furnish, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await furnish()

    def closed() -> Any:
        raise DaemonUnreachable("Docker does not run: start it.")

    monkeypatch.setattr(room.host, "way_out", closed)
    last = await room.ended(room.shelf.pull("qwen3:0.6b"))
    assert (last.outcome, last.sentence) == (Outcome.FAILED, "Docker does not run: start it.")


async def test_the_quota_is_kept_before_a_pull_begins(furnish: Furnish) -> None:
    room = await furnish(models_quota_gb=13)
    with pytest.raises(
        ModelError, match=r"Models may take 13 GB, and with this one they would take 14\.9 GB"
    ):
        room.shelf.pull("qwen3:4b")
    assert room.shelf.operations() == ()
    room.settings["models_quota_gb"] = 15
    assert (await room.ended(room.shelf.pull("qwen3:4b"))).outcome is Outcome.DONE


async def test_the_quota_counts_what_else_is_coming(furnish: Furnish) -> None:
    room = await furnish(empty=True, speed=1, models_quota_gb=5)
    room.shelf.pull("qwen3:4b")
    with pytest.raises(ModelError, match="models_quota_gb"):
        room.shelf.pull("gemma3:4b")
    room.shelf.pull("qwen3:0.6b")


async def test_a_model_that_turns_out_larger_than_the_quota_is_stopped(
    furnish: Furnish, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await furnish(empty=True, models_quota_gb=4)
    monkeypatch.setattr("app.models.shelf.offer", lambda name: None)
    last = await room.ended(room.shelf.pull("mistral:7b"))
    assert last.outcome is Outcome.FAILED
    assert "models_quota_gb" in last.sentence
    assert last.progress.done < 10**9


async def test_a_full_disk_is_said_before_anything_comes(
    furnish: Furnish, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await furnish(empty=True)
    monkeypatch.setattr("app.models.room.free_b", lambda place: 2_000_000_000)
    last = await room.ended(room.shelf.pull("qwen3:8b"))
    assert last.sentence == "The disk has 2.0 GB free, and 5.2 GB are to come: make room first."


async def test_loading_and_unloading(furnish: Furnish) -> None:
    room = await furnish()
    last = await room.ended(room.shelf.load("qwen2.5:3b"))
    assert (last.outcome, last.sentence) == (Outcome.DONE, "The model qwen2.5:3b is loaded.")
    (entry,) = [entry for entry in room.shelf.entries() if entry.loaded]
    assert entry.name == "qwen2.5:3b"
    assert entry.vram_b > 0
    assert room.loading == [True, False]
    await room.shelf.unload("qwen2.5:3b")
    assert not any(entry.loaded for entry in room.shelf.entries())


async def test_a_model_that_embeds_is_loaded_too(furnish: Furnish) -> None:
    room = await furnish()
    assert (await room.ended(room.shelf.load("nomic-embed-text"))).outcome is Outcome.DONE


async def test_loading_can_be_cancelled(furnish: Furnish) -> None:
    room = await furnish(speed=0.1)
    operation = room.shelf.load("llama3.1:8b")
    assert room.shelf.load("llama3.1:8b").id == operation.id
    await room.until(lambda: room.simulator.running == 1)
    room.shelf.cancel(operation.id)
    assert (await room.ended(operation)).outcome is Outcome.CANCELLED
    await room.until(lambda: room.simulator.running == 0)
    assert room.loading == [True, False]


async def test_a_model_that_does_not_fit_is_one_sentence(furnish: Furnish) -> None:
    room = await furnish()
    room.simulator.faults = Faults(out_of_memory=True)
    last = await room.ended(room.shelf.load("qwen2.5:3b"))
    assert "does not fit into the GPU's memory" in last.sentence


async def test_deleting_takes_it_off_the_disk_and_out_of_memory(furnish: Furnish) -> None:
    room = await furnish()
    await room.ended(room.shelf.load("qwen2.5:3b"))
    await room.shelf.delete("qwen2.5:3b")
    assert "qwen2.5:3b" not in room.names()
    assert room.loaded == ()
    with pytest.raises(ModelError, match=r"has no model qwen2\.5:3b"):
        await room.shelf.delete("qwen2.5:3b")


async def test_what_is_being_pulled_is_not_deleted(furnish: Furnish) -> None:
    room = await furnish(empty=True, speed=1)
    room.shelf.pull("qwen3:0.6b")
    with pytest.raises(Busy, match="cancel that first"):
        await room.shelf.delete("qwen3:0.6b")


async def test_shapes_are_learned_from_the_engine_and_change_the_estimate(furnish: Furnish) -> None:
    room = await furnish()
    before = {entry.name: entry for entry in room.shelf.entries()}["mortdecai:0.5.0"]
    exact_b = 2 * 32 * 8 * 128 * 2 * 4096
    assert before.estimate.context_b != exact_b

    def learned() -> bool:
        entry = {entry.name: entry for entry in room.shelf.entries()}["mortdecai:0.5.0"]
        return entry.estimate.context_b == exact_b

    await room.until(learned)
    assert before.estimate.fit is Fit.FITS


async def test_suggested_is_the_smallest_here_or_what_fits_this_gpu_and_never_somebody_elses(
    furnish: Furnish,
) -> None:
    room = await furnish(empty=True)
    assert room.shelf.suggested() == "qwen3:14b"
    room.models = (
        Model("big:cloud", "", 1, "llama", "", "", True),
        Model("mine:1", "", 9, "llama", "", "", False),
    )
    assert room.shelf.suggested() == "mine:1"


async def test_what_the_engine_tells_of_a_model_is_shown(furnish: Furnish) -> None:
    room = await furnish()
    assert (await room.shelf.show("qwen2.5:3b"))["details"]["family"] == "qwen2"
    with pytest.raises(ModelError, match="has no model"):
        await room.shelf.show("absent:1")


async def test_an_engine_that_is_not_ollama_is_only_listed(
    furnish: Furnish, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await furnish()
    monkeypatch.setattr(room.engine, "native", False, raising=False)
    assert all(entry.installed for entry in room.shelf.entries())
    for attempt in (
        lambda: room.shelf.pull("m"),
        lambda: room.shelf.load("m"),
        lambda: room.shelf.update("u", "m"),
    ):
        with pytest.raises(ModelError, match="manages its models itself"):
            attempt()
    with pytest.raises(ModelError, match="manages its models itself"):
        await room.shelf.delete("m")


@pytest.mark.parametrize("name", ["", "a b", "../../etc", "m:x-gateway-new"])
async def test_a_name_that_is_none_begins_nothing(furnish: Furnish, name: str) -> None:
    room = await furnish()
    with pytest.raises(ModelError):
        room.shelf.pull(name)
    with pytest.raises(ModelError):
        await room.shelf.delete(name)
    assert room.shelf.operations() == ()


async def test_twenty_that_have_ended_are_remembered(furnish: Furnish) -> None:
    room = await furnish()
    for _ in range(25):
        await room.ended(room.shelf.load("qwen2.5:3b"))
    assert len(room.shelf.operations()) <= 21
    with pytest.raises(ModelError, match="no such operation"):
        room.shelf.cancel("gone")


async def test_closing_ends_what_runs(furnish: Furnish) -> None:
    room = await furnish(empty=True, speed=1)
    operation = room.shelf.pull("qwen3:0.6b")
    await room.until(lambda: room.host.open == 1)
    async with asyncio.timeout(5):
        await room.shelf.close()
    assert room.shelf.operations()[0].id == operation.id
    assert room.shelf.operations()[0].outcome is Outcome.CANCELLED
    assert room.host.open == 0
    with pytest.raises(ModelError, match="gateway is ending"):
        room.shelf.load("qwen3:0.6b")


async def test_whoever_stops_following_changes_nothing(furnish: Furnish) -> None:
    room = await furnish(empty=True, speed=50)
    operation = room.shelf.pull("qwen3:0.6b")
    async for _ in room.shelf.follow(operation.id):
        break
    assert (await room.ended(operation)).outcome is Outcome.DONE


async def test_what_was_cancelled_before_it_began_ends_all_the_same(furnish: Furnish) -> None:
    room = await furnish(empty=True, speed=1)
    for begin in (room.shelf.pull, room.shelf.load):
        operation = begin("qwen3:0.6b")
        room.shelf.cancel(operation.id)
        assert (await room.ended(operation)).outcome is Outcome.CANCELLED
    room.shelf.pull("qwen3:0.6b")
    await room.shelf.close()
    assert all(one.outcome is Outcome.CANCELLED for one in room.shelf.operations())


async def test_an_update_that_was_cancelled_at_once_is_in_the_audit_trail(furnish: Furnish) -> None:
    room = await furnish()
    operation = room.shelf.update("http://127.0.0.1:9/m.gguf", "m:1")
    room.shelf.cancel(operation.id)
    assert (await room.ended(operation)).outcome is Outcome.CANCELLED
    assert [report.outcome for report in room.reports] == [Ended.CANCELLED]


async def test_whoever_follows_hears_something_also_where_nothing_changes(
    furnish: Furnish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.models.shelf._REPEATED_EVERY_S", 0.3)
    room = await furnish(speed=0.000_1)
    operation = room.shelf.load("qwen2.5:3b")
    heard: list[Operation] = []
    async with asyncio.timeout(10):
        async for state in room.shelf.follow(operation.id):
            heard.append(state)
            if len(heard) == 4:
                break
    assert len(set(heard)) == 1


async def test_a_pull_that_broke_off_goes_on_where_only_its_rest_still_fits(
    furnish: Furnish, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await furnish(empty=True)
    room.simulator.faults = Faults(pull_breaks_after_b=5_000_000_000)
    assert (await room.ended(room.shelf.pull("qwen3:8b"))).outcome is Outcome.FAILED
    room.simulator.faults = Faults()
    monkeypatch.setattr("app.models.room.free_b", lambda place: 1_500_000_000)
    assert (await room.ended(room.shelf.pull("qwen3:8b"))).outcome is Outcome.DONE


async def test_the_disk_of_a_container_of_ours_is_not_guessed_at(
    furnish: Furnish, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await furnish(empty=True)
    seen = []
    monkeypatch.setattr("app.models.room.free_b", seen.append)
    room.shelf._place = lambda url: Path("/")
    await room.ended(room.shelf.pull("qwen3:0.6b"))
    assert set(seen) == {Path("/")}
    seen.clear()
    monkeypatch.setattr(CountingHost, "managed", True)
    await room.ended(room.shelf.pull("gemma3:1b"))
    assert set(seen) == {None}


def test_a_passing_name_is_one_in_any_case() -> None:
    for name in ("m:1-gateway-new", "M:1-Gateway-Old", "m:1-GATEWAY-NEW"):
        assert is_passing(name)


@pytest.mark.parametrize(
    "name",
    ["x", "library/x", "registry.ollama.ai/library/x", "library/library/x", "library/registry.ollama.ai/x"],
)
def test_however_often_the_default_registry_is_named_there_is_one_spelling(name: str) -> None:
    assert spelled(name) == "x:latest"


@pytest.mark.parametrize("name", ["\ud800", "a\x1b[2Jb", "a\nb", "a\u202eb"])
def test_a_refusal_repeats_nothing_that_a_terminal_or_a_record_would_stumble_over(name: str) -> None:
    with pytest.raises(ModelError) as refused:
        spelled(name)
    assert str(refused.value).isprintable()
    assert str(in_words(f"odd {name}", "m")).isprintable()


def test_a_model_in_another_case_is_not_counted_beside_itself() -> None:
    models = (Model("M:1", "d1", 10, "", "", "", False), Model("n:1", "d2", 5, "", "", "", False))
    assert occupied_b(models, but="m:1") == 5
