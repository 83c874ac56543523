"""What this room speaks: errors that are sentences, and data about images, containers and networks.

Rule 1: only data and errors here; nothing here asks a daemon. Rule 2: an error's text is one sentence for the person
who lends a GPU: what happened, why, and what to do. The SDK's own words are kept in `detail`, for the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

PREFIX = "org.mortdecai.gateway"
LABEL_PROFILE = f"{PREFIX}.profile"
"""On every container, network and volume of ours: which profile it belongs to. What lacks it is never touched."""
LABEL_HOME = f"{PREFIX}.home"
"""Which gateway of that profile's name: two users, or two homes, may have a profile of the same name at one daemon."""
LABEL_ROLE = f"{PREFIX}.role"
"""`engine` or `tunnel`."""
LABEL_SPEC = f"{PREFIX}.spec"
"""The canonical JSON of the `ContainerSpec` that the container was made from: what drift is measured against."""


class ContainerError(Exception):
    """Something about a container did not work; `str()` is the sentence, `detail` what the daemon said."""

    def __init__(self, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.detail = detail


class DaemonUnreachable(ContainerError):
    """No daemon answers: none is installed, it is stopped, its socket refuses us, or it hangs."""


class ImageMissing(ContainerError):
    """The image is neither here nor where it should come from."""


class PullBroken(ContainerError):
    """The image came only in part. Trying again is right; what has arrived may have to come once more (see `pulls`)."""


class DiskFull(ContainerError):
    """The daemon's disk has no room left."""


class NameTaken(ContainerError):
    """Somebody else's container has the name."""


class PortTaken(ContainerError):
    """The host port is in use."""


class GpuRefused(ContainerError):
    """The daemon cannot hand the GPU to a container."""


class ContainerGone(ContainerError):
    """The container was there a moment ago and is not any more."""


class DaemonFailed(ContainerError):
    """Anything else that the daemon refused."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon that was found."""

    url: str
    """unix://, npipe://, tcp:// or http(s)://."""
    found_by: str
    """In words, for a sentence: «DOCKER_HOST», «the Docker context desktop-linux», «the socket /run/docker.sock»."""
    name: str
    """`Docker` or `Podman`."""
    version: str
    rootless: bool
    virtual: bool
    """Containers run in a virtual machine (Docker Desktop, Podman machine, Colima): they share neither the host's
    network nor its kernel, and reach the host as `host_alias`."""
    nvidia: bool
    """An NVIDIA runtime or CDI devices are known to the daemon. False says little on Docker Desktop."""
    host_alias: str
    """How a container calls the host: host.docker.internal or host.containers.internal."""


class Gpu(StrEnum):
    """Which GPU a container is given."""

    NVIDIA = "nvidia"
    ROCM = "rocm"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is here."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    """`repository@sha256:…`, as pulled; empty for an image that was never pulled."""
    size_b: int


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull is. Bytes are of the compressed layers whose size is known so far."""

    layers: int
    layers_done: int
    done_b: int
    total_b: int
    status: str
    """What happens now, in a few words: «Downloading», «Unpacking»."""


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network of ours. `way_out` False: replies from outside never come back, so no connection leads out."""

    name: str
    way_out: bool
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """Everything that a container is made from. Ports are published on 127.0.0.1 only; every capability is dropped and
    no-new-privileges set, whatever else is asked for."""

    name: str
    image: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """More environment, whose values no label, log or comparison may hold."""
    labels: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    """Volume's name → path inside."""
    ports: Mapping[int, int] = field(default_factory=dict)
    """Port inside (TCP) → port on 127.0.0.1."""
    network: str = ""
    """Name of the network to join; empty: the daemon's default one; `host`: the host's own."""
    gpu: Gpu = Gpu.NONE
    devices: tuple[str, ...] = ()
    """Device files handed in, for ROCm /dev/kfd and /dev/dri."""
    groups: tuple[str, ...] = ()
    """More groups of the process inside, as numbers or names, for ROCm video and render."""
    memory_b: int = 0
    cpus: int = 0
    pids: int = 0
    read_only: bool = False
    """The root file system; volumes stay writable, and /tmp is a tmpfs."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container as the daemon describes it."""

    id: str
    name: str
    image: str
    """As it was asked for."""
    image_id: str
    labels: Mapping[str, str]
    status: str
    """created, running, paused, restarting, removing, exited or dead."""
    exit_code: int
    out_of_memory: bool
    error: str
    """Why it could not be started, as the daemon says it; usually empty."""
    started_at: str
    ports: Mapping[int, int]
    """Port inside (TCP) → port on the host, of those that are published."""
    networks: tuple[str, ...]

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self.status == "running"


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened at the daemon. `kind` is container, daemon or network; `action` die, start, oom, reload…"""

    kind: str
    action: str
    id: str
    name: str
