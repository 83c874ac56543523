"""The one signal to the faces: soon, once for what happened in one turn, and for everything that must be instant."""

from __future__ import annotations

import asyncio

from app.gateway.changes import Changes
from tests.gateway.conftest import House


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_several_changes_in_one_turn_make_one_call_and_later_ones_another() -> None:
    changes = Changes()
    heard: list[int] = []
    changes.connect(lambda: heard.append(1))
    changes()
    changes()
    assert heard == []
    await turn()
    assert heard == [1]
    changes()
    await turn()
    assert heard == [1, 1]


async def test_a_face_that_has_gone_hears_nothing_any_more() -> None:
    changes = Changes()
    heard: list[int] = []
    leave = changes.connect(lambda: heard.append(1))
    changes()
    leave()
    await turn()
    assert heard == []


async def test_faces_hear_of_every_wish_of_the_cap_and_that_a_blocker_came_and_went(house: House) -> None:
    heard: list[str | None] = []
    gateway = house.gateway

    def look() -> None:
        blocker = gateway.snapshot().blocker
        heard.append(None if blocker is None else blocker.code)

    gateway.on_changed(look)
    for say, code in (
        (gateway.duty.pause_now, "paused"),
        (lambda: gateway.duty.snooze(3600), "snoozed"),
        (gateway.duty.contribute, None),
        (gateway.duty.finish_then_pause, "paused"),
        (gateway.duty.contribute, None),
    ):
        heard.clear()
        say()
        await turn()
        assert heard
        assert heard[0] == code
    heard.clear()
    await gateway.settings.set_cap(0)
    await turn()
    assert heard[-1] == "cap_reached"
    heard.clear()
    await gateway.settings.set_cap(10**12)
    await turn()
    assert heard[-1] is None
