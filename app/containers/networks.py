"""Networks with and without a way out.

Rule 1: a network without a way out is a bridge whose addresses are not masqueraded: packets leave with an address that
nobody outside knows, so no reply ever comes back and no connection is made. A port published on 127.0.0.1 goes on
working, which it does not on Docker's `internal` networks. Rule 2: what is not known to be closed is not called closed.

Measured with Docker 20.10 on Linux:
- A container's default route leads through the one of its networks **whose name sorts first**. A network with a way
  out that is connected for a while must therefore sort before the closed one, or nothing changes.
- When the default route moves, the daemon publishes the container's ports anew: connections through a published port
  are broken off, and for about a tenth of a second nobody listens. Connect and disconnect only while no request runs.
- A connection that was made through a network is dead once that network is disconnected.

What stays open, and is not ours to close without the host's firewall:
- The container reaches what listens on the host's own addresses, the bridge's gateway among them.
- Packets that want no reply do leave. A neighbour in the local network may see them; the internet drops them.
- Where the host resolves names through itself (127.0.0.53), newer daemons are said to ask there for the container
  (not run here): names can be looked up, and a few bytes can leave in each. A dead name server for the container
  would close that, but it is fixed when the container is made, and would shut names off while it pulls models too.
- A host that masquerades everything it forwards, as a router does, opens the network again.
"""

from __future__ import annotations

from typing import Any

from docker.errors import APIError, NotFound

from app.containers.base import LABEL_PROFILE, Daemon, DaemonFailed, NetworkSpec
from app.containers.transport import DockerClient

MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
NEIGHBOURS = "com.docker.network.bridge.enable_icc"


def ensure(client: DockerClient, spec: NetworkSpec, daemon: Daemon) -> bool:
    """Make the network where it is missing, and anew where it is ours, unused and not as asked for. Whether it is as
    asked for; a way out counts as closed only where that has been seen to work: a Docker Engine on this very Linux,
    not rootless, not in a virtual machine, not Podman (which has no such option)."""
    known = daemon.name == "Docker" and not daemon.virtual and not daemon.rootless
    found = _find(client, spec.name)
    if found is not None and not _as_asked(found, spec) and _is_ours(found) and not found.get("Containers"):
        client.remove_network(found["Id"])
        found = None
    if found is None:
        try:
            client.create_network(
                spec.name,
                driver="bridge",
                options={MASQUERADE: str(spec.way_out).lower(), NEIGHBOURS: "false"},
                check_duplicate=True,
                enable_ipv6=False,
                labels=dict(spec.labels),
            )
        except APIError as error:
            # Somebody else was quicker; what is there now counts.
            if error.status_code != 409:
                raise
        found = _find(client, spec.name)
    return found is not None and _as_asked(found, spec) and (spec.way_out or known)


def connect(client: DockerClient, network: str, container: str) -> None:
    """Connected already: fine."""
    try:
        client.connect_container_to_network(container, network)
    except APIError as error:
        if "already" not in str(error.explanation):
            raise


def disconnect(client: DockerClient, network: str, container: str) -> None:
    """Not connected, or either of them gone: fine."""
    try:
        client.disconnect_container_from_network(container, network)
    except APIError as error:
        if error.status_code != 404 and "is not connected" not in str(error.explanation):
            raise


def remove(client: DockerClient, name: str) -> None:
    """Gone already: fine. In use: DaemonFailed, and so for a network that is not ours."""
    found = _find(client, name)
    if found is None:
        return
    if not _is_ours(found):
        raise DaemonFailed(f"The network {name} was not made by this program, so it is left alone.")
    try:
        client.remove_network(found["Id"])
    except NotFound:
        return


def _find(client: DockerClient, name: str) -> dict[str, Any] | None:
    # The filter finds parts of names too.
    named = [network for network in client.networks(names=[name]) if network["Name"] == name]
    return client.inspect_network(named[0]["Id"]) if named else None


def _as_asked(network: dict[str, Any], spec: NetworkSpec) -> bool:
    options = network.get("Options") or {}
    masquerades = str(options.get(MASQUERADE, "true")).lower() != "false"
    return masquerades == spec.way_out and network.get("Driver") == "bridge" and not network.get("Internal")


def _is_ours(network: dict[str, Any]) -> bool:
    return LABEL_PROFILE in (network.get("Labels") or {})
