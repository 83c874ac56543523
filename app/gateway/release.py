"""Giving the GPU back: unload the models that were used through us, see that their memory went, and say so.

Rule 1: the engine's word is not enough. Where a sensor reads the GPU's memory, it must have fallen too.
Rule 2: an engine that has no way to give memory back says so in its own sentence, and nothing is called released.
Rule 3: what somebody else loaded into that engine is theirs: it is named, and unloaded only where that is asked for.
Rule 4: it ends. What has not gone after `patience_s` is reported as not gone, in one sentence with a next step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from app.engine.base import CannotUnload, Engine, EngineError, Loaded

PATIENCE_S = 15.0
LOOK_S = 0.1
ENOUGH = 0.8
"""Of what the engine says it held, so much must show as free: its figure is an estimate."""
SMALL_B = 256 << 20
"""Less than this cannot be told from what a screen takes and gives back all the time."""

MemoryUsed = Callable[[], Awaitable[int | None]]
"""Bytes of the GPU's memory in use by everything, as read now; None where nobody can say."""


@dataclass(frozen=True, slots=True)
class Released:
    """What came of it. `sentence` is None where there was nothing to give back."""

    models: tuple[str, ...]
    """Those that are gone."""
    left: tuple[str, ...]
    """Those that are still there."""
    freed_b: int
    """By the GPU's own figure where there is one, otherwise by the engine's."""
    confirmed: bool | None
    """Whether the GPU's own memory figure agrees; None where there is none."""
    sentence: str | None
    others: tuple[str, ...] = ()
    """Those that were left alone, since nobody used them through us."""


NOTHING = Released((), (), 0, None, None)
"""There was nothing to give back."""


def everything(_: str) -> bool:
    """All that the engine holds is ours to unload."""
    return True


async def release(
    engine: Engine,
    memory_used: MemoryUsed,
    ours: Callable[[str], bool] = everything,
    *,
    patience_s: float = PATIENCE_S,
) -> Released:
    """Unload the models whose names are `ours` and wait until they are gone. Never raises EngineError."""
    try:
        present = await engine.loaded()
        if not engine.frees_memory:
            return await _kept(engine, present)
        loaded = tuple(model for model in present if ours(model.name))
        others = tuple(model for model in present if not ours(model.name))
        if not loaded:
            return replace(NOTHING, sentence=_alone(others), others=_names(others))
        before_b = await memory_used()
        await asyncio.gather(*(engine.unload(model.name) for model in loaded))
        held_b = sum(model.vram_b for model in loaded)
        left: tuple[Loaded, ...] = loaded
        after_b = before_b
        # No engine answers exactly at a deadline, so the last look is the one that counts.
        last_look = asyncio.get_running_loop().time() + patience_s
        while True:
            left = tuple(model for model in await engine.loaded() if ours(model.name))
            after_b = await memory_used() if before_b is not None else None
            if not left and _fell(before_b, after_b, held_b):
                break
            if asyncio.get_running_loop().time() >= last_look:
                break
            await asyncio.sleep(LOOK_S)
    except EngineError as error:
        return Released((), (), 0, None, f"The GPU's memory may still be in use: {error}")
    came = _report(loaded, left, before_b, after_b)
    said = " ".join(sentence for sentence in (came.sentence, _alone(others)) if sentence is not None)
    return replace(came, sentence=said or None, others=_names(others))


def _alone(others: tuple[Loaded, ...]) -> str | None:
    """What is said of the models that were left where they are."""
    if not others:
        return None
    shown = ", ".join(
        f"{model.name} ({gb(model.vram_b)})" if model.vram_b else model.name for model in others
    )
    was = "was loaded without us and stays" if len(others) == 1 else "were loaded without us and stay"
    return f"{shown} {was} there."


def _names(models: tuple[Loaded, ...]) -> tuple[str, ...]:
    return tuple(sorted(model.name for model in models))


async def _kept(engine: Engine, loaded: tuple[Loaded, ...]) -> Released:
    """What an engine says that keeps what it has, also where it does not tell what that is."""
    names = tuple(sorted(model.name for model in loaded))
    try:
        await engine.unload(names[0] if names else "")
    except CannotUnload as error:
        return Released((), names, 0, None, str(error))
    # Another program has taken its place meanwhile, and nothing of it was looked at.
    return NOTHING


def _fell(before_b: int | None, after_b: int | None, held_b: int) -> bool:
    """Whether the GPU's memory figure agrees that `held_b` went; where there is no figure it cannot disagree."""
    if before_b is None or after_b is None or held_b < SMALL_B:
        return True
    return before_b - after_b >= ENOUGH * held_b


def _report(
    loaded: tuple[Loaded, ...], left: tuple[Loaded, ...], before_b: int | None, after_b: int | None
) -> Released:
    still = {model.name for model in left}
    gone = tuple(model.name for model in loaded if model.name not in still)
    gone_b = sum(model.vram_b for model in loaded if model.name not in still)
    measured_b = None if before_b is None or after_b is None else max(0, before_b - after_b)
    names = ", ".join(sorted(still))
    if still:
        verb = "uses" if len(still) == 1 else "use"
        sentence = (
            f"{names} could not be unloaded and still {verb} the GPU's memory. Stop the engine to free it."
        )
        return Released(gone, tuple(sorted(still)), measured_b or 0, measured_b is not None, sentence)
    if measured_b is None or gone_b < SMALL_B:
        told = f"Released {gb(gone_b)} of the GPU's memory, by the engine's own figure."
        return Released(gone, (), gone_b, None, told if gone_b else None)
    if not _fell(before_b, after_b, gone_b):
        sentence = (
            f"The engine unloaded {', '.join(gone)}, but the GPU's memory still holds {gb(after_b or 0)}. "
            "Close what else uses the GPU, or stop the engine."
        )
        return Released(gone, (), measured_b, False, sentence)
    return Released(gone, (), measured_b, True, f"Released {gb(measured_b)} of the GPU's memory.")


def gb(size_b: int) -> str:
    """Bytes in words."""
    return f"{size_b / 1e9:.1f} GB"
