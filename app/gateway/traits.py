"""From the engine and the settings to what the queue knows of the engine."""

from __future__ import annotations

from app.gateway.upstream import Upstream
from app.proxy.engine_room import EngineTraits
from app.settings.parameters import Settings


def traits_of(upstream: Upstream, settings: Settings) -> EngineTraits:
    """What somebody said of it: the setting, or we ourselves where it is our own; otherwise nobody did."""
    engine, state = upstream.engine, upstream.watch.state
    ours = upstream.host.managed or engine.simulated
    return EngineTraits(
        identity=(engine.url, state.version or ""),
        width=settings.engine_parallel or (1 if ours else None),
        # The simulator's card works on so many requests whatever their models; other engines tell no models apart.
        by_model=engine.native and not engine.simulated,
        loaded=frozenset(model.name for model in state.loaded),
    )
