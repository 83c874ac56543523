"""An update that is cancelled, or whose gateway is killed, at every single step: the model answers all the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from app.models.base import Outcome
from app.models.names import is_passing
from app.models.shelf import Shelf
from app.models.source import Rules
from app.models.updates import Ended, Updates, Wanted
from tests.models.conftest import Furnish, Room
from tests.models.file_server import GGUF, FileServer

NAME = "mortdecai:0.5.0"
BROUGHT = "brought:1"


@pytest.fixture
async def files() -> AsyncIterator[FileServer]:
    server = await FileServer(content=GGUF[:40_000]).start()
    yield server
    await server.stop()


class Stepped:
    """Awaits `work` and counts how often that has to wait; `at` so many times `then` is called."""

    def __init__(self, work: Awaitable[Any], at: int, then: Callable[[], None]) -> None:
        self._work = work
        self._at = at
        self._then = then
        self.steps = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._work.__await__()
        step = lambda: next(inner)  # noqa: E731 - it is replaced in turn
        while True:
            try:
                waited_for = step()
            except StopIteration as ended:
                return ended.value
            self.steps += 1
            if self.steps == self._at:
                self._then()
            try:
                came = yield waited_for
            except BaseException as error:
                thrown = error
                step = lambda thrown=thrown: inner.throw(thrown)  # type: ignore[misc]  # noqa: E731
            else:
                step = lambda came=came: inner.send(came)  # type: ignore[misc]  # noqa: E731


async def digest_of(room: Room, name: str) -> str:
    await room.refresh()
    return {model.name: model.digest for model in room.models}.get(name, "")


async def answers(room: Room, name: str) -> bool:
    body = {"model": name, "prompt": "hi", "stream": False, "keep_alive": 0}
    reply = await room.engine.post("/api/generate", json.dumps(body).encode())
    return bool(json.loads(await reply.read()).get("done"))


def stepping(monkeypatch: pytest.MonkeyPatch, at: int, then: Callable[[], None]) -> list[Stepped]:
    """Have the updates stepped through; the last one is in the list."""
    run = Updates.run
    seen: list[Stepped] = []

    async def stepped(self: Updates, *given: Any) -> str:
        seen.append(Stepped(run(self, *given), at, then))
        return str(await seen[-1])

    monkeypatch.setattr(Updates, "run", stepped)
    return seen


def heedless(monkeypatch: pytest.MonkeyPatch, shelf: Shelf) -> None:
    """The engine carries out what it was asked for, a moment later, whether anybody still waits or not."""

    def late(name: str) -> None:
        real = getattr(shelf._client, name)

        async def carried_out(*given: Any) -> None:
            # What gives the new one its name is overtaken by what would take it away again.
            swaps = name == "copy" and given[0].endswith("-gateway-new")
            await asyncio.sleep({"delete": 0.025}.get(name, 0.015 if swaps else 0.0))
            await real(*given)

        async def asked(*given: Any) -> None:
            await asyncio.shield(asyncio.ensure_future(carried_out(*given)))

        monkeypatch.setattr(shelf._client, name, asked)

    for name in ("create", "copy", "delete"):
        late(name)


@pytest.mark.parametrize("name", [NAME, BROUGHT], ids=["it was there", "it was not there"])
@pytest.mark.parametrize("how", ["once", "again and again", "while the engine goes on"])
async def test_cancelled_at_any_step_the_model_is_the_old_one_or_the_new_one_and_never_anything_else(
    furnish: Furnish, files: FileServer, monkeypatch: pytest.MonkeyPatch, name: str, how: str
) -> None:
    room = await furnish()
    loop = asyncio.get_running_loop()
    if how == "while the engine goes on":
        heedless(monkeypatch, room.shelf)
    at = outcomes = 0
    done = False
    while not done:
        at += 1
        if await digest_of(room, BROUGHT):
            await room.shelf.delete(BROUGHT)
        before, names = await digest_of(room, name), room.names()
        # Another file each time: what the engine has already would be another way through.
        files.content = GGUF[: 40_000 + at]
        files.etag = f'"{at}"'

        def cancel() -> None:
            for operation in room.shelf.operations()[:1]:
                room.shelf.cancel(operation.id)
                if how == "again and again":
                    loop.call_later(0.001, room.shelf.cancel, operation.id)
                    loop.call_later(0.003, room.shelf.cancel, operation.id)

        room.reports.clear()
        with monkeypatch.context() as patch:
            seen = stepping(patch, at, cancel)
            last = await room.ended(room.shelf.update(files.url, name))
        done = seen[-1].steps < at
        if how == "while the engine goes on":
            await asyncio.sleep(0.035)
        after = await digest_of(room, name)
        assert len(room.reports) == 1, at
        if last.outcome is Outcome.CANCELLED:
            outcomes += 1
            assert (after, room.names()) == (before, names), at
            assert room.reports[0].outcome is Ended.CANCELLED, at
        else:
            assert last.outcome is Outcome.DONE, (at, last.sentence)
            assert after not in ("", before), at
            assert (room.reports[0].outcome, room.reports[0].digest) == (Ended.UPDATED, after), at
        assert not [one for one in room.names() if is_passing(one)], at
        assert not (room.downloads / "update.json").exists(), at
        if after:
            assert await answers(room, name), at
    assert outcomes > 20, "the steps were really stepped through"


class _Killed(BaseException):
    """Nothing is done any more."""


def gated(monkeypatch: pytest.MonkeyPatch, shelf: Shelf, left: list[int]) -> None:
    """From now on only `left` more things happen to the engine's models and to the note; then nothing at all."""

    def gate(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def gone() -> None:
            if left[0] == 0:
                raise _Killed
            left[0] -= 1

        if asyncio.iscoroutinefunction(real):

            async def later(*given: Any, **named: Any) -> Any:
                gone()
                return await real(*given, **named)

            monkeypatch.setattr(owner, name, later)
        else:

            def now(*given: Any) -> Any:
                gone()
                return real(*given)

            monkeypatch.setattr(owner, name, now)

    import app.models.updates as module

    for name in ("push_blob", "create", "copy", "delete", "answers"):
        gate(shelf._client, name)
    for name in ("write_note", "remove_note"):
        gate(module, name)


@pytest.mark.parametrize("name", [NAME, BROUGHT], ids=["it was there", "it was not there"])
@pytest.mark.parametrize("fails", [False, True], ids=["it works", "it does not answer under its name"])
async def test_killed_at_any_step_the_next_start_finds_one_model_and_says_which(
    furnish: Furnish,
    files: FileServer,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    fails: bool,
    tmp_path: Path,
) -> None:
    room = await furnish()
    rules = Rules(("127.0.0.1",), http=True, most_b=10**9)
    step = -1
    killed = True
    said: set[Ended] = set()
    while killed:
        step += 1
        if await digest_of(room, BROUGHT):
            await room.shelf.delete(BROUGHT)
        before, names = await digest_of(room, name), room.names()
        files.content, files.etag = GGUF[: 40_000 + step], f'"{step}"'
        left = [step]
        room.reports.clear()

        async def audit(report: Any, left: list[int] = left) -> None:
            if left[0] == 0:
                raise _Killed
            room.reports.append(report)

        with monkeypatch.context() as patch:
            if fails:
                real = room.shelf._client.answers

                async def silent(asked: str, *, keep_alive: str, real: Any = real) -> None:
                    await real(asked if asked != name else "no-such:model", keep_alive=keep_alive)

                patch.setattr(room.shelf._client, "answers", silent)
            gated(patch, room.shelf, left)
            killed = False
            try:
                await room.shelf._updates.run(
                    Wanted(files.url, name, "", "k_1"), rules, lambda *_: None, audit
                )
            except _Killed:
                killed = True
            except Exception:
                assert fails, step
        begun = step > 0
        await room.shelf.recover()
        after = await digest_of(room, name)
        assert not [one for one in room.names() if is_passing(one)], step
        assert not (room.downloads / "update.json").exists(), step
        assert 1 <= len(room.reports) <= 2 if begun else not room.reports, step
        for report in room.reports:
            said.add(report.outcome)
            assert report.outcome is (Ended.UPDATED if after not in ("", before) else Ended.FAILED), step
            assert (report.model, report.by) == (name, "k_1")
        if not begun or not room.reports or room.reports[0].outcome is Ended.FAILED:
            assert (after, room.names()) == (before, names), step
        else:
            assert room.reports[0].digest == after, step
        if after:
            assert await answers(room, name), step
    assert step > 8
    assert said == ({Ended.FAILED} if fails else {Ended.FAILED, Ended.UPDATED})
