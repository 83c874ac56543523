"""Where values come from: the command line, the environment, an environment file, the settings file.

Rule 1: a source gives names and parsed values, each with the place to correct it; which source wins is decided in
`store.py`. Rule 2: nothing is passed over in silence. What is unknown or invalid is a SettingError; what an
environment file holds for other programs is listed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from app.settings.catalogue import PARAMETERS, Catalogue
from app.settings.errors import SettingError
from app.settings.files import others_can_read, read_text
from app.settings.migrations import CURRENT, MIGRATIONS, VERSION, Migration, migrate
from app.settings.values import MASK, shown

RESERVED = frozenset({"MORTDECAI_HOME"})
"""Names in the environment that begin like a parameter's and are something else (see `folders.py`)."""


class Source(StrEnum):
    """Who gave a value; the earlier one wins."""

    RUNNING = "running"
    """Changed since the start, above a command line or an environment that will win again at the next start."""
    COMMAND_LINE = "command line"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Given:
    """One valid value and where it stands: `where` completes «is … », as in «in /x/settings.toml, line 3»."""

    value: object
    source: Source
    where: str


Layer = Mapping[str, Given]


def checked(name: str, value: object, where: str, remedy: str, catalogue: Catalogue = PARAMETERS) -> object:
    """The typed value of parameter `name`, or a SettingError that says what is wrong, where, and what to do."""
    parameter = catalogue[name]
    try:
        return catalogue.parse(name, value)
    except ValueError as error:
        hint = f" ({error})" if str(error) else ""
        said = MASK if parameter.secret else shown(value)
        raise SettingError(
            f"{name} is {said} {where}, but it must be {parameter.allowed}{hint}: {remedy}.", name
        ) from None


def unknown(
    name: str, where: str, remedy: str, *, variable: bool = False, catalogue: Catalogue = PARAMETERS
) -> SettingError:
    """There is no parameter `name`; where one like it is known, it is said as a name or as a `variable`."""
    meant = catalogue.likely_name(name)
    question = ""
    if meant:
        question = f"; {catalogue[meant].env[-1] if variable else meant} may be meant"
    said = name if name.isprintable() and len(name) <= 60 else shown(name)
    return SettingError(f"There is no setting {said} (found {where}){question}: {remedy}.", name)


def from_command_line(options: Mapping[str, object], catalogue: Catalogue = PARAMETERS) -> Layer:
    """Options by parameter name; None means not given."""
    where, remedy = "on the command line", "correct it or leave it out"
    layer = {}
    for given, value in options.items():
        if value is None:
            continue
        name = catalogue.known_name(given)
        if name is None:
            raise unknown(given, where, remedy, catalogue=catalogue)
        layer[name] = Given(checked(name, value, where, remedy, catalogue), Source.COMMAND_LINE, where)
    return layer


def from_environment(environment: Mapping[str, str], catalogue: Catalogue = PARAMETERS) -> Layer:
    """Parameters among the process's variables. An empty variable counts as not set, as in Docker Compose."""
    layer = {}
    for name, parameter in catalogue.items():
        variable = next((variable for variable in parameter.env if environment.get(variable)), None)
        if variable is not None:
            where = _variable(variable, "in the environment")
            value = checked(name, environment[variable], where, "correct or unset that variable", catalogue)
            layer[name] = Given(value, Source.ENVIRONMENT, where)
    for variable in environment:
        if catalogue.claims(variable) and not _is_ours(variable, catalogue):
            raise unknown(
                variable,
                "in the environment",
                "correct or unset that variable",
                variable=True,
                catalogue=catalogue,
            )
    return layer


