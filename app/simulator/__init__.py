"""An Ollama look-alike for demonstrations and tests: honest timings, no model, and it says so."""

from app.simulator.engine import SimulatorEngine
from app.simulator.faults import Faults
from app.simulator.library import Library
from app.simulator.physics import SimulatedGpu, SimulatedGpuState
from app.simulator.server import VERSION, Simulator

__all__ = [
    "VERSION",
    "Faults",
    "Library",
    "SimulatedGpu",
    "SimulatedGpuState",
    "Simulator",
    "SimulatorEngine",
]
