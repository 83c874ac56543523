"""Which files are mutated, and which tests have to notice: a room's own, never the whole suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Room:
    """Patterns from the repository's root; one that finds nothing is passed over, since rooms grow and move."""

    name: str
    files: tuple[str, ...]
    tests: tuple[str, ...]
    without: tuple[str, ...] = ()
    """Tests that start processes or load the machine: they say nothing sooner than the others."""
    but: str = ""
    """A word in the names of tests that are left out: of what is tried over each database, one is enough."""

    def sources(self, root: Path) -> list[Path]:
        """The files to mutate."""
        found = {path for pattern in self.files for path in root.glob(pattern)}
        return sorted(path for path in found if path.name != "__init__.py")

    def tests_for(self, root: Path, source: Path) -> list[str]:
        """The tests to run: those named after the file, then by the patterns' turn, for the soonest to fail."""
        left_out = {path for pattern in self.without for path in root.glob(pattern)}
        turns: dict[Path, int] = {}
        for turn, pattern in enumerate(self.tests):
            for path in sorted(root.glob(pattern)):
                turns.setdefault(path, turn)
        named = source.stem.rstrip("s")
        ordered = sorted(
            turns.keys() - left_out, key=lambda path: (named not in path.stem, turns[path], path)
        )
        return [path.relative_to(root).as_posix() for path in ordered]


_PURE = (
    "proof_edges",
    "merkle",
    "checkpoint",
    "canonical",
    "records",
    "usage",
    "proofs",
    "ids",
    "parties",
    "holds",
    "listing",
)
_QUICK = ("transaction", "heads", "one_commit", "store", "holds", "parties", "proofs")
_DELIVERY = ("delivery", "cosignature", "seed_form", "invitation", "remembered", "signing_keys")
_RECEIVER = ("taking", "verdicts", "intake", "submission", "flat_audit", "audit", "refused")
_LEDGER_SLOW = (
    "tests/ledger/**/test_crash.py",
    "tests/ledger/**/test_faults.py",
    "tests/ledger/**/test_opening.py",
)
_ACCESS_TESTS = ("tests/access/test_*.py", "tests/proxy/**/test_admission*.py", "tests/gateway/test_keys*.py")


_POWER_PARTS = ("account*", "book*", "slices", "sums", "exact", "running", "samples", "counter")
_POWER = tuple(f"app/power/{name}.py" for name in _POWER_PARTS)
_POWER_TESTS = ("accounts", "conservation", "counter", "slices", "sums")


def _ledger(*names: str) -> tuple[str, ...]:
    return tuple(f"app/ledger/**/{name}.py" for name in names)


ROOMS: Sequence[Room] = (
    Room("billing", ("app/billing/*.py", "app/basics/rounding.py"), ("tests/billing/test_*.py",)),
    Room("power", _POWER, tuple(f"tests/power/test_{name}.py" for name in _POWER_TESTS)),
    Room("presence", ("app/presence/*.py",), ("tests/presence/test_*.py",)),
    Room(
        "life of a container",
        ("app/containers/life.py", "app/managed/life.py", "app/managed/processor.py"),
        ("tests/containers/test_life.py", "tests/managed/test_life.py", "tests/managed/test_small_parts.py"),
    ),
    Room("access", ("app/access/*.py",), _ACCESS_TESTS),
    Room("admission", ("app/proxy/**/admission*.py",), _ACCESS_TESTS),
    Room(
        "ledger: tree and records",
        _ledger("merkle", "checkpoint", "canonical", "records", "usage"),
        tuple(f"tests/ledger/**/test_{name}.py" for name in _PURE),
    ),
    Room(
        "ledger: proofs",
        _ledger("tiled", "tlog_proof", "reader"),
        tuple(
            f"tests/ledger/**/test_{name}.py"
            for name in ("tiled", "tlog_proof", "past_sizes", "proofs", "pages")
        ),
    ),
    Room(
        "ledger: two copies",
        tuple(f"app/ledger/{name}.py" for name in ("descent", "comparing", "copies", "evidence")),
        tuple(f"tests/ledger/test_{name}.py" for name in ("descent", "copies", "evidence", "comparing")),
    ),
    Room(
        "ledger: statement",
        ("app/ledger/statement.py",),
        ("tests/ledger/test_statement.py",),
    ),
    Room(
        "ledger: delivery",
        tuple(f"app/ledger/{name}.py" for name in _DELIVERY),
        tuple(f"tests/ledger/test_{name}.py" for name in (*_DELIVERY, "checkpoint")),
    ),
    Room(
        "gateway: where receivers may be",
        ("app/gateway/delivery/guard.py",),
        ("tests/gateway/delivery/test_guard.py",),
    ),
    Room(
        "receiver: its rules",
        tuple(f"app/receiver/{name}.py" for name in _RECEIVER),
        tuple(f"tests/receiver/test_{name}.py" for name in (*_RECEIVER, "copies")),
        but="postgres",
    ),
    Room(
        "ledger: transactions",
        _ledger("transaction", "holds", "heads", "nodes"),
        (*(f"tests/ledger/**/test_{name}.py" for name in _QUICK), "tests/ledger/**/test_*.py"),
        _LEDGER_SLOW,
    ),
)
