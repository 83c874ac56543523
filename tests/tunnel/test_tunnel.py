"""The public address opens when asked, says what is wrong, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from app.containers.base import LABEL_HOME, LABEL_PROFILE, LABEL_ROLE, DaemonFailed, DaemonUnreachable
from app.tunnel.container import spec_of
from app.tunnel.exposure import Reach
from app.tunnel.state import TunnelPhase, TunnelState
from app.tunnel.tunnel import Tunnel
from app.tunnel.words import TunnelError
from app.vault.base import VaultUnavailable
from tests.tunnel.fake_docker import BOX, DESKTOP, NATIVE, QUICK, STAMP, FakeDocker, lost, registered

ADDRESS = "http://127.0.0.1:8434"
TOKEN = "eyJhIjoiYSIsInQiOiJ0IiwicyI6InMifQ"
OPEN = [*BOX, registered()]


class Bench:
    """A tunnel on a fake Docker, and everything that its state has been."""

    def __init__(self, docker: FakeDocker, **more: Any) -> None:
        self.docker = docker
        self.states: list[TunnelState] = []
        self.token: str | None = TOKEN
        self.vault_fault: VaultUnavailable | None = None
        self.hostname = "https://gpu.example.com"
        self.now_s = 0.0
        self.asked: list[str] = []
        self.reach = Reach.GATEWAY

        async def token() -> str | None:
            if self.vault_fault is not None:
                raise self.vault_fault
            return self.token

        async def check(url: str) -> Reach:
            self.asked.append(url)
            return self.reach

        self.tunnel = Tunnel(
            docker.find,  # type: ignore[arg-type]
            profile="default",
            image=lambda: "cloudflare/cloudflared:latest",
            token=token,
            address=lambda: ADDRESS,
            hostname=lambda: self.hostname,
            on_change=lambda: self.states.append(self.tunnel.state),
            check=check,
            clock_s=lambda: self.now_s,
            pauses_s=(0.0,),
            looks_s=(0.0,),
            **{"patience_s": 5.0, **more},
        )

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not true():
                await asyncio.sleep(0.001)


@pytest.fixture
async def bench() -> AsyncIterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*scripts: list[str | None], **more: Any) -> Bench:
        daemon = more.pop("daemon", NATIVE)
        made.append(Bench(FakeDocker(*scripts, daemon=daemon), **more))
        return made[-1]

    yield make
    for one in made:
        one.docker.down = None
        await one.tunnel.shut()


Make = Callable[..., Bench]


async def test_a_quick_tunnel_opens_with_the_address_of_its_log(bench: Make) -> None:
    one = bench(OPEN)
    await one.tunnel.open("quick")
    assert one.tunnel.state == TunnelState(TunnelPhase.OPEN, url=QUICK)
    assert [state.phase for state in one.states] == [TunnelPhase.OPENING, TunnelPhase.OPEN]
    (spec,) = one.docker.made
    assert spec.command == (
        "tunnel",
        "--no-autoupdate",
        "--metrics",
        "127.0.0.1:0",
        "--url",
        "http://127.0.0.1:8434",
    )
    assert (spec.network, spec.ports, spec.volumes, spec.read_only) == ("host", {}, {}, True)
    assert spec.labels == {LABEL_PROFILE: "default", LABEL_ROLE: "tunnel", LABEL_HOME: ""}
    await one.until(lambda: one.asked == [QUICK])


async def test_where_containers_live_in_a_virtual_machine_the_host_has_another_name(bench: Make) -> None:
    one = bench(OPEN, daemon=DESKTOP)
    await one.tunnel.open("quick")
    (spec,) = one.docker.made
    assert spec.command[-1] == "http://host.docker.internal:8434"
    assert spec.network == ""


async def test_a_named_tunnel_has_its_token_where_nobody_can_read_it(bench: Make) -> None:
    one = bench([registered()])
    await one.tunnel.open("named")
    assert one.tunnel.state.url == "https://gpu.example.com"
    (spec,) = one.docker.made
    assert spec.command[-1] == "run"
    assert spec.secrets == {"TUNNEL_TOKEN": TOKEN}
    assert TOKEN not in repr(spec)
    assert TOKEN not in repr((spec.command, spec.environment, spec.labels))


async def test_the_name_of_a_named_tunnel_is_read_from_its_own_configuration_where_none_is_set(
    bench: Make,
) -> None:
    routes = (
        r'config="{\"ingress\":[{\"hostname\":\"other.example.com\",\"service\":\"http://localhost:80\"},'
        r'{\"hostname\":\"mine.example.com\",\"service\":\"http://localhost:8434\"}]}"'
    )
    one = bench([registered()])
    one.hostname = ""
    await one.tunnel.open("named")
    assert one.tunnel.state.url == ""
    one.docker.say(f"{STAMP} INF Updated to new configuration {routes} version=1")
    await one.until(lambda: one.tunnel.state.url == "https://mine.example.com")


async def test_without_a_token_nothing_is_started(bench: Make) -> None:
    one = bench(OPEN)
    one.token = None
    with pytest.raises(TunnelError, match="no token") as caught:
        await one.tunnel.open("named")
    assert "public-address token" in caught.value.fix
    assert one.docker.made == []
    assert one.tunnel.state.phase is TunnelPhase.FAILED


async def test_a_vault_that_cannot_be_read_is_said_in_its_own_sentence(bench: Make) -> None:
    one = bench(OPEN)
    one.vault_fault = VaultUnavailable("The keyring is locked. Unlock it.")
    with pytest.raises(TunnelError, match="keyring is locked"):
        await one.tunnel.open("named")
    assert one.tunnel.state.problem == "The keyring is locked. Unlock it."


async def test_the_image_is_pulled_where_it_is_missing_and_its_progress_shown(bench: Make) -> None:
    one = bench(OPEN)
    one.docker.images.clear()
    await one.tunnel.open("quick")
    assert one.docker.pulled == ["cloudflare/cloudflared:latest"]
    assert any(state.progress is not None and state.progress.done_b == 50 for state in one.states)
    assert one.tunnel.state.progress is None


async def test_closing_removes_the_container_and_says_off(bench: Make) -> None:
    one = bench(OPEN)
    await one.tunnel.open("quick")
    await one.tunnel.close()
    assert one.docker.there == {}
    assert one.tunnel.state == TunnelState(TunnelPhase.OFF)
    await one.tunnel.close()


async def test_opening_twice_is_opening_once_and_another_mode_takes_the_first_ones_place(bench: Make) -> None:
    one = bench(OPEN, [registered()])
    await asyncio.gather(one.tunnel.open("quick"), one.tunnel.open("quick"))
    assert len(one.docker.made) == 1
    await one.tunnel.open("named")
    assert [spec.command[-1] for spec in one.docker.made] == [ADDRESS, "run"]
    assert len(one.docker.there) == 1
    with pytest.raises(ValueError, match="quick or named"):
        await one.tunnel.open("loud")


@pytest.mark.parametrize(
    ("mode", "lines", "words"),
    [
        ("named", ["Provided Tunnel token is not valid.", None], "refuses the tunnel's token"),
        (
            "named",
            [f'{STAMP} ERR error="Unauthorized: Invalid tunnel secret"'] * 3,
            "refuses the tunnel's token",
        ),
        ("quick", ['ERR status_code="429 Too Many Requests"', None], "no quick address now"),
        ("quick", ["dial tcp: lookup api.trycloudflare.com: no such host", None], "cannot be reached"),
        ("quick", ["panic: something", None], "ended several times"),
    ],
)
async def test_each_failure_is_a_sentence_with_a_fix_and_the_end_of_the_log(
    bench: Make, mode: str, lines: list[str | None], words: str
) -> None:
    one = bench(lines)
    with pytest.raises(TunnelError, match=words) as caught:
        await one.tunnel.open(mode)
    assert caught.value.fix
    state = one.tunnel.state
    assert state.phase is TunnelPhase.FAILED
    assert state.log_tail[-1] == lines[0]
    await one.until(lambda: one.docker.there == {})


async def test_a_failure_can_be_tried_again(bench: Make) -> None:
    one = bench(["Provided Tunnel token is not valid.", None], [registered()])
    with pytest.raises(TunnelError):
        await one.tunnel.open("named")
    await one.tunnel.open("named")
    assert one.tunnel.state.phase is TunnelPhase.OPEN


async def test_a_tunnel_that_gets_no_connection_is_given_up(bench: Make) -> None:
    one = bench([f"{STAMP} ERR Failed to dial a quic connection error=timeout"], patience_s=0.02)
    with pytest.raises(TunnelError, match="cannot be reached"):
        await one.tunnel.open("named")
    assert len(one.docker.made) == 1


async def test_a_tunnel_that_ends_is_started_three_times_in_ten_minutes_and_then_failed(bench: Make) -> None:
    one = bench(OPEN)
    await one.tunnel.open("quick")
    for starts in (2, 3, 4):
        one.docker.say(None)
        await one.until(lambda n=starts: len(one.docker.made) == n and one.tunnel.state.url == QUICK)  # type: ignore[misc]
    one.docker.say("the last words", None)
    await one.until(lambda: one.tunnel.state.phase is TunnelPhase.FAILED)
    assert len(one.docker.made) == 4
    assert one.tunnel.state.log_tail[-1] == "the last words"


async def test_ends_that_lie_far_apart_are_forgiven(bench: Make) -> None:
    one = bench(OPEN)
    await one.tunnel.open("quick")
    for starts in range(2, 8):
        one.now_s += 400
        one.docker.say(None)
        await one.until(lambda n=starts: len(one.docker.made) == n and one.tunnel.state.url == QUICK)  # type: ignore[misc]
    assert one.tunnel.state.phase is TunnelPhase.OPEN


async def test_a_new_start_of_a_quick_tunnel_brings_its_new_address(bench: Make) -> None:
    other = [line.replace("calm-river-otter-lamp", "new-name") for line in OPEN]
    one = bench(OPEN, other)
    await one.tunnel.open("quick")
    one.docker.say(None)
    await one.until(lambda: one.tunnel.state.url == "https://new-name.trycloudflare.com")


async def test_a_lost_connection_is_said_and_taken_back(bench: Make) -> None:
    one = bench(OPEN)
    await one.tunnel.open("quick")
    one.docker.say(lost())
    await one.until(lambda: one.tunnel.state.problem is not None)
    assert one.tunnel.state.phase is TunnelPhase.OPEN
    one.docker.say(registered())
    await one.until(lambda: one.tunnel.state.problem is None)
    assert len(one.docker.made) == 1


async def test_an_engine_that_answers_in_public_closes_the_tunnel_at_once(bench: Make) -> None:
    one = bench(OPEN)
    one.reach = Reach.ENGINE
    await one.tunnel.open("quick")
    await one.until(lambda: one.tunnel.state.phase is TunnelPhase.FAILED and one.docker.there == {})
    assert "without asking for a key" in (one.tunnel.state.problem or "")
    one.reach = Reach.GATEWAY
    await one.tunnel.open("quick")
    assert one.tunnel.state.phase is TunnelPhase.OPEN


@pytest.mark.parametrize(
    ("reach", "words"), [(Reach.OTHER, "Something else"), (Reach.NOBODY, "does not answer")]
)
async def test_an_address_where_we_do_not_answer_stays_open_and_says_so(
    bench: Make, reach: Reach, words: str
) -> None:
    one = bench(OPEN)
    one.reach = reach
    await one.tunnel.open("quick")
    await one.until(lambda: one.tunnel.state.problem is not None)
    one.docker.say("another line of the log", registered())
    await asyncio.sleep(0)
    assert words in (one.tunnel.state.problem or "")
    assert one.tunnel.state.phase is TunnelPhase.OPEN


async def test_no_docker_is_said_at_once(bench: Make) -> None:
    one = bench(OPEN)
    one.docker.down = DaemonUnreachable("Docker is not running. Start it.")
    with pytest.raises(TunnelError, match="Docker is not running"):
        await one.tunnel.open("quick")


async def test_a_docker_that_goes_away_under_an_open_tunnel_is_waited_for_and_then_said(bench: Make) -> None:
    one = bench(OPEN)
    await one.tunnel.open("quick")
    one.docker.go_away()
    await one.until(lambda: one.tunnel.state.phase is TunnelPhase.FAILED)
    assert one.tunnel.state.problem == "Docker is not running. Start it."
    one.docker.down = None
    await one.tunnel.open("quick")
    assert one.tunnel.state.phase is TunnelPhase.OPEN


async def test_the_end_of_the_gateway_never_fails_and_never_hangs(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = bench(OPEN)
    await one.tunnel.open("quick")
    monkeypatch.setattr("app.tunnel.tunnel._SHUT_S", 0.05)
    for removing in (hang, refuse):
        monkeypatch.setattr(one.docker, "remove", removing)
        async with asyncio.timeout(2):
            await one.tunnel.shut()
        assert one.tunnel.state.phase is TunnelPhase.OFF


async def hang(container: str) -> None:
    await asyncio.Event().wait()


async def refuse(container: str) -> None:
    raise DaemonFailed("It cannot be removed.")


async def test_a_container_that_cannot_be_removed_is_said(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = bench(OPEN)
    await one.tunnel.open("quick")
    with monkeypatch.context() as patch:
        patch.setattr(one.docker, "remove", refuse)
        with pytest.raises(TunnelError, match="cannot be removed"):
            await one.tunnel.close()
    assert one.tunnel.state.phase is TunnelPhase.FAILED
    assert "docker rm -f mortdecai-default-tunnel" in (one.tunnel.state.fix or "")


async def test_what_a_crash_left_running_is_swept_away_and_nothing_else(bench: Make) -> None:
    one = bench(OPEN)
    others = [
        spec_of(profile=profile, image="x", daemon=NATIVE, address=ADDRESS, token=None)
        for profile in ("default", "another")
    ]
    for spec in others:
        await one.docker.create(spec)
    await one.tunnel.sweep()
    assert [left.name for left in one.docker.there.values()] == ["mortdecai-another-tunnel"]
    one.docker.down = DaemonUnreachable("Docker is not running.")
    await one.tunnel.sweep()


async def test_leaving_while_it_opens_does_not_stop_the_opening(bench: Make) -> None:
    one = bench(BOX)
    waiting = asyncio.ensure_future(one.tunnel.open("quick"))
    await one.until(lambda: bool(one.docker.made))
    waiting.cancel()
    await asyncio.wait([waiting])
    one.docker.say(registered())
    await one.until(lambda: one.tunnel.state.phase is TunnelPhase.OPEN)


async def test_a_tunnel_that_docker_does_not_remove_is_said_to_be_open_still(
    bench: Callable[..., Bench],
) -> None:
    one = bench(OPEN)
    one.reach = Reach.ENGINE
    refused = DaemonFailed("Docker could not remove the container: device or resource busy.")

    async def remove(_: str) -> None:
        raise refused

    await one.tunnel.open("quick")
    one.docker.remove = remove  # type: ignore[method-assign]
    await one.until(lambda: "may still be open" in (one.tunnel.state.problem or ""))
    assert one.tunnel.state.phase is TunnelPhase.FAILED
    assert one.tunnel.state.fix == "Stop it by hand: docker rm -f mortdecai-default-tunnel"


async def test_the_end_says_whether_the_tunnel_is_gone(bench: Callable[..., Bench]) -> None:
    one = bench(OPEN)
    await one.tunnel.open("quick")
    one.docker.down = DaemonUnreachable("Docker is not running.")
    assert not await one.tunnel.shut()
    assert not await one.tunnel.sweep()
    one.docker.down = None
    assert await one.tunnel.sweep()
    assert await one.tunnel.shut()
