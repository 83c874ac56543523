"""Pulling an image: what the daemon says line by line, added up to how far it is.

Rule 1: `ImageLayers` is a plain sum over lines and asks nobody. Rule 2: only layers whose size is known count in
bytes; a total that grows is honest, a guessed one is not.

The daemon itself goes on where a connection broke off (five times, from the byte where it stopped). Once it has given
up, what stays depends on its image store: containerd's keeps what has arrived, the classic one (overlay2) drops even
finished layers, measured with 20.10. Trying again is right either way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from docker.errors import DockerException
from urllib3.exceptions import HTTPError

from app.containers.base import PullBroken, PullProgress
from app.containers.errors import DockerCall, is_timeout, refused
from app.containers.transport import DockerClient

PAUSE_S = 0.1
"""Between two progress reports."""

_DONE = ("Pull complete", "Already exists")
_ARRIVED = ("Verifying Checksum", "Download complete", "Extracting", *_DONE)


@dataclass(slots=True)
class _Layer:
    size_b: int = 0
    arrived_b: int = 0
    status: str = ""


@dataclass(slots=True)
class ImageLayers:
    """The layers of one pull."""

    layers: dict[str, _Layer] = field(default_factory=dict)

    def add(self, line: dict[str, Any]) -> None:
        """Take in one line of the daemon's progress. Lines that are about no layer change nothing."""
        key, status = line.get("id"), line.get("status")
        if not isinstance(key, str) or not isinstance(status, str) or status.startswith("Pulling from"):
            return
        layer = self.layers.setdefault(key, _Layer())
        layer.status = "Retrying" if status.startswith("Retrying") else status
        detail = line.get("progressDetail")
        if status == "Downloading" and isinstance(detail, dict):
            layer.size_b = _whole(detail.get("total")) or layer.size_b
            layer.arrived_b = _whole(detail.get("current"))
        if status in _ARRIVED:
            layer.arrived_b = layer.size_b

    def sum(self) -> PullProgress:
        """How far it is."""
        layers = list(self.layers.values())
        known = [layer for layer in layers if layer.size_b]
        return PullProgress(
            layers=len(layers),
            layers_done=sum(layer.status in _DONE for layer in layers),
            done_b=sum(min(layer.arrived_b, layer.size_b) for layer in known),
            total_b=sum(layer.size_b for layer in known),
            status=_status({layer.status for layer in layers}),
        )


def split(reference: str) -> tuple[str, str]:
    """Repository and tag or digest; without either, `latest`: the daemon would take all tags."""
    repository, at, digest = reference.partition("@")
    last = repository.rpartition("/")[2]
    name, colon, tag = last.partition(":")
    bare = repository[: len(repository) - len(last)] + name
    if at:
        return bare, digest
    return bare, tag if colon and tag else "latest"


def pull(client: DockerClient, call: DockerCall, report: Callable[[PullProgress], None]) -> None:
    """Pull `call.image`; blocks until it is there. `report` is called at most ten times a second, in this thread.
    Raises ContainerError for what the daemon says in the stream."""
    try:
        _follow(client, call, report)
    except (OSError, HTTPError) as error:
        if not is_timeout(error):
            raise
        raise PullBroken(
            f"The download of {call.image} stands still. Check the connection to the internet and try again.",
            f"nothing was heard of it for {client.timeout:.0f} s",
        ) from error


def _follow(client: DockerClient, call: DockerCall, report: Callable[[PullProgress], None]) -> None:
    layers = ImageLayers()
    next_report = 0.0
    for line in _lines(client, *split(call.image)):
        if not isinstance(line, dict):
            continue
        if said := line.get("error"):
            raise refused(str(said), call)
        layers.add(line)
        if layers.layers and time.monotonic() >= next_report:
            report(layers.sum())
            next_report = time.monotonic() + PAUSE_S
    if layers.layers:
        report(layers.sum())


def _lines(client: DockerClient, repository: str, tag: str) -> Iterator[Any]:
    try:
        return client.pull(repository, tag, stream=True, decode=True)  # type: ignore[no-any-return]
    except DockerException as error:
        # A credential helper that is named in Docker's settings and not installed is no reason not to pull what
        # needs no password.
        if "Credentials store error" not in str(error):
            raise
        return client.pull(repository, tag, stream=True, decode=True, auth_config={})  # type: ignore[no-any-return]


def _status(seen: set[str]) -> str:
    for status, words in (
        ("Downloading", "Downloading"),
        ("Retrying", "Waiting for the network"),
        ("Extracting", "Unpacking"),
        ("Verifying Checksum", "Checking"),
        ("Pulling fs layer", "Downloading"),
        ("Waiting", "Downloading"),
    ):
        if status in seen:
            return words
    return "Unpacking" if seen - set(_DONE) else "Done"


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
