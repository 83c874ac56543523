"""`ledger demo-fraud`: the four frauds that a shared ledger must show, each really done and then detected.

Who cheats changes files as a cheat would, with a tool of his own; who detects it types commands, has the files of one
side and knows the other's public key. Everything lies in a folder that goes away at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import apsw

from app.commands.common import CommandError
from app.commands.two_sides import Running, Said, Side, TwoSides
from app.gateway.newest import NAME as REMEMBERED
from app.ledger.sqlite.schema import LEDGER_FILE
from app.receiver.assembly import own_folders
from app.receiver.sqlite.schema import RECEIVER_FILE
from app.vault.file import FILE as VAULT_FILE

CLIENT = "First client"
"""Whom a new gateway makes its first key for."""
NAME = "garage"
"""What the client calls the gateway."""
MODEL = "qwen2.5:3b"
REQUESTS = 3
DELIVERED_S = 60.0
_HONEST, _EARLY_LEDGER, _EARLY_COPY = "honest", "early-ledger", "early-copy"
_SECRET, _OTHER_SECRET = "agreed-upon-secret", "another-secret"
_EVIDENCE, _LEAVES, _NOTE = "evidence", "leaves", "checkpoint"
_NEWEST = {
    "record": "SELECT rowid, body FROM record ORDER BY rowid DESC LIMIT 1",
    "flat": "SELECT rowid, body FROM flat ORDER BY rowid DESC LIMIT 1",
}
_CHANGED = {
    "record": "UPDATE record SET body = ? WHERE rowid = ?",
    "flat": "UPDATE flat SET body = ? WHERE rowid = ?",
}
_COST = re.compile(rb'("cost":"?)(?:[^",]+)')


@dataclass(slots=True)
class Play:
    """The two sides, and what each knows of the other."""

    stage: TwoSides
    gateway: Side
    client: Side
    anybody: Side
    """Has neither side's files."""
    port: int = 0
    """Where the receiver listens, each time it is started."""
    cosigner: str = ""
    vkey: str = ""
    key: str = ""
    undetected: list[str] = field(default_factory=list)

    def expect(self, what: str, said: Said, *verdicts: str) -> None:
        """Note that `what` was not detected, unless the command said one of `verdicts` and its exit status fits."""
        honest = verdicts[0] in ("OK", "PROVEN")
        if not said.verdicts & set(verdicts) or (said.status == 0) is not honest:
            self.undetected.append(what)
            print(f"   NOT AS IT SHOULD BE: {what}.", flush=True)

    async def client_asks(self, url: str, *words: str) -> Said:
        """The client holds its copy against the gateway at `url`."""
        asked = ("receiver", "reconcile", NAME, "--url", url, "--key", "-", *words)
        return await self.stage.show(self.client, *asked, typed=self.key + "\n")

    async def anybody_checks(self, what: str) -> None:
        """Somebody with neither side's files, offline."""
        print("   Anybody can check the evidence, offline, with the public keys alone:")
        keys = ("--vkey", self.vkey, "--cosigner", self.cosigner)
        said = await self.stage.show(self.anybody, "ledger", "check-proof", _EVIDENCE, *keys)
        self.expect(what, said, "PROVEN")

    @property
    def ledger(self) -> Path:
        """The gateway's own records."""
        return self.gateway.folders.data / LEDGER_FILE

    @property
    def copy(self) -> Path:
        """The client's."""
        return own_folders(self.client.folders).data / RECEIVER_FILE

    def serving(self) -> Running:
        """The gateway, while it runs."""
        return self.stage.running(self.gateway, "serve", "--simulate", "--port", "0")

    def receiving(self) -> Running:
        """The client's receiver, while it runs."""
        return self.stage.running(self.client, "receiver", "run", "--port", str(self.port))


def demo_fraud(options: argparse.Namespace) -> int:
    """`mortdecai-gateway ledger demo-fraud`; 0 only where each fraud was detected, and nothing before there was one."""
    with tempfile.TemporaryDirectory(prefix="mortdecai-fraud-", ignore_cleanup_errors=True) as folder:
        return asyncio.run(_play(Path(folder)))


