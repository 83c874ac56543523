"""`setup`: from nothing to a served test request, in six steps.

Rule 1: every step may be done already, and then says so; broken off and run again it goes on where it was.
Rule 2: what runs already is used and never stopped; nothing is chosen without being said.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp

from app.basics.clock import mono_us
from app.basics.figures import three_figures
from app.billing.money import format_money
from app.commands.common import CommandError, Ground, ground, kept_or_not
from app.commands.operator import Operator, operator, pinned
from app.commands.run import logs, run
from app.commands.trace import leave_trace
from app.containers.base import ContainerError, Daemon
from app.gateway.gateway import Gateway
from app.gateway.setup import EngineChoice, NothingToServeWith, choose_engine
from app.models.names import canonical
from app.settings.store import SettingsStore
from app.vault.base import VaultUnavailable

STEPS = ("Secrets", "Engine", "Start", "Model", "Test", "Connection")
TEST_TOKENS = 24
LOOK_S = 0.5
JUDGE_US = 4_000_000


def setup(options: argparse.Namespace) -> int:
    """`mortdecai-gateway setup`."""
    given = ground(options)
    with kept_or_not(given) as base, logs(base, stderr=False):
        return asyncio.run(Setup(base, options).do())


class Setup:
    """One run of it."""

    def __init__(self, base: Ground, options: argparse.Namespace) -> None:
        self._base = base
        self._yes = bool(options.yes)
        self._engine = options.engine
        self._upstream = options.upstream
        self._model = options.model
        self._json = options.json
        self._shown = ""

    async def do(self) -> int:
        """Every step, and 0; CommandError with a sentence where one cannot be done."""
        running = self._base.running_url()
        if running is not None:
            self._say("Secrets", "this profile's gateway runs already, and keeps them")
            self._say("Engine", "as the running gateway has it")
            async with operator(self._base, running) as owner:
                await self._with_gateway(owner, await self._key(running))
            return 0
        await self._secrets()
        await self._choose()
        self._step("Start")
        return await run(self._base, False, contribute=False, ready=self._started)

    async def _started(self, gateway: Gateway, stop: asyncio.Event) -> None:
        try:
            async with operator(self._base, gateway.address, gateway.identity.operator_token) as owner:
                await self._with_gateway(owner, await gateway.keys.plain())
        finally:
            stop.set()

    # The steps.

    async def _secrets(self) -> None:
        """Somewhere to keep the keys. Where there is no keyring, a file of one's own is proposed."""
        try:
            vault = await self._base.vault()
        except VaultUnavailable as error:
            if self._base.store.current.vault != "keyring":
                raise
            self._agree(f"{error} Keep the keys in a file that only you can read instead?")
            self._keep({"vault": "file"})
            vault = await self._base.vault()
        self._say("Secrets", f"kept in the {vault.name} vault")

    async def _choose(self) -> None:
        settings = self._base.store.current
        chosen_before = {
            info.parameter.name for info in self._base.store.describe() if info.source != "default"
        }
        if self._engine == "auto" and self._upstream is None and "engine" in chosen_before:
            where = "Ollama in a container" if settings.engine == "container" else settings.upstream_url
            self._say("Engine", f"{where}, as the settings say")
            return
        choice = await self._look_around()
        if choice.kind != "container" or self._engine == "auto":
            self._agree(f"{choice.sentence} Agreed?")
        changes: dict[str, object] = {"engine": choice.kind}
        if choice.url:
            changes["upstream_url"] = choice.url
        self._keep(changes)
        self._say("Engine", choice.sentence)

    async def _look_around(self) -> EngineChoice:
        from app.containers.find import find_daemon
        from app.engine.discovery import scan

        settings = self._base.store.current
        findings: Any = ()
        if self._engine != "container":
            self._step("Engine", "looking for one that runs already")
            findings = await scan(settings.discovery_ports, own={settings.port})
        daemon: Daemon | None = None
        why = ""
        try:
            docker = await find_daemon(settings.docker_host)
            daemon = docker.daemon
            await docker.close()
        except ContainerError as error:
            why = str(error)
        try:
            return choose_engine(self._engine, self._upstream, findings, daemon, why)
        except NothingToServeWith as error:
            raise CommandError(str(error)) from None

    async def _with_gateway(self, owner: Operator, key: str) -> None:
        await self._start_engine(owner)
        model = await self._have_model(owner)
        await self._try(owner, key, model)
        self._connection(owner.url, key, model, await owner.ask("GET", "/admin/certificate"))

    async def _start_engine(self, owner: Operator) -> None:
        engine = await owner.ask("GET", "/admin/engine")
        if engine["container"]["phase"] != "none":
            work = asyncio.create_task(owner.ask("POST", "/admin/engine", {"verb": "start"}))
            try:
                while not work.done():
                    await asyncio.wait([work], timeout=LOOK_S)
                    with contextlib.suppress(CommandError):
                        self._progress(
                            "Start", (await owner.ask("GET", "/admin/engine"))["container"]["progress"]
                        )
                await work
            finally:
                work.cancel()
            engine = await owner.ask("GET", "/admin/engine")
        if not engine["reachable"]:
            raise CommandError(f"No engine answers at {engine['url']}. Start it, then run setup again.")
        container = engine["container"]
        self._refuse_fallback(container)
        how = f" in the container {container['name']}" if container["name"] else f" at {engine['url']}"
        on = " on the processor, because no GPU was found: slow" if container["processor"] == "cpu" else ""
        self._say("Start", f"{engine['name']} {engine['version'] or ''}{how}{on}")

    @staticmethod
    def _refuse_fallback(container: dict[str, Any]) -> None:
        if container["processor"] == "fallback":
            raise CommandError(f"{container['problem']} {container['fix']}")

    async def _have_model(self, owner: Operator) -> str:
        listed = await owner.ask("GET", "/admin/models")
        here = [entry for entry in listed["models"] if entry["installed"]]
        wanted = self._model or self._base.store.current.default_model
        wanted = wanted or listed["suggested"]
        name = next((entry["name"] for entry in here if canonical(entry["name"]) == canonical(wanted)), None)
        if name is None:
            self._agree(f"Get the model {wanted}?")
            async for line in owner.follow("/admin/models/pull", {"model": wanted}):
                self._progress(
                    "Model", line | {"what": f"downloading {wanted}", "done": line.get("completed", 0)}
                )
            name = wanted
        if not self._base.store.current.default_model and self._base.running_url() is None:
            self._keep({"default_model": name})
        self._step("Model", f"loading {name}")
        if (await owner.ask("GET", "/admin/engine"))["native"]:
            async for _ in owner.follow("/admin/models/load", {"model": name}):
                pass
            self._refuse_fallback((await owner.ask("GET", "/admin/engine"))["container"])
        self._say("Model", f"{name} is loaded")
        return str(name)

    async def _try(self, owner: Operator, key: str, model: str) -> None:
        """A client's request, through the door and with its own key."""
        serving = (await owner.ask("GET", "/health"))["accepting"]
        if not serving:
            await owner.ask("POST", "/admin/resume")
        self._step("Test", "asking it something")
        try:
            answer = await _chat(self._base, owner.url, key, model)
            if not await self._judged(owner):
                # The engine was restarted to look for its GPU again, and only a loaded model shows what came of that.
                answer = await _chat(self._base, owner.url, key, model)
                await self._judged(owner)
        finally:
            if not serving:
                said = (await owner.ask("POST", "/admin/pause", {"wait": True})).get("notice")
        figures = answer["_gateway"]
        self._say(
            "Test",
            f"{figures['completion_tokens']} tokens in {figures['duration_seconds']:.1f} s, "
            f"{figures['marginal_watts']:.0f} W more than at rest ({figures['energy_source']}), "
            f"{three_figures(figures['energy_wh'])} Wh, which costs "
            f"{format_money(int(figures['estimated_cost_pico']), self._base.store.current.currency)}",
        )
        if not serving and said:
            print(f"   {said}", file=sys.stderr)

    async def _judged(self, owner: Operator) -> bool:
        """A model that has answered is loaded, and shows in whose memory it lies; it takes a moment to be seen. False
        where it is not known then."""
        began_us = mono_us()
        while True:
            container = (await owner.ask("GET", "/admin/engine"))["container"]
            self._refuse_fallback(container)
            if container["phase"] == "none" or container["processor"] != "unknown":
                return True
            if mono_us() - began_us > JUDGE_US:
                return False
            await asyncio.sleep(LOOK_S / 5)

    def _connection(self, url: str, key: str, model: str, certificate: Mapping[str, Any]) -> None:
        known = certificate["fingerprint"]
        if self._json:
            told = {"url": url, "api_key": key, "model": model}
            print(json.dumps(told if known is None else {**told, "fingerprint": known}), flush=True)
            return
        self._say("Connection", url)
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]})
        trust = "" if known is None else f"--cacert {shlex.quote(certificate['certificate'])} "
        print(
            f"\nAddress  {url}\nKey      {key}\n"
            + ("" if known is None else f"SHA-256  {known} (of {certificate['certificate']})\n")
            + f"\ncurl -sN {trust}{url}/api/chat -H 'Authorization: Bearer {key}' -d '{body}'\n\n"
            "Lend your GPU now: mortdecai-gateway (in the tray), or mortdecai-gateway serve",
            flush=True,
        )

    # Saying, asking, keeping.

    async def _key(self, url: str) -> str:
        """A client's key of the running gateway: kept in the vault when it was made."""
        from app.access.kept import kept_name

        vault = await self._base.vault()
        async with operator(self._base, url) as owner:
            for entry in (await owner.ask("GET", "/admin/keys"))["keys"]:
                plain = await vault.get(kept_name(entry["id"])) if entry["revoked"] is None else None
                if plain is not None:
                    return plain
            return str((await owner.ask("POST", "/admin/keys", {"label": "setup"}))["key"])

    def _agree(self, question: str) -> None:
        if self._yes:
            return
        if not sys.stdin.isatty():
            raise CommandError(
                f"{question} Nobody is there to answer: say --yes to agree to what is proposed."
            )
        self._clear()
        if input(f"{question} [Y/n] ").strip().lower() not in ("", "y", "yes"):
            raise CommandError(
                "Nothing more was done. Run setup again, with --engine or --model for another choice."
            )

    def _keep(self, changes: dict[str, object]) -> None:
        store: SettingsStore = self._base.store
        done = store.update(changes, before_start=True)
        if done.changed:
            leave_trace(self._base, "config", done.changed)
        self._base = replace(self._base, store=store)

    def _step(self, step: str, doing: str = "") -> None:
        """What is being done now: on a terminal only, where it can be written over."""
        if sys.stderr.isatty():
            self._clear()
            self._shown = f"{STEPS.index(step) + 1}/{len(STEPS)} {step} … {doing}"
            print(f"\r{self._shown}", end="", file=sys.stderr, flush=True)

    def _say(self, step: str, sentence: str) -> None:
        self._clear()
        print(
            f"{STEPS.index(step) + 1}/{len(STEPS)} {step}: {sentence.rstrip('.')}.",
            file=sys.stderr,
            flush=True,
        )

    def _progress(self, step: str, progress: dict[str, Any] | None) -> None:
        if not progress:
            return
        total, done = progress.get("total") or 0, progress.get("done") or 0
        amount = f" {done / 1e9:.2f} of {total / 1e9:.2f} GB" if total else ""
        self._step(step, f"{progress['what']}{amount}")

    def _clear(self) -> None:
        if self._shown:
            print("\r" + " " * len(self._shown) + "\r", end="", file=sys.stderr, flush=True)
            self._shown = ""


async def _chat(base: Ground, url: str, key: str, model: str) -> dict[str, Any]:
    """One short answer, as a client gets it. `/v1` is spoken by every engine, Ollama's own API only by some."""
    body = {
        "model": model,
        "max_tokens": TEST_TOKENS,
        "messages": [{"role": "user", "content": "Say in one short sentence what you are."}],
    }
    began_us = mono_us()
    timeout = aiohttp.ClientTimeout(total=600)
    headers = {"Authorization": f"Bearer {key}"}
    while True:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers, connector=pinned(base, url)) as session,
            session.post(f"{url}/v1/chat/completions", json=body) as reply,
        ):
            answer = await reply.json(content_type=None)
            if reply.status == 200:
                return dict(answer)
            # Serving begins a moment after it was asked for: the engine is looked at once more.
            if reply.status != 503 or mono_us() - began_us > 10_000_000:
                said = answer.get("error", {})
                raise CommandError(f"The test request was refused: {said.get('message', said)}")
        await asyncio.sleep(LOOK_S / 2)
