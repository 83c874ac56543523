"""The tunnel on a real Docker Engine, with an image that stands for cloudflared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from app.containers.base import LABEL_PROFILE, LABEL_ROLE
from app.containers.docker import Docker
from app.containers.find import find_daemon
from app.tunnel.exposure import Reach
from app.tunnel.state import TunnelPhase
from app.tunnel.tunnel import Tunnel
from app.tunnel.words import TunnelError
from tests.real.docker_engine import Engine
from tests.real.docker_images import QUICK_ADDRESS, Images

pytestmark = pytest.mark.real

PROFILE = "tunnel-test"
TOKEN = "eyJhIjoiYSIsInQiOiJ0IiwicyI6InMifQ=="


@pytest.fixture
async def docker(dockerd: Engine) -> AsyncIterator[Docker]:
    found = await find_daemon(dockerd.socket)
    yield found
    await found.close()


Make = Callable[..., Tunnel]


@pytest.fixture
async def make(docker: Docker, images: Images) -> AsyncIterator[Make]:
    made: list[Tunnel] = []

    async def found() -> Docker:
        return docker

    async def ours(url: str) -> Reach:
        return Reach.GATEWAY

    def tunnel(*, image: str = images.cloudflared, token: str = TOKEN) -> Tunnel:
        async def kept() -> str:
            return token

        made.append(
            Tunnel(
                found,
                profile=PROFILE,
                image=lambda: image,
                token=kept,
                address=lambda: "http://127.0.0.1:8434",
                hostname=lambda: "https://gpu.example.com",
                on_change=lambda: None,
                check=ours,
                pauses_s=(0.0,),
                looks_s=(0.0,),
            )
        )
        return made[-1]

    yield tunnel
    for one in made:
        await one.shut()


def containers(dockerd: Engine) -> list[Any]:
    return list(
        dockerd.client.containers.list(
            all=True, ignore_removed=True, filters={"label": f"{LABEL_PROFILE}={PROFILE}"}
        )
    )


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.02)


async def test_a_quick_tunnel_opens_comes_back_after_a_kill_and_leaves_nothing_behind(
    make: Make, dockerd: Engine
) -> None:
    tunnel = make()
    await tunnel.open("quick")
    assert tunnel.state.url == QUICK_ADDRESS
    (container,) = containers(dockerd)
    seen = container.attrs
    assert seen["HostConfig"]["NetworkMode"] == "host"
    assert seen["HostConfig"]["CapDrop"] == ["ALL"]
    assert seen["HostConfig"]["ReadonlyRootfs"]
    assert seen["Config"]["Labels"][LABEL_ROLE] == "tunnel"
    container.kill()
    await until(
        lambda: (
            tunnel.state.phase is TunnelPhase.OPEN
            and [one.id for one in containers(dockerd)] not in ([], [container.id])
        )
    )
    assert tunnel.state.url == QUICK_ADDRESS
    await tunnel.close()
    assert containers(dockerd) == []


async def test_a_named_tunnels_token_is_in_the_environment_only(make: Make, dockerd: Engine) -> None:
    tunnel = make()
    await tunnel.open("named")
    assert tunnel.state.url == "https://gpu.example.com"
    (container,) = containers(dockerd)
    config = dict(container.attrs["Config"])
    assert f"TUNNEL_TOKEN={TOKEN}" in config.pop("Env")
    assert TOKEN not in repr({**container.attrs, "Config": config})
    assert TOKEN.encode() not in container.logs()


async def test_a_token_that_cloudflared_refuses_is_said_with_its_own_words_at_hand(
    make: Make, dockerd: Engine
) -> None:
    tunnel = make(token="nonsense")
    with pytest.raises(TunnelError, match="refuses the tunnel's token"):
        await tunnel.open("named")
    assert "Provided Tunnel token is not valid." in tunnel.state.log_tail
    await until(lambda: containers(dockerd) == [])


async def test_a_program_that_ends_at_once_is_given_up_with_its_last_words(
    make: Make, images: Images, dockerd: Engine
) -> None:
    tunnel = make(image=images.crashing)
    with pytest.raises(TunnelError, match="ended several times"):
        await tunnel.open("quick")
    assert any("libcudart" in line for line in tunnel.state.log_tail)
    await until(lambda: containers(dockerd) == [])


async def test_an_image_that_is_nowhere_is_a_sentence(make: Make, dockerd: Engine) -> None:
    tunnel = make(image="127.0.0.1:1/nobody/nothing:none")
    with pytest.raises(TunnelError) as caught:
        await tunnel.open("quick")
    assert str(caught.value).endswith(".")
    assert tunnel.state.phase is TunnelPhase.FAILED
    assert containers(dockerd) == []


async def test_what_a_crashed_gateway_left_running_is_swept_away(make: Make, dockerd: Engine) -> None:
    crashed = make()
    await crashed.open("quick")
    await make().sweep()
    assert containers(dockerd) == []
