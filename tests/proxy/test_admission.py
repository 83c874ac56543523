"""Who is admitted and with what; and a request that is turned away because of the engine has the engine asked again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from multidict import CIMultiDict

from app.access.limits import UNLIMITED, Limits
from app.access.principals import Principal, Role
from app.access.refusals import Refusal
from app.engine.base import EngineUnreachable
from app.engine.health import EngineWatch
from app.presence.blockers import Blocker, Weight
from app.proxy.admission import Admission, Answered, Call, Policy
from app.proxy.dialects.base import Endpoint
from app.proxy.dialects.ollama import CHAT, GENERATE
from app.proxy.dialects.openai import CHAT_COMPLETIONS
from app.proxy.models import Models, sent_as
from app.proxy.spoken import Spoken

DOWN = Blocker("engine_down", "No engine answers.", "Start it.", Weight.FAULT, retry_after_s=15)
POLICY = Policy(max_body_b=1 << 20, max_output_tokens=100, allowed_models=frozenset())


class Dead:
    """An engine that does not answer."""

    native = True
    asked = 0

    async def version(self) -> str:
        self.asked += 1
        raise EngineUnreachable("Nothing answers there.")


async def test_an_engine_that_nobody_looks_at_is_asked_again_for_a_request_that_it_keeps_out() -> None:
    due: list[Callable[[], None]] = []
    engine = Dead()

    def later(_: float, call: Callable[[], None]) -> Any:
        due.append(call)
        return cast(Any, type("Timer", (), {"cancel": lambda self: None})())

    watch = EngineWatch(cast(Any, engine), later=later)
    await watch.refresh()
    while due:  # every try of its own, after which it rests
        before = engine.asked
        due.pop()()
        if watch.asking:
            await watch.refresh()
        if engine.asked == before:
            break
    rested = engine.asked
    admission = Admission(lambda: DOWN, Models(watch), lambda: POLICY, Spoken(lambda: None))
    with pytest.raises(Refusal, match="No engine answers"):
        await admission.admit(cast(web.BaseRequest, None), CHAT, cast(Principal, None))
    assert watch.asking
    await watch.refresh()
    assert engine.asked == rested + 1
    await watch.close()


class Named:
    """The engine's models: «small» is an alias of the one that is there."""

    FOUND = ("tiny:latest", "sha256:1")

    def known(self, asked: str) -> tuple[str, str | None] | None:
        return self.FOUND if asked in ("tiny:latest", "small") else None

    async def resolve(self, asked: str) -> tuple[str, str | None] | None:
        return self.FOUND if asked == "late" else None

    def sent_as(self, asked: str, name: str) -> str:
        return sent_as(asked, name)


