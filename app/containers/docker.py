"""The Docker Engine (or Podman's copy of its API), as the rest of the house uses it.

Rule 1: every method is a question or a wish in our own words; it has a deadline and raises only ContainerError.
Rule 2: what does not carry our label was not made by us: it is never stopped, removed or changed. Rule 3: wishes may
be said again: what is so already is fine.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import suppress

from docker.errors import APIError, NotFound

from app.containers import networks, pulls
from app.containers.base import (
    LABEL_PROFILE,
    Container,
    ContainerSpec,
    Daemon,
    DaemonFailed,
    DaemonUnreachable,
    Event,
    Gpu,
    GpuRefused,
    Image,
    NetworkSpec,
    PullBroken,
    PullProgress,
)
from app.containers.calls import Calls
from app.containers.candidates import DaemonPlace
from app.containers.errors import DockerCall
from app.containers.making import container_config, container_from, gpu_ignored, host_config, image_from
from app.containers.transport import DockerClient

SILENT_S = 300.0
"""A pull of which nothing is heard for so long has broken off. Unpacking a large layer on a slow disk is silent too."""

CONNECTED = Event(kind="daemon", action="connected", id="", name="")


class Docker:
    """One daemon; `find_daemon` makes it. Any number of calls may run at once."""

    def __init__(
        self,
        daemon: Daemon,
        place: DaemonPlace,
        version: str,
        *,
        deadline_s: float = 30.0,
        silent_s: float = SILENT_S,
    ) -> None:
        self.daemon = daemon
        self._calls = Calls(place, version, deadline_s)
        self._silent_s = silent_s

    async def image(self, reference: str) -> Image | None:
        """The image, if it is here. `reference` is a name with tag or digest, or an id."""

        def look(client: DockerClient) -> Image | None:
            return _image(client, reference)

        return await self._calls.do(DockerCall("look for the image", image=reference), look)

    async def pull(self, reference: str, on_progress: Callable[[PullProgress], None]) -> Image:
        """Download the image, whether or not it is here. `on_progress` is called in the loop, at most ten times a
        second. Cancelling stops the daemon's download too. Raises ImageMissing, PullBroken, DiskFull."""
        call = DockerCall(f"download {reference}", image=reference, pull=True)
        loop = asyncio.get_running_loop()
        listening = True

        def tell(progress: PullProgress) -> None:
            if listening:
                on_progress(progress)

        def report(progress: PullProgress) -> None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(tell, progress)

        def work(client: DockerClient) -> None:
            pulls.pull(client, call, report)

        try:
            await self._calls.do(call, work, silent_s=self._silent_s)
        finally:
            listening = False
        found = await self.image(reference)
        if found is None:
            raise PullBroken(f"The download of {reference} broke off. Try again.", "the stream ended early")
        return found

    async def remove_image(self, reference: str) -> None:
        """Take the name away, and the image where it was the last one. Gone already: fine; in use: DaemonFailed."""

        def remove(client: DockerClient) -> None:
            with suppress(NotFound):
                client.remove_image(reference)

        await self._calls.do(DockerCall(f"remove the image {reference}"), remove)

    async def find(self, name_or_id: str) -> Container | None:
        """The container of exactly this name or id, running or not."""

        def look(client: DockerClient) -> Container | None:
            return _container(client, name_or_id)

        return await self._calls.do(DockerCall("look for the container", container=name_or_id), look)

    async def list(self, labels: Mapping[str, str]) -> tuple[Container, ...]:
        """Containers with all these labels, stopped ones too; all there are for an empty mapping."""
        wanted = [f"{name}={value}" for name, value in labels.items()]

        def look(client: DockerClient) -> tuple[Container, ...]:
            listed = client.containers(all=True, filters={"label": wanted} if wanted else None)
            seen = (_container(client, entry["Id"]) for entry in listed)
            return tuple(container for container in seen if container is not None)

        return await self._calls.do(DockerCall("list the containers"), look)

    async def create(self, spec: ContainerSpec) -> Container:
        """Make the container, and its volumes where they are missing. It does not run yet. Raises NameTaken,
        ImageMissing, DiskFull, GpuRefused."""
        call = DockerCall(
            "create the container", container=spec.name, image=spec.image, rocm=spec.gpu is Gpu.ROCM
        )

        def make(client: DockerClient) -> Container:
            for volume in spec.volumes:
                client.create_volume(volume, labels=dict(spec.labels))
            host = client.create_host_config(**host_config(spec, self.daemon))
            made = client.create_container(**container_config(spec), host_config=host)
            seen = client.inspect_container(made["Id"])
            if gpu_ignored(spec, seen):
                client.remove_container(made["Id"], force=True)
                raise GpuRefused(
                    f"{self.daemon.name} does not hand the NVIDIA GPU to containers that a program makes. Use Docker"
                    " Engine, or start Ollama yourself and choose it here."
                )
            return container_from(seen)

        return await self._calls.do(call, make, deadline_s=60.0)

    async def start(self, container: str) -> None:
        """Let it run; running already: fine. Raises PortTaken, GpuRefused, DiskFull, ContainerGone."""

        def start(client: DockerClient) -> None:
            client.start(container)

        await self._calls.do(
            DockerCall("start the container", container=container, rocm=True), start, deadline_s=60.0
        )

    async def stop(self, container: str, grace_s: float = 10.0) -> None:
        """Ask it to end, and after `grace_s` make it. Gone or stopped already: fine. Not ours: DaemonFailed."""
        grace = math.ceil(grace_s)

        def stop(client: DockerClient) -> None:
            if _ours(client, container) is not None:
                with suppress(NotFound):
                    client.stop(container, timeout=grace)

        await self._calls.do(
            DockerCall("stop the container", container=container), stop, deadline_s=grace + 30.0
        )

    async def remove(self, container: str) -> None:
        """Remove it, running or not; volumes stay. Gone already: fine. Not ours: DaemonFailed."""

        def remove(client: DockerClient) -> None:
            if _ours(client, container) is None:
                return
            try:
                client.remove_container(container, force=True)
            except APIError as error:
                # 409: somebody else is removing it at this moment.
                if error.status_code not in (404, 409) or "already in progress" not in str(error.explanation):
                    if error.status_code == 404:
                        return
                    raise

        await self._calls.do(DockerCall("remove the container", container=container), remove, deadline_s=60.0)

    async def logs(self, container: str, lines: int = 200) -> str:
        """The last lines of what it wrote, both streams. Raises ContainerGone."""

        def read(client: DockerClient) -> str:
            return bytes(client.logs(container, tail=lines)).decode(errors="replace")

        return await self._calls.do(DockerCall("read the log", container=container), read)

    def follow_logs(self, container: str) -> AsyncGenerator[str, None]:
        """Its lines, from the first one on, until it ends. Close it (`aclose`) when it is not wanted any more."""

        def read(client: DockerClient) -> Iterator[str]:
            pieces = client.logs(container, stream=True, follow=True)
            client.wait_for_ever()
            return _lines_of(pieces)

        return self._calls.stream(DockerCall("read the log", container=container), read)

    async def events(self) -> AsyncGenerator[Event, None]:
        """First CONNECTED, once it listens: what is asked after that misses nothing. Then what happens to containers
        of ours, and to the daemon. Never ends by itself: DaemonUnreachable when the daemon goes."""
        kinds = ["container", "daemon"] if self.daemon.name == "Docker" else ["container"]

        def read(client: DockerClient) -> Iterator[Event]:
            seen = client.events(decode=True, filters={"type": kinds})
            client.wait_for_ever()
            yield CONNECTED
            for entry in seen:
                if (event := _event(entry)) is not None:
                    yield event

        stream = self._calls.stream(DockerCall("watch the containers"), read)
        try:
            async for event in stream:
                yield event
        finally:
            await stream.aclose()
        raise DaemonUnreachable("Docker has stopped. Start Docker and try again.", "the events ended")

    async def ensure_network(self, spec: NetworkSpec) -> bool:
        """Make the network where it is not there. True: it is as asked for. False: it is there, but the way out is
        not, or not for certain, closed. See `networks`."""

        def make(client: DockerClient) -> bool:
            return networks.ensure(client, spec, self.daemon)

        return await self._calls.do(DockerCall(f"make the network {spec.name}"), make)

    async def connect(self, network: str, container: str) -> None:
        """Join the container to one more network. See `networks` for what that does to its ports."""
        call = DockerCall(f"connect to the network {network}", container=container)
        await self._calls.do(call, lambda client: networks.connect(client, network, container))

    async def disconnect(self, network: str, container: str) -> None:
        """Take the container out of the network; not in it: fine."""
        call = DockerCall(f"disconnect from the network {network}", container=container)
        await self._calls.do(call, lambda client: networks.disconnect(client, network, container))

    async def remove_network(self, name: str) -> None:
        """Gone already: fine. In use, or not ours: DaemonFailed."""
        await self._calls.do(
            DockerCall(f"remove the network {name}"), lambda client: networks.remove(client, name)
        )

    async def remove_volume(self, name: str) -> None:
        """Remove the volume with all that is in it. Gone already: fine. In use, or not ours: DaemonFailed."""

        def remove(client: DockerClient) -> None:
            try:
                if LABEL_PROFILE not in (client.inspect_volume(name).get("Labels") or {}):
                    raise DaemonFailed(
                        f"The volume {name} was not made by this program, so it is left alone."
                    )
                client.remove_volume(name)
            except NotFound:
                return

        await self._calls.do(DockerCall(f"remove the volume {name}"), remove, deadline_s=60.0)

    async def close(self) -> None:
        """Hang up: streams end, and whatever is still going on ends with DaemonUnreachable. Containers go on."""
        self._calls.close()


