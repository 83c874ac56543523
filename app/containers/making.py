"""From a spec to what the daemon is told when it makes a container, and back from what it says to a Container.

Rule 1: what makes a container harmless is not asked for, it is always there: no capability, no new privileges, ports on
127.0.0.1 only, no restart by the daemon, a log that cannot fill the disk. Rule 2: nothing here asks a daemon.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docker.types import DeviceRequest, LogConfig

from app.containers.base import LABEL_SPEC, Container, ContainerSpec, Daemon, Gpu, Image
from app.containers.drift import spec_json

LOOPBACK = "127.0.0.1"


def host_config(spec: ContainerSpec, daemon: Daemon) -> dict[str, Any]:
    """Arguments of the SDK's `create_host_config`."""
    wanted: dict[str, Any] = {
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        # Restarts are ours to decide: a daemon that restarts a crashing engine for ever hides that it crashes.
        "restart_policy": {"Name": "no"},
        "privileged": False,
    }
    # Podman's own log driver is bounded by journald, and its init is a program that may not be installed.
    if daemon.name == "Docker":
        wanted["init"] = True
        wanted["log_config"] = LogConfig(type="json-file", config={"max-size": "10m", "max-file": "2"})
    if spec.volumes:
        wanted["binds"] = {name: {"bind": path, "mode": "rw"} for name, path in spec.volumes.items()}
    if spec.network:
        wanted["network_mode"] = spec.network
    if spec.ports and spec.network != "host":
        wanted["port_bindings"] = {f"{inside}/tcp": (LOOPBACK, port) for inside, port in spec.ports.items()}
    if spec.memory_b:
        # The same figure twice: none of it is swap.
        wanted["mem_limit"] = wanted["memswap_limit"] = spec.memory_b
    if spec.cpus:
        wanted["nano_cpus"] = spec.cpus * 1_000_000_000
    if spec.pids:
        wanted["pids_limit"] = spec.pids
    if spec.read_only:
        wanted["read_only"] = True
        # Without `exec` Docker mounts it noexec, and engines unpack libraries there.
        wanted["tmpfs"] = {"/tmp": "rw,exec,nosuid,nodev,size=256m,mode=1777"}  # noqa: S108  in the container
    if spec.gpu is Gpu.NVIDIA:
        wanted["device_requests"] = [DeviceRequest(count=-1, capabilities=[["gpu"]])]
    if spec.devices:
        wanted["devices"] = [f"{path}:{path}:rwm" for path in spec.devices]
    if spec.groups:
        wanted["group_add"] = list(spec.groups)
    return wanted


def container_config(spec: ContainerSpec) -> dict[str, Any]:
    """Arguments of the SDK's `create_container`, without the host's part."""
    config: dict[str, Any] = {
        "image": spec.image,
        "name": spec.name,
        "environment": {**spec.environment, **spec.secrets},
        "labels": {**spec.labels, LABEL_SPEC: spec_json(spec)},
        "detach": True,
    }
    if spec.command:
        config["command"] = list(spec.command)
    if spec.ports and spec.network != "host":
        config["ports"] = [(inside, "tcp") for inside in spec.ports]
    return config


def gpu_ignored(spec: ContainerSpec, seen: Mapping[str, Any]) -> bool:
    """Whether a GPU was asked for and the container that was made knows nothing of it. Podman's copy of the API drops
    the request without a word (podman#22645), and the engine would compute on the processor."""
    host = _mapping(seen.get("HostConfig"))
    return spec.gpu is Gpu.NVIDIA and not host.get("DeviceRequests") and not host.get("Devices")


def container_from(seen: Mapping[str, Any]) -> Container:
    """What `docker inspect` says, as ours. What is missing is empty: Podman leaves some out."""
    config, state, settings = (_mapping(seen.get(part)) for part in ("Config", "State", "NetworkSettings"))
    bindings = _mapping(settings.get("Ports")) or _mapping(
        _mapping(seen.get("HostConfig")).get("PortBindings")
    )
    return Container(
        id=str(seen.get("Id", "")),
        name=str(seen.get("Name", "")).lstrip("/"),
        image=str(config.get("Image", "")),
        image_id=str(seen.get("Image", "")),
        labels=dict(_mapping(config.get("Labels"))),
        status=str(state.get("Status", "")),
        exit_code=int(state.get("ExitCode") or 0),
        out_of_memory=bool(state.get("OOMKilled")),
        error=str(state.get("Error") or ""),
        started_at=str(state.get("StartedAt") or ""),
        ports=_ports(bindings),
        networks=tuple(sorted(_mapping(settings.get("Networks")))),
    )


def image_from(seen: Mapping[str, Any]) -> Image:
    """What `docker image inspect` says, as ours."""
    return Image(
        id=str(seen.get("Id", "")),
        tags=tuple(seen.get("RepoTags") or ()),
        digests=tuple(seen.get("RepoDigests") or ()),
        size_b=int(seen.get("Size") or 0),
    )


def _ports(bindings: Mapping[str, Any]) -> dict[int, int]:
    ports: dict[int, int] = {}
    for name, hosts in bindings.items():
        inside, _, protocol = name.partition("/")
        numbers = [str(host.get("HostPort") or "") for host in hosts or () if isinstance(host, dict)]
        if protocol in ("", "tcp") and inside.isdecimal() and numbers and numbers[0].isdecimal():
            ports[int(inside)] = int(numbers[0])
    return ports


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
