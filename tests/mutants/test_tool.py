"""The tool itself: what it mutates, and what it leaves alone."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from cosmic_ray.mutating import mutate_code

from tests.mutants.__main__ import EQUIVALENT, equivalents, gone
from tests.mutants.operators import DropStatement, Source, SwapName

FILE = '''
"""A file."""

@dataclass(frozen=True, slots=True)
class Budget:
    """Money."""

    cap: int | None

    def hold(self, amount: int | None = None) -> int | None:
        """Reserve."""
        if amount < self.cap:
            self.held += amount
            raise ValueError(f"too much: {amount + 1}")
        return min(amount, self.cap)
'''


@pytest.mark.parametrize("operator", [SwapName, DropStatement])
def test_our_own_operators_do_what_their_examples_say(operator: type[SwapName]) -> None:
    for example in operator.examples():
        assert mutate_code(example.pre_mutation_code, operator(), 0) == example.post_mutation_code


def test_it_changes_what_runs_and_leaves_annotations_decorators_and_sentences_alone(tmp_path: Path) -> None:
    path = tmp_path / "budget.py"
    path.write_text(FILE)
    mutants = list(Source(tmp_path, path).mutants(random.Random(1)))
    assert {(mutant.line, mutant.becomes) for mutant in mutants} == {
        ("if amount < self.cap:", "if amount <= self.cap:"),
        ("if amount < self.cap:", "if amount >= self.cap:"),
        ("if amount < self.cap:", "if not amount < self.cap:"),
        ("self.held += amount", "pass"),
        ("return min(amount, self.cap)", "return max(amount, self.cap)"),
        ("@dataclass(frozen=True, slots=True)", ""),
    }
    lines = ["", *FILE.splitlines()]
    assert [lines[mutant.number].strip() for mutant in mutants] == [mutant.line for mutant in mutants]


def test_the_same_seed_gives_the_same_mutants(tmp_path: Path) -> None:
    path = tmp_path / "budget.py"
    path.write_text(FILE)
    orders = [[one.name for one in Source(tmp_path, path).mutants(random.Random(seed))] for seed in (1, 1, 3)]
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == sorted(orders[2])


def test_every_equivalent_says_why_and_one_whose_line_is_gone_is_noticed() -> None:
    assert EQUIVALENT.exists()
    assert gone({("Makefile", "no such line", ""): "Why."}) == [("Makefile", "no such line", "")]
    assert not gone({("Makefile", ".DEFAULT_GOAL := help", ""): "Why."})
    assert all(why.endswith(".") for why in equivalents().values())