async def _play(root: Path) -> int:
    stage = TwoSides(root)
    gateway = stage.side("gateway", MORTDECAI_PRIVATE_RECEIVERS="true", LEDGER_SECRET=_SECRET)
    play = Play(stage, gateway, stage.side("client", LEDGER_SECRET=_SECRET), stage.side("anybody"))
    print(
        "A gateway with the simulator and its client with a receiver, in a folder that goes away at the end."
    )
    await _honestly(play)
    for number, (title, scene) in enumerate(_SCENES, 1):
        print(f"\n{number}. {title}", flush=True)
        stage.recall(_HONEST)
        await scene(play)
    if play.undetected:
        print(f"\nNot as it should be: {'; '.join(play.undetected)}.")
        return 1
    print("\nAll four were detected, each with the files of one side and the public key of the other.")
    return 0


async def _honestly(play: Play) -> None:
    """Enrol, serve some requests and deliver them: both sides agree, and nobody raises an alarm."""
    stage = play.stage
    async with play.receiving() as receiver:
        play.port, play.cosigner = int(receiver["url"].rpartition(":")[2]), receiver["vkey"]
        enrolled = json.loads((await stage.run(play.client, "receiver", "enrol", NAME, "--json")).text)
        async with play.serving():
            pass
        shutil.copy(play.ledger, stage.root / _EARLY_LEDGER)
        play.gateway.given["CALLBACK_URL"] = receiver["url"] + "/transaction"
        async with play.serving() as serving:
            play.key = serving["api_key"]
            done = await stage.run(play.gateway, "ledger", "deliver", CLIENT, enrolled["line"])
            if done.status:
                raise CommandError(f"The receiver was not enrolled: {done.text}")
            await _delivered(play)
            _copy_of(play.copy, stage.root / _EARLY_COPY)
            await _requests(serving["url"], play.key, REQUESTS)
            await _delivered(play)
            print(f"\nBefore any fraud, after {REQUESTS} requests:")
            play.expect("an alarm without a fraud", await play.client_asks(serving["url"]), "OK")
        del play.gateway.given["CALLBACK_URL"]
        said = await stage.show(play.gateway, "ledger", "reconcile")
        play.expect("an alarm without a fraud", said, "OK")
    play.vkey = (await stage.run(play.gateway, "ledger", "vkey")).text
    stage.remember(_HONEST)
    stage.names |= {play.vkey: "$VKEY", play.cosigner: "$COSIGNER"}
    print(f"\n   VKEY='{play.vkey}'\n   COSIGNER='{play.cosigner}'")


async def _gateway_resets(play: Play) -> None:
    print(
        "   The contributor puts back a ledger from before the requests, makes the vault forget, and serves on."
    )
    shutil.copy(play.stage.root / _EARLY_LEDGER, play.ledger)
    _forget(play.gateway.folders.config / VAULT_FILE)
    async with play.serving() as serving:
        await _requests(serving["url"], play.key, 1)
        print("   The client has the full history, and holds it against the gateway's:")
        said = await play.stage.show(play.client, "receiver", "verify", NAME)
        play.expect("the client's history is not whole", said, "OK")
        said = await play.client_asks(serving["url"], "--out", _EVIDENCE)
    play.expect("a gateway that resets its figures", said, "FORK")
    await play.anybody_checks("what proves the reset")


async def _client_denies(play: Play) -> None:
    print("   The client puts back a copy from before its requests, and says that they never happened.")
    shutil.copy(play.stage.root / _EARLY_COPY, play.copy)
    async with play.receiving():
        print("   The contributor has the full history, and the client's own cosignature over it:")
        said = await play.stage.show(play.gateway, "ledger", "reconcile", "--out", _EVIDENCE)
    play.expect("a client that denies its requests", said, "ROLLBACK")
    await play.anybody_checks("what proves that the client had them")


