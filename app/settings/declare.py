"""The words that parameters are declared in: their types, and what is said of each.

Rule: a type is a Python type, the reader that makes it from what a person writes, and the kind that the faces see.
"""

import os
from decimal import Decimal
from typing import Annotated, Any, Literal

# pydantic looks through every installed distribution for plugins when the first model is built: 14 ms of the start,
# and a way for a foreign package to read secrets.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from pydantic import BeforeValidator, Field

from app.settings import values

Who = Literal["operator", "nobody"]
"""Who may change a parameter while the gateway runs. `nobody`: only before a start."""

Watts = Annotated[float, BeforeValidator(values.NUMBER.read), values.NUMBER]
Money = Annotated[Decimal, BeforeValidator(values.MONEY.read), values.MONEY]
Ratio = Annotated[Decimal, BeforeValidator(values.RATIO.read), values.RATIO]
Whole = Annotated[int, BeforeValidator(values.WHOLE.read), values.WHOLE]
Flag = Annotated[bool, BeforeValidator(values.FLAG.read), values.FLAG]
Host = Annotated[str, BeforeValidator(values.HOST.read), values.HOST]
BaseUrl = Annotated[str, BeforeValidator(values.BASE_URL.read), values.BASE_URL]
OptionalUrl = Annotated[str, BeforeValidator(values.OPTIONAL_URL.read), values.OPTIONAL_URL]
Callback = Annotated[str, BeforeValidator(values.CALLBACK.read), values.CALLBACK]
Models = Annotated[tuple[str, ...], BeforeValidator(values.MODELS.read), values.MODELS]
Model = Annotated[str, BeforeValidator(values.MODEL.read), values.MODEL]
Image = Annotated[str, BeforeValidator(values.IMAGE.read), values.IMAGE]
Daemon = Annotated[str, BeforeValidator(values.DAEMON.read), values.DAEMON]
Ports = Annotated[tuple[int, ...], BeforeValidator(values.PORTS.read), values.PORTS]
Fields = Annotated[tuple[str, ...], BeforeValidator(values.FIELDS.read), values.FIELDS]
Hosts = Annotated[tuple[str, ...], BeforeValidator(values.HOSTS.read), values.HOSTS]
EngineKind = Annotated[Literal["endpoint", "container"], BeforeValidator(values.CHOICE.read), values.CHOICE]
Processor = Annotated[
    Literal["auto", "nvidia", "rocm", "cpu"], BeforeValidator(values.CHOICE.read), values.CHOICE
]
Public = Annotated[Literal["off", "quick", "named"], BeforeValidator(values.CHOICE.read), values.CHOICE]
Secret = Annotated[str, BeforeValidator(values.SECRET.read), values.SECRET]
Currency = Annotated[str, BeforeValidator(values.CURRENCY.read), values.CURRENCY]
Mode = Annotated[Literal["marginal", "dedicated"], BeforeValidator(values.CHOICE.read), values.CHOICE]
VaultKind = Annotated[
    Literal["keyring", "file", "memory"], BeforeValidator(values.CHOICE.read), values.CHOICE
]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(values.LEVEL.read), values.LEVEL
]


def parameter(
    default: object,
    label: str,
    help: str,
    *,
    group: str,
    unit: str = "",
    ge: int | None = None,
    le: int | None = None,
    restart: bool = False,
    who: Who = "operator",
    seed: bool = False,
) -> Any:
    """One declaration; `seed` parameters keep their bare upper-case name in the environment."""
    about: dict[str, Any] = {"group": group, "unit": unit, "restart": restart, "who": who, "seed": seed}
    return Field(default, title=label, description=help, ge=ge, le=le, json_schema_extra=about)
