"""What holds for all values: nothing is lost on the way to a file and back, and the right source wins."""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.settings.catalogue import PARAMETERS, Parameter
from app.settings.currencies import CURRENCIES
from app.settings.errors import SettingError
from app.settings.migrations import VERSION
from app.settings.parameters import Settings
from app.settings.sources import Given, Source, from_file, to_text
from app.settings.store import SettingsStore
from app.settings.values import MASK

PRINTABLE = st.characters(exclude_categories=("C", "Z"), include_characters=" ")
MODEL = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,30}", fullmatch=True)
LABEL = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,10}[a-z0-9_])?", fullmatch=True)
NAME = st.builds(lambda label, last: f"{label}.{last}", LABEL, st.sampled_from(["org", "lan", "local"]))
HOST = NAME | st.ip_addresses().map(str).filter(lambda address: "%" not in address)
URL = st.builds(
    lambda scheme, host, port, path: f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}",
    st.sampled_from(["http", "https", "HTTP"]),
    HOST,
    st.integers(1, 65535),
    st.sampled_from(["", "/v1", "/a/b.c"]),
)


def allowed(parameter: Parameter) -> st.SearchStrategy[object]:
    """Every value the parameter may have, except that work is kept above rest."""
    low, high = parameter.minimum, parameter.maximum
    if parameter.name.endswith("_idle_watts"):
        high = 50
    if parameter.name in ("gpu_load_watts", "system_inference_watts"):
        low = 50
    match parameter.kind:
        case "number" if isinstance(parameter.default, float):
            return st.floats(low, high)
        case "number":
            return st.decimals(low, high, places=6 if "6 decimals" in parameter.allowed else 12).map(
                _canonical
            )
        case "whole":
            return st.integers(low, high)
        case "flag":
            return st.booleans()
        case "choice":
            return st.sampled_from(parameter.choices)
        case "currency":
            return st.sampled_from(sorted(CURRENCIES))
        case "host":
            return HOST
        case "url":
            return URL
        case "model":
            return st.just("") | MODEL
        case "image":
            return st.sampled_from(
                ("", "ollama/ollama", "localhost:5000/a/b:1.2", "ghcr.io/x/y@sha256:" + "0a" * 32)
            )
        case "daemon":
            return st.sampled_from(
                ("", "unix:///run/user/1000/docker.sock", "tcp://[::1]:2375", "npipe:////./pipe/docker")
            )
        case "ports":
            return st.lists(st.integers(1, 65535), max_size=5, unique=True).map(tuple)
        case "hosts":
            return st.lists(
                st.sampled_from(("a.example", "*.b.example", "127.0.0.1")), max_size=3, unique=True
            ).map(tuple)
        case "networks":
            return st.lists(
                st.sampled_from(("10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32")), max_size=3, unique=True
            ).map(tuple)
        case "file":
            return st.text(PRINTABLE, max_size=60).map(str.strip)
        case "origins":
            return st.lists(
                st.sampled_from(("https://a.example", "http://[::1]:3000", "app://b.example")),
                max_size=3,
                unique=True,
            ).map(tuple)
        case "price_hours":
            lines = (
                "mon-fri 17:00-20:00 0.42",
                "sat,holidays 00:00-24:00 -0.1",
                "nov-apr daily 22:00-06:00 0.2",
            )
            return st.lists(st.sampled_from(lines), max_size=3).map("; ".join)
        case "days":
            return st.lists(st.sampled_from(("12-25", "2026-04-06")), max_size=3).map(", ".join)
        case "prices":
            return st.lists(st.sampled_from(("0.25", "-0.1", "3")), max_size=3).map(", ".join)
        case "zone":
            return st.sampled_from(("", "Europe/Berlin", "Asia/Kathmandu", "UTC"))
        case "entity":
            return st.sampled_from(("", "sensor.desk_power", "sensor.plug_2_power"))
        case "gpus":
            return st.lists(
                st.sampled_from(("GPU-5e2c1d", "0000:0a:00.0", "card1")), max_size=3, unique=True
            ).map(tuple)
        case "fields":
            return st.lists(st.sampled_from(("top_a", "min_tokens", "x.y-z")), max_size=3, unique=True).map(
                tuple
            )
        case "models":
            return st.lists(MODEL, max_size=5, unique=True).map(tuple)
        case "template":
            return st.text(PRINTABLE, max_size=60).map(lambda text: text.replace("{", "") + "{id}{secret}")
        case "secret":
            return st.text(PRINTABLE, max_size=60).filter(lambda text: text != MASK)
    raise AssertionError(parameter.kind)


