"""What is known of every parameter, derived from its declaration.

Rule 1: nothing is declared here; all of it is read off the declaring class. Rule 2: pure; no file, no environment.
Rule 3: a value gets into `Settings` through `parse` and no other way.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, fields
from typing import Any, get_args

from app.settings.declare import DECLARED, Declaration, Who
from app.settings.parameters import Settings
from app.settings.values import Kind, shown


@dataclass(frozen=True, slots=True)
class Parameter:
    """What is known of one parameter before anybody gives it a value."""

    name: str
    kind: str
    """One of the kinds in `values.py`: which editor fits."""
    default: object
    unit: str
    minimum: int | None
    maximum: int | None
    choices: tuple[str, ...]
    label: str
    help: str
    group: str
    restart: bool
    """A change works only after the next start."""
    who: Who
    secret: bool
    env: tuple[str, ...]
    """Its names in the environment, the one that wins first."""
    allowed: str
    """What a value must be, as a clause: «a whole number from 1 to 64»."""
    read: Callable[[object], object]
    """Makes the typed value of what a person writes, before bounds and choices; raises ValueError."""


def _describe(field: Field[Any], prefix: str) -> Parameter:
    declared: Declaration = field.metadata[DECLARED]
    kind: Kind
    typed, kind = get_args(field.type)
    low, high = declared.minimum, declared.maximum
    choices = get_args(typed) if kind.name == "choice" else ()
    allowed = kind.says
    if choices:
        allowed = " or ".join(filter(None, (", ".join(choices[:-1]), choices[-1])))
    if low is not None:
        noun, _, rest = kind.says.partition(" with ")
        allowed = f"{noun} from {low} to {high}" + (f" with {rest}" if rest else "")
    prefixed = f"{prefix}{field.name.upper()}"
    return Parameter(
        name=field.name,
        kind=kind.name,
        default=field.default,
        unit=declared.unit,
        minimum=low,
        maximum=high,
        choices=choices,
        label=declared.label,
        help=declared.help,
        group=declared.group,
        restart=declared.restart,
        who=declared.who,
        secret=kind.secret,
        env=(prefixed, field.name.upper()) if declared.seed else (prefixed,),
        allowed=allowed,
        read=kind.read,
    )


class Catalogue(Mapping[str, Parameter]):
    """The parameters of one program by their names, in the order of their declaration. `prefix` begins the names of all
    in the environment; what begins with one of `others` there is another program's."""

    def __init__(self, declared: type, prefix: str, *, others: tuple[str, ...] = ()) -> None:
        self.prefix = prefix
        self._others = others
        self._all = {field.name: _describe(field, prefix) for field in fields(declared)}

    def __getitem__(self, name: str) -> Parameter:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def parse(self, name: str, value: object) -> object:
        """The typed value of parameter `name`. Raises ValueError with a hint (may be empty) where it is not allowed."""
        parameter = self._all[name]
        typed: Any = parameter.read(value)
        if parameter.choices and typed not in parameter.choices:
            raise ValueError("")
        low, high = parameter.minimum, parameter.maximum
        if (low is not None and typed < low) or (high is not None and typed > high):
            raise ValueError("")
        return typed

    def known_name(self, name: str) -> str | None:
        """The parameter meant by `name` in lower or upper case, or None."""
        lower = name.lower()
        return lower if lower in self._all and name in (lower, name.upper()) else None

    def likely_name(self, name: str, likeness: float = 0.75) -> str | None:
        """The parameter that a mistyped `name` most likely means, or None; `likeness` from 0 to 1 is how sure to be."""
        bare = name.lower().removeprefix(self.prefix.lower()).replace("-", "_")
        return next(iter(difflib.get_close_matches(bare, self._all, n=1, cutoff=likeness)), None)

    def claims(self, variable: str) -> bool:
        """Whether a variable of the environment can only be meant for this program, known or not."""
        return variable.startswith(self.prefix) and not variable.startswith(self._others)


PARAMETERS = Catalogue(Settings, "MORTDECAI_", others=("MORTDECAI_RECEIVER_",))
"""Those of the gateway, in the order of the settings window."""


def parse(name: str, value: object) -> object:
    """`PARAMETERS.parse`."""
    return PARAMETERS.parse(name, value)


def contradiction(settings: Settings) -> tuple[str, str] | None:
    """Two values that are fine alone and wrong together, as (parameter, sentence), or None."""
    for low, high in (("gpu_idle_watts", "gpu_load_watts"), ("system_idle_watts", "system_inference_watts")):
        if getattr(settings, high) < getattr(settings, low):
            return high, (
                f"{high} ({shown(getattr(settings, high))}) is below {low} ({shown(getattr(settings, low))}), so "
                "work would cost less than rest: raise the first or lower the second."
            )
    return None
