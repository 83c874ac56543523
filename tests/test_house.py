"""The house's own rules, as far as a machine can see them."""

from __future__ import annotations

import ast
import tomllib
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "app").rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """The modules of ours that a file imports, wherever in it the import stands."""
    found: set[str] = set()
    names = {name_of(module) for module in MODULES}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inside & names or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & names


def test_no_circle_of_imports() -> None:
    graph = {name_of(path): imports_of(path) - {name_of(path)} for path in MODULES}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " → ".join([*way[way.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


LONG_LINES, TOO_MANY_LINES = 350, 400
LONGER_FOR_A_REASON: dict[str, str] = {
    "app.power.accounts": "The states of one book share every field; apart, each would need the others'.",
}
"""Modules that may be longer, and why. A reason is an idea that would have to be told twice, not a lack of time."""


class LongModule(UserWarning):
    """Not wrong yet, but worth a look for a second idea that wants a file of its own."""


@pytest.mark.filterwarnings("default::tests.test_house.LongModule")
@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_fits_into_a_head_and_says_what_it_is(path: Path) -> None:
    text, name = path.read_text(), name_of(path)
    assert ast.get_docstring(ast.parse(text)), "a module opens with what it is"
    lines = len(text.splitlines())
    if name in LONGER_FOR_A_REASON:
        return
    assert lines <= TOO_MANY_LINES, f"{name} has {lines} lines: part it by ideas, or say above why not"
    if lines > LONG_LINES:
        warnings.warn(LongModule(f"{name} has {lines} lines"), stacklevel=1)


def test_whatever_may_be_longer_is_there_and_is_long() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    short = [name for name in LONGER_FOR_A_REASON if lengths.get(name, 0) <= LONG_LINES]
    assert not short, f"{short} need no reason any more"
    assert all(reason.endswith(".") for reason in LONGER_FOR_A_REASON.values())


def test_every_part_of_the_app_has_its_floor() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    floors = {name.strip() for floor in contracts[0]["layers"] for name in floor.split("|")}
    parts = {f"app.{path.stem}" for path in (ROOT / "app").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert parts - {"app.__init__", "app.__pycache__"} == floors


def test_a_public_class_name_means_one_class() -> None:
    places: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name_of(path))
    # One loop for each platform: only one of the two files is ever imported.
    del places["QtLoop"]
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_the_lock_file_names_no_registry() -> None:
    assert "://" not in (ROOT / "requirements.lock").read_text()
