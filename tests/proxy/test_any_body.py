"""Whatever a client or an engine sends, a dialect answers with a refusal or goes on: it never falls over."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.refusals import Refusal
from app.gateway.routes import ENDPOINTS
from app.proxy.dialects.base import Endpoint, Frames, Tokens
from app.proxy.strict_json import dump_object

NAMES = st.sampled_from(
    sorted({name for endpoint in ENDPOINTS for name in endpoint.fields})
    + "content role type url image_url source options keep_alive background previous_response_id n index".split()
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9)
)
VALUES = st.recursive(
    LEAVES,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(NAMES, inside, max_size=4),
    max_leaves=9,
)
BODIES = st.dictionaries(NAMES | st.text(max_size=5), VALUES, max_size=9)
KINDS = (
    "message_start message_delta message_stop content_block_start content_block_stop content_block_delta error ping "
    "response.created response.completed response.failed response.incomplete response.output_item.added "
    "response.output_item.done response.content_part.added response.content_part.done response.output_text.delta"
).split()
EVENTS = st.lists(
    st.dictionaries(
        st.sampled_from(
            "type message delta usage error index item part response status sequence_number choices done".split()
        ),
        st.sampled_from(KINDS) | VALUES,
        max_size=6,
    ),
    max_size=6,
)
EACH = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.path)


def reader(endpoint: Endpoint) -> Frames | None:
    return endpoint.prepare({"model": "m", "stream": True}, 100)


@EACH
@given(BODIES)
def test_any_body_is_refused_or_can_be_sent(endpoint: Endpoint, body: dict[str, Any]) -> None:
    call = {**body, "model": "m"}
    refused: Refusal | None = None
    try:
        if endpoint.own_answer(call) is None:
            endpoint.prepare(call, 100)
            dump_object(call)
    except Refusal as refusal:
        refused = refusal
    assert refused is None or refused.status == 400
    assert refused is None or json.loads(endpoint.dialect.error(refused))


@EACH
@given(BODIES)
def test_any_whole_answer_is_counted_or_not(endpoint: Endpoint, answer: dict[str, Any]) -> None:
    assert isinstance(endpoint.whole_tokens(answer), Tokens)
    assert endpoint.whole_ended(answer) in (True, False)


@EACH
@given(EVENTS, st.binary(max_size=40), st.sampled_from(["finish", "cut", "broken"]))
def test_any_stream_comes_to_an_end_that_parses(
    endpoint: Endpoint, frames: list[dict[str, Any]], rest: bytes, end: str
) -> None:
    made = reader(endpoint)
    if made is None:
        return
    for frame in frames:
        made.feed(
            b"data: " + json.dumps(frame).encode() + b"\n\n"
            if "event" in endpoint.stream_type
            else dump_object(frame) + b"\n"
        )
    made.feed(rest)
    made.close()
    assert isinstance(made.fell_silent, bool)
    ends: dict[str, Callable[[], bytes]] = {
        "finish": lambda: made.finish(b"{}") if made.ended else made.cut(b"{}"),
        "cut": lambda: made.cut(b"{}"),
        "broken": lambda: made.broken("It broke.", "code", b"{}"),
    }
    told = ends[end]()
    lines = [line for line in told.decode(errors="replace").splitlines() if line.startswith(("data: {", "{"))]
    assert json.loads(lines[-1].removeprefix("data: "))["_gateway"] == {}
