"""The simulator as an inference engine: the same client as for the real Ollama, saying that it is a simulation."""

from __future__ import annotations

from app.engine.ollama import OllamaEngine


class SimulatorEngine(OllamaEngine):
    """The simulator at `url` (see `base.Engine`). Who started the simulator stops it."""

    def __init__(self, url: str, *, silence_s: float = 600.0, connect_s: float = 5.0) -> None:
        super().__init__(url, silence_s=silence_s, connect_s=connect_s)
        self.name = "Simulator"
        self.kind = "simulator"
        self.simulated = True
