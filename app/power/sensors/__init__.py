"""Power sensors: one protocol, one file a vendor, one probe."""

from app.power.sensors.base import NullSensor, Reading, Sensor, SensorError, SensorInfo
from app.power.sensors.probe import probe_sensors
from app.power.sensors.simulated import SimulatedCard, SimulatedSensor

__all__ = [
    "NullSensor",
    "Reading",
    "Sensor",
    "SensorError",
    "SensorInfo",
    "SimulatedCard",
    "SimulatedSensor",
    "probe_sensors",
]