def _canonical(number: Decimal) -> Decimal:
    return Decimal(str(number))


VALUES = st.fixed_dictionaries(
    {}, optional={name: allowed(parameter) for name, parameter in PARAMETERS.items()}
)
CHANGEABLE = VALUES.map(
    lambda values: {name: values[name] for name in values if PARAMETERS[name].who == "operator"}
)


# A machine under load is slow at any of this; that is not what is tested.
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=100)


def as_text(value: object) -> str:
    """As a person writes it into an environment."""
    if isinstance(value, bool):
        return "yes" if value else "Off"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def as_env_file(values: Mapping[str, str]) -> str:
    quoted = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in values.items()}
    return "".join(f"{name}='{value}'\n" for name, value in quoted.items())


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def fresh(folder: Path, name: str = "settings.toml") -> Path:
    file = folder / name
    file.unlink(missing_ok=True)
    return file


@given(values=CHANGEABLE)
@calm
def test_settings_survive_the_file(folder: Path, values: dict[str, object]) -> None:
    file = fresh(folder)
    store = SettingsStore.load(env={}, file=file)
    store.update(values)
    assert store.current == Settings(**values)
    again = SettingsStore.load(env={}, file=file)
    assert again.current == store.current
    assert [*map(type, vars(again.current).values())] == [*map(type, vars(Settings()).values())]


@given(values=VALUES)
@calm
def test_a_file_survives_the_settings(folder: Path, values: dict[str, object]) -> None:
    """File, settings, file: the same document, and the second time the same bytes."""
    file = fresh(folder)
    store = SettingsStore.load(cli=values, env={}, file=file)
    given_values = {name: value for name, value in vars(store.current).items() if name in values}
    file.write_text(_toml({VERSION: 1, **given_values}), encoding="utf-8")
    text = to_text(from_file(file).layer)
    assert tomllib.loads(text, parse_float=Decimal) == tomllib.loads(
        file.read_text("utf-8"), parse_float=Decimal
    )
    file.write_text(text, encoding="utf-8")
    assert to_text(from_file(file).layer) == text


def _toml(document: Mapping[str, object]) -> str:
    """Written by other hands than the store's: JSON's strings, numbers and lists are TOML's too."""
    lines = []
    for name, value in document.items():
        if isinstance(value, Decimal | float):
            text = repr(value) if isinstance(value, float) else format(value, "f")
        else:
            text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
        lines.append(f"{name} = {text}\n")
    return "".join(lines)


@given(cli=VALUES, env=VALUES, listed=VALUES, in_file=CHANGEABLE)
@settings(calm, max_examples=60)
def test_the_first_source_that_has_a_value_wins(
    folder: Path,
    cli: dict[str, object],
    env: dict[str, object],
    listed: dict[str, object],
    in_file: dict[str, object],
) -> None:
    file, dotenv = fresh(folder), fresh(folder, ".env")
    SettingsStore.load(env={}, file=file).update(in_file)
    variables = {PARAMETERS[name].env[-1]: as_text(value) for name, value in env.items()}
    lines = {PARAMETERS[name].env[0]: as_text(value) for name, value in listed.items()}
    dotenv.write_text(as_env_file(lines), encoding="utf-8")
    store = SettingsStore.load(cli=cli, env=variables, env_file=dotenv, file=file)
    # An empty variable counts as not set.
    env = {name: value for name, value in env.items() if as_text(value)}
    listed = {name: value for name, value in listed.items() if as_text(value)}
    assert store.current == Settings(**{**in_file, **listed, **env, **cli})


