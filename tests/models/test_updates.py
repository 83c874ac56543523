"""Updates of a model: from a server of files into an engine, and back again where anything fails."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from app.ledger.errors import LedgerClosed
from app.models.base import ModelError, Outcome
from app.models.said import Passing
from app.models.shelf import Busy
from app.models.source import Refused
from app.models.updates import Ended, UpdateReport
from app.simulator import Faults
from tests.models.conftest import Furnish, Room
from tests.models.file_server import GGUF, FileServer

NAME = "mortdecai:0.5.0"


async def digest_of(room: Room, name: str = NAME) -> str:
    await room.refresh()
    return {model.name: model.digest for model in room.models}.get(name, "")


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


async def test_an_update_replaces_the_model_and_leaves_nothing_behind(
    furnish: Furnish, files: FileServer
) -> None:
    room = await furnish()
    before, names = await digest_of(room), room.names()
    last = await room.ended(
        room.shelf.update(files.url + "?token=secret", NAME, files.sha256.upper(), by="k_1")
    )
    assert (last.outcome, last.sentence) == (Outcome.DONE, f"The model {NAME} was updated and has answered.")
    after = await digest_of(room)
    assert after not in ("", before)
    assert room.names() == names
    assert await room.engine.loaded() == (), "a test must not keep the GPU's memory"
    assert left_over(room.downloads) == []
    (report,) = room.reports
    assert (report.outcome, report.model, report.by, report.reason) == (Ended.UPDATED, NAME, "k_1", "")
    assert report.url == files.url
    assert (report.sha256, report.size_b, report.digest) == (files.sha256, len(GGUF), after)


async def test_the_same_name_in_another_case_is_the_same_model(furnish: Furnish, files: FileServer) -> None:
    room = await furnish()
    before, names = await digest_of(room), room.names()
    await room.ended(room.shelf.update(files.url, "Mortdecai:0.5.0"))
    assert await digest_of(room) != before
    assert room.names() == names


async def test_a_model_that_is_being_pulled_is_not_updated_and_the_other_way_round(
    furnish: Furnish, files: FileServer
) -> None:
    room = await furnish(empty=True, speed=1)
    room.shelf.pull("qwen3:0.6b")
    with pytest.raises(Busy, match="cancel that first"):
        room.shelf.update(files.url, "qwen3:0.6b")
    files.pause_s = 0.05
    room.shelf.update(files.url, "gemma3:1b")
    with pytest.raises(Busy, match="cancel that first"):
        room.shelf.pull("gemma3:1b")


async def test_a_model_that_was_not_there_is_made(furnish: Furnish, files: FileServer) -> None:
    room = await furnish(empty=True)
    await room.ended(room.shelf.update(files.url, "new"))
    assert room.names() == {"new:latest"}


async def test_a_wrong_sha256_changes_nothing_and_the_file_is_thrown_away(
    furnish: Furnish, files: FileServer
) -> None:
    room = await furnish()
    before = await digest_of(room)
    last = await room.ended(room.shelf.update(files.url, NAME, "0" * 64))
    assert (last.outcome, last.sentence) == (
        Outcome.FAILED,
        "The file's SHA-256 is not the one that was given: it was thrown away.",
    )
    assert await digest_of(room) == before
    assert left_over(room.downloads) == []
    assert room.reports[0].outcome is Ended.FAILED


@pytest.mark.parametrize(
    "fault",
    [
        Faults(create_fails=True),
        Faults(fails_to_generate="-gateway-new"),
        Faults(fails_to_generate="mortdecai"),
    ],
    ids=["cannot be made", "does not answer on trial", "does not answer under any name"],
)
async def test_where_the_new_one_fails_the_old_one_stays_as_it_was(
    furnish: Furnish, files: FileServer, fault: Faults
) -> None:
    room = await furnish()
    before, names = await digest_of(room), room.names()
    room.simulator.faults = fault
    last = await room.ended(room.shelf.update(files.url, NAME))
    assert last.outcome is Outcome.FAILED
    assert "simulated failure" in last.sentence
    assert await digest_of(room) == before
    assert room.names() == names
    assert left_over(room.downloads) == []
    assert room.reports[0].outcome is Ended.FAILED
    room.simulator.faults = Faults()
    reply = await room.engine.post(
        "/api/generate", json.dumps({"model": NAME, "prompt": "hi", "stream": False}).encode()
    )
    assert json.loads(await reply.read())["done"] is True


async def test_one_that_answers_on_trial_and_then_not_under_its_name_gives_the_name_back(
    furnish: Furnish, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await furnish()
    before, names = await digest_of(room), room.names()
    client = room.shelf._client
    real = client.answers
    seen: list[tuple[str, str]] = []

    async def answers(name: str, *, keep_alive: str) -> None:
        seen.append((name, await digest_of(room, name)))
        await real(name, keep_alive=keep_alive)
        if name == NAME:
            raise ModelError("It said nothing.")

    monkeypatch.setattr(client, "answers", answers)
    last = await room.ended(room.shelf.update(files.url, NAME))
    assert last.sentence == "It said nothing."
    assert [name for name, _ in seen] == [f"{NAME}-gateway-new", NAME]
    assert seen[1][1] == seen[0][1] != before, "the new one had the name when it was asked"
    assert await digest_of(room) == before
    assert room.names() == names


async def test_a_model_that_does_not_fit_beside_others_gets_their_room(
    furnish: Furnish, files: FileServer
) -> None:
    room = await furnish()
    await room.ended(room.shelf.load("qwen2.5:3b"))
    room.simulator.faults = Faults(out_of_memory=True)
    last = await room.ended(room.shelf.update(files.url, NAME))
    assert "does not fit" in last.sentence
    assert await room.engine.loaded() == ()


async def test_what_is_no_gguf_is_refused_before_it_reaches_the_engine(
    furnish: Furnish, files: FileServer
) -> None:
    room = await furnish()
    files.content = b"<html>no</html>"
    last = await room.ended(room.shelf.update(files.url, NAME))
    assert "not a GGUF model" in last.sentence
    assert left_over(room.downloads) == []


async def test_a_redirect_out_of_the_list_is_a_refusal_in_the_audit_trail(
    furnish: Furnish, files: FileServer
) -> None:
    room = await furnish()
    files.redirect = "http://evil.test/m.gguf"
    last = await room.ended(room.shelf.update(files.url.replace("m.gguf", "start"), NAME))
    assert last.outcome is Outcome.FAILED
    assert room.reports[0].outcome is Ended.REFUSED
    assert "evil.test" in room.reports[0].reason


async def test_what_may_not_be_asked_for_begins_nothing(furnish: Furnish, files: FileServer) -> None:
    room = await furnish(model_update_http=False, model_update_hosts=("huggingface.co",))
    for url in (files.url, "https://evil.org/m.gguf"):
        with pytest.raises(Refused):
            room.shelf.update(url, NAME)
    with pytest.raises(ModelError, match="64 hexadecimal digits"):
        room.shelf.update("https://huggingface.co/m.gguf", NAME, "abc")
    assert room.shelf.operations() == ()
    assert room.reports == []


async def test_one_at_a_time_and_asking_for_the_same_joins(furnish: Furnish, files: FileServer) -> None:
    room = await furnish()
    files.pause_s = 0.01
    first = room.shelf.update(files.url, NAME)
    assert room.shelf.update(files.url, NAME).id == first.id
    with pytest.raises(Busy, match=rf"The model {NAME} is being updated"):
        room.shelf.update(files.url, "other:1")
    assert (await room.ended(first)).outcome is Outcome.DONE
    assert len(room.reports) == 1


async def test_cancelling_keeps_the_file_for_the_next_time_and_the_model_as_it_was(
    furnish: Furnish, files: FileServer
) -> None:
    room = await furnish()
    before = await digest_of(room)
    files.pause_s = 0.02
    operation = room.shelf.update(files.url, NAME)
    await room.until(lambda: files.sent_b > 200_000)
    room.shelf.cancel(operation.id)
    last = await room.ended(operation)
    assert (last.outcome, last.sentence) == (
        Outcome.CANCELLED,
        "Cancelled; what has come is kept, and the model is what it was.",
    )
    assert await digest_of(room) == before
    assert room.reports[0].outcome is Ended.CANCELLED
    assert any(name.endswith(".part") for name in left_over(room.downloads))
    files.pause_s = 0.0
    assert (await room.ended(room.shelf.update(files.url, NAME))).outcome is Outcome.DONE


async def test_cancelling_while_the_model_is_tried_puts_everything_back(
    furnish: Furnish, files: FileServer
) -> None:
    room = await furnish()
    before, names = await digest_of(room), room.names()
    room.simulator.faults = Faults(hang_after=0)
    operation = room.shelf.update(files.url, NAME)
    await room.until(lambda: room.simulator.running == 1)
    room.shelf.cancel(operation.id)
    assert (await room.ended(operation)).outcome is Outcome.CANCELLED
    assert await digest_of(room) == before
    assert room.names() == names
    room.simulator.faults = Faults()
    files.sent_b = 0
    assert (await room.ended(room.shelf.update(files.url, NAME))).outcome is Outcome.DONE
    assert files.sent_b == 0, "the file was kept and is the same"


async def test_an_engine_that_goes_away_leaves_the_file_for_the_next_time(
    furnish: Furnish, files: FileServer
) -> None:
    room = await furnish()
    await room.simulator.stop()
    last = await room.ended(room.shelf.update(files.url, NAME))
    assert last.outcome is Outcome.FAILED
    assert any(name.endswith(".part") for name in left_over(room.downloads))


async def test_the_quota_and_the_disk_are_asked_before_a_file_comes(
    furnish: Furnish, files: FileServer
) -> None:
    room = await furnish(models_quota_gb=7)
    last = await room.ended(room.shelf.update(files.url, NAME))
    assert "models_quota_gb" in last.sentence
    room.settings["models_quota_gb"] = 0
    room.free_b[0] = 1000
    last = await room.ended(room.shelf.update(files.url, NAME))
    assert "make room" in last.sentence


def note(**changes: Any) -> str:
    kept = {"model": NAME, "url": "https://hf.co/m.gguf", "by": "k_9", "sha256": "a" * 64, "size_b": 5}
    return json.dumps({**kept, "swapping": True, **changes})


async def test_what_a_crash_left_in_the_middle_of_a_swap_is_put_back(furnish: Furnish) -> None:
    room = await furnish()
    before = await digest_of(room)
    client = room.shelf._client
    await client.copy(NAME, f"{NAME}-gateway-old")
    await client.copy("qwen2.5:3b", f"{NAME}-gateway-new")
    await client.copy("qwen2.5:3b", NAME)
    room.downloads.mkdir()
    (room.downloads / "update.json").write_text(note())
    await room.shelf.recover()
    assert await digest_of(room) == before
    assert not any("gateway" in name for name in room.names())
    assert left_over(room.downloads) == []
    (report,) = room.reports
    assert (report.outcome, report.by, report.url) == (Ended.FAILED, "k_9", "https://hf.co/m.gguf")
    await room.shelf.recover()
    assert len(room.reports) == 1


async def test_what_a_crash_left_before_a_swap_only_goes_away(furnish: Furnish, files: FileServer) -> None:
    room = await furnish()
    before = await digest_of(room)
    await room.shelf._client.copy("qwen2.5:3b", f"{NAME}-gateway-new")
    room.downloads.mkdir()
    (room.downloads / "update.json").write_text(note(swapping=False))
    assert (await room.ended(room.shelf.update(files.url, "other:1"))).outcome is Outcome.DONE
    assert await digest_of(room) == before
    assert not any("gateway" in name for name in room.names())


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "[1]", '{"wanted":{}}', '{"model":5,"url":"","by":""}']
)
async def test_a_torn_note_is_no_obstacle(furnish: Furnish, files: FileServer, text: str) -> None:
    room = await furnish()
    room.downloads.mkdir()
    (room.downloads / "update.json").write_text(text)
    assert (await room.ended(room.shelf.update(files.url, NAME))).outcome is Outcome.DONE


async def test_names_that_only_updates_give_are_not_listed(furnish: Furnish) -> None:
    room = await furnish()
    await room.shelf._client.copy("qwen2.5:3b", f"{NAME}-gateway-new")
    await room.refresh()
    assert not any("gateway" in entry.name for entry in room.shelf.entries())


async def test_a_report_that_could_not_be_recorded_is_recorded_the_next_time(
    furnish: Furnish, files: FileServer
) -> None:
    room = await furnish()
    audit = room.shelf._audit

    async def closed(report: UpdateReport) -> None:
        raise LedgerClosed("The ledger is closed.")

    room.shelf._audit = closed
    last = await room.ended(room.shelf.update(files.url, NAME))
    assert last.outcome is Outcome.DONE, "the model was updated all the same"
    assert room.reports == []
    room.shelf._audit = audit
    await room.shelf.recover()
    (report,) = room.reports
    assert (report.outcome, report.sha256, report.digest) == (
        Ended.UPDATED,
        files.sha256,
        await digest_of(room),
    )
    assert left_over(room.downloads) == []


async def test_an_engine_that_goes_away_in_the_swap_leaves_what_puts_it_back(
    furnish: Furnish, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await furnish()
    before, names = await digest_of(room), room.names()
    client = room.shelf._client
    real_answers, real_copy = client.answers, client.copy

    async def gone(*given: Any, **named: Any) -> None:
        raise Passing("The engine does not answer.")

    async def answers(name: str, *, keep_alive: str) -> None:
        if name == NAME:
            monkeypatch.setattr(client, "copy", gone)
            await gone()
        await real_answers(name, keep_alive=keep_alive)

    monkeypatch.setattr(client, "answers", answers)
    last = await room.ended(room.shelf.update(files.url, NAME))
    assert last.outcome is Outcome.FAILED
    assert len(room.reports) == 1
    monkeypatch.setattr(client, "copy", real_copy)
    await room.shelf.recover()
    assert (await digest_of(room), room.names()) == (before, names)
    assert len(room.reports) == 1, "how it ended had been told already"
    assert not (room.downloads / "update.json").exists()


async def test_nothing_secret_of_an_address_is_written_down(furnish: Furnish, files: FileServer) -> None:
    room = await furnish()
    files.pause_s = 0.05
    operation = room.shelf.update(f"{files.url}?X-Signature=secret", NAME)
    await room.until((room.downloads / "update.json").exists)
    written = "".join(
        path.read_text(errors="replace") for path in room.downloads.iterdir() if path.suffix != ".part"
    )
    assert "127.0.0.1" in written
    assert "secret" not in written
    room.shelf.cancel(operation.id)
    await room.ended(operation)


async def test_putting_in_order_happens_once_also_where_two_want_it(furnish: Furnish) -> None:
    room = await furnish()
    room.downloads.mkdir()
    (room.downloads / "update.json").write_text(note(swapping=False))
    await asyncio.gather(room.shelf.recover(), room.shelf.recover())
    assert len(room.reports) == 1


async def test_a_model_that_was_not_there_before_a_crash_is_not_left_untried(furnish: Furnish) -> None:
    room = await furnish()
    names = room.names()
    await room.shelf._client.copy("qwen2.5:3b", "brought:1")
    room.downloads.mkdir()
    (room.downloads / "update.json").write_text(note(model="brought:1", replaces=False))
    await room.shelf.recover()
    await room.refresh()
    assert room.names() == names


async def test_who_answers_while_the_new_one_is_tried_under_its_name_is_known(
    furnish: Furnish, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await furnish()
    before = await digest_of(room)
    client = room.shelf._client
    real = client.answers
    known: list[str] = []

    async def answers(name: str, *, keep_alive: str) -> None:
        if name == NAME:
            known.append({model.name: model.digest for model in room.models}[NAME])
        await real(name, keep_alive=keep_alive)

    monkeypatch.setattr(client, "answers", answers)
    await room.ended(room.shelf.update(files.url, NAME))
    assert known == [await digest_of(room)] != [before]


async def test_halves_of_files_never_take_more_room_than_one_whole_model_may(
    furnish: Furnish, files: FileServer
) -> None:
    room = await furnish(model_update_max_gb=1)
    room.downloads.mkdir()
    for age, name in enumerate(("newest", "older", "oldest")):
        for suffix, size_b in ((".part", 600_000_000), (".note", 10)):
            path = room.downloads / f"{name}{suffix}"
            path.touch()
            os.truncate(path, size_b)
            os.utime(path, (time.time() - age * 60 - 60,) * 2)
    files.content = b"no model at all"
    await room.ended(room.shelf.update(files.url, NAME))
    left = left_over(room.downloads)
    assert "newest.part" in left
    assert "older.part" not in left
    assert "oldest.part" not in left
