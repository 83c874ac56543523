"""The house's own rules, as far as a machine can see them."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
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


BIRTH = {"__init__", "__post_init__", "__new__", "connection_made"}
"""What is set in these is there before anybody can look. asyncio gives each protocol its transport in the last."""


def given(class_: ast.ClassDef) -> set[str]:
    """What an object of this class has from its birth on, by this class alone: its fields, methods and constants."""
    is_dataclass = any("dataclass" in ast.unparse(decorator) for decorator in class_.decorator_list)
    names: set[str] = set()
    for node in class_.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names |= {node.name} | (set_on_self(node) if node.name in BIRTH else set())
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names |= {node.target.id} if is_dataclass or node.value is not None else set()
    return names


def set_on_self(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    me = function.args.args[0].arg if function.args.args else None
    return {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == me
    }


def inherited(path: Path, class_: ast.ClassDef) -> set[str]:
    """What the classes below it give, ours or not; the toolkit's in C give nothing that is set here."""
    names: set[str] = set()
    for base in getattr(importlib.import_module(name_of(path)), class_.name).__mro__[1:]:
        try:
            (found,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        except (TypeError, OSError):
            continue
        names |= given(found) if isinstance(found, ast.ClassDef) else set()
    return names


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_an_object_has_all_its_fields_from_its_birth_on(path: Path) -> None:
    late: dict[str, set[str]] = {}
    tree = ast.parse(path.read_text())
    for class_ in ast.walk(tree):
        if isinstance(class_, ast.ClassDef):
            methods = [
                node for node in class_.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            names = {name for method in methods for name in set_on_self(method)} - given(class_)
            if names and class_.bases and class_ in tree.body:
                names -= inherited(path, class_)
            if names:
                late[class_.name] = names
    assert late == {}, "set them in __init__, or make the object only when it is whole"
