"""What admission answers to whom it does not admit."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from multidict import CIMultiDict

from app.access.principals import Principal, Role
from app.access.refusals import Refusal
from app.engine.base import Engine
from app.presence.blockers import Blocker, Weight
from app.proxy import admission as module
from app.proxy.admission import PARSE_IN_THREAD_B, Admission, Policy, require_dialect
from app.proxy.dialects.base import Dialect
from app.proxy.dialects.ollama import CHAT, OLLAMA
from app.proxy.dialects.openai import OPENAI
from app.proxy.models import Models
from app.proxy.spoken import Spoken
from app.proxy.strict_json import CROWDED

SOMEBODY = Principal("k_1", "laptop", Role.CLIENT, "First", "log/1", bytes(32))


class OneModel:
    """An engine's models, of which there is one."""

    wants = 0

    def wanted(self) -> None:
        self.wants += 1

    def known(self, asked: str) -> tuple[str, str | None] | None:
        return ("tiny:latest", None) if asked == "tiny" else None

    async def resolve(self, asked: str) -> tuple[str, str | None] | None:
        return None

    def sent_as(self, asked: str, name: str) -> str:
        return asked


class Request:
    """A request whose body is here already."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.headers = CIMultiDict[str]()
        self.content_length = len(body)
        self.content = SimpleNamespace(is_eof=lambda: True, read_nowait=lambda: self.body)
        self.protocol = None


async def admit(body: Any, blocker: Blocker | None = None, max_body_b: int = 1 << 21) -> Any:
    policy = Policy(max_body_b=max_body_b, max_output_tokens=100, allowed_models=frozenset())
    subject = Admission(lambda: blocker, cast(Models, OneModel()), lambda: policy, Spoken(lambda: None))
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await subject.admit(cast(web.BaseRequest, Request(data)), CHAT, SOMEBODY)


@pytest.mark.parametrize(("code", "status"), [("cap_reached", 402), ("engine_down", 503), ("paused", 503)])
async def test_only_a_cap_that_is_reached_is_a_matter_of_payment(code: str, status: int) -> None:
    blocker = Blocker(code, "No.", "Later.", Weight.FAULT, retry_after_s=17)
    with pytest.raises(Refusal) as caught:
        await admit({"model": "tiny"}, blocker)
    refusal = caught.value
    assert (refusal.status, refusal.code, refusal.sentence, refusal.retry_after_s) == (
        status,
        code,
        "No.",
        17,
    )


@pytest.mark.parametrize("model", [None, "", 7, ["tiny"], True])
async def test_a_request_names_its_model_as_text(model: object) -> None:
    with pytest.raises(Refusal) as caught:
        await admit({"model": model, "messages": []})
    assert (caught.value.status, caught.value.code) == (400, "model_required")
    with pytest.raises(Refusal, match="model is required"):
        await admit({"messages": []})


async def test_a_model_that_is_not_there_is_named_no_longer_than_a_name() -> None:
    with pytest.raises(Refusal) as caught:
        await admit({"model": "x" * 1000, "messages": [{"role": "user", "content": "Hi"}]})
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")
    assert caught.value.sentence == f"model '{'x' * 128}' not found"


def watch_json(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each reading and each writing of a body happened on the loop."""
    where: list[bool] = []
    parse = module.parse_object

    dump = module.dump_object

    def watched(body: bytes, **how: bool) -> Any:
        where.append(threading.current_thread() is threading.main_thread())
        return parse(body, **how)

    def watched_dump(value: dict[str, Any], **how: bool) -> bytes:
        where.append(threading.current_thread() is threading.main_thread())
        return dump(value, **how)

    monkeypatch.setattr(module, "parse_object", watched)
    monkeypatch.setattr(module, "dump_object", watched_dump)
    return where


@pytest.mark.parametrize(
    ("size_b", "on_the_loop"), [(PARSE_IN_THREAD_B, True), (PARSE_IN_THREAD_B + 1, False)]
)
async def test_a_large_body_is_parsed_beside_the_loop_and_a_small_one_on_it(
    monkeypatch: pytest.MonkeyPatch, size_b: int, on_the_loop: bool
) -> None:
    assert PARSE_IN_THREAD_B == 524_288
    where = watch_json(monkeypatch)
    said = {"model": "tiny", "messages": [{"role": "user", "content": ""}]}
    said["messages"] = [{"role": "user", "content": "x" * (size_b - len(json.dumps(said)))}]
    assert len(json.dumps(said)) == size_b
    assert (await admit(said)).model == "tiny:latest"
    assert where == [on_the_loop, on_the_loop]


@pytest.mark.parametrize(("beyond", "on_the_loop"), [(0, True), (1, False)])
async def test_a_short_body_of_many_values_takes_as_long_and_is_parsed_there_too(
    monkeypatch: pytest.MonkeyPatch, beyond: int, on_the_loop: bool
) -> None:
    where = watch_json(monkeypatch)
    few = b'{"model":"tiny","messages":[{"role":"user","content":"Hi"}],"stop":[1'
    more = CROWDED - sum(few.count(mark) for mark in (b",", b"[", b"{")) + beyond
    assert (await admit(few + b",1" * more + b"]}")).model == "tiny:latest"
    assert where == [on_the_loop, on_the_loop]


async def test_a_body_of_exactly_the_limit_is_read_and_one_byte_more_is_not() -> None:
    body = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    assert (await admit(body, max_body_b=len(body))).model == "tiny:latest"
    with pytest.raises(Refusal) as caught:
        await admit(body, max_body_b=len(body) - 1)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("native", "dialect", "refused"),
    [(False, OLLAMA, True), (False, OPENAI, False), (True, OLLAMA, False), (True, OPENAI, False)],
)
def test_ollamas_own_dialect_needs_an_engine_that_speaks_it(
    native: bool, dialect: Dialect, refused: bool
) -> None:
    engine = cast(Engine, type("Engine", (), {"native": native})())
    if not refused:
        require_dialect(dialect, engine)
        return
    with pytest.raises(Refusal) as caught:
        require_dialect(dialect, engine)
    assert (caught.value.status, caught.value.code) == (501, "openai_dialect_only")