@given(steps=st.lists(CHANGEABLE, max_size=5), env=CHANGEABLE)
@settings(calm, max_examples=30)
def test_after_any_changes_a_restart_finds_them(
    folder: Path, steps: list[dict[str, object]], env: dict[str, object]
) -> None:
    """In force now: each change, but not what needs a restart and is overridden. After a restart: the environment,
    then the last changes."""
    variables = {PARAMETERS[name].env[0]: as_text(value) for name, value in env.items()}
    env = {name: value for name, value in env.items() if as_text(value)}
    file = fresh(folder)
    store = SettingsStore.load(env=variables, file=file)
    now, kept = dict(env), {}
    for step in steps:
        before = store.current
        changes = store.update(step)
        kept |= step
        now |= {
            name: value for name, value in step.items() if name not in env or not PARAMETERS[name].restart
        }
        assert store.current == Settings(**now)
        assert set(changes.changed) == {
            name for name, value in vars(before).items() if getattr(store.current, name) != value
        }
        assert {override.name for override in changes.overridden} <= set(step) & set(env)
    assert SettingsStore.load(env=variables, file=file).current == Settings(**{**kept, **env})


@given(values=VALUES)
@calm
def test_what_is_shown_as_json_reads_back_as_the_same_settings(
    folder: Path, values: dict[str, object]
) -> None:
    store = SettingsStore.load(cli=values, env={}, file=fresh(folder))
    shown_values = json.loads(json.dumps(store.to_json()))
    for name, shown in shown_values.items():
        if shown == MASK:
            shown_values[name] = getattr(store.current, name)
    assert SettingsStore.load(cli=shown_values, env={}, file=fresh(folder)).current == store.current


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text()
    | st.from_regex(r"[-+]?[0-9.,eE]{1,12}")
    | st.from_regex(r"[a-z]{0,5}:?/{0,3}[a-z@:.\[\]0-9#? ]{0,20}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(name=st.sampled_from(sorted(PARAMETERS)), value=JUNK)
@settings(calm, max_examples=400)
def test_anything_is_either_a_good_value_or_one_sentence(folder: Path, name: str, value: object) -> None:
    file = fresh(folder)
    parameter = PARAMETERS[name]
    store = tried(cli={name: value}, file=file)
    if isinstance(store, SettingError):
        assert name in str(store)
        assert parameter.allowed in str(store) or "is below" in str(store)
        return
    read = getattr(store.current, name)
    assert type(read) is type(getattr(Settings(), name))
    if parameter.minimum is not None:
        assert parameter.minimum <= read <= parameter.maximum
    # Reading is a projection: what was read is read as itself, also through the file.
    file.write_text(to_text({name: Given(read, Source.FILE, "")}), encoding="utf-8")
    assert getattr(SettingsStore.load(env={}, file=file).current, name) == read


def tried(**sources: Any) -> SettingsStore | SettingError:
    """The settings, or the one sentence; any other error fails the test."""
    try:
        return SettingsStore.load(env={}, **sources)
    except SettingError as error:
        refusal = error
    assert str(refusal).endswith(".")
    assert str(refusal).isprintable()
    assert len(str(refusal)) < 500
    return refusal


@given(
    text=st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
@settings(calm, max_examples=300)
def test_any_file_is_either_settings_or_one_sentence(folder: Path, text: bytes) -> None:
    file, dotenv = fresh(folder), fresh(folder, ".env")
    for path in (file, dotenv):
        path.write_bytes(text)
    for sources in ({"file": file}, {"file": folder / "none.toml", "env_file": dotenv}):
        result = tried(**sources)
        assert isinstance(result, SettingsStore) or os.fspath(folder) in str(result)
