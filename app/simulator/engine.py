"""The simulator as an inference engine: the same client as for the real Ollama, saying that it is a simulation."""

from __future__ import annotations

from app.engine.ollama import OllamaEngine


class SimulatorEngine(OllamaEngine):
    """The simulator at `url` (see `base.Engine`). Who started the simulator stops it."""

    name = "Simulator"
    kind = "simulator"
    simulated = True
