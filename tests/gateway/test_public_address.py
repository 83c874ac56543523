"""The gateway's public address leaves no tunnel behind unseen, and answers everybody who asked for a change."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.containers.base import DaemonUnreachable
from app.gateway.public_address import PublicAddress
from app.settings.folders import Folders
from app.settings.store import SettingsStore
from app.tunnel.state import TunnelPhase
from app.vault.memory import MemoryVault
from tests.tunnel.fake_docker import BOX, FakeDocker, registered

DOWN = DaemonUnreachable("Docker is not running. Start Docker and try again.")


class Door:
    """A public address on a fake Docker, in a folder of its own."""

    def __init__(self, folder: Path, docker: FakeDocker, mark: str = "public-address") -> None:
        self.store = SettingsStore.load(
            cli={"vault": "memory"},
            env={},
            file=Folders.for_profile("default", folder).settings_file,
        )
        self.mark = folder / mark
        self.address = PublicAddress(
            docker.find,  # type: ignore[arg-type]
            profile="default",
            mark=self.mark,
            vault=MemoryVault(),
            settings=lambda: self.store.current,
            configure=self.configure,
            address="http://127.0.0.1:8434",
            changed=lambda: None,
        )

    async def configure(self, changes: dict[str, Any]) -> None:
        self.store.update(changes)

    async def set(self, mode: str) -> None:
        await self.address.set_mode(mode)


@pytest.fixture
def docker() -> FakeDocker:
    return FakeDocker([*BOX, registered()])


async def test_a_tunnel_that_could_not_be_removed_at_the_end_is_removed_at_the_next_start(
    tmp_path: Path, docker: FakeDocker
) -> None:
    first = Door(tmp_path, docker)
    await first.set("quick")
    assert first.address.state.phase is TunnelPhase.OPEN
    docker.down = DOWN
    await first.address.shut()
    docker.down = None
    assert docker.there, "it is still there"
    second = Door(tmp_path, docker)
    second.store.update({"public_address": "off"})
    second.address.start()
    await second.address.settled()
    assert not docker.there
    assert not second.mark.exists()
    await second.address.shut()


async def test_a_start_without_docker_does_not_forget_what_a_crash_left_open(
    tmp_path: Path, docker: FakeDocker
) -> None:
    crashed = Door(tmp_path, docker)
    await crashed.set("quick")
    docker.down = DOWN
    without = Door(tmp_path, docker)
    without.store.update({"public_address": "off"})
    without.address.start()
    await without.address.settled()
    await without.address.shut()
    docker.down = None
    again = Door(tmp_path, docker)
    again.address.start()
    await again.address.settled()
    assert not docker.there
    await again.address.shut()
    await crashed.address.shut()


async def test_whoever_waits_hears_of_it_also_where_somebody_else_wants_something_else(
    tmp_path: Path, docker: FakeDocker
) -> None:
    docker.scripts = [[]]  # it never connects
    door = Door(tmp_path, docker)
    waiting = asyncio.ensure_future(door.set("quick"))
    while not docker.made:
        await asyncio.sleep(0)
    await door.set("off")
    await waiting
    assert door.address.state.phase is TunnelPhase.OFF
    await door.address.shut()


async def test_nothing_opens_it_once_the_gateway_ends(tmp_path: Path, docker: FakeDocker) -> None:
    door = Door(tmp_path, docker)
    await door.set("off")
    await door.address.shut()
    await door.set("quick")
    assert docker.made == []


async def test_where_its_mark_cannot_be_kept_it_stays_closed(
    tmp_path: Path, docker: FakeDocker, caplog: pytest.LogCaptureFixture
) -> None:
    door = Door(tmp_path, docker, "no-such-folder/public-address")
    await door.set("quick")
    assert docker.made == []
    assert "cannot be written" in caplog.text
    await door.address.shut()
