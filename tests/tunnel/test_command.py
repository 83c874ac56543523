"""The token is taken as people paste it, kept where it belongs, and shown nowhere."""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from app.commands import tunnel as command
from app.commands.common import CommandError
from app.gateway.public_address import PublicAddress, no_docker
from app.settings.folders import Folders
from app.settings.instance import InstanceLock
from app.settings.parameters import Settings
from app.tunnel.token import TOKEN_NAME, read_token
from app.tunnel.words import TunnelError
from app.vault.choice import open_vault
from app.vault.memory import MemoryVault
from tests.engine import lookalikes as like


def token(**parts: Any) -> str:
    body = {"a": "account", "t": "c4a1c6e2-7a6f-4f6f-9d3c-52f2f4fd2a11", "s": "c2VjcmV0", **parts}
    return base64.b64encode(json.dumps(body).encode()).decode()


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "  {}\n",
        "sudo cloudflared service install {}",
        "docker run cloudflare/cloudflared:latest tunnel --no-autoupdate run --token {}",
        "cloudflared tunnel run --token={}",
        "TUNNEL_TOKEN={} # from the dashboard",
    ],
)
@pytest.mark.parametrize("account", ["a", "ab", "abc"])
def test_a_token_is_found_in_whatever_was_pasted(around: str, account: str) -> None:
    assert read_token(around.format(token(a=account))) == token(a=account)


@pytest.mark.parametrize(
    "pasted",
    ["", "nonsense", "eyJhIjoi", token(s=""), token(t=5), base64.b64encode(b"[]").decode(), "é" * 50],
)
def test_what_is_no_token_is_refused_with_a_sentence(pasted: str) -> None:
    with pytest.raises(TunnelError, match="not a tunnel's token") as caught:
        read_token(pasted)
    assert caught.value.fix
    assert not pasted or pasted not in str(caught.value)


async def nothing(_: object) -> None: ...


async def test_the_gateway_keeps_a_token_that_a_face_was_given(tmp_path: Path) -> None:
    vault = MemoryVault()
    public = PublicAddress(
        no_docker,
        profile="default",
        mark=tmp_path / "mark",
        vault=vault,
        settings=Settings,
        configure=nothing,
        address="",
        changed=lambda: None,
    )
    await public.keep_token(f"sudo cloudflared service install {token()}")
    assert await vault.get(TOKEN_NAME) == token()
    with pytest.raises(TunnelError, match="Copy the whole command"):
        await public.keep_token("sudo cloudflared service install")
    with pytest.raises(TunnelError, match="too long"):
        await public.keep_token(token(a="a" * 2000))
    assert await vault.get(TOKEN_NAME) == token(), "what was there stays"


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    folders = Folders.for_profile("default", tmp_path)
    folders.prepare()
    monkeypatch.setattr("app.commands.common.Folders.for_profile", lambda *_: folders)
    return argparse.Namespace(profile="default", vault="file", env_file=None, set=[], action="token")


def test_the_command_keeps_the_token_and_does_not_print_it(
    options: argparse.Namespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"cloudflared service install {token()}\n"))
    assert command.public(options) == 0
    printed = capsys.readouterr()
    assert token() not in printed.out + printed.err

    async def kept() -> str | None:
        folders = Folders.for_profile("default", tmp_path)
        return await (await open_vault("file", profile="default", directory=folders.config)).get(TOKEN_NAME)

    assert asyncio.run(kept()) == token()


def test_a_wrong_token_and_a_vault_that_keeps_nothing_are_refused(
    options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n"))
    with pytest.raises(CommandError, match="not a tunnel's token"):
        command.public(options)
    options.vault = "memory"
    with pytest.raises(CommandError, match="forgets everything"):
        command.public(options)


def test_without_a_running_gateway_only_the_status_can_be_told(
    options: argparse.Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    options.action = "status"
    assert command.public(options) == 0
    assert "Its setting is: off" in capsys.readouterr().out
    options.action = "quick"
    with pytest.raises(CommandError, match="No gateway of this profile runs"):
        command.public(options)


@pytest.mark.parametrize(
    ("state", "status", "words"),
    [
        ({"phase": "open", "url": "https://x.trycloudflare.com"}, 0, "Open: https://x.trycloudflare.com"),
        ({"phase": "open", "url": ""}, 0, "the one that you gave"),
        ({"phase": "off", "url": ""}, 0, "Off"),
        ({"phase": "failed", "problem": "It broke.", "fix": "Mend it."}, 1, "It broke.\nMend it."),
    ],
)
def test_each_state_is_told_in_words(
    state: dict[str, Any], status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.show(state) == status
    assert words in capsys.readouterr().out


def test_a_running_gateway_is_asked_as_its_operator_until_it_is_open(
    options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, str | None]] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        asked.append((request.method, request.headers.get("Authorization")))
        gets = [method for method, _ in asked if method == "GET"]
        phase = "open" if len(gets) > 1 else "opening"
        return web.json_response({"phase": phase, "url": "https://x.trycloudflare.com"})

    async def go() -> int:
        base = command.ground(options)
        async with like.serving(like.LookAlike({command.PATH: answer})) as running:
            base.folders.prepare()
            with InstanceLock.acquire(base.folders.state) as lock:
                lock.announce(running.url, "mg_operator")
                # Another process would see the lock; this one holds it.
                monkeypatch.setattr("app.commands.common.Ground.running_url", lambda _: running.url)
                status = await command._ask(base, "quick")
            assert [body for method, _, body in running.asked if method == "POST"] == [{"mode": "quick"}]
            return status

    assert asyncio.run(go()) == 0
    assert [method for method, _ in asked] == ["POST", "GET", "GET"]
    assert {key for _, key in asked} == {"Bearer mg_operator"}
    assert "Open: https://x.trycloudflare.com" in capsys.readouterr().out
