"""The simulator's tests talk to it as any client does: through the same fixtures as the engine's."""

from tests.engine.conftest import engine, serve, simulator

__all__ = ["engine", "serve", "simulator"]
