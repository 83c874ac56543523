"""A whole gateway that speaks TLS: with a certificate of its own or a given one, which is renewed while it runs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import anthropic
import httpx
import ollama
import openai
import pytest

from app.access.certificate import CERTIFICATE, KEY, CertificateError, load_pair, own_pair
from app.cli import main
from app.gateway import encryption
from tests.gateway.conftest import MODEL, Build, House, chat
from tests.gateway.processes import environment
from tests.gateway.processes import gateway as gateway_process

NAMES = ("localhost", "127.0.0.1")


def trust(certificate: Path | str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


def own(tmp_path: Path) -> Path:
    return tmp_path / "config" / "default" / "tls" / CERTIFICATE


async def shown(house: House) -> str:
    """The fingerprint that a new connection is shown."""
    port = int(house.gateway.address.rpartition(":")[2])
    return await asyncio.to_thread(fingerprint_at, port)


def fingerprint_at(port: int) -> str:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as bare,
        context.wrap_socket(bare) as encrypted,
    ):
        der = encrypted.getpeercert(binary_form=True)
    assert der is not None
    return hashlib.sha256(der).digest().hex(":").upper()


async def ask(house: House, method: str, path: str, certificate: Path, **more: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {more.pop('key', house.key)}"}
    async with httpx.AsyncClient(verify=trust(certificate), headers=headers) as client:
        reply = await client.request(method, house.gateway.address + path, **more)
        return reply.status_code, reply.json()


async def test_one_of_its_own_is_made_once_and_serves_every_sdk(build: Build, tmp_path: Path) -> None:
    house = await build(tls="own")
    address = house.gateway.address
    assert address.startswith("https://127.0.0.1:")
    context = trust(own(tmp_path))
    said = ""
    client = ollama.AsyncClient(address, headers={"Authorization": f"Bearer {house.key}"}, verify=context)
    async for part in await client.chat(MODEL, [{"role": "user", "content": "Hello"}], stream=True):
        said += part.message.content or ""
    assert said
    await client._client.aclose()
    async with openai.DefaultAsyncHttpxClient(verify=context) as http:
        openly = openai.AsyncOpenAI(base_url=address + "/v1", api_key=house.key, http_client=http)
        answer = await openly.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Hello"}], max_tokens=5
        )
        assert answer.choices[0].message.content
    async with anthropic.DefaultAsyncHttpxClient(verify=context) as http:
        there = anthropic.AsyncAnthropic(base_url=address, api_key=house.key, http_client=http)
        message = await there.messages.create(
            model=MODEL, messages=[{"role": "user", "content": "Hello"}], max_tokens=5
        )
        assert message.content
    assert len(await house.usage()) == 3


async def test_its_fingerprint_stands_in_every_face(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    house = await build(tls="own")
    fingerprint = await shown(house)
    tls = house.gateway.snapshot().tls
    assert tls is not None
    assert (tls.fingerprint, tls.path, tls.problem) == (fingerprint, str(own(tmp_path)), "")
    for path in ("/health", "/dashboard/data"):
        _, said = await ask(house, "GET", path, own(tmp_path))
        assert said["tls"]["fingerprint"] == fingerprint
    status, said = await ask(house, "GET", "/admin/certificate", own(tmp_path), key=house.operator)
    assert (status, said["fingerprint"], said["problem"]) == (200, fingerprint, None)
    # The commands know it by what it has left word of, whoever vouches for it.
    monkeypatch.setenv("MORTDECAI_HOME", str(tmp_path))
    assert await asyncio.to_thread(main, ["status"]) == 0
    assert f"Certificate SHA-256 {fingerprint}" in capsys.readouterr().out
    assert await asyncio.to_thread(main, ["keys", "create", "guest"]) == 0
    assert await asyncio.to_thread(main, ["ledger", "verify"]) == 0
    assert await asyncio.to_thread(main, ["audit"]) == 0


async def test_the_commands_talk_to_nobody_who_shows_another_certificate(
    build: Build, tmp_path: Path
) -> None:
    await build(tls="own")
    note = tmp_path / "state" / "default" / "instance.json"
    said = json.loads(note.read_text())
    note.write_text(json.dumps({**said, "fingerprint": "AB:" * 31 + "AB"}))
    # A process of its own: whoever breaks off amid TLS leaves the goodbye to the end of the process.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "status", "--vault", "memory"),
        env=environment(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert b"did not answer as it should" in err


def test_it_is_the_same_after_a_restart_and_on_the_loop_that_serve_prefers(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        with gateway_process(tmp_path, "--simulate", "--set", "tls=own") as process:
            connection = process.connection
            assert connection["url"].startswith("https://")
            with httpx.Client(verify=trust(connection["certificate"])) as client:
                headers = {"Authorization": f"Bearer {connection['api_key']}"}
                reply = client.get(connection["url"] + "/api/tags", headers=headers)
                assert reply.status_code == 200
            seen.append(connection["fingerprint"])
    assert seen[0] == seen[1]


@pytest.fixture
def given(tmp_path: Path) -> tuple[Path, Path]:
    return own_pair(tmp_path / "given", NAMES)


def renew(pair: tuple[Path, Path], tmp_path: Path) -> str:
    """Put another pair in the place of this one, as certbot does; its fingerprint."""
    folder = tmp_path / "renewed"
    shutil.rmtree(folder, ignore_errors=True)
    made = own_pair(folder, NAMES)
    for old, new in zip(pair, made, strict=True):
        new.replace(old)
    return load_pair(*pair).fingerprint


async def until(house: House, fingerprint: str) -> None:
    async with asyncio.timeout(30):
        while await shown(house) != fingerprint:
            await asyncio.sleep(0.05)


async def test_a_renewed_certificate_is_taken_up_by_itself_and_what_runs_goes_on(
    build: Build, given: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encryption, "LOOK_S", 0.05)
    house = await build(tls="files", tls_certificate=str(given[0]), tls_key=str(given[1]), speed=1.0)
    first = await shown(house)
    body = chat(tokens=4000)
    headers = {"Authorization": f"Bearer {house.key}"}
    async with (
        httpx.AsyncClient(verify=trust(given[0]), headers=headers) as client,
        client.stream("POST", house.gateway.address + "/api/chat", json=body) as running,
    ):
        parts = running.aiter_bytes()
        assert await anext(parts)
        second = await asyncio.to_thread(renew, given, tmp_path)
        assert second != first
        await until(house, second)
        assert await anext(parts), "the stream over the old one goes on"
        note = tmp_path / "state" / "default" / "instance.json"
        async with asyncio.timeout(30):
            # The commands are told as well, by a thread that writes it down a moment later.
            while json.loads(note.read_text())["fingerprint"] != second:
                await asyncio.sleep(0.05)
    assert (await ask(house, "GET", "/api/tags", given[0]))[0] == 200


async def test_a_bad_pair_is_one_sentence_and_the_old_one_goes_on(
    build: Build, given: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encryption, "LOOK_S", 0.05)
    house = await build(tls="files", tls_certificate=str(given[0]), tls_key=str(given[1]))
    first = await shown(house)
    given[1].write_text("no key at all")
    async with asyncio.timeout(30):
        while not (tls := house.gateway.snapshot().tls) or not tls.problem:
            await asyncio.sleep(0.05)
    assert tls.problem.endswith("The certificate that was there goes on.")
    assert house.gateway.snapshot().notice == tls.problem
    assert await shown(house) == first
    second = await asyncio.to_thread(renew, given, tmp_path)
    await until(house, second)
    tls = house.gateway.snapshot().tls
    assert tls is not None
    assert tls.problem == ""


async def test_the_pair_is_changed_by_config_all_or_none(
    build: Build, given: tuple[Path, Path], tmp_path: Path
) -> None:
    house = await build(tls="files", tls_certificate=str(given[0]), tls_key=str(given[1]))
    first = await shown(house)
    other = await asyncio.to_thread(own_pair, tmp_path / "other", NAMES)
    half = {"tls_certificate": str(other[0])}
    status, said = await ask(house, "POST", "/config", given[0], key=house.operator, json=half)
    assert status == 400
    assert "does not belong" in said["error"]
    assert await shown(house) == first
    whole = {"tls_certificate": str(other[0]), "tls_key": str(other[1])}
    status, _ = await ask(house, "POST", "/config", given[0], key=house.operator, json=whole)
    assert status == 200
    assert await shown(house) == load_pair(*other).fingerprint


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({}, "must name a certificate and its key"),
        ({"tls_certificate": "/none.pem", "tls_key": "/none.key"}, "does not exist"),
    ],
)
async def test_a_start_with_a_pair_that_cannot_be_used_ends_in_a_sentence(
    build: Build, settings: dict[str, str], hint: str
) -> None:
    with pytest.raises(CertificateError, match=hint):
        await build(tls="files", **settings)


async def test_one_that_ends_soon_is_spoken_of(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    house = await build(tls="own")
    monkeypatch.setattr(encryption, "WARN_US", 10**17)
    tls = house.gateway.snapshot().tls
    assert tls is not None
    assert "renew it" in tls.problem


async def test_without_encryption_nothing_of_it_is_shown(house: House, tmp_path: Path) -> None:
    async with house.session.get("/health") as reply:
        assert (await reply.json())["tls"] is None
    async with house.get("/admin/certificate", key=house.operator) as reply:
        assert (await reply.json()) == {"fingerprint": None}
    assert not own(tmp_path).exists()
    assert not (own(tmp_path).parent / KEY).exists()
