"""Networks with and without a way out, tried against a neighbour that is really outside."""

from __future__ import annotations

import http.client
import socket

import pytest

from app.containers.base import DaemonFailed, NetworkSpec
from app.containers.docker import Docker
from app.containers.networks import MASQUERADE
from tests.containers.conftest import OURS, Outside, spec
from tests.containers.test_docker import free_port
from tests.real.docker_engine import Engine, until
from tests.real.docker_images import Images

CLOSED = NetworkSpec("n-closed", way_out=False, labels=OURS)
OPEN = NetworkSpec("a-way-out", way_out=True, labels=OURS)
LATE = NetworkSpec("z-way-out", way_out=True, labels=OURS)

_INSIDE = """
import http.server
http.server.ThreadingHTTPServer(('0.0.0.0', 80), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def answers(port: int) -> bool:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        line.request("GET", "/")
        return line.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        line.close()


def reaches(dockerd: Engine, container: str, host: str, port: int) -> bool:
    look = (
        "import socket\n"
        f"try: print(socket.create_connection(({host!r}, {port}), 1.5).recv(100))\n"
        "except OSError as error: print(error)"
    )
    said = dockerd.client.containers.get(container).exec_run(["python3", "-c", look]).output
    return b"outside" in said


async def serving(docker: Docker, images: Images, name: str, network: str) -> int:
    port = free_port()
    command = ("python3", "-c", _INSIDE)
    await docker.create(spec(name, images.base, command=command, ports={80: port}, network=network))
    await docker.start(name)
    until(lambda: answers(port), "the container serves")
    return port


async def test_only_where_there_is_a_way_out_the_outside_is_reached_and_the_port_works_in_both(
    docker: Docker, dockerd: Engine, images: Images, outside: Outside
) -> None:
    assert await docker.ensure_network(CLOSED)
    assert await docker.ensure_network(OPEN)
    closed = await serving(docker, images, "closed", CLOSED.name)
    opened = await serving(docker, images, "opened", OPEN.name)
    assert reaches(dockerd, "opened", outside.host, outside.port)
    assert not reaches(dockerd, "closed", outside.host, outside.port)
    assert answers(closed)
    assert answers(opened)
    found = await docker.find("closed")
    assert found is not None
    assert found.networks == (CLOSED.name,)


async def test_a_way_out_is_opened_for_a_while_by_a_network_whose_name_sorts_first(
    docker: Docker, dockerd: Engine, images: Images, outside: Outside
) -> None:
    for network in (CLOSED, OPEN, LATE):
        await docker.ensure_network(network)
    port = await serving(docker, images, "server", CLOSED.name)

    await docker.connect(LATE.name, "server")
    assert not reaches(dockerd, "server", outside.host, outside.port)
    await docker.disconnect(LATE.name, "server")

    await docker.connect(OPEN.name, "server")
    await docker.connect(OPEN.name, "server")
    assert reaches(dockerd, "server", outside.host, outside.port)
    until(lambda: answers(port), "the port is published again")
    found = await docker.find("server")
    assert found is not None
    assert found.networks == (OPEN.name, CLOSED.name)
    assert found.ports == {80: port}

    await docker.disconnect(OPEN.name, "server")
    await docker.disconnect(OPEN.name, "server")
    assert not reaches(dockerd, "server", outside.host, outside.port)
    until(lambda: answers(port), "the port is published again")


async def test_a_port_is_published_for_this_computer_only(
    docker: Docker, dockerd: Engine, images: Images
) -> None:
    await docker.ensure_network(CLOSED)
    port = await serving(docker, images, "local", CLOSED.name)
    with pytest.raises(OSError), socket.create_connection((dockerd.gateway, port), 2):
        pass


async def test_containers_of_one_network_do_not_see_each_other(
    docker: Docker, dockerd: Engine, images: Images
) -> None:
    await docker.ensure_network(OPEN)
    talk = (
        "import socket\ns = socket.create_server(('0.0.0.0', 80))\nwhile 1: s.accept()[0].sendall(b'outside')"
    )
    for name in ("one", "two"):
        await docker.create(spec(name, images.base, command=("python3", "-c", talk), network=OPEN.name))
        await docker.start(name)
    seen = dockerd.client.api.inspect_container("two")["NetworkSettings"]["Networks"][OPEN.name]["IPAddress"]
    until(lambda: reaches(dockerd, "two", "127.0.0.1", 80), "the other one serves")
    assert not reaches(dockerd, "one", seen, 80)


async def test_a_network_is_made_once_and_anew_where_it_is_ours_unused_and_otherwise(
    docker: Docker, dockerd: Engine, images: Images
) -> None:
    assert await docker.ensure_network(CLOSED)
    first = dockerd.client.networks.list(names=[CLOSED.name])[0].id
    assert await docker.ensure_network(CLOSED)
    assert dockerd.client.networks.list(names=[CLOSED.name])[0].id == first
    otherwise = NetworkSpec(CLOSED.name, way_out=True, labels=OURS)
    assert await docker.ensure_network(otherwise)
    second = dockerd.client.networks.list(names=[CLOSED.name])[0]
    assert second.id != first
    second.reload()
    assert second.attrs["Options"][MASQUERADE] == "true"
    # In use it stays as it is, and that is said.
    await docker.create(spec("user", images.deaf, network=CLOSED.name))
    await docker.start("user")
    assert not await docker.ensure_network(CLOSED)


async def test_somebody_elses_network_is_neither_changed_nor_removed(docker: Docker, dockerd: Engine) -> None:
    theirs = dockerd.client.networks.create(CLOSED.name, driver="bridge")
    assert not await docker.ensure_network(CLOSED)
    with pytest.raises(DaemonFailed, match="left alone"):
        await docker.remove_network(CLOSED.name)
    assert dockerd.client.networks.get(theirs.id)


async def test_a_network_is_removed_when_nobody_uses_it(docker: Docker, images: Images) -> None:
    await docker.ensure_network(OPEN)
    await docker.create(spec("user", images.deaf, network=OPEN.name))
    await docker.start("user")
    with pytest.raises(DaemonFailed, match=f"remove the network {OPEN.name}"):
        await docker.remove_network(OPEN.name)
    await docker.remove("user")
    await docker.remove_network(OPEN.name)
    await docker.remove_network(OPEN.name)


async def test_a_container_may_use_the_hosts_own_network(docker: Docker, images: Images) -> None:
    made = await docker.create(spec("host", images.deaf, network="host", ports={80: 1}))
    await docker.start("host")
    assert made.networks == ("host",)
    assert made.ports == {}
