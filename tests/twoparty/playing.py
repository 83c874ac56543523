"""Plays seeds, one after the other, and tells the story of one that goes wrong."""

from __future__ import annotations

import logging
import tempfile
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.twoparty.frauds import FRAUDS
from tests.twoparty.stories import honest, shrunk
from tests.twoparty.world import Disk, Story, World, small_parts

RAM = Path("/dev/shm")
"""Where there is one: what is written there is kept nowhere, and that is not what is tried here."""


def folder() -> tempfile.TemporaryDirectory[str]:
    """For the files of both sides."""
    return tempfile.TemporaryDirectory(prefix="twoparty-", dir=RAM if RAM.is_dir() else None)


def play_honest(disk: Disk, seed: int, story: Story) -> None:
    """Broken, or whatever else goes wrong."""
    world = World(disk, seed)
    try:
        world.play(story)
        world.settle()
        world.look()
        world.require_agreed()
    finally:
        world.close()


def play_fraud(disk: Disk, seed: int, story: Story) -> None:
    """Broken where something else than the fraud at the story's end is reported, or not that."""
    if not story or story[-1][0] != "cheat":
        return
    *prefix, (_, name, where) = story
    world = World(disk, seed)
    try:
        world.play(prefix)
        world.settle()
        world.look()
        if world.client.size > 3:
            FRAUDS[name](world, where)
    finally:
        world.close()


Play = Callable[[Disk, int, Story], None]


def trouble(play: Play, disk: Disk, seed: int, story: Story) -> str:
    """What goes wrong, in a line; empty where nothing does."""
    try:
        play(disk, seed, story)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
    return ""


def play_all(
    seeds: Iterable[int], make: Callable[[int], Story] = honest, play: Play = play_honest
) -> list[str]:
    """The stories of the seeds that go wrong, as short as they can be told."""
    told: list[str] = []
    logging.disable(logging.CRITICAL)  # frauds are said again and again
    try:
        with small_parts(), folder() as name:
            disk = Disk(Path(name))
            for seed in seeds:
                story = make(seed)
                if said := trouble(play, disk, seed, story):
                    told.append(_told(play, disk, seed, story, said))
    finally:
        logging.disable(logging.NOTSET)
    return told


def _told(play: Play, disk: Disk, seed: int, story: Story, said: str) -> str:
    kind = said.split(":")[:2]
    story = shrunk(story, lambda shorter: trouble(play, disk, seed, shorter).split(":")[:2] == kind)
    steps = "\n".join(f"    {step!r}" for step in story)
    return f"seed {seed}: {trouble(play, disk, seed, story)}\n{steps}"