def _image(client: DockerClient, reference: str) -> Image | None:
    try:
        return image_from(client.inspect_image(reference))  # type: ignore[no-untyped-call]
    except NotFound:
        return None


def _container(client: DockerClient, name_or_id: str) -> Container | None:
    try:
        container = container_from(client.inspect_container(name_or_id))
    except NotFound:
        return None
    # The daemon takes the beginning of an id for the id, and so a short name for somebody else's container.
    if container.name == name_or_id or (len(name_or_id) >= 12 and container.id.startswith(name_or_id)):
        return container
    return None


def _ours(client: DockerClient, name_or_id: str) -> Container | None:
    """The container, where it is there. Raises DaemonFailed where it is not ours."""
    container = _container(client, name_or_id)
    if container is not None and LABEL_PROFILE not in container.labels:
        raise DaemonFailed(
            f"The container {container.name} was not made by this program, so it is left alone."
        )
    return container


def _event(entry: object) -> Event | None:
    if not isinstance(entry, dict):
        return None
    actor = entry.get("Actor")
    attributes = (actor.get("Attributes") if isinstance(actor, dict) else None) or {}
    kind, action = str(entry.get("Type", "")), str(entry.get("Action", ""))
    if kind == "container" and LABEL_PROFILE not in attributes:
        return None
    return Event(kind, action, str((actor or {}).get("ID", "")), str(attributes.get("name", "")))


def _lines_of(pieces: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.rstrip(b"\r").decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")
