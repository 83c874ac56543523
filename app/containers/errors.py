"""What the SDK, the daemon and the network say, in our own errors.

Rule 1: whatever leaves this room is a ContainerError; what the daemon said goes along as `detail`. Rule 2: what an
error is, is told by its type and its HTTP status first, and by the daemon's words where these do not tell.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

import requests.exceptions
import urllib3.exceptions
from docker.errors import APIError, DockerException

from app.containers.base import (
    ContainerError,
    ContainerGone,
    DaemonFailed,
    DaemonUnreachable,
    DiskFull,
    GpuRefused,
    ImageMissing,
    NameTaken,
    PortTaken,
    PullBroken,
)

NVIDIA_FIX = (
    "Install the NVIDIA Container Toolkit, run «sudo nvidia-ctk runtime configure --runtime=docker» and restart"
    " Docker."
)


@dataclass(frozen=True, slots=True)
class DockerCall:
    """What was being done, for the sentence."""

    what: str
    """As it goes on after «Docker could not»: «start the container»."""
    container: str = ""
    image: str = ""
    pull: bool = False
    rocm: bool = False


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_DISK = _words("no space left on device", "disk quota exceeded", "not enough space on the disk")
_PORT = _words("port is already allocated", "address already in use", "ports are not available", "EADDRINUSE",
               "access permissions.*socket")  # fmt: skip
_PORT_NUMBER = re.compile(r":(\d{1,5})(?= failed|: bind|/tcp| ->|:0)")
_NVIDIA = _words("could not select device driver", "nvidia-container", "unresolvable CDI device",
                 "CDI device injection",
                 "failed to discover GPU vendor", "libnvidia", "nvml error", "unknown or invalid runtime name: nvidia",
                 r"nvidia\.com/gpu", "cdi.*nvidia")  # fmt: skip
_ROCM = _words(r"/dev/kfd", r"/dev/dri", r"/dev/dxg")
_NO_IMAGE = _words("no such image", "manifest unknown", "manifest for .* not found", "pull access denied",
                   "name unknown",
                   "repository .* not found", "repository does not exist", "repository name not known",
                   "invalid reference format", "not found: manifest", "failed to resolve reference .*not found",
                   "requested access to the resource is denied", "image not known")  # fmt: skip
_NAME = _words(r"container name .* is already in use")
_NO_BUILD = _words("no matching manifest for", "does not match the specified platform")
_RATE = _words("toomanyrequests", "rate limit", "too many requests")
_NETWORK = _words(r"\bEOF\b", "connection reset", "connection refused", "no such host", "i/o timeout", "tls", "x509",
                  "timeout", "network is unreachable", "no route to host", "broken pipe", "server misbehaving",
                  "connection was forcibly closed", "temporary failure", "context canceled", "verification failed",
                  "unexpected status", "received unexpected HTTP status", "proxyconnect", "lookup ",
                  "net/http: request canceled", "short read", "failed size validation",
                  "deadline exceeded")  # fmt: skip
_SUBNETS = _words(
    "non-overlapping IPv4 address pool", "all predefined address pools have been fully subnetted"
)


def translate(error: BaseException, call: DockerCall) -> ContainerError:
    """What to raise for `error`. A ContainerError is returned as it is."""
    if isinstance(error, ContainerError):
        return error
    if isinstance(error, APIError):
        # The chain's own text («404 Client Error … for http+docker://…») says nothing that the daemon does not.
        return refused(str(error.explanation or error), call, int(error.status_code or 0))
    if is_timeout(error):
        return DaemonUnreachable(
            "Docker does not answer. Restart Docker, and this computer if that does not help.", _text(error)
        )
    if type(error).__module__ == "pywintypes":  # Windows' pipes: (code, function, words), and no OSError
        return _denied(error) if error.args[:1] == (5,) else _line_broken(error)
    if isinstance(error, requests.exceptions.RequestException | urllib3.exceptions.HTTPError | OSError):
        return _line_broken(error)
    if isinstance(error, DockerException | ValueError | KeyError | TypeError | AttributeError):
        return DaemonFailed(
            f"Docker could not {call.what}: it gave an answer that makes no sense.", _text(error)
        )
    return DaemonFailed(f"Docker could not {call.what}.", _text(error))


def refused(said: str, call: DockerCall, status: int = 0) -> ContainerError:
    """What to raise where the daemon said no. `status` 0: in the middle of a stream."""
    if _DISK.search(said):
        return DiskFull(
            f"Docker could not {call.what}, because its disk is full. Free some space and try again.", said
        )
    if call.pull:
        return _pull_refused(said, call, status)
    if _PORT.search(said):
        number = _PORT_NUMBER.search(said)
        port = f"Port {number[1]}" if number else "A port that the container needs"
        return PortTaken(
            f"{port} is used by another program. End that program, or choose another port.", said
        )
    if gpu := _gpu_refused(said, call):
        return gpu
    if call.container and _NAME.search(said):
        return NameTaken(
            f"Another container is already called {call.container}. Rename or remove that one, or choose another name.",
            said,
        )
    if _NO_IMAGE.search(said) and call.image:
        return ImageMissing(f"The image {call.image} is not here. Download it first.", said)
    if status == 404 and call.container:
        return ContainerGone(f"The container {call.container} is gone. Create it again.", said)
    if _SUBNETS.search(said):
        return DaemonFailed(
            f"Docker could not {call.what}, because it has no addresses left. Remove networks that nothing uses"
            " («docker network prune») and try again.",
            said,
        )
    return DaemonFailed(f"Docker could not {call.what}: {_one_line(said)}", said)


def _gpu_refused(said: str, call: DockerCall) -> GpuRefused | None:
    if call.rocm and _ROCM.search(said):
        return GpuRefused(
            "Docker cannot reach the AMD GPU, because its device files are missing. Install AMD's kernel driver, or"
            " choose to run on the processor.",
            said,
        )
    if _NVIDIA.search(said):
        return GpuRefused(f"Docker cannot hand the NVIDIA GPU to a container. {NVIDIA_FIX}", said)
    return None


def _pull_refused(said: str, call: DockerCall, status: int) -> ContainerError:
    if _NO_BUILD.search(said):
        return ImageMissing(
            f"The image {call.image} does not exist for this kind of computer. Choose another image.", said
        )
    if _RATE.search(said):
        return PullBroken(
            f"The registry lets nobody here download {call.image} for now. Try again in some hours, or sign in with"
            " «docker login».",
            said,
        )
    if _NO_IMAGE.search(said) or status in (400, 403, 404):
        return ImageMissing(
            f"There is no image {call.image} to download. Check how its name is spelt, or sign in with «docker login»"
            " if it is private.",
            said,
        )
    if _NETWORK.search(said):
        return PullBroken(
            f"The download of {call.image} broke off. Check the connection to the internet and try again.",
            said,
        )
    return DaemonFailed(f"Docker could not {call.what}: {_one_line(said)}", said)


def is_timeout(error: BaseException) -> bool:
    """Whether nobody spoke for too long, however deep it is wrapped."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(
            seen,
            TimeoutError | requests.exceptions.Timeout | urllib3.exceptions.TimeoutError | socket.timeout,
        ):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _line_broken(error: BaseException) -> DaemonUnreachable:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, PermissionError):
            return _denied(error)
        seen = seen.__cause__ or seen.__context__
    return DaemonUnreachable("Docker is not running. Start Docker and try again.", _text(error))


def _denied(error: BaseException) -> DaemonUnreachable:
    return DaemonUnreachable(
        "Docker does not let this user in. " + GROUP_FIX, f"Permission denied. {_text(error)}"
    )


GROUP_FIX = "Run «sudo usermod -aG docker $USER», then log out and in again."


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _one_line(said: str) -> str:
    """The daemon's own words as the end of a sentence."""
    line = " ".join(said.split())[:300].rstrip(".")
    return f"{line}." if line else "it did not say why."
