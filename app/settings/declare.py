"""The words that parameters are declared in: their types, and what is said of each.

Rule: a type is a Python type, the reader that makes it from what a person writes, and the kind that the faces see.
"""

from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

from app.settings import network_values, price_values, values

Who = Literal["operator", "nobody"]
"""Who may change a parameter while the gateway runs. `nobody`: only before a start."""

Watts = Annotated[float, values.NUMBER]
Money = Annotated[Decimal, values.MONEY]
Ratio = Annotated[Decimal, values.RATIO]
Whole = Annotated[int, values.WHOLE]
Flag = Annotated[bool, values.FLAG]
Host = Annotated[str, values.HOST]
BaseUrl = Annotated[str, values.BASE_URL]
OptionalUrl = Annotated[str, values.OPTIONAL_URL]
Callback = Annotated[str, values.CALLBACK]
Models = Annotated[tuple[str, ...], values.MODELS]
Model = Annotated[str, values.MODEL]
Image = Annotated[str, values.IMAGE]
Daemon = Annotated[str, values.DAEMON]
Ports = Annotated[tuple[int, ...], values.PORTS]
Fields = Annotated[tuple[str, ...], values.FIELDS]
Hosts = Annotated[tuple[str, ...], values.HOSTS]
Networks = Annotated[tuple[str, ...], network_values.NETWORKS]
Origins = Annotated[tuple[str, ...], network_values.ORIGINS]
File = Annotated[str, network_values.FILE]
Tls = Annotated[Literal["off", "own", "files"], values.CHOICE]
EngineKind = Annotated[Literal["endpoint", "container"], values.CHOICE]
Processor = Annotated[Literal["auto", "nvidia", "rocm", "cpu"], values.CHOICE]
Public = Annotated[Literal["off", "quick", "named"], values.CHOICE]
Secret = Annotated[str, values.SECRET]
Zone = Annotated[str, values.ZONE]
CapPeriod = Annotated[Literal["total", "day", "week", "month"], values.CHOICE]
Line = Annotated[str, values.LINE]
Database = Annotated[str, values.DATABASE]
Template = Annotated[str, values.TEMPLATE]
TariffKind = Annotated[Literal["flat", "hours", "tiers", "series"], values.CHOICE]
Hours = Annotated[str, price_values.HOURS]
Holidays = Annotated[str, price_values.HOLIDAYS]
Tiers = Annotated[str, price_values.TIERS]
Currency = Annotated[str, values.CURRENCY]
EnergyBy = Annotated[Literal["sensor", "formula"], values.CHOICE]
Mode = Annotated[Literal["marginal", "dedicated"], values.CHOICE]
VaultKind = Annotated[Literal["keyring", "file", "memory"], values.CHOICE]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], values.LEVEL]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is said of one parameter besides its name, its type and its default."""

    label: str
    help: str
    group: str
    unit: str
    minimum: int | None
    maximum: int | None
    restart: bool
    who: Who
    seed: bool


DECLARED = "declared"
"""Where a dataclass's field carries its Declaration."""


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
    declared = Declaration(label, help, group, unit, ge, le, restart, who, seed)
    return field(default=default, metadata={DECLARED: declared})


class Declared:
    """Mixed into a dataclass of parameters, so that its repr keeps secrets out of logs and tracebacks."""

    def __repr__(self) -> str:
        said = []
        for each in fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            secret = any(isinstance(kind, values.Kind) and kind.secret for kind in get_args(each.type))
            said.append(f"{each.name}={values.MASK if secret and value else value!r}")
        return f"{type(self).__name__}({', '.join(said)})"
