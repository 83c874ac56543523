"""Making the engine's container and setting it going: one recipe, one daemon.

Rule 1: what is not ours is looked at and left alone. Rule 2: what a container is made from is an exact image, so a tag
that moves changes nothing unasked. Rule 3: models lie in a volume; removing a container never removes it.
Rule 4: an old image is kept until the new one has answered.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from app.containers.base import (
    Container,
    ContainerError,
    ContainerGone,
    DaemonFailed,
    DaemonUnreachable,
    Image,
    ImageMissing,
    NameTaken,
    NetworkSpec,
    PortTaken,
    PullProgress,
)
from app.containers.docker import Docker
from app.managed.faults import problem_and_fix
from app.managed.gpu_choice import Choice
from app.managed.names import (
    LABEL_DIGEST,
    LABEL_REFERENCE,
    Names,
    is_ours,
    labels_of,
    names_of,
)
from app.managed.ports import free_port
from app.managed.recipe import PORT_INSIDE, Recipe, made_port, spec
from app.managed.tasks import unbroken

_PORTS = 5
"""So many ports that we chose may be taken at the last moment before it is the person's turn."""
GRACE_S = 10.0

log = logging.getLogger(__name__)


class Making:
    """The present recipe at one daemon. Methods raise ContainerError."""

    def __init__(
        self, docker: Docker, recipe: Recipe, choice: Choice, on_pull: Callable[[PullProgress], None]
    ) -> None:
        self.docker = docker
        self.recipe = recipe
        self.choice = choice
        self.names: Names = names_of(recipe.profile)
        self.closed = False
        """Whether the container's network has no way out; known once `networks` ran."""
        self._on_pull = on_pull

    @property
    def reference(self) -> str:
        """The image that the recipe asks for."""
        return self.recipe.reference(self.choice.gpu)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the person about what it was made with; known once `networks` ran."""
        if self.closed or not self.recipe.isolated:
            return self.choice.notes
        return (*self.choice.notes, "This Docker cannot close a network, so the engine keeps its way out.")

    async def existing(self) -> Container | None:
        """Our container, or None. Raises NameTaken where somebody else's has the name."""
        return await require_ours(self.docker, self.recipe)

    async def image(self) -> Image:
        """The recipe's image: the one that is here, else pulled."""
        return await self.docker.image(self.reference) or await self.pull(self.reference)

    async def pull(self, reference: str) -> Image:
        """The newest of `reference`."""
        return await self.docker.pull(reference, self._on_pull)

    async def networks(self) -> None:
        """Have the container's own network, closed where the recipe says so and the daemon can."""
        name = self.names.sealed if self.recipe.isolated else self.names.opened
        wanted = NetworkSpec(
            name,
            way_out=not self.recipe.isolated,
            labels=dict(labels_of(self.recipe.profile, self.recipe.home)),
        )
        self.closed = await unbroken(self.docker.ensure_network(wanted)) and self.recipe.isolated

    async def make(self, image_id: str, digest: str, *, port: int = 0) -> Container:
        """A new container in place of ours, not started. `port`: to be taken unless the settings name another."""
        old = await self.existing()
        if old is not None:
            await self.docker.stop(old.id, GRACE_S)
            await self.docker.remove(old.id)
        await self.networks()
        port = self.recipe.port or port or self._free_port(())
        return await self.docker.create(
            spec(self.recipe, self.choice, image=image_id, digest=digest, port=port)
        )

    async def make_of(self, image: Image) -> Container:
        """A new container of `image`."""
        return await self.make(image.id, digest_of(image, self.reference))

    async def make_again(self, container: Container) -> Container:
        """A new container with the present recipe in place of `container`: the same image where the settings name the
        same, and the same port where they name none."""
        port = made_port(container)
        if container.labels.get(LABEL_REFERENCE) == self.reference:
            try:
                return await self.make(container.image_id, container.labels.get(LABEL_DIGEST, ""), port=port)
            except ImageMissing:
                # The image was removed from below its container: take what its name means today.
                log.info("The engine's image is gone; its name is looked up again.")
        image = await self.image()
        return await self.make(image.id, digest_of(image, self.reference), port=port)

    async def run(self, container: Container) -> Container:
        """Have `container` running; the container that runs, which is a new one where its port was taken."""
        tried: list[int] = []
        again = True
        while True:
            if container.status in ("removing", "dead"):
                container = await self.make_again(container)
            elif container.status in ("paused", "restarting"):
                await self.docker.stop(container.id, GRACE_S)
            await self.networks()
            try:
                if not container.running:
                    await self.docker.start(container.id)
                break
            except ContainerGone:
                # It is gone, or a network that it was made with is: `docker network prune` takes those of stopped ones.
                if not again:
                    raise
                again = False
                container = await self.make_again(container)
            except PortTaken:
                tried.append(made_port(container))
                if self.recipe.port or len(tried) >= _PORTS:
                    raise
                log.info("Port %d was taken by somebody; another one is tried.", tried[-1])
                container = await self.make(
                    container.image_id,
                    container.labels.get(LABEL_DIGEST, ""),
                    port=self._free_port(tried),
                )
        running = await self.docker.find(container.id)
        if running is None:
            raise ContainerGone("The engine's container was removed while it was being started.")
        return running

    def is_open(self, container: Container) -> bool:
        """Whether it has a way out that it is not to keep."""
        return self.recipe.isolated and self.names.opened in container.networks

    async def cut(self, container: Container) -> None:
        """Take a way out away that an earlier run left open."""
        if self.is_open(container):
            await unbroken(self.docker.disconnect(self.names.opened, container.id))

    async def open(self, container: Container) -> None:
        """Give the container a way out, where it has none."""
        if self.names.opened in container.networks:
            return
        wanted = NetworkSpec(
            self.names.opened, way_out=True, labels=dict(labels_of(self.recipe.profile, self.recipe.home))
        )
        # Half-made by one and made again by the next there would be two of the name, and Docker then takes neither.
        await unbroken(self.docker.ensure_network(wanted))
        await unbroken(self.docker.connect(self.names.opened, container.id))

    async def drop_image(self, image_id: str) -> None:
        """Remove an image that an update replaced, unless a container or a name of somebody's still needs it."""
        try:
            image = await self.docker.image(image_id)
            if image is None or image.tags:
                return
            if any(other.image_id == image_id for other in await self.docker.list({})):
                return
            await self.docker.remove_image(image_id)
        except ContainerError as error:
            log.info("The old image stays: %s", error)

    def _free_port(self, avoid: tuple[int, ...] | list[int]) -> int:
        try:
            return free_port(avoid)
        except OSError as error:
            raise PortTaken(
                "No port is free on 127.0.0.1. End a program that holds many, then try again."
            ) from error


