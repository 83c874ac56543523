"""What is known of every parameter, derived from its declaration.

Rule 1: nothing is declared here; all of it is read off `Settings`. Rule 2: pure; no file, no environment.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from app.settings import values
from app.settings.declare import Who
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


def _describe(name: str) -> Parameter:
    field = Settings.model_fields[name]
    kind = next(item for item in field.metadata if isinstance(item, Kind))
    low = next((item.ge for item in field.metadata if hasattr(item, "ge")), None)
    high = next((item.le for item in field.metadata if hasattr(item, "le")), None)
    choices = get_args(field.annotation) if kind.name == "choice" else ()
    allowed = kind.says
    if choices:
        allowed = " or ".join(filter(None, (", ".join(choices[:-1]), choices[-1])))
    if low is not None:
        noun, _, rest = kind.says.partition(" with ")
        allowed = f"{noun} from {low} to {high}" + (f" with {rest}" if rest else "")
    about: Any = field.json_schema_extra
    prefixed = f"MORTDECAI_{name.upper()}"
    return Parameter(
        name=name,
        kind=kind.name,
        default=field.default,
        unit=about["unit"],
        minimum=low,
        maximum=high,
        choices=choices,
        label=field.title or name,
        help=field.description or "",
        group=about["group"],
        restart=about["restart"],
        who=about["who"],
        secret=kind is values.SECRET,
        env=(prefixed, name.upper()) if about["seed"] else (prefixed,),
        allowed=allowed,
    )


PARAMETERS: Mapping[str, Parameter] = {name: _describe(name) for name in Settings.model_fields}
"""Every parameter by its name, in the order of the settings window."""


def parse(name: str, value: object) -> object:
    """The typed value of parameter `name`. Raises ValueError with a hint (may be empty) where it is not allowed."""
    try:
        return getattr(Settings.model_validate({name: value}), name)
    except ValidationError as error:
        cause = error.errors(include_url=False, include_input=False)[0].get("ctx", {}).get("error")
        raise ValueError(str(cause or "")) from None


def contradiction(settings: Settings) -> tuple[str, str] | None:
    """Two values that are fine alone and wrong together, as (parameter, sentence), or None."""
    for low, high in (("gpu_idle_watts", "gpu_load_watts"), ("system_idle_watts", "system_inference_watts")):
        if getattr(settings, high) < getattr(settings, low):
            return high, (
                f"{high} ({shown(getattr(settings, high))}) is below {low} ({shown(getattr(settings, low))}), so "
                "work would cost less than rest: raise the first or lower the second."
            )
    return None


def known_name(name: str) -> str | None:
    """The parameter meant by `name` in lower or upper case, or None."""
    lower = name.lower()
    return lower if lower in PARAMETERS and name in (lower, name.upper()) else None


def likely_name(name: str, likeness: float = 0.75) -> str | None:
    """The parameter that a mistyped `name` most likely means, or None; `likeness` from 0 to 1 is how sure to be."""
    bare = name.lower().removeprefix("mortdecai_").replace("-", "_")
    return next(iter(difflib.get_close_matches(bare, PARAMETERS, n=1, cutoff=likeness)), None)
