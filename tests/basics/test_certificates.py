"""aiohttp without the machine's certificates at the start: nobody is trusted sooner or more readily for that."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path

from app.basics.certificates import late_context
from tests.engine.test_wire_reach import certificate

ASK = """
import asyncio, ssl, sys
from app.basics.certificates import import_aiohttp
own = ssl.create_default_context
import_aiohttp()
assert ssl.create_default_context is own
assert "set_default_verify_paths" not in vars(ssl.SSLContext)
import aiohttp
from aiohttp import connector
assert connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509"] == 0, "none is read before it is needed"

async def main(cert, key):
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(cert, key)
    async def answer(reader, writer):
        await reader.readuntil(b"\\r\\n\\r\\n")
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
        await writer.drain()
        writer.close()
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_side)
    url = "https://127.0.0.1:%d/" % server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession() as http:
        try:
            async with http.get(url) as reply:
                print("trusted", await reply.text())
        except aiohttp.ClientConnectorCertificateError:
            print("refused")
    server.close()

asyncio.run(main(*sys.argv[1:]))
"""


def ask(folder: Path, **environment: str) -> str:
    cert, key = certificate(folder)
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(cert), str(key)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_who_shows_a_certificate_that_nobody_trusts_is_refused(tmp_path: Path) -> None:
    assert ask(tmp_path) == "refused"


def test_who_is_trusted_by_this_machine_is_trusted(tmp_path: Path) -> None:
    assert ask(tmp_path, SSL_CERT_FILE=str(tmp_path / "cert.pem")) == "trusted ok"


def test_the_context_checks_what_pythons_own_checks() -> None:
    own, late = ssl.create_default_context(), late_context()
    for name in ("verify_mode", "check_hostname", "verify_flags", "minimum_version", "options"):
        assert getattr(late, name) == getattr(own, name), name
    late.read()
    late.read()
    assert late.cert_store_stats() == own.cert_store_stats()
