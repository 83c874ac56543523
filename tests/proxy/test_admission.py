"""A request that is turned away because of the engine has the engine asked again, so that being turned away ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from aiohttp import web

from app.access.principals import Principal
from app.access.refusals import Refusal
from app.engine.base import EngineUnreachable
from app.engine.health import EngineWatch
from app.presence.blockers import Blocker, Weight
from app.proxy.admission import Admission, Policy
from app.proxy.dialects.ollama import CHAT
from app.proxy.models import Models

DOWN = Blocker("engine_down", "No engine answers.", "Start it.", Weight.FAULT, retry_after_s=15)
POLICY = Policy(max_body_b=1 << 20, max_output_tokens=100, allowed_models=frozenset())


class Dead:
    """An engine that does not answer."""

    native = True
    asked = 0

    async def version(self) -> str:
        self.asked += 1
        raise EngineUnreachable("Nothing answers there.")


async def test_an_engine_that_nobody_looks_at_is_asked_again_for_a_request_that_it_keeps_out() -> None:
    due: list[Callable[[], None]] = []
    engine = Dead()

    def later(_: float, call: Callable[[], None]) -> Any:
        due.append(call)
        return cast(Any, type("Timer", (), {"cancel": lambda self: None})())

    watch = EngineWatch(cast(Any, engine), later=later)
    await watch.refresh()
    while due:  # every try of its own, after which it rests
        before = engine.asked
        due.pop()()
        if watch.asking:
            await watch.refresh()
        if engine.asked == before:
            break
    rested = engine.asked
    admission = Admission(lambda: DOWN, Models(watch), lambda: POLICY)
    with pytest.raises(Refusal, match="No engine answers"):
        await admission.admit(cast(web.BaseRequest, None), CHAT, cast(Principal, None))
    assert watch.asking
    await watch.refresh()
    assert engine.asked == rested + 1
    await watch.close()
