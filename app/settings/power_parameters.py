"""What measures power: which GPUs are metered, and the plug at the wall."""

from dataclasses import dataclass
from typing import Annotated, Literal

from app.settings import power_values, values
from app.settings.declare import BaseUrl, parameter

Gpus = Annotated[tuple[str, ...], power_values.GPUS]
Entity = Annotated[str, power_values.ENTITY]
PlugName = Annotated[Literal["off", "shelly", "tasmota", "homeassistant"], values.CHOICE]


@dataclass(frozen=True, kw_only=True)
class PowerSettings:
    """Sensors."""

    metered_gpus: Gpus = parameter(
        (),
        "GPUs that are metered",
        "By the ids that `mortdecai-gateway power` shows. Empty: all of the first maker's that compute.",
        group="Power",
        restart=True,
    )
    plug: PlugName = parameter(
        "off",
        "Plug at the wall",
        "What measures the whole machine, for `power` and `power calibrate`: a Shelly, a Tasmota, or Home Assistant.",
        group="Power",
    )
    plug_url: BaseUrl = parameter(
        "http://127.0.0.1:8123",
        "Address of the plug",
        "Where the plug, or Home Assistant, answers in your network.",
        group="Power",
    )
    plug_entity: Entity = parameter(
        "",
        "Entity of the plug",
        "For Home Assistant: what tells the power, such as sensor.desk_power.",
        group="Power",
    )