class Request:
    """As much of a request as admission looks at; its body is here already."""

    protocol = None

    def __init__(self, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._body = json.dumps(body).encode()
        self.headers = CIMultiDict(headers or {})
        self.content_length = len(self._body)
        self.content = SimpleNamespace(is_eof=lambda: True, read_nowait=lambda: self._body)


def principal(limits: Limits = UNLIMITED) -> Principal:
    return Principal("k_1", "laptop", Role.CLIENT, "First", "log/1", bytes(32), limits)


async def admitted(
    asked: str = "small",
    *,
    allowed: frozenset[str] = frozenset(),
    limits: Limits = UNLIMITED,
    headers: dict[str, str] | None = None,
    tokens: int | None = None,
    endpoint: Endpoint = CHAT,
    stream: bool = False,
    **more: Any,
) -> Call:
    admission = Admission(
        lambda: None,
        cast(Models, Named()),
        lambda: replace(POLICY, allowed_models=allowed, extra_fields=frozenset({"top_a"})),
        Spoken(lambda: None),
    )
    body: dict[str, Any] = {"model": asked, "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    body |= more
    if tokens is not None:
        body["options"] = {"num_predict": tokens}
    return await admission.admit(cast(web.BaseRequest, Request(body, headers)), endpoint, principal(limits))


async def test_the_allow_list_is_held_against_the_resolved_name_not_the_one_asked_for() -> None:
    call = await admitted("small", allowed=frozenset({"tiny:latest"}))
    assert (call.model, call.digest) == Named.FOUND
    assert json.loads(call.body)["model"] == "tiny:latest"
    for asked in ("small", "late", "tiny:latest"):
        with pytest.raises(Refusal) as caught:
            await admitted(asked, allowed=frozenset({"small", "late"}))
        assert (caught.value.status, caught.value.sentence) == (404, f"model '{asked}' not found")


async def test_what_ends_a_request_early_names_the_model_as_the_engine_does_and_not_as_it_was_asked_for() -> (
    None
):
    for endpoint in (CHAT, GENERATE, CHAT_COMPLETIONS):
        for asked, named in (
            ("small", "tiny:latest"),
            ("late", "tiny:latest"),
            ("tiny:latest", "tiny:latest"),
        ):
            call = await admitted(asked, endpoint=endpoint, stream=True)
            assert call.frames is not None
            last = call.frames.cut(b"{}").removeprefix(b"data: ").partition(b"\n")[0]
            assert json.loads(last)["model"] == json.loads(call.body)["model"] == named


async def test_a_keys_own_list_narrows_what_the_settings_share_and_never_widens_it() -> None:
    mine = Limits(models=frozenset({"tiny"}))
    assert (await admitted("small", limits=mine)).model == "tiny:latest"
    for allowed, limits in (
        (frozenset[str](), Limits(models=frozenset({"other:7b"}))),
        (frozenset({"other:7b"}), mine),
    ):
        with pytest.raises(Refusal, match="not found"):
            await admitted("small", allowed=allowed, limits=limits)


@pytest.mark.parametrize(
    ("asked", "own", "sent"),
    [(None, 7, 7), (50, 7, 7), (5, 7, 5), (50, 5000, 50), (5000, 5000, 100), (None, None, 100)],
)
async def test_an_answer_is_as_long_as_the_request_the_key_and_the_settings_all_allow(
    asked: int | None, own: int | None, sent: int
) -> None:
    call = await admitted(tokens=asked, limits=Limits(max_output_tokens=own))
    assert json.loads(call.body)["options"]["num_predict"] == sent


@pytest.mark.parametrize("reference", ["a", "A.b_c:d-9", "x" * 64])
async def test_a_clients_own_request_id_is_kept_where_it_is_usable(reference: str) -> None:
    assert (await admitted(headers={"X-Request-Id": reference})).client_reference == reference


@pytest.mark.parametrize(
    "reference",
    ["", "x" * 65, "good then junk", "good\n", "good<script>", " good", "good;", "gut-für-alle", "a/b"],
)
async def test_one_that_is_not_usable_to_its_last_character_is_dropped(reference: str) -> None:
    assert (await admitted(headers={"X-Request-Id": reference})).client_reference is None


@pytest.mark.parametrize(
    ("asked", "sent"), [(99, 99), (100, 100), (101, 100), (1, 1), (0, 100), (-1, 100), (0.5, 100), (1.9, 1)]
)
async def test_the_longest_answer_is_allowed_and_not_one_token_more(asked: Any, sent: int) -> None:
    assert json.loads((await admitted(tokens=asked)).body)["options"]["num_predict"] == sent


@pytest.mark.parametrize(("beyond", "status"), [(0, None), (1, 413)])
async def test_a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(
    beyond: int, status: int | None
) -> None:
    request = Request({"model": "small", "messages": [], "stream": False})
    limit = request.content_length - beyond
    admission = Admission(
        lambda: None, cast(Models, Named()), lambda: replace(POLICY, max_body_b=limit), Spoken(lambda: None)
    )
    if status is None:
        assert await admission.admit(cast(web.BaseRequest, request), CHAT, principal())
        return
    with pytest.raises(Refusal) as caught:
        await admission.admit(cast(web.BaseRequest, request), CHAT, principal())
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("asked", "name", "sent"),
    [
        ("tiny", "tiny:latest", "tiny"),
        ("tiny:latest", "tiny:latest", "tiny:latest"),
        ("library/tiny", "tiny:latest", "library/tiny"),
        ("registry.ollama.ai/library/tiny", "tiny:latest", "registry.ollama.ai/library/tiny"),
        ("TINY", "tiny:latest", "TINY"),
        ("tiny", "Tiny:Latest", "tiny"),
        ("Registry.Ollama.AI/Library/Tiny", "tiny:latest", "Registry.Ollama.AI/Library/Tiny"),
        ("registry.ollama.ai/me/tiny", "me/tiny:latest", "registry.ollama.ai/me/tiny"),
        ("me/TINY:1B", "me/tiny:1b", "me/TINY:1B"),
        ("https://registry.ollama.ai/library/tiny", "tiny:latest", "tiny:latest"),
        ("tin\u212a", "tink:latest", "tink:latest"),
        (" tiny", "tiny:latest", "tiny:latest"),
        ("registry.ollama.ai/tiny", "tiny:latest", "tiny:latest"),
        ("tiny:1b", "tiny:latest", "tiny:latest"),
    ],
)
def test_the_engine_hears_the_clients_spelling_where_that_is_surely_the_same_model(
    asked: str, name: str, sent: str
) -> None:
    assert sent_as(asked, name) == sent


async def test_options_of_the_runner_do_not_pass_and_those_of_an_answer_do() -> None:
    call: dict[str, Any] = {"model": "m", "messages": [], "options": {}}
    kept = {"temperature": 0.1, "seed": 3, "stop": ["x"], "num_keep": 1, "min_p": 0.2}
    call["options"] = {**kept, "num_ctx": 9, "num_gpu": 0, "draft_num_predict": 64, "rope_frequency_base": 1}
    CHAT.prepare(call, 100)
    assert call["options"] == {**kept, "num_predict": 100}


def test_tools_pictures_schemas_thinking_and_sampling_of_every_dialect_pass() -> None:
    for name in (
        "tools tool_choice parallel_tool_calls response_format reasoning_effort reasoning logprobs top_logprobs seed "
        "frequency_penalty presence_penalty stop stream_options user metadata messages logit_bias temperature top_p"
    ).split():
        assert name in CHAT_COMPLETIONS.fields
    for name in (
        "messages tools format think images options logprobs top_logprobs template system raw suffix".split()
    ):
        assert name in CHAT.fields
    for name in "n_predict n best_of min_tokens lora id_slot keep_alive".split():
        assert name not in CHAT_COMPLETIONS.fields


async def test_fields_and_options_that_do_not_pass_are_left_out_and_named_and_those_of_the_setting_pass() -> (
    None
):
    call = await admitted(top_a=1, invented=2, options={"num_ctx": 9, "seed": 1})
    assert call.ignored == "options.num_ctx, invented"
    sent = json.loads(call.body)
    assert sent.keys() == {"model", "messages", "stream", "top_a", "options"}
    assert sent["options"].keys() == {"seed", "num_predict"}


async def test_where_everything_passes_nothing_is_named() -> None:
    assert (await admitted(tools=[], format="json")).ignored == ""


async def test_a_header_names_sixteen_fields_at_most_and_none_that_would_not_fit_into_it() -> None:
    many = {f"f{at:02}": 1 for at in range(20)}
    call = await admitted(**{"with space": 1, "line\r\nend": 1, "x" * 65: 1, "tail ": 1}, **many)
    assert call.ignored.split(", ") == [f"f{at:02}" for at in range(16)]
    assert json.loads(call.body).keys() == {"model", "messages", "stream", "options"}


async def test_what_the_gateway_answers_itself_carries_its_whole_answer() -> None:
    with pytest.raises(Answered) as caught:
        await admitted(messages=[], keep_alive=0)
    assert json.loads(caught.value.body)["done_reason"] == "unload"
    assert "gateway itself" in str(caught.value)


async def test_a_body_of_more_values_than_any_model_takes_is_refused_before_they_fill_the_memory() -> None:
    # Ten bytes a value, so within the bound of bytes.
    with pytest.raises(Refusal, match="more than 1,000,000 values"):
        await admitted(stop=[{}] * 130_000)
