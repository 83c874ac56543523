"""Which engines can be reached, what is said of those that cannot, and on which loops it works."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.engine.base import EngineUnreachable
from app.engine.wire import Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


async def test_where_nothing_listens_the_engine_is_unreachable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        wire = Wire(url)
        with pytest.raises(EngineUnreachable, match=f"Nothing listens at {url}"):
            await wire.post("/", b"{}")
        await wire.close()


async def test_a_name_that_does_not_exist_is_unreachable() -> None:
    wire = Wire("http://no-such-engine.invalid")
    with pytest.raises(EngineUnreachable, match="cannot be reached"):
        await wire.get("/")
    await wire.close()


@pytest.mark.skipif(
    sys.platform != "linux", reason="platform: only Linux drops connections at a full backlog"
)
async def test_a_connection_that_does_not_come_about_in_time_is_unreachable() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        address = deaf.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        wire = Wire(f"http://127.0.0.1:{address[1]}", connect_s=0.05)
        with pytest.raises(EngineUnreachable, match=r"accepted no connection within 0\.05 s"):
            await wire.post("/", b"{}")
        await wire.close()
        for one in waiting:
            one.close()


def certificate(folder: Path) -> tuple[Path, Path]:
    """A key and a self-signed certificate for 127.0.0.1: a bare machine may not even know localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder / "cert.pem", folder / "key.pem"


async def test_https_wants_a_certificate_that_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    connections = 0
    tasks: list[asyncio.Task[None]] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        try:
            while await reader.read(65536):
                writer.write(OK)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    stranger = Wire(url)
    with pytest.raises(EngineUnreachable, match="could not prove who it is"):
        await stranger.post("/", b"{}")
    await stranger.close()
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    friend = Wire(url)
    for _ in range(3):
        assert await (await friend.post("/", b"{}")).read() == b"{}"
    await friend.close()
    server.close()
    await asyncio.gather(*tasks)
    await server.wait_closed()
    assert connections == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:11434",
        "ftp://host",
        "http://",
        "http://u:p@host",
        "http://host:99999",
        "http://host/?a=b",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(
        ValueError, match=r"is not an engine's address: it must look like http://127\.0\.0\.1:11434"
    ):
        Wire(url)


ROUND = """
import asyncio, gc, sys, warnings
sys.path.insert(0, {root!r})
from app.engine.base import EngineUnreachable
from app.simulator import Simulator, SimulatorEngine

async def main():
    simulator = Simulator(speed=10_000, parallel=8)
    engine = SimulatorEngine(await simulator.start())
    body = b'{{"model":"qwen2.5:3b","messages":[{{"role":"user","content":"hello"}}]}}'

    async def one():
        reply = await engine.post("/api/chat", body)
        return b"".join([chunk async for chunk in reply.chunks()])

    answers = await asyncio.gather(*(one() for _ in range(20)))
    assert all(b'"done":true' in answer for answer in answers)
    hanging = asyncio.ensure_future(engine.post("/api/chat", body.replace(b"hello", b"[simulate: hang]")))
    while not simulator.running:
        await asyncio.sleep(0.001)
    hanging.cancel()
    await asyncio.wait([hanging])
    while simulator.running:
        await asyncio.sleep(0.001)
    await engine.close()
    await simulator.stop()
    print("round")

{run}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="platform: no uvloop")
def test_the_same_works_on_uvloop() -> None:
    script = ROUND.format(
        root=str(Path(__file__).parents[2]), run="import uvloop; uvloop.run(asyncio.wait_for(main(), 20))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=30
    )
    assert (done.stdout, done.stderr) == ("round\n", "")


def test_the_same_works_on_a_qt_loop() -> None:
    run = """
import os
os.environ["QT_QPA_PLATFORM"] = "offscreen"
import qasync
from PySide6.QtCore import QCoreApplication
loop = qasync.QEventLoop(QCoreApplication([]))
with loop:
    loop.run_until_complete(asyncio.wait_for(main(), 20))
"""
    script = ROUND.format(root=str(Path(__file__).parents[2]), run=run)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert done.stdout == "round\n", done.stderr
