"""The operator's verbs over the machine: pausing with a report, the engine's container, the public address.

Rule: the same verbs as in the tray and the window; whoever may not use them hears 403 and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from app.access.identify import Access
from app.access.refusals import Refusal
from app.containers.base import ContainerError
from app.face import DutyFace, PublicFace, Snapshot, UpstreamFace
from app.proxy.bodies import read_body
from app.proxy.control import reply
from app.proxy.strict_json import parse_object
from app.proxy.witness import told
from app.settings.errors import SettingError

_SMALL_BODY_B = 4096
_MODES = ("off", "quick", "named")


class MachineControl:
    """Handlers of the operator's verbs."""

    def __init__(
        self,
        access: Access,
        duty: DutyFace,
        upstream: UpstreamFace,
        public: PublicFace,
        look: Callable[[], Snapshot],
    ) -> None:
        self._access = access
        self._duty = duty
        self._upstream = upstream
        self._public = public
        self._look = look

    def routes(self) -> dict[str, dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]]]:
        """Path → method → handler."""
        return {
            "/admin/pause": {"POST": self.pause},
            "/admin/finish": {"POST": self.finish},
            "/admin/resume": {"POST": self.resume},
            "/admin/snooze": {"POST": self.snooze},
            "/admin/engine": {"GET": self.engine, "POST": self.engine_verb},
            "/admin/engine/log": {"GET": self.engine_log},
            "/admin/certificate": {"GET": self.certificate},
            "/admin/public-address": {"GET": self.public, "POST": self.public_address},
        }

    async def pause(self, request: web.BaseRequest) -> web.Response:
        """Pause now; `{"wait": true}` answers when the GPU has been given back, and says what was released and what
        else lies there; `{"others": true}` unloads that as well."""
        body = await self._body(request)
        self._duty.pause_now()
        if body.get("others") is True:
            self._duty.unload_others()
        return await self._standing(wait=body.get("wait") is True)

    async def finish(self, request: web.BaseRequest) -> web.Response:
        """Let what runs end, then pause. Answers at once."""
        self._access.operator(request.headers, request.remote)
        self._duty.finish_then_pause()
        return await self._standing(wait=False)

    async def resume(self, request: web.BaseRequest) -> web.Response:
        """Contribute."""
        self._access.operator(request.headers, request.remote)
        self._duty.contribute()
        return await self._standing(wait=False)

    async def snooze(self, request: web.BaseRequest) -> web.Response:
        """`{"seconds"}`: pause now, contribute again afterwards."""
        seconds = (await self._body(request)).get("seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 60 <= seconds <= 604_800:
            raise Refusal(400, "invalid_value", "seconds must be a number from 60 to 604800 (a week).")
        self._duty.snooze(float(seconds))
        return await self._standing(wait=False)

    async def engine(self, request: web.BaseRequest) -> web.Response:
        """The engine and its container."""
        self._access.operator(request.headers, request.remote)
        return reply(engine(self._look()))

    async def engine_verb(self, request: web.BaseRequest) -> web.Response:
        """`{"verb": "start" | "stop" | "restart" | "update" | "recreate"}`; answers when it is done."""
        verb = (await self._body(request)).get("verb")
        if not isinstance(verb, str):
            raise Refusal(400, "invalid_value", "verb must name what to do, such as start or stop.")
        try:
            said = await self._upstream.verb(verb)
        except LookupError as error:
            raise Refusal(400, "invalid_value", str(error)) from None
        except ContainerError as error:
            raise Refusal(502, "engine_failed", str(error)) from None
        told(request, (verb,))
        return reply({"said": said, **engine(self._look())})

    async def engine_log(self, request: web.BaseRequest) -> web.Response:
        """The last 200 lines of the container's log."""
        self._access.operator(request.headers, request.remote)
        try:
            return reply({"log": (await self._upstream.log_tail()).splitlines()})
        except ContainerError as error:
            raise Refusal(502, "engine_failed", str(error)) from None

    async def public(self, request: web.BaseRequest) -> web.Response:
        """The public address."""
        self._access.operator(request.headers, request.remote)
        return reply(public(self._look()))

    async def certificate(self, request: web.BaseRequest) -> web.Response:
        """By what the gateway is known, until when, which file clients may be given, and what is wrong with it."""
        self._access.operator(request.headers, request.remote)
        return reply(certificate(self._look()))

    async def public_address(self, request: web.BaseRequest) -> web.Response:
        """`{"mode": "off" | "quick" | "named"}`; answers when it is open, closed, or has failed."""
        mode = (await self._body(request)).get("mode")
        if mode not in _MODES:
            raise Refusal(400, "invalid_value", f"mode must be one of {', '.join(_MODES)}.")
        told(request, (str(mode),))
        try:
            await self._public.set_mode(str(mode))
        except ContainerError as error:
            raise Refusal(502, "public_address_failed", str(error)) from None
        except SettingError as error:
            raise Refusal(400, "invalid_setting", str(error)) from None
        return reply(public(self._look()))

    async def _standing(self, *, wait: bool) -> web.Response:
        answer: dict[str, Any] = {}
        if wait:
            answer["notice"] = await self._duty.released()
            answer["others"] = list(self._look().others)
        return reply({"serving": self._look().serving.value, **answer})

    async def _body(self, request: web.BaseRequest) -> dict[str, Any]:
        self._access.operator(request.headers, request.remote)
        raw = await read_body(request, _SMALL_BODY_B)
        return parse_object(raw) if raw.strip() else {}


def engine(now: Snapshot) -> dict[str, Any]:
    """The engine and its container, for a program."""
    host = now.host
    return {
        "name": now.engine.name,
        "url": now.engine.url,
        "reachable": now.engine.reachable,
        "version": now.engine.version,
        "native": now.engine.native,
        "loaded": list(now.engine.loaded),
        "container": {
            "phase": host.phase.value,
            "name": host.container,
            "image": host.image,
            "digest": host.digest,
            "isolated": host.isolated,
            "processor": host.processor.value,
            "drift": list(host.drift),
            "problem": host.problem,
            "fix": host.fix,
            "progress": None
            if host.progress is None
            else {"what": host.progress.what, "done": host.progress.done, "total": host.progress.total},
        },
    }


def certificate(now: Snapshot) -> dict[str, Any]:
    """How connections are encrypted, for the operator's program."""
    view = now.tls
    if view is None:
        return {"fingerprint": None}
    return {
        "fingerprint": view.fingerprint,
        "until": view.until_us / 1e6,
        "certificate": view.path,
        "problem": view.problem or None,
    }


def public(now: Snapshot) -> dict[str, Any]:
    """The public address, for a program."""
    return {
        "phase": now.public.phase.value,
        "url": now.public.url,
        "problem": now.public.problem,
        "fix": now.public.fix,
    }
