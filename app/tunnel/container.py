"""The tunnel's container: what it is made of.

Rule 1: the token is a secret of the container's environment and appears nowhere else. Rule 2: it can do nothing but
connect: no volumes, no capabilities, a read-only root, a little memory.

Source: Cloudflare's «Tunnel run parameters» and «Metrics». In a container cloudflared would serve its metrics on every
address, which in the host's own network is everybody's; so it is told otherwise.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from app.containers.base import LABEL_HOME, LABEL_PROFILE, LABEL_ROLE, ContainerSpec, Daemon

ROLE = "tunnel"
_MEMORY_B = 256 * 1024**2
_PIDS = 128


def labels(profile: str, home: str = "") -> dict[str, str]:
    """What our tunnel's container is known by. `home` tells gateways of one profile's name apart."""
    return {LABEL_PROFILE: profile, LABEL_ROLE: ROLE, LABEL_HOME: home}


def shares_network(daemon: Daemon) -> bool:
    """Whether a container can use this machine's own network, where the gateway listens on 127.0.0.1.

    A rootless Docker's «host» is a network namespace of its own; a rootless Podman's is the real one.
    """
    return not daemon.virtual and not (daemon.rootless and daemon.name == "Docker")


def origin(address: str, daemon: Daemon) -> str:
    """How the container reaches the gateway that listens at `address`."""
    if shares_network(daemon):
        return address
    parts = urlsplit(address)
    return f"{parts.scheme}://{daemon.host_alias}:{parts.port}"


def spec_of(
    *, profile: str, home: str = "", image: str, daemon: Daemon, address: str, token: str | None
) -> ContainerSpec:
    """A quick tunnel, or with a `token` the named one that it belongs to."""
    command = ["tunnel", "--no-autoupdate", "--metrics", "127.0.0.1:0"]
    # Where a named tunnel leads to is kept at Cloudflare, not here.
    command += ["run"] if token is not None else ["--url", origin(address, daemon)]
    if token is None and address.startswith("https:"):
        # To this very machine; nobody vouches for the name that it is called by here.
        command += ["--no-tls-verify"]
    return ContainerSpec(
        name=f"mortdecai-{profile}-tunnel",
        image=image,
        command=tuple(command),
        secrets={} if token is None else {"TUNNEL_TOKEN": token},
        labels=labels(profile, home),
        network="host" if shares_network(daemon) else "",
        memory_b=_MEMORY_B,
        pids=_PIDS,
        read_only=True,
    )
