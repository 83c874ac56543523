"""What we did not start is never stopped, removed or changed, whatever is done to the managed engine."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from app.containers.base import LABEL_PROFILE, LABEL_ROLE, ContainerError, NameTaken
from app.engine.host import HostPhase
from app.managed.names import labels_of
from tests.managed.hosting import Make, Managed, eventually
from tests.real.docker_engine import Engine

Foreign = Callable[..., Any]


def seen(container: Any) -> tuple[str, str, str, str]:
    """What would show that somebody touched it."""
    container.reload()
    state = container.attrs["State"]
    return (
        container.name,
        state["Status"],
        state["StartedAt"],
        str(sorted(container.attrs["NetworkSettings"]["Networks"])),
    )


VERBS = (
    "start",
    "stop",
    "update",
    "recreate",
    "remove",
    "remove with models",
    "way out",
    "check",
    "resumed",
    "log",
)


async def do(managed: Managed, verb: str) -> None:
    host = managed.host
    match verb:
        case "remove":
            await host.remove(models=False)
        case "remove with models":
            await host.remove(models=True)
        case "way out":
            async with host.way_out():
                pass
        case "check":
            await host.check_processor()
        case "log":
            assert await host.log_tail() == "" or managed.exists()
        case "update":
            # The image is nowhere to be had; what an update does after that is tried in test_changing.
            await host.update()
        case _:
            await getattr(host, verb)()


@pytest.mark.parametrize("verb", VERBS)
async def test_no_verb_touches_a_foreign_container_of_our_name(
    make: Make, foreign: Foreign, verb: str
) -> None:
    managed = make()
    other = foreign(managed.names.container, volumes={managed.names.volume: {"bind": "/x", "mode": "rw"}})
    before = seen(other)
    with suppress(ContainerError):
        await do(managed, verb)
    assert seen(other) == before
    assert managed.host.state.phase in (HostPhase.ABSENT, HostPhase.FAILED)


async def test_a_container_of_another_profile_or_role_is_foreign_too(make: Make, foreign: Foreign) -> None:
    managed = make()
    other = foreign(managed.names.container, labels={LABEL_PROFILE: "elsewhere", LABEL_ROLE: "engine"})
    before = seen(other)
    for verb in VERBS:
        with suppress(ContainerError):
            await do(managed, verb)
    assert seen(other) == before
    other.remove(force=True)
    other = foreign(
        managed.names.container, labels={LABEL_PROFILE: managed.recipe.profile, LABEL_ROLE: "tunnel"}
    )
    before = seen(other)
    for verb in VERBS:
        with suppress(ContainerError):
            await do(managed, verb)
    assert seen(other) == before


async def test_a_profile_of_the_same_name_in_another_home_keeps_its_container_and_its_models(
    make: Make, foreign: Foreign, dockerd: Engine
) -> None:
    managed = make()
    names = managed.names
    labels = dict(labels_of(managed.recipe.profile, "somebody else's home"))
    dockerd.client.volumes.create(names.volume, labels=labels)
    other = foreign(names.container, labels=labels)
    before = seen(other)
    for verb in VERBS:
        with suppress(ContainerError):
            await do(managed, verb)
    assert seen(other) == before
    with pytest.raises(NameTaken):
        await managed.host.remove(models=True)
    assert names.volume in {volume.name for volume in dockerd.client.volumes.list()}
    other.remove(force=True)
    dockerd.client.volumes.get(names.volume).remove()


async def test_any_order_of_verbs_leaves_every_other_container_and_volume_as_it_was(
    make: Make, foreign: Foreign, dockerd: Engine, profile: str
) -> None:
    others = [
        foreign(f"ollama-{profile}"),
        foreign(f"mortdecai-ollama-{profile}x"),
        foreign(f"tunnel-{profile}", labels={LABEL_PROFILE: profile, LABEL_ROLE: "tunnel"}),
        foreign(f"x-mortdecai-ollama-{profile}", volumes={f"theirs-{profile}": {"bind": "/x", "mode": "rw"}}),
    ]
    before = [seen(other) for other in others]
    chance = random.Random(3)
    managed = make()
    verbs = [verb for verb in VERBS if verb != "update"]
    for _ in range(12):
        with suppress(ContainerError):
            await do(managed, chance.choice(verbs))
        assert [seen(other) for other in others] == before
    await managed.host.remove(models=True)
    assert [seen(other) for other in others] == before
    assert f"theirs-{profile}" in {volume.name for volume in dockerd.client.volumes.list()}
    others[-1].remove(force=True)
    dockerd.client.volumes.get(f"theirs-{profile}").remove()


async def test_a_foreign_container_that_takes_our_name_while_ours_is_gone_stays(
    make: Make, foreign: Foreign
) -> None:
    """Ours is removed from outside, and before it is made again somebody else has its name."""
    managed = make({"pauses_s": (0.5,)})
    await managed.host.start()
    managed.container().remove(force=True)
    other = foreign(managed.names.container)
    before = seen(other)
    await eventually(lambda: managed.state.phase is HostPhase.FAILED, "said")
    assert managed.state.problem is not None
    assert "was not made by this app" in managed.state.problem
    with pytest.raises(NameTaken):
        await managed.host.start()
    assert seen(other) == before
