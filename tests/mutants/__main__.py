"""`python -m tests.mutants [ROOM or FILE …]`: a seeded sample of single-line mutants, and how many the tests kill.

MUTANTS is how many a room (0: all), SECONDS_IN_ALL the time for everything, JOBS how many at once, SEED which sample.
Exits with 1 below 95 %. What the list of equivalents names though its line is gone is said, and harms nobody.
"""

from __future__ import annotations

import os
import random
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.mutants.children import Children, Task, import_libraries, output_of
from tests.mutants.operators import Mutant, Source
from tests.mutants.rooms import ROOMS, Room

ROOT = Path(__file__).resolve().parents[2]
GOAL = 0.95
EQUIVALENT = Path(__file__).with_name("equivalent.toml")

Name = tuple[str, str, str]


def equivalents() -> dict[Name, str]:
    """What no test can tell from the original, and why."""
    entries = tomllib.loads(EQUIVALENT.read_text())["equivalent"]
    return {(one["file"], one["line"], one["becomes"]): one["why"] for one in entries}


def gone(known: dict[Name, str]) -> list[Name]:
    """Entries of the list whose line is no longer in its file."""
    lost = []
    for name in known:
        file, line, _ = name
        path = ROOT / file
        squeezed = " ".join(path.read_text().split()) if path.exists() else ""
        if line not in squeezed:
            lost.append(name)
    return lost


@dataclass
class Score:
    """What became of a room's mutants."""

    room: str
    killed: int = 0
    equivalent: int = 0
    survivors: list[Mutant] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def counted(self) -> int:
        return self.killed + len(self.survivors)

    @property
    def share(self) -> float:
        return self.killed / self.counted if self.counted else 1.0


def sample(room: Room, files: Sequence[str], count: int, seed: str) -> Iterator[Mutant]:
    """`count` mutants of a room (0: all), each place with the same chance; the same seed gives the same ones."""
    chance = random.Random(f"{seed} {room.name}")
    sources = [Source(ROOT, path) for path in room.sources(ROOT)]
    sources = [source for source in sources if not files or source.file in files]
    streams = [(source, source.mutants(chance)) for source in sources if source.weight]
    given = 0
    while streams and (not count or given < count):
        weights = [source.weight for source, _ in streams]
        index = chance.choices(range(len(streams)), weights)[0]
        mutant = next(streams[index][1], None)
        if mutant is None:
            del streams[index]
            continue
        given += 1
        yield mutant


def baseline(room: Room, children: Children) -> float:
    """Seconds that the room's tests take as they are. Raises SystemExit where they fail."""
    tests = room.tests_for(ROOT, room.sources(ROOT)[0])
    for _, outcome in children.run([Task("", None, tuple(tests), room.but)], time.monotonic() + 1):
        if outcome.killed:
            sys.exit("\n".join([f"{room.name}: the tests fail as they are.", *output_of(outcome, 20)]))
        return outcome.seconds
    raise AssertionError("a task that was begun has an outcome")


def score(room: Room, files: Sequence[str], count: int, seed: str, jobs: int, until: float) -> Score:
    """Try a room's mutants until `until`."""
    result = Score(room.name)
    began = time.monotonic()
    known = equivalents()
    longest_s = 120.0
    children = Children(ROOT, jobs, lambda _: longest_s)
    longest_s = 10 + 4 * baseline(room, children)
    mutants: dict[str, Mutant] = {}

    def tasks() -> Iterator[Task]:
        for mutant in sample(room, files, count, seed):
            if mutant.name in known:
                result.equivalent += 1
                continue
            mutants[mutant.text] = mutant
            yield Task(mutant.file, mutant.text, tuple(room.tests_for(ROOT, ROOT / mutant.file)), room.but)

    for task, outcome in children.run(tasks(), until):
        assert task.text is not None
        mutant = mutants.pop(task.text)
        if outcome.killed:
            result.killed += 1
        else:
            result.survivors.append(mutant)
            print(f"{mutant.file}:{mutant.number}\n  - {mutant.line}\n  + {mutant.becomes}", flush=True)
        if "--verbose" in sys.argv:
            print(f"    {outcome.killed or 'SURVIVED'} {outcome.seconds:.1f} s {mutant.becomes}", flush=True)
    children.close()
    result.seconds = time.monotonic() - began
    return result


def main(wanted: Sequence[str]) -> int:
    """Try, print, judge."""
    count = int(os.environ.get("MUTANTS") or 60)
    seconds = float(os.environ.get("SECONDS_IN_ALL") or 1200)
    jobs = int(os.environ.get("JOBS") or 2)
    seed = os.environ.get("SEED") or "1"
    files = [word for word in wanted if word.endswith(".py")]
    rooms = [
        room
        for room in ROOMS
        if any((ROOT / file) in room.sources(ROOT) for file in files)
        or any(word in room.name for word in wanted)
        or not wanted
    ]
    import_libraries()
    scores = []
    began = time.monotonic()
    for left, room in zip(range(len(rooms), 0, -1), rooms, strict=True):
        if room.sources(ROOT):
            # What a quick room leaves over is for the slower ones after it.
            until = time.monotonic() + max(1.0, seconds - (time.monotonic() - began)) / left
            scores.append(score(room, files, count, seed, jobs, until))

    print(f"\n{'room':28}{'tried':>7}{'killed':>8}{'equivalent':>12}{'survived':>10}{'share':>9}{'time':>8}")
    for one in scores:
        print(
            f"{one.room:28}{one.counted + one.equivalent:>7}{one.killed:>8}{one.equivalent:>12}"
            f"{len(one.survivors):>10}{one.share:>9.1%}{one.seconds:>6.0f} s"
        )
    for file, line, _ in gone(equivalents()):
        print(f"equivalent.toml names a line that is gone: {file}: {line}")
    killed, counted = sum(one.killed for one in scores), sum(one.counted for one in scores)
    share = killed / counted if counted else 0.0
    print(f"killed {killed} of {counted} that are not equivalent: {share:.1%}")
    return 0 if share >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main([word for word in sys.argv[1:] if not word.startswith("-")]))
