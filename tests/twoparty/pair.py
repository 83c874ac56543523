"""A gateway and a receiver as two processes that are killed and started again, and clients that go on asking."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from app.ledger.records import Record, decode
from tests.gateway.conftest import chat
from tests.gateway.processes import Process, gateway, program, run

VAULT = ("--vault", "file")
SETTINGS = ("--set", "private_receivers=true", "--set", "engine_parallel=8")
AGREE_S = 60.0


class Side:
    """One of the two; `begin` starts it, `kill` is -9."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.home = home
        self.process: Process | None = None
        self._stack = ExitStack()

    def started(self) -> contextlib.AbstractContextManager[Process]:
        """The program, run until the context ends."""
        raise NotImplementedError

    async def begin(self) -> Process:
        """Wait until it says that it is ready."""
        self.process = await asyncio.to_thread(self._stack.enter_context, self.started())
        return self.process

    def kill(self) -> None:
        """At once; nothing of it goes on."""
        assert self.process is not None
        self.process.popen.kill()
        self.process.popen.wait()
        self._stack.close()
        self.process = None

    async def end(self) -> None:
        """In order. Again is harmless."""
        await asyncio.to_thread(self._stack.close)
        self.process = None


class ReceiverProcess(Side):
    """The client's side, always on the same port, as gateways were told."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    def started(self) -> contextlib.AbstractContextManager[Process]:
        """See Side."""
        return program(
            self.home, "app", "receiver", "run", *VAULT, "--port", str(self.port), "--print-connection"
        )


class GatewayProcess(Side):
    """The contributor's side, with the simulator for an engine."""

    def started(self) -> contextlib.AbstractContextManager[Process]:
        """See Side."""
        return gateway(self.home, "--simulate", *SETTINGS)


class Pair:
    """Both sides, enrolled with each other."""

    def __init__(self, folder: Path) -> None:
        self.gateway = GatewayProcess(folder / "gateway")
        self.receiver = ReceiverProcess(folder / "client")
        self.secret = ""
        self.promised: dict[str, int | None] = {}
        """Requests of which a client has seen a byte: what it was told that they cost, None where it was not told."""
        self.answered = 0

    @contextlib.asynccontextmanager
    async def enrolled(self) -> AsyncIterator[Pair]:
        """Both run, and the gateway delivers."""
        try:
            await self.receiver.begin()
            await self.gateway.begin()
            told = await asyncio.to_thread(
                run, self.receiver.home, "receiver", "enrol", "garage", *VAULT, "--json"
            )
            self.secret = json.loads(told.stdout)["secret"]
            line = json.loads(told.stdout)["line"]
            done = await asyncio.to_thread(
                run, self.gateway.home, "ledger", "deliver", "First client", line, *VAULT, *SETTINGS
            )
            assert done.returncode == 0, done.stderr
            yield self
        finally:
            await self.gateway.end()
            await self.receiver.end()

    async def ask_on(self, chance: Random, until: float = math.inf) -> None:
        """A client that asks one thing after the other and minds no failure, until there are so many answers."""
        while self.answered < until:
            process = self.gateway.process
            if process is None:
                await asyncio.sleep(0.02)
                continue
            headers = {"Authorization": f"Bearer {process.connection['api_key']}"}
            try:
                async with aiohttp.ClientSession(process.connection["url"], headers=headers) as session:
                    while self.gateway.process is process and self.answered < until:
                        await self._ask(session, chance)
            except (aiohttp.ClientError, ConnectionError, TimeoutError):
                await asyncio.sleep(0.02)

    async def _ask(self, session: aiohttp.ClientSession, chance: Random) -> None:
        stream = chance.random() < 0.3
        async with session.post(
            "/api/chat", json=chat("Hello", stream=stream, tokens=chance.randrange(1, 12))
        ) as reply:
            if reply.status != 200:
                await reply.read()
                await asyncio.sleep(0.05)
                return
            request_id = reply.headers["X-Request-Id"]
            if stream:
                assert await reply.content.readline()
                self.promised.setdefault(request_id, None)
            last = (await reply.read()).splitlines()
            if last and "_gateway" in (told := json.loads(last[-1])):
                self.promised[request_id] = int(told["_gateway"]["estimated_cost_pico"])
                self.answered += 1

    async def answers(self, more: int) -> None:
        """Wait for so many more answers."""
        until = self.answered + more
        async with asyncio.timeout(60):
            while self.answered < until:
                await asyncio.sleep(0.01)

    # What both say in the end.

    async def told(self, side: Side, key: str, path: str) -> Any:
        """What one of them answers."""
        assert side.process is not None
        headers = {"Authorization": f"Bearer {key}"}
        async with (
            aiohttp.ClientSession(side.process.connection["url"], headers=headers) as session,
            session.get(path) as reply,
        ):
            text = await reply.text()
            assert reply.status == 200, text
            return json.loads(text) if path.startswith("/reconcile") else text.encode()

    async def agreed(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What `/reconcile` says on both sides, once everything is acknowledged."""
        process = self.gateway.process
        assert process is not None
        key = process.connection["api_key"]
        async with asyncio.timeout(AGREE_S):
            while True:
                ours = await self.told(self.gateway, key, "/reconcile")
                receipts = ours["receipts"]
                if receipts and receipts[0]["acknowledged"] == ours["ledger_entries"]:
                    break
                await asyncio.sleep(0.1)
        return ours, await self.told(self.receiver, self.secret, "/reconcile")

    async def require_agreed(self) -> list[Record]:
        """Both hold the same to the last byte and picounit, and every promise. The records."""
        ours, theirs = await self.agreed()
        assert (ours["status"], ours["findings"]) == ("OK", [])
        assert (theirs["status"], theirs["findings"], theirs["charges"]) == ("OK", [], [])
        assert theirs["ledger_total_cost_pico"] == ours["ledger_total_cost_pico"]
        assert theirs["stats_total_cost_pico"] == theirs["ledger_total_cost_pico"]
        assert theirs["ledger_entries"] == ours["ledger_entries"]
        (log,) = theirs["logs"]
        process = self.gateway.process
        assert process is not None
        mine = await self.told(self.gateway, process.connection["api_key"], "/ledger/entries?from=0")
        assert mine == await self.told(self.receiver, self.secret, "/ledger/entries?from=0")
        records = [decode(body) for body in mine.splitlines()]
        assert [record.seq for record in records] == list(range(log["size"])), "no gap"
        ids = [record.draft.id for record in records]
        assert len(set(ids)) == len(ids), "no duplicate"
        assert records[-1].cum_pico == sum(record.draft.cost for record in records)
        assert str(records[-1].cum_pico) == ours["ledger_total_cost_pico"]
        costs = {record.draft.id: record.draft.cost for record in records}
        assert self.promised.keys() <= costs.keys(), "nothing that a client saw is lost"
        told = {name: cost for name, cost in self.promised.items() if cost is not None}
        assert {name: costs[name] for name in told} == told, "and each costs what it was told"
        return records
