"""An Ollama look-alike for demonstrations and tests: honest timings, no model, and it says so."""

from app.engine.simulator.engine import SimulatorEngine
from app.engine.simulator.faults import Faults
from app.engine.simulator.library import Library
from app.engine.simulator.physics import SimulatedGpu, SimulatedGpuState
from app.engine.simulator.server import VERSION, Simulator

__all__ = [
    "VERSION",
    "Faults",
    "Library",
    "SimulatedGpu",
    "SimulatedGpuState",
    "Simulator",
    "SimulatorEngine",
]
