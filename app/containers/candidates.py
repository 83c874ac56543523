"""Where a Docker daemon may listen on this computer, in the order in which it is worth asking.

Rule 1: the list is a pure function of the setting, the environment, the home folder and the platform; only `context`
reads files, those of Docker's own command line. Rule 2: what a person named (a setting, DOCKER_HOST, DOCKER_CONTEXT) is
the only candidate then. A container that turned up in another daemon than the one that was named would be a surprise.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.containers.base import DaemonUnreachable

SCHEMES = ("unix", "npipe", "tcp", "http", "https")


@dataclass(frozen=True, slots=True)
class Tls:
    """Files for a daemon that is reached over TLS. Empty names: none."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    verify: bool = True


@dataclass(frozen=True, slots=True)
class DaemonPlace:
    """Somewhere a daemon may listen."""

    url: str
    found_by: str
    """In words, for a sentence."""
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What Docker's command line has been told to use."""

    name: str
    host: str
    tls: Tls | None
    chosen: bool
    """By DOCKER_CONTEXT, not merely the current one."""


def places(
    docker_host: str, environ: Mapping[str, str], home: Path, platform: str, context: Context | None
) -> tuple[DaemonPlace, ...]:
    """Where to ask, best first. `platform` as sys.platform has it. Raises DaemonUnreachable for an address that cannot
    be used, with a sentence."""
    if docker_host.strip():
        return (_named(docker_host.strip(), "the setting docker_host", environ, home),)
    if said := environ.get("DOCKER_HOST", "").strip():
        return (_named(said, "DOCKER_HOST", environ, home),)
    first: tuple[DaemonPlace, ...] = ()
    if context is not None:
        found_by = f"the Docker context {context.name}"
        if context.chosen:
            return (DaemonPlace(_usable(context.host, found_by), found_by, context.tls),)
        # A current context that cannot be used is no reason to leave the usual sockets unasked.
        if context.host.partition("://")[0] in SCHEMES:
            first = (DaemonPlace(context.host, found_by, context.tls),)
    usual = _usual(environ, home, platform)
    known = {place.url for place in first}
    return first + tuple(place for place in usual if place.url not in known)


def context(environ: Mapping[str, str], home: Path) -> Context | None:
    """The context of Docker's command line, read from its files; None for the default one. Raises DaemonUnreachable
    where DOCKER_CONTEXT names one that is not there."""
    folder = Path(environ.get("DOCKER_CONFIG") or home / ".docker")
    said = environ.get("DOCKER_CONTEXT", "").strip()
    name = said or str(_read(folder / "config.json").get("currentContext") or "")
    if name in ("", "default"):
        return None
    # https://docs.docker.com/engine/manage-resources/contexts/: the folder's name is the SHA-256 of the context's.
    key = hashlib.sha256(name.encode()).hexdigest()
    endpoint = _read(folder / "contexts" / "meta" / key / "meta.json").get("Endpoints")
    docker = endpoint.get("docker") if isinstance(endpoint, dict) else None
    if not isinstance(docker, dict) or not isinstance(docker.get("Host"), str):
        if said:
            raise DaemonUnreachable(
                f"DOCKER_CONTEXT names the Docker context {name}, which does not exist. Run «docker context ls» to see"
                " which ones do, or unset it."
            )
        return None
    material = folder / "contexts" / "tls" / key / "docker"
    tls = _material(material, verify=not docker.get("SkipTLSVerify", False))
    return Context(name, docker["Host"], tls, chosen=bool(said))


def _material(folder: Path, *, verify: bool) -> Tls | None:
    ca, cert, key = (
        os.fspath(path) if (path := folder / f"{part}.pem").is_file() else ""
        for part in ("ca", "cert", "key")
    )
    return Tls(ca, cert, key, verify) if ca or cert or key else None


def _named(address: str, found_by: str, environ: Mapping[str, str], home: Path) -> DaemonPlace:
    if address.startswith("/"):
        address = f"unix://{address}"
    elif address.startswith("\\\\.\\pipe\\"):
        address = "npipe://" + address.replace("\\", "/")
    elif "://" not in address:
        address = f"tcp://{address}"
    address = _usable(address, found_by)
    tls = None
    scheme = address.partition("://")[0]
    if scheme == "https" or (scheme == "tcp" and environ.get("DOCKER_TLS_VERIFY")):
        folder = Path(environ.get("DOCKER_CERT_PATH") or environ.get("DOCKER_CONFIG") or home / ".docker")
        tls = _material(folder, verify=True) or Tls()
    return DaemonPlace(address, found_by, tls)


def _usable(address: str, found_by: str) -> str:
    scheme, _, rest = address.partition("://")
    if scheme == "ssh":
        raise DaemonUnreachable(
            f"{found_by[0].upper()}{found_by[1:]} leads to a Docker on another computer ({address}). Run this program"
            " there, or name a Docker on this computer."
        )
    if scheme not in SCHEMES or not rest.strip("/"):
        raise DaemonUnreachable(
            f"{found_by[0].upper()}{found_by[1:]} is {address!r}, which is no address of a Docker daemon. Give one"
            " such as unix:///run/docker.sock, or leave it empty."
        )
    return address


def _usual(environ: Mapping[str, str], home: Path, platform: str) -> list[DaemonPlace]:
    if platform == "win32":
        pipes = (
            ("docker_engine", "Docker's pipe"),
            ("dockerDesktopLinuxEngine", "Docker Desktop's pipe"),
            ("podman-machine-default", "Podman's pipe"),
        )
        return [DaemonPlace(f"npipe:////./pipe/{pipe}", words) for pipe, words in pipes]
    runtime = environ.get("XDG_RUNTIME_DIR") or ""
    temporary = environ.get("TMPDIR") or "/tmp"  # noqa: S108  only looked at
    paths: list[tuple[Path | str, str]] = [("/var/run/docker.sock", "the socket /var/run/docker.sock")]
    if platform == "darwin":
        paths.append((home / ".docker/run/docker.sock", "Docker Desktop's socket"))
    else:
        paths.append((home / ".docker/desktop/docker.sock", "Docker Desktop's socket"))
        if runtime:
            paths.append((f"{runtime}/docker.sock", "the socket of your own (rootless) Docker"))
    paths += [
        (home / ".orbstack/run/docker.sock", "OrbStack's socket"),
        (home / ".colima/default/docker.sock", "Colima's socket"),
        (home / ".config/colima/default/docker.sock", "Colima's socket"),
        (home / ".rd/docker.sock", "Rancher Desktop's socket"),
    ]
    if platform == "darwin":
        paths += [
            (home / ".local/share/containers/podman/machine/podman.sock", "Podman's socket"),
            (f"{temporary.rstrip('/')}/podman/podman-machine-default-api.sock", "Podman's socket"),
        ]
    else:
        paths.append(("/run/podman/podman.sock", "Podman's socket"))
        if runtime:
            paths.append((f"{runtime}/podman/podman.sock", "the socket of your own (rootless) Podman"))
    return [DaemonPlace(f"unix://{path}", words) for path, words in paths]


def _read(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one: Docker's own files are none of ours to complain about."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
