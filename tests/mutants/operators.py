"""Which mutants a file has.

Rule 1: every mutant changes what the program does as far as a machine can tell; annotations, decorators' arguments
and slots are left alone. Rule 2: a mutant is named by its lines' text, not by numbers, so that a list of equivalents
outlives an edit above.
"""

from __future__ import annotations

import ast
import difflib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.operators.provider import OperatorProvider

# Of cosmic-ray's replacements of one operator by each of the others, those that a slip of the pen would make.
_COMPARISONS = {
    "Lt": ("LtE", "GtE"),
    "LtE": ("Lt", "Gt"),
    "Gt": ("GtE", "LtE"),
    "GtE": ("Gt", "Lt"),
    "Eq": ("NotEq",),
    "NotEq": ("Eq",),
    "Is": ("IsNot",),
    "IsNot": ("Is",),
}
_ARITHMETIC = {
    "Add": ("Sub",),
    "Sub": ("Add",),
    "Mul": ("FloorDiv",),
    "Div": ("Mul",),
    "FloorDiv": ("Mul",),
    "Mod": ("FloorDiv",),
    "Pow": ("Mul",),
    "LShift": ("RShift",),
    "RShift": ("LShift",),
    "BitOr": ("BitAnd",),
    "BitAnd": ("BitOr",),
    "BitXor": ("BitOr",),
}
_OTHERS = (
    "ReplaceUnaryOperator_Delete_USub",
    "ReplaceUnaryOperator_Delete_Not",
    "AddNot",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ExceptionReplacer",
    "NumberReplacer",
    "RemoveDecorator",
    "ZeroIterationForLoop",
)


_DEFINES = ("import_as_names", "import_from", "funcdef", "param", "classdef")


class SwapName(Operator):
    """Puts a function's opposite in its place: min for max, match for fullmatch."""

    _pairs = (
        ("min", "max"),
        ("any", "all"),
        ("fullmatch", "match"),
        ("bisect_right", "bisect_left"),
        ("startswith", "endswith"),
        ("removeprefix", "removesuffix"),
        ("partition", "rpartition"),
        ("ROUND_HALF_EVEN", "ROUND_HALF_UP"),
    )
    swaps = dict(_pairs) | {right: left for left, right in _pairs[:3]}

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if node.type == "name" and node.value in self.swaps and node.parent.type not in _DEFINES:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return parso.python.tree.Name(self.swaps[node.value], node.start_pos, node.prefix)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("x = min(a, b)", "x = max(a, b)"),)


class DropStatement(Operator):
    """Leaves out a call whose answer nobody keeps, an assignment to a field, an addition to a sum, a deletion."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if node.parent is not None and node.parent.type == "simple_stmt" and _does_something(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return parso.python.tree.Name("pass", node.start_pos, node.get_first_leaf().prefix)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("self.ring()\n", "pass\n"),)


def _does_something(node: Any) -> bool:
    if node.type in ("atom_expr", "await_expr", "del_stmt"):
        return True
    if node.type != "expr_stmt":
        return False
    # A field keeps what a test can see; a local name that is missing would only raise.
    return node.children[1].type == "operator" and (
        node.children[1].value != "=" or node.children[0].type == "atom_expr"
    )


def _chosen() -> dict[str, Operator]:
    offered = OperatorProvider()
    names = [f"ReplaceComparisonOperator_{old}_{new}" for old, all_ in _COMPARISONS.items() for new in all_]
    names += [f"ReplaceBinaryOperator_{old}_{new}" for old, all_ in _ARITHMETIC.items() for new in all_]
    found: dict[str, Operator] = {name: offered[name]() for name in (*names, *_OTHERS)}
    return found | {"SwapName": SwapName(), "DropStatement": DropStatement()}


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    file: str
    """Relative to the repository, with slashes."""
    number: int
    """The first line that differs, counted from 1."""
    line: str
    """What stands there, without the indent."""
    becomes: str
    text: str
    """The whole file as mutated."""

    @property
    def name(self) -> tuple[str, str, str]:
        """What the list of equivalents knows it by."""
        return self.file, self.line, self.becomes


class Source:
    """One file, and its mutants in a random but repeatable order."""

    def __init__(self, root: Path, path: Path) -> None:
        self.file = path.relative_to(root).as_posix()
        self.text = path.read_text()
        self._quiet = _quiet(ast.parse(self.text))

    @cached_property
    def _places(self) -> list[tuple[str, int]]:
        tree = get_ast(self.text)
        places = []
        for name, operator in _chosen().items():
            occurrence = 0
            for node in ast_nodes(tree):
                for start, _ in operator.mutation_positions(node):
                    if name == "RemoveDecorator" or not self._is_quiet(start):
                        places.append((name, occurrence))
                    occurrence += 1
        return places

    @property
    def weight(self) -> int:
        """About how many mutants there are."""
        return len(self._places)

    def mutants(self, chance: random.Random) -> Iterator[Mutant]:
        """Every mutant once; what does not compile, or is the same program, is passed over."""
        operators = _chosen()
        places = self._places.copy()
        chance.shuffle(places)
        seen = {ast.dump(ast.parse(self.text))}
        for name, occurrence in places:
            try:
                text = mutate_code(self.text, operators[name], occurrence)
                shape = ast.dump(ast.parse(text or self.text))
            except (SyntaxError, AttributeError):  # cosmic-ray's own for `except (module.Error, Other)`
                continue
            if text is None or shape in seen:
                continue
            seen.add(shape)
            yield self._named(text)

    def _named(self, text: str) -> Mutant:
        before, after = self.text.splitlines(), text.splitlines()
        matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
        _, i1, i2, j1, j2 = next(code for code in matcher.get_opcodes() if code[0] != "equal")
        old = " ".join(line.strip() for line in before[i1:i2])
        new = " ".join(line.strip() for line in after[j1:j2])
        while i1 + 1 < i2 and not before[i1].strip():
            i1 += 1
        return Mutant(self.file, i1 + 1, " ".join(old.split()), " ".join(new.split()), text)

    def _is_quiet(self, at: tuple[int, int]) -> bool:
        return any(start <= at < end for start, end in self._quiet)


def _quiet(tree: ast.Module) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """(start, end) of what tells only the reader or the type checker something."""
    found: list[ast.expr | ast.stmt] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            found.append(node.annotation)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found += node.decorator_list
            found += [node.returns] if node.returns is not None else []
        if isinstance(node, ast.ClassDef):
            found += [*node.decorator_list, *node.bases]
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("__slots__", "__all__"):
            found.append(node)
        # What a log line or an error's sentence says is for people; that it is said is what a test pins.
        if isinstance(node, ast.JoinedStr):
            found.append(node)
        if isinstance(node, ast.Expr) and ast.unparse(node).startswith("log."):
            found.append(node)
    return [
        ((node.lineno, node.col_offset), (node.end_lineno or node.lineno, node.end_col_offset or 0))
        for node in found
    ]
