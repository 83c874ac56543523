"""The settings in force, and how they change.

Rule 1: command line, environment, file, default, in this order; the environment file is environment, and the
process's own variables win over it. Rule 2: a change is valid as a whole, then durable, then in force; an invalid
one changes nothing. Rule 3: a secret leaves only through `current` and the file.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.settings import sources
from app.settings.catalogue import PARAMETERS, Parameter, contradiction
from app.settings.errors import SettingError, reason
from app.settings.files import write_private
from app.settings.migrations import CURRENT
from app.settings.parameters import Settings
from app.settings.sources import Given, Layer, Source, checked, unknown
from app.settings.values import MASK, as_json, shown

NOTHING_CHANGED = "nothing was changed"


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """One parameter and its present value, fit for a screen."""

    parameter: Parameter
    value: object
    """In force now; a secret is masked, and empty where there is none."""
    source: Source
    where: str
    """Where the value stands, as «in /x/settings.toml»; empty for a default."""
    overridden: bool
    """The command line or the environment sets it, so what the file says does not count at the next start."""


@dataclass(frozen=True, slots=True)
class Override:
    """A change that the command line or the environment will win over at the next start."""

    name: str
    where: str
    sentence: str


@dataclass(frozen=True, slots=True)
class AppliedChanges:
    """What an update did: names whose value in force is new, those of them that need a restart to work, and changes
    that are kept in the file though something stronger is set."""

    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]
    overridden: tuple[Override, ...]


class SettingsStore:
    """All parameters with their values. `update` may be called from any thread; it waits for the disk."""

    def __init__(self, file: Path, strong: Layer, file_layer: Layer, ignored: tuple[str, ...]) -> None:
        """Use `load`. `strong` is what the command line and the environment give."""
        self.file = file
        self.ignored = ignored
        """Names in the environment file that are not settings of ours, for the log."""
        self._strong = strong
        self._running: dict[str, Given] = {}
        self._file_layer = file_layer
        self._lock = threading.Lock()
        self._current = _combine({**file_layer, **strong})

    @classmethod
    def load(
        cls,
        *,
        cli: Mapping[str, object] | None = None,
        env: Mapping[str, str],
        env_file: Path | None = None,
        file: Path,
    ) -> SettingsStore:
        """Read every source. Raises SettingError on the first value, name or file that cannot be used.

        A value that a stronger one hides must be valid too: it would count as soon as the other is gone.
        """
        on_disk = sources.from_file(file)
        listed, ignored = sources.from_env_file(env_file) if env_file else ({}, ())
        strong = {**listed, **sources.from_environment(env), **sources.from_command_line(cli or {})}
        store = cls(file, strong, on_disk.layer, ignored)
        if on_disk.version != CURRENT:
            store._keep_migrated(on_disk.version)
        return store

    @property
    def current(self) -> Settings:
        """The values in force: one immutable object, replaced as a whole by `update`."""
        return self._current

    def is_set(self, name: str) -> bool:
        """Whether somebody has set the parameter, be it to its default."""
        return name in self._running or name in self._strong or name in self._file_layer

    def update(self, changes: Mapping[str, object], *, before_start: bool = False) -> AppliedChanges:
        """Change parameters by lower- or upper-case name, all or none, and keep them in the file.

        `before_start`: no gateway runs with these settings yet, so that everything may be changed.

        What the command line or the environment sets is changed for this run where it needs no restart, and
        reported in `overridden`. A masked secret means «as it is». Raises SettingError, changing nothing.
        """
        with self._lock:
            # Read again, so that what somebody wrote into the file meanwhile is not lost.
            fresh = sources.from_file(self.file).layer
            wanted = self._read(changes, fresh, before_start)
            kept = {name: Given(value, Source.FILE, f"in {self.file}") for name, value in wanted.items()}
            next_file = {**fresh, **kept}
            in_force: dict[str, Any] = {
                name: value
                for name, value in wanted.items()
                if name not in self._strong or not PARAMETERS[name].restart
            }
            new = replace(self._current, **in_force)
            _refuse_contradiction(new)
            _combine({**next_file, **self._strong})
            if next_file != fresh:
                self._write(next_file)
            changed = tuple(name for name in in_force if getattr(self._current, name) != getattr(new, name))
            self._running |= {
                name: Given(value, Source.RUNNING, "for this run")
                for name, value in in_force.items()
                if name in self._strong
            }
            self._file_layer = next_file
            self._current = new
            return AppliedChanges(
                changed,
                tuple(name for name in changed if PARAMETERS[name].restart),
                tuple(self._override(name) for name in wanted if name in self._strong),
            )

    def describe(self) -> tuple[ParameterInfo, ...]:
        """Every parameter with its value and its source, in the order of the settings window."""
        current = self._current
        infos = []
        for name, parameter in PARAMETERS.items():
            given = self._running.get(name) or self._strong.get(name) or self._file_layer.get(name)
            infos.append(
                ParameterInfo(
                    parameter,
                    _masked(parameter, getattr(current, name)),
                    given.source if given else Source.DEFAULT,
                    given.where if given else "",
                    name in self._strong,
                )
            )
        return tuple(infos)

    def to_json(self) -> dict[str, object]:
        """Every value by its lower-case name, ready for json.dumps; `update` takes it back unchanged."""
        current = self._current
        return {
            name: as_json(_masked(parameter, getattr(current, name)))
            for name, parameter in PARAMETERS.items()
        }

    def _read(self, changes: Mapping[str, object], in_file: Layer, before_start: bool) -> dict[str, object]:
        """The typed values of those changes that change something."""
        where, remedy = "in this change", NOTHING_CHANGED
        wanted: dict[str, object] = {}
        seen: set[str] = set()
        for given, value in changes.items():
            name = PARAMETERS.known_name(given)
            if name is None:
                raise unknown(given, where, remedy)
            if name in seen:
                raise SettingError(
                    f"{name} is given twice {where}, in upper and in lower case: {remedy}.", name
                )
            seen.add(name)
            parameter = PARAMETERS[name]
            if parameter.secret and value == MASK:
                continue
            new = checked(name, value, where, remedy)
            if new == getattr(self._current, name) and (name not in in_file or in_file[name].value == new):
                continue
            if parameter.who == "nobody" and not before_start:
                raise SettingError(
                    f"{name} cannot be changed to {shown(new)} while the gateway runs: set {parameter.env[0]} or the "
                    f"line {name} in {self.file}, and start again.",
                    name,
                )
            wanted[name] = new
        return wanted

    def _override(self, name: str) -> Override:
        given = self._strong[name]
        value = MASK if PARAMETERS[name].secret else shown(given.value)
        return Override(
            name,
            given.where,
            f"{name} is {value} {given.where} and will be so again at the next start: remove it there to keep "
            "the change.",
        )

    def _write(self, layer: Layer) -> None:
        try:
            write_private(self.file, sources.to_text(layer))
        except OSError as error:
            raise SettingError(
                f"The settings cannot be kept in {self.file} because {reason(error)}: {NOTHING_CHANGED}; correct "
                "that and try again."
            ) from error

    def _keep_migrated(self, version: int) -> None:
        """Write today's form and leave the old file beside it. A folder we cannot write to is no reason not to
        start: the next start migrates again."""
        backup = self.file.with_name(f"{self.file.name}.v{version}.bak")
        try:
            # Byte for byte, so that a person finds their comments again.
            write_private(backup, self.file.read_bytes().decode())
            write_private(self.file, sources.to_text(self._file_layer))
        except OSError:
            return


def _combine(layer: Layer) -> Settings:
    typed: dict[str, Any] = {name: given.value for name, given in layer.items()}
    settings = Settings(**typed)
    _refuse_contradiction(settings)
    return settings


def _refuse_contradiction(settings: Settings) -> None:
    found = contradiction(settings)
    if found:
        name, sentence = found
        raise SettingError(sentence, name)


def _masked(parameter: Parameter, value: object) -> object:
    return (MASK if value else "") if parameter.secret else value