async def put_in_place(
    making: Making,
    old: Container | None,
    image: Image,
    bring_up: Callable[[Container], Awaitable[None]],
) -> str:
    """Replace `old` by a container of `image`; one sentence about what came of it.

    `bring_up` returns once a container's engine answers. Raises ContainerError where not even the old image comes up.
    """
    if old is None:
        await bring_up(await making.make_of(image))
        return "Ollama was installed."
    port = made_port(old)
    try:
        await bring_up(await making.make(image.id, digest_of(image, making.reference), port=port))
    except DaemonUnreachable:
        raise
    except ContainerError as error:
        log.warning("The new Ollama did not come up, going back: %s %s", error, error.detail)
        await bring_up(await making.make(old.image_id, old.labels.get(LABEL_DIGEST, ""), port=port))
        problem, _ = problem_and_fix(error)
        return f"The new Ollama did not come up, so the old one runs again: {problem}"
    await making.drop_image(old.image_id)
    return "Ollama was updated; its models are kept."


async def find_ours(docker: Docker, recipe: Recipe) -> Container | None:
    """The profile's container, or None where there is none of ours."""
    container = await docker.find(names_of(recipe.profile).container)
    ours = container is not None and is_ours(container, recipe.profile, recipe.home)
    return container if ours else None


async def require_ours(docker: Docker, recipe: Recipe) -> Container | None:
    """The same, but raises NameTaken where somebody else's has the name."""
    name = names_of(recipe.profile).container
    container = await docker.find(name)
    if container is not None and not is_ours(container, recipe.profile, recipe.home):
        raise NameTaken(
            f"A container called {name} is there already and was not made by this app's profile {recipe.profile}. "
            "Rename or remove it, then start the engine again."
        )
    return container


async def clear(docker: Docker, recipe: Recipe, *, models: bool) -> None:
    """Remove the profile's container and networks, and its models where `models`. Raises ContainerError."""
    names = names_of(recipe.profile)
    # Where the name is somebody else's, so are the models.
    container = await require_ours(docker, recipe)
    if container is not None:
        await docker.stop(container.id, GRACE_S)
        await docker.remove(container.id)
    for network in (names.sealed, names.opened):
        try:
            await docker.remove_network(network)
        except DaemonFailed as error:
            # Somebody else's, or somebody else's container is in it.
            log.info("%s", error)
    if models:
        await docker.remove_volume(names.volume)


def digest_of(image: Image, reference: str) -> str:
    """`sha256:…` of `image` as it was pulled under the name in `reference`, or empty."""
    repository = reference.partition("@")[0]
    head, _, tail = repository.rpartition(":")
    if head and "/" not in tail:
        repository = head
    for entry in image.digests:
        name, _, digest = entry.partition("@")
        if name == repository:
            return digest
    return image.digests[0].partition("@")[2] if image.digests else ""


def url_of(container: Container) -> str:
    """Where the engine in a running container answers. Raises DaemonFailed where the daemon published no port."""
    port = container.ports.get(PORT_INSIDE)
    if not port:
        raise DaemonFailed("Docker started the engine without its port. Start the engine again.")
    return f"http://127.0.0.1:{port}"
