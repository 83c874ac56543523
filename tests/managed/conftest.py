"""Fixtures: managed engines, each test with a profile of its own, containers of somebody else's, scripted images."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import docker
import pytest

from app.containers.base import LABEL_PROFILE
from app.managed.names import names_of
from app.managed.recipe import Recipe
from tests.managed.hosting import SCRIPTED, Make, Managed, entry
from tests.real.docker_engine import Engine
from tests.real.docker_images import Images

_profiles = (f"t{number}" for number in itertools.count())


@pytest.fixture
def profile() -> str:
    """A profile that no other test has."""
    return next(_profiles)


@pytest.fixture
async def make(dockerd: Engine, images: Images, profile: str) -> AsyncIterator[Make]:
    """`make(image=…, …, options={…})` is one more managed engine of this test's profile; all is cleared away after."""
    made: list[Managed] = []

    def do(
        options: dict[str, Any] | None = None, find: Callable[[], Any] | None = None, **recipe: Any
    ) -> Managed:
        wanted = {"profile": profile, "image": images.simulator, "processor": "cpu", **recipe}
        made.append(Managed(dockerd, Recipe(**wanted), options or {}, find))
        return made[-1]

    yield do
    for managed in made:
        await managed.close()
    dockerd.start()
    api = dockerd.client.api
    labelled = {"label": f"{LABEL_PROFILE}={profile}"}
    for container in api.containers(all=True, filters=labelled):
        api.remove_container(container["Id"], force=True)
    names = names_of(profile)
    for volume in (api.volumes(filters={"name": names.volume})["Volumes"]) or []:
        api.remove_volume(volume["Name"], force=True)
    for network in api.networks(filters=labelled):
        api.remove_network(network["Id"])


@pytest.fixture
def foreign(dockerd: Engine, images: Images) -> Iterator[Callable[..., Any]]:
    """`foreign(name, **options)` starts a container of somebody else's."""
    made: list[Any] = []

    def start(name: str, **options: Any) -> Any:
        made.append(dockerd.client.containers.run(images.deaf, name=name, detach=True, **options))
        return made[-1]

    yield start
    for container in made:
        with suppress(docker.errors.NotFound):
            container.remove(force=True)


@pytest.fixture(scope="session")
def scripted(dockerd: Engine, images: Images) -> Callable[..., str]:
    """`scripted(libraries, vram)`: an image whose log names one library after the other, at one start after the other,
    and whose loaded model occupies `vram` of the GPU's memory (None: nothing is loaded)."""

    def build(libraries: str, vram: int | None = None) -> str:
        variables = [f"ENV LIBRARIES={libraries}", f"ENV VRAM={'' if vram is None else vram}"]
        return entry(
            dockerd,
            images,
            f"scripted-{libraries.replace(',', '-').lower()}-{vram}".lower(),
            SCRIPTED,
            variables,
        )

    return build
