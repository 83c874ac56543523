"""A receiver of a test's own, asked over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp

from app.receiver.assembly import Receiver, now_s, own_folders, running
from app.receiver.enrolling import enrol
from app.receiver.parties import Enrolment
from app.receiver.settings import ReceiverSettings
from app.settings.folders import Folders
from app.vault.memory import MemoryVault


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    text: str
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def code(self) -> str:
        """The code of an error, whose message is one sentence."""
        error = self.json["error"]
        assert error["message"].endswith("."), error
        return str(error["code"])


class Asked:
    """A running receiver with a client beside it."""

    def __init__(self, receiver: Receiver, session: aiohttp.ClientSession) -> None:
        self.receiver = receiver
        self.session = session
        self.url = receiver.url
        self.owner = receiver.identity.owner_key

    async def enrol(self, name: str, vkey: str = "") -> str:
        """The secret of a newly enrolled gateway."""
        enrolled, secret = await self.receiver.keeper.write(lambda store: enrol(store, name, vkey, now_s()))
        assert isinstance(enrolled, Enrolment)
        return secret

    async def ask(
        self, method: str, path: str, key: str | None = None, body: bytes | None = None, **headers: str
    ) -> Reply:
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else BytesIO(body)
        async with self.session.request(method, self.url + path, data=data, headers=headers) as reply:
            return Reply(reply.status, (await reply.read()).decode(), reply.headers)

    async def get(self, path: str, key: str | None = None) -> Reply:
        return await self.ask("GET", path, key)

    async def push(self, key: str | None, body: bytes) -> Reply:
        return await self.ask("POST", "/ledger", key, body)


class Desk:
    """Starts receivers over one folder and one vault, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folders = own_folders(Folders.for_profile("default", folder))
        self.folders.prepare()
        self.vault = MemoryVault()

    @asynccontextmanager
    async def open(self, **settings: Any) -> AsyncIterator[Asked]:
        chosen = ReceiverSettings(**({"port": 0} | settings))
        async with (
            running(chosen, self.folders, self.vault) as receiver,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
        ):
            yield Asked(receiver, session)
