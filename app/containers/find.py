"""Find the daemon: ask every place in turn, and where none answers say why, in the most telling sentence.

Rule 1: a place is only asked, never started. Rule 2: of all refusals the one that the person can do most about wins:
a socket that refuses this user says more than one that is not there.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

from app.basics.threads import in_thread
from app.containers.base import ContainerError, Daemon, DaemonUnreachable
from app.containers.calls import Calls
from app.containers.candidates import Context, DaemonPlace, context, places
from app.containers.docker import Docker
from app.containers.errors import GROUP_FIX, DockerCall
from app.containers.transport import DockerClient, spoken_version

ASK_S = 5.0
"""How long a place may take to answer. Docker Desktop that wakes up takes two or three seconds."""

_UNSPOKEN = "1.24"
"""The client wants some version before it knows any; nothing is asked in it."""
_CDI = (
    "/etc/cdi/nvidia.yaml",
    "/var/run/cdi/nvidia.yaml",
    "/etc/cdi/nvidia.json",
    "/var/run/cdi/nvidia.json",
)


class Telling(IntEnum):
    """How much a refusal says; more is better."""

    ABSENT = 0
    STOPPED = 1
    FOREIGN = 2
    HANGS = 3
    FORBIDDEN = 4


class PlaceSilent(DaemonUnreachable):
    """One place does not answer."""

    def __init__(self, telling: Telling, sentence: str, detail: str = "") -> None:
        super().__init__(sentence, detail)
        self.telling = telling


async def find_daemon(
    docker_host: str = "",
    *,
    environ: Mapping[str, str] = os.environ,
    home: Path | None = None,
    platform: str = sys.platform,
    ask_s: float = ASK_S,
) -> Docker:
    """The first daemon that answers: at `docker_host` (a setting) if given, else at DOCKER_HOST, else of the Docker
    context, else at the usual sockets. Raises DaemonUnreachable with one sentence that says what is the matter."""
    # Not Path.home(), which raises for a user without a home.
    folder = home or Path(os.path.expanduser("~"))
    # Reading a few small files may wait for a disk that sleeps or a home on a network.
    try:
        asked = await in_thread(lambda: _places(docker_host, environ, folder, platform), ask_s)
    except TimeoutError:
        raise DaemonUnreachable(
            f"The folder {folder} does not answer, so Docker's settings cannot be read. Restart this computer."
        ) from None
    worst: PlaceSilent | None = None
    for place in asked:
        try:
            return await ask(place, platform=platform, ask_s=ask_s)
        except PlaceSilent as refusal:
            if worst is None or refusal.telling > worst.telling:
                worst = refusal
    if worst is None or (worst.telling is Telling.ABSENT and len(asked) > 1):
        raise DaemonUnreachable(_not_installed(platform), worst.detail if worst else "")
    raise worst


async def ask(place: DaemonPlace, *, platform: str = sys.platform, ask_s: float = ASK_S) -> Docker:
    """The daemon at `place`. Raises PlaceSilent."""
    call = DockerCall("say what it is")
    try:
        version = await Calls(place, _UNSPOKEN, ask_s).do(call, lambda client: _version(client, place))
        if not isinstance(version.get("ApiVersion"), str):
            raise _foreign(place, str(version)[:200])
        spoken = spoken_version(version["ApiVersion"], str(version.get("MinAPIVersion") or _UNSPOKEN))
        info = await Calls(place, spoken, ask_s).do(call, lambda client: dict(client.info()))
    except PlaceSilent:
        raise
    except DaemonUnreachable as error:
        raise _refusal(place, error, platform) from error
    except (ContainerError, ValueError) as error:
        raise _foreign(place, str(error)) from error
    if str(version.get("Os", "linux")).lower() == "windows":
        raise PlaceSilent(
            Telling.FORBIDDEN,
            "Docker is set to run Windows containers. Choose «Switch to Linux containers» in Docker Desktop's menu.",
        )
    return Docker(daemon_from(place, version, info, platform), place, spoken)


def daemon_from(
    place: DaemonPlace, version: Mapping[str, Any], info: Mapping[str, Any], platform: str = sys.platform
) -> Daemon:
    """What /version and /info say, as a Daemon."""
    parts = [part for part in version.get("Components") or () if isinstance(part, dict)]
    podman = any("podman" in str(part.get("Name", "")).lower() for part in parts)
    options = [str(option) for option in info.get("SecurityOptions") or ()]
    system = str(info.get("OperatingSystem", ""))
    machines = ("/.colima/", "/colima/", "/.orbstack/", "/.rd/", "/.docker/desktop/", "/machine/", "/.lima/")
    virtual = (
        platform in ("darwin", "win32")
        or "Docker Desktop" in system
        or any(part in place.url for part in machines)
    )
    found = [device for device in info.get("DiscoveredDevices") or () if isinstance(device, dict)]
    nvidia = "nvidia" in (info.get("Runtimes") or {}) or any(
        str(device.get("ID", "")).startswith("nvidia.com/gpu") for device in found
    )
    if not nvidia and not virtual and place.url.startswith("unix://"):
        nvidia = any(os.path.exists(path) for path in _CDI)
    return Daemon(
        url=place.url,
        found_by=place.found_by,
        name="Podman" if podman else "Docker",
        version=str(version.get("Version", "")),
        rootless="name=rootless" in options,
        virtual=virtual,
        nvidia=nvidia,
        host_alias="host.containers.internal" if podman else "host.docker.internal",
    )


def _places(
    docker_host: str, environ: Mapping[str, str], home: Path, platform: str
) -> tuple[DaemonPlace, ...]:
    named = docker_host.strip() or environ.get("DOCKER_HOST", "").strip()
    told: Context | None = None if named else context(environ, home)
    return places(docker_host, environ, home, platform, told)


def _version(client: DockerClient, place: DaemonPlace) -> dict[str, Any]:
    if place.url.startswith("unix://"):
        _look_at_socket(place)
    # Without a version in its path: a daemon refuses those that it does not speak.
    version = client.version(api_version=False)
    return version if isinstance(version, dict) else {}


def _look_at_socket(place: DaemonPlace) -> None:
    path = place.url.removeprefix("unix://")
    try:
        mode = os.stat(path).st_mode
    except PermissionError as error:
        raise _forbidden(place, str(error)) from error
    except OSError as error:
        raise PlaceSilent(
            Telling.ABSENT,
            f"There is no Docker at {path}, where {place.found_by} leads. Start Docker, or correct the address.",
            str(error),
        ) from error
    if not stat.S_ISSOCK(mode):
        raise _foreign(place, "not a socket")


def _refusal(place: DaemonPlace, error: DaemonUnreachable, platform: str) -> PlaceSilent:
    said = error.detail
    if "PermissionError" in said or "Permission denied" in said or "Access is denied" in said:
        return _forbidden(place, said)
    if "imeout" in said or "timed out" in said:
        return PlaceSilent(
            Telling.HANGS,
            "Docker is there but does not answer. Restart Docker, and this computer if that does not help.",
            said,
        )
    if any(words in said for words in ("FileNotFound", "cannot find the file", "Name or service not known")):
        return PlaceSilent(
            Telling.ABSENT,
            f"There is no Docker where {place.found_by} leads. Start Docker, or correct the address.",
            said,
        )
    if any(words in said for words in ("BadStatusLine", "HTTPException", "RemoteDisconnected", "SSLError")):
        return _foreign(place, said)
    return PlaceSilent(
        Telling.STOPPED, f"Docker is installed but not running. {_start(place, platform)}", said
    )


def _start(place: DaemonPlace, platform: str) -> str:
    for product in ("Docker Desktop", "OrbStack", "Colima", "Rancher Desktop"):
        if product in place.found_by:
            return f"Start {product}."
    if platform != "linux":
        return "Start Podman." if "Podman" in place.found_by else "Start Docker Desktop."
    service = "podman.socket" if "Podman" in place.found_by else "docker"
    whose = "systemctl --user" if "rootless" in place.found_by else "sudo systemctl"
    return f"Run «{whose} start {service}»."


def _forbidden(place: DaemonPlace, detail: str) -> PlaceSilent:
    return PlaceSilent(Telling.FORBIDDEN, f"Docker runs but does not let this user in. {GROUP_FIX}", detail)


def _foreign(place: DaemonPlace, detail: str) -> PlaceSilent:
    return PlaceSilent(
        Telling.FOREIGN,
        f"Something answers where {place.found_by} leads, but it is no Docker. Correct the address, or leave it empty.",
        detail,
    )


def _not_installed(platform: str) -> str:
    if platform == "linux":
        return (
            "Docker is not installed. Install Docker Engine (docs.docker.com/engine/install) and try again."
        )
    return "Docker is not running. Start Docker Desktop, or install it from docker.com."