def from_env_file(path: Path, catalogue: Catalogue = PARAMETERS) -> tuple[Layer, tuple[str, ...]]:
    """Parameters in a `.env` file, and the names in it that are other programs' business.

    A name that is nearly one of ours is refused: a mistyped cap would otherwise silently be the default.
    """
    # Only who uses such a file pays for the import.
    import io

    from dotenv.parser import parse_stream

    found: dict[str, tuple[str, int]] = {}
    others: dict[str, None] = {}
    for binding in parse_stream(io.StringIO(read_text(path, "The environment file"))):
        line = binding.original.line + _leading_lines(binding.original.string)
        if binding.error:
            raise SettingError(
                f"The environment file {path} cannot be understood at line {line}: write NAME=value there, with "
                "matching quotation marks, or remove the line."
            )
        if binding.key is None:
            continue
        if _is_ours(binding.key, catalogue):
            found[binding.key] = (binding.value or "", line)
        elif catalogue.claims(binding.key) or _is_nearly_ours(binding.key, catalogue):
            raise unknown(
                binding.key,
                f"in {path}, line {line}",
                "correct or remove that line",
                variable=True,
                catalogue=catalogue,
            )
        else:
            others[binding.key] = None
    layer = {}
    for name, parameter in catalogue.items():
        variable = next((variable for variable in parameter.env if found.get(variable, ("", 0))[0]), None)
        if variable is not None:
            text, line = found[variable]
            where = _variable(variable, f"in {path}, line {line}")
            layer[name] = Given(
                checked(name, text, where, "correct or remove that line", catalogue),
                Source.ENVIRONMENT,
                where,
            )
    return layer, tuple(others)


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """The settings file as read: valid values in today's form, and the version that was found."""

    layer: Layer
    version: int


def from_file(
    path: Path, catalogue: Catalogue = PARAMETERS, migrations: Sequence[Migration] = MIGRATIONS
) -> SettingsFile:
    """The settings file; one that does not exist is empty. Raises SettingError."""
    what = "The settings file"
    try:
        path.stat()
    except FileNotFoundError:
        return SettingsFile({}, len(migrations))
    except OSError:
        pass  # read_text says why.
    text = read_text(path, what)
    try:
        # Decimal keeps 0.15 exact; RecursionError comes from brackets nested a thousand deep.
        raw = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        at = re.search(r"line (\d+)", str(error))
        line = f" at line {at[1]}" if at else ""
        raise SettingError(
            f"{what} {path} is not valid TOML{line}: correct it, or move it away to start with the defaults."
        ) from error
    try:
        document, version = migrate(raw, migrations)
    except SettingError as error:
        raise SettingError(f"{what} {path} cannot be used: {error.sentence}", error.parameter) from error
    layer = {}
    for name, value in document.items():
        where = f"in {path}" + _line_of(name, text)
        if name not in catalogue:
            raise unknown(name, where, "correct or remove that line", catalogue=catalogue)
        layer[name] = Given(
            checked(name, value, where, "correct or remove that line", catalogue), Source.FILE, f"in {path}"
        )
    _keep_secrets_private(path, layer, catalogue)
    return SettingsFile(layer, version)


def to_text(layer: Layer) -> str:
    """The settings file that says `layer`."""
    # Only a change needs the writer.
    import tomli_w

    plain: dict[str, object] = {VERSION: CURRENT}
    for name, given in layer.items():
        plain[name] = list(given.value) if isinstance(given.value, tuple) else given.value
    head = "# Mortdecai Gateway writes this file again when a setting changes; comments are not kept.\n"
    return head + tomli_w.dumps(plain)


def _is_ours(variable: str, catalogue: Catalogue) -> bool:
    if variable in RESERVED:
        return True
    name = variable.removeprefix(catalogue.prefix).lower()
    return name in catalogue and variable in catalogue[name].env


def _is_nearly_ours(variable: str, catalogue: Catalogue) -> bool:
    """A slip in one of the bare names; PORT or LOG_LEVEL as such are common words of other programs."""
    meant = catalogue.likely_name(variable, 0.8)
    return meant is not None and len(catalogue[meant].env) > 1


def _variable(variable: str, where: str) -> str:
    return f"{where} ({variable})"


def _leading_lines(text: str) -> int:
    """python-dotenv counts the blank lines before a statement as part of it."""
    return text[: len(text) - len(text.lstrip())].count("\n")


def _line_of(name: str, text: str) -> str:
    """Where a top-level name stands, for the sentence; tomllib does not say."""
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"""\s*\[*["']?{re.escape(name)}["']?\s*[=.\]]""", line, re.IGNORECASE):
            return f", line {number}"
    return ""


def _keep_secrets_private(path: Path, layer: Layer, catalogue: Catalogue) -> None:
    """A file with a secret in it is made the owner's own; one that cannot be is refused."""
    if not any(catalogue[name].secret and given.value for name, given in layer.items()):
        return
    try:
        if others_can_read(path):
            path.chmod(0o600)
    except OSError as error:
        raise SettingError(
            f"The settings file {path} holds a secret and other users can read it: run chmod 600 on it as its owner."
        ) from error