async def _either_edits(play: Play) -> None:
    stage = play.stage
    print("   The client makes its last request cheaper, in its copy and in the seed's form of it.")
    _edit(play.copy, "record", b"1")
    _edit(play.copy, "flat", b"1e-12")
    said = await stage.show(play.client, "receiver", "verify")
    play.expect("a transaction that was edited, by its hash", said, "TAMPERED")
    async with play.receiving():
        print("   The contributor holds that copy against the ledger:")
        said = await stage.show(play.gateway, "ledger", "reconcile", "--every-record", "--out", _EVIDENCE)
    play.expect("a client that edits a record", said, "TAMPERED")
    await play.anybody_checks("which of the two records was signed")
    stage.recall(_HONEST)
    print("\n   The gateway makes it dearer, in its ledger.")
    _edit(play.ledger, "record", b"9000000000")
    said = await stage.show(play.gateway, "ledger", "verify")
    play.expect("a ledger that was edited, by itself", said, "TAMPERED")
    _hand_over(play.ledger, stage.root)
    print("   The client holds its copy against that ledger, which it was given as files:")
    handed = ("--leaves", _LEAVES, "--checkpoint", _NOTE)
    said = await stage.show(play.client, "receiver", "reconcile", NAME, *handed, "--out", _EVIDENCE)
    play.expect("a gateway that edits a record", said, "TAMPERED")
    await play.anybody_checks("which of the two records was signed")


async def _secrets_differ(play: Play) -> None:
    print("   The client's LEDGER_SECRET is another than the gateway's.")
    play.client.given["LEDGER_SECRET"] = _OTHER_SECRET
    said = await play.stage.show(play.client, "receiver", "verify")
    play.expect("secrets that differ", said, "TAMPERED")
    play.client.given["LEDGER_SECRET"] = _SECRET


_SCENES: tuple[tuple[str, Callable[[Play], Awaitable[None]]], ...] = (
    ("The gateway resets its figures", _gateway_resets),
    ("The client denies its requests", _client_denies),
    ("Either side edits a transaction", _either_edits),
    ("The shared secrets differ", _secrets_differ),
)


async def _requests(url: str, key: str, number: int) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Who are you?"}], "stream": False}
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(url, headers=headers) as session:
        for _ in range(number):
            async with session.post("/api/chat", json=body) as reply:
                if reply.status != 200:
                    raise CommandError(f"A request was answered with status {reply.status} instead of 200.")
                await reply.read()


async def _delivered(play: Play) -> None:
    """Until the client has all there is."""
    async with asyncio.timeout(DELIVERED_S):
        while True:
            said = await play.stage.run(play.gateway, "ledger", "deliver", "--json")
            if not any(json.loads(line)["waiting"] for line in said.text.splitlines()):
                return


def _edit(path: Path, table: str, cost: bytes) -> None:
    """Change what the newest row costs, as whoever has the file can."""
    file = apsw.Connection(str(path))
    ((newest, body),) = _rows(file, _NEWEST[table])
    file.execute(_CHANGED[table], (_COST.sub(rb"\g<1>" + cost, body), newest))
    file.close()


def _hand_over(ledger: Path, folder: Path) -> None:
    """Write the records as they lie in the file, and the newest checkpoint, as a program of the cheat's own would."""
    file = apsw.Connection(str(ledger))
    ((log, note),) = _rows(file, "SELECT k, checkpoint FROM log")
    leaves = _rows(file, "SELECT body FROM record WHERE log = ? ORDER BY seq", log)
    (folder / _LEAVES).write_bytes(b"".join(body + b"\n" for (body,) in leaves))
    (folder / _NOTE).write_text(note)
    file.close()


def _rows(file: apsw.Connection, query: str, *values: int) -> list[Any]:
    return file.execute(query, values).fetchall()


def _copy_of(path: Path, to: Path) -> None:
    """A database as it is now, while its program runs."""
    source, copy = apsw.Connection(str(path)), apsw.Connection(str(to))
    with copy.backup("main", source, "main") as backup:
        backup.step()
    source.close()
    copy.close()


def _forget(vault: Path) -> None:
    """Remove the newest checkpoints from it, as whoever owns it can."""
    document = json.loads(vault.read_bytes())
    kept = {name: secret for name, secret in document["secrets"].items() if not name.startswith(REMEMBERED)}
    vault.write_text(json.dumps({**document, "secrets": kept}))
