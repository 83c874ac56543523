"""The way out to the network: open only while it is needed, on a real daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.containers.base import ContainerError, DaemonFailed
from app.managed.faults import NotRunning
from app.managed.way_out import WayOut
from app.simulator import VERSION
from tests.managed.hosting import Make, Managed, eventually
from tests.real.docker_engine import Engine


def route(managed: Managed) -> str:
    """The gateway of the container's default route, as the kernel writes it."""
    said = managed.container().exec_run(
        ["/python/bin/python3", "-c", "print(open('/proc/net/route').read())"]
    )
    lines = [line.split() for line in said.output.decode().splitlines()]
    return next((fields[2] for fields in lines if len(fields) > 2 and fields[1] == "00000000"), "")


async def test_it_is_there_while_it_is_needed_and_then_gone(make: Make) -> None:
    managed = make()
    await managed.host.start()
    closed = route(managed)
    async with managed.host.way_out():
        assert managed.networks() == {managed.names.sealed, managed.names.opened}
        assert route(managed) != closed, "packets leave through the network that leads out"
        assert not managed.state.isolated
        assert await managed.engine.version() == VERSION
    assert managed.networks() == {managed.names.sealed}
    assert route(managed) == closed
    assert managed.state.isolated
    assert await managed.engine.version() == VERSION


async def test_nested_users_share_it_until_the_last_has_gone(make: Make) -> None:
    managed = make()
    await managed.host.start()
    async with managed.host.way_out():
        async with managed.host.way_out():
            pass
        assert managed.names.opened in managed.networks()
    assert managed.names.opened not in managed.networks()


async def test_it_is_closed_also_when_its_user_is_cancelled_or_fails(make: Make) -> None:
    managed = make()
    await managed.host.start()
    inside = asyncio.Event()

    async def use() -> None:
        async with managed.host.way_out():
            inside.set()
            await asyncio.Event().wait()

    user = asyncio.ensure_future(use())
    await inside.wait()
    user.cancel()
    with pytest.raises(asyncio.CancelledError):
        await user
    assert managed.names.opened not in managed.networks()
    with pytest.raises(ZeroDivisionError):
        async with managed.host.way_out():
            raise ZeroDivisionError
    assert managed.names.opened not in managed.networks()


async def test_one_that_a_crashed_run_left_open_is_cut_at_the_next_start(make: Make) -> None:
    first, second = make(), make()
    await first.host.start()
    crashed = first.host.way_out()
    await crashed.__aenter__()
    await first.host.close()
    assert first.names.opened in first.networks()
    await second.host.start()
    assert second.networks() == {second.names.sealed}
    assert second.state.isolated


async def test_it_survives_a_recreate_in_the_middle(make: Make) -> None:
    managed = make()
    await managed.host.start()
    async with managed.host.way_out():
        await managed.host.recreate()
        assert managed.names.opened in managed.networks()
        assert not managed.state.isolated
    assert managed.networks() == {managed.names.sealed}
    assert managed.state.isolated


async def test_without_isolation_there_is_nothing_to_open(make: Make) -> None:
    managed = make(isolated=False)
    await managed.host.start()
    async with managed.host.way_out():
        assert managed.networks() == {managed.names.opened}
    assert managed.networks() == {managed.names.opened}
    assert not managed.state.isolated


async def test_without_a_container_it_is_a_sentence(make: Make) -> None:
    with pytest.raises(NotRunning, match="Start the engine first"):
        async with make().host.way_out():
            pass


async def test_it_is_opened_and_closed_while_no_request_runs(make: Make) -> None:
    quiet: list[frozenset[str]] = []

    @asynccontextmanager
    async def quietly() -> AsyncIterator[None]:
        quiet.append(frozenset(managed.networks()))
        yield
        quiet.append(frozenset(managed.networks()))

    managed = make({"quietly": quietly})
    await managed.host.start()
    async with managed.host.way_out():
        pass
    closed, opened = {managed.names.sealed}, {managed.names.sealed, managed.names.opened}
    assert quiet == [closed, opened, opened, closed]


async def test_a_way_out_that_cannot_be_opened_is_open_to_nobody_and_the_next_tries_again() -> None:
    calls: list[str] = []

    async def connect() -> None:
        calls.append("connect")
        await asyncio.sleep(0)
        if len(calls) == 1:
            raise DaemonFailed("No.")

    async def disconnect() -> None:
        calls.append("disconnect")

    way = WayOut(connect, disconnect)

    async def use() -> None:
        async with way.open():
            await asyncio.sleep(0)

    results = await asyncio.gather(use(), use(), use(), return_exceptions=True)
    assert [type(result) for result in results] == [DaemonFailed, type(None), type(None)]
    await way.settle(1)
    assert calls == ["connect", "connect", "disconnect"]
    assert not way.needed


async def test_closing_that_fails_does_not_hide_what_its_user_was_told() -> None:
    async def connect() -> None:
        pass

    async def disconnect() -> None:
        raise ContainerError("Docker is gone.")

    way = WayOut(connect, disconnect)
    with pytest.raises(KeyError):
        async with way.open():
            raise KeyError


async def test_a_cancelled_opening_leaves_nothing_open(make: Make, dockerd: Engine) -> None:
    managed = make()
    await managed.host.start()

    async def use() -> None:
        async with managed.host.way_out():
            await asyncio.Event().wait()

    user = asyncio.ensure_future(use())
    await asyncio.sleep(0)
    user.cancel()
    with pytest.raises(asyncio.CancelledError):
        await user
    async with managed.host.way_out():
        pass
    await eventually(lambda: managed.networks() == {managed.names.sealed}, "closed")


async def test_one_that_was_opened_half_is_closed_again() -> None:
    is_open = False

    async def connect() -> None:
        nonlocal is_open
        is_open = True
        raise DaemonFailed("It is connected, and the engine does not answer there.")

    async def disconnect() -> None:
        nonlocal is_open
        is_open = False

    way = WayOut(connect, disconnect)
    with pytest.raises(DaemonFailed):
        async with way.open():
            pass
    assert not is_open


async def test_one_whose_user_is_cancelled_while_it_opens_is_closed_again(make: Make) -> None:
    connected = asyncio.Event()

    @asynccontextmanager
    async def quietly() -> AsyncIterator[None]:
        yield
        if managed.names.opened in managed.networks() and not connected.is_set():
            # As where somebody presses Cancel at this very moment.
            connected.set()
            await asyncio.Event().wait()

    managed = make({"quietly": quietly})
    await managed.host.start()

    async def use() -> None:
        async with managed.host.way_out():
            pass

    user = asyncio.ensure_future(use())
    await connected.wait()
    user.cancel()
    with pytest.raises(asyncio.CancelledError):
        await user
    assert managed.networks() == {managed.names.sealed}
    assert managed.state.isolated


async def test_one_that_is_cancelled_while_docker_opens_it_is_closed_and_the_engine_answers(
    make: Make,
) -> None:
    """Docker goes on with what it was asked, whether or not anybody waits for it."""
    managed = make({"healthy_s": 5.0})
    await managed.host.start()

    async def use() -> None:
        async with managed.host.way_out():
            await asyncio.Event().wait()

    for tenth in range(10):
        user = asyncio.ensure_future(use())
        await asyncio.sleep(tenth / 100)
        user.cancel()
        with pytest.raises(asyncio.CancelledError):
            await user
        assert managed.networks() == {managed.names.sealed}
        assert await managed.engine.version()
