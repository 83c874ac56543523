"""Stories made from seeds, and the shortest part of one that still goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.twoparty.frauds import FRAUDS
from tests.twoparty.wire import HONEST, Fault
from tests.twoparty.world import DAY_S, Step, Story

LIES = ("garbled_request", "garbled_answer", "stranger", "yesterday", "denied", "boast", "forgets")
WAITS_S = (1, 6, 60, 700, 7_200, 40_000, DAY_S + 1, 30 * DAY_S)
SKEWS_S = (0, -3_600, 3_600, -40 * DAY_S, 40 * DAY_S, -700 * DAY_S, 700)


def faults(chance: Random) -> tuple[Fault, ...]:
    """What happens to the next few exchanges; mostly nothing."""
    return tuple(
        chance.choice(HONEST) if chance.random() < 0.4 else ("ok",) for _ in range(chance.randrange(4))
    )


def lies(chance: Random) -> tuple[Fault, ...]:
    """The same where somebody lies."""
    return tuple(
        (chance.choice(LIES), chance.randrange(1 << 16), chance.randrange(8))
        for _ in range(chance.randrange(1, 4))
    )


def appended(chance: Random) -> Step:
    """A commit of a few requests."""
    return ("append", *(chance.randrange(10**9) for _ in range(chance.choice((1, 1, 2, 3, 7)))))


MAKERS: tuple[tuple[int, Callable[[Random], Step]], ...] = (
    (30, appended),
    (22, lambda chance: ("deliver", *faults(chance))),
    (14, lambda chance: ("hurry", *faults(chance))),
    (12, lambda chance: ("wait", chance.choice(WAITS_S))),
    (5, lambda chance: ("keep",)),
    (4, lambda chance: ("arrive", chance.randrange(8))),
    (3, lambda chance: ("kill_gateway",)),
    (3, lambda chance: ("kill_receiver",)),
    (2, lambda chance: ("rotate",)),
    (2, lambda chance: ("new_key",)),
    (4, lambda chance: ("other", chance.randrange(60))),
    (2, lambda chance: ("skew_gateway", chance.choice(SKEWS_S))),
    (2, lambda chance: ("skew_receiver", chance.choice(SKEWS_S))),
    (2, lambda chance: ("withhold", chance.random() < 0.5)),
    (2, lambda chance: ("back_up_gateway",)),
    (2, lambda chance: ("restore_gateway", *faults(chance))),
    (2, lambda chance: ("restore_file_alone",)),
    (2, lambda chance: ("back_up_receiver",)),
    (2, lambda chance: ("restore_receiver",)),
)
REVOKING = (1, lambda chance: ("revoke_key",))
LYING = (3, lambda chance: ("lie", *lies(chance)))


def honest(seed: int) -> Story:
    """What may happen to two honest sides; in every third story the wire or the receiver lies a little as well."""
    chance = Random(seed)
    makers = (*MAKERS, REVOKING, LYING) if seed % 3 == 0 else (*MAKERS, REVOKING)
    weights = [weight for weight, _ in makers]
    steps = chance.choices([maker for _, maker in makers], weights, k=chance.randrange(6, 36))
    return tuple(maker(chance) for maker in steps)


def fraudulent(seed: int) -> Story:
    """An honest story that ends with a fraud; `FRAUDS` take their turns."""
    chance = Random(-1 - seed)
    names = list(FRAUDS)
    steps = chance.choices(
        [maker for _, maker in MAKERS], [weight for weight, _ in MAKERS], k=chance.randrange(14)
    )
    prefix = tuple(maker(chance) for maker in steps)
    cheat = ("cheat", names[seed % len(names)], chance.random())
    return (*prefix, appended(chance), appended(chance), ("append", 1, 2, 3), cheat)


def shrunk(story: Story, wrong: Callable[[Story], bool]) -> Story:
    """A part of `story` of which no step can be left out that is still `wrong`."""
    width = max(1, len(story) // 2)
    while True:
        at = 0
        while at < len(story):
            shorter = story[:at] + story[at + width :]
            if wrong(shorter):
                story = shorter
            else:
                at += width
        if width == 1:
            return story
        width = max(1, width // 2)
