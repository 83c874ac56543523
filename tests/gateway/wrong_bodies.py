"""A whole and proper request whose body alone has a mistake, so that the handler and the dialect are reached by it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from app.gateway.routes import ENDPOINTS
from app.proxy.dialects.anthropic import COUNT_TOKENS
from tests.gateway.conftest import MODEL
from tests.gateway.speaking import ASKED, MESSAGES, body

ASKABLE = (*ASKED, COUNT_TOKENS, "/api/show")
"""What a client's key may send a body to."""
OPTIONS = "num_predict temperature seed stop num_keep top_k num_ctx mirostat penalize_newline".split()
NESTED: dict[str, list[Any]] = {
    "messages": [
        [None], [[]], ["text"], [{}], [{"role": "user"}], [{"content": "x"}], [{"role": 7, "content": "x"}],
        [{"role": "user", "content": 7}], [{"role": "user", "content": [{}]}],
        [{"role": "user", "content": [{"type": "text", "text": {}}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": 7}]}],
        [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": 7}}]}],
        [{"role": "user", "content": "x", "images": ["!"]}],
        [{"role": "assistant", "tool_calls": [{"function": {"name": 7, "arguments": "{"}}]}],
        [{"role": "tool", "tool_call_id": {}, "content": None}],
    ],
    "input": [
        [None], [[]], [{}], [[7]], ["", 7], [{"type": "message"}], [10**299],
        [{"role": "user", "content": {"type": "input_text"}}],
        [{"type": "function_call_output", "call_id": 7, "output": []}],
    ],
    "prompt": [["a", "b"], [["a"]], [7, 8], [[7]], [None], {"a": "b"}],
    "tools": [
        [None], ["x"], [{}], [{"type": "function"}], [{"type": "function", "function": 7}], [{"type": 7, "name": []}],
        [{"name": "x", "input_schema": 7}], [{"type": "function", "function": {"name": "x", "parameters": []}}],
    ],
    "stream_options": [{"include_usage": "yes"}, {"include_usage": None}, ["include_usage"]],
    "response_format": [{"type": "json_schema"}, {"type": 7}, {"type": "json_schema", "json_schema": {"schema": 7}}],
    "format": ["xml", {"type": 7}, {"$ref": "#"}, {"properties": []}],
    "images": [["!"], [7], [""]],
    "stop": [[7], ["x"] * 1000, ["\u0000"]],
    "text": [{"format": 7}, {"format": {"type": "json_schema"}}],
    "system": [[{}], [{"type": "text"}], [{"type": "text", "text": 7}]],
    "encoding_format": ["base64", "hex"],
}  # fmt: skip
"""Values that are of the right type, and wrong further in."""
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 0.5, 1e308, -1e308, 5e-324, 2**31, 2**63, -(2**63) - 1, 10**299, "", " ", "7", "-1",
    "\u0000", "\u202e", "\U0001f600", "true", "null", [], [None], [[]], {}, {"a": 1}, {"": {"": {}}}, ["x"] * 300,
)  # fmt: skip
Mistake = Callable[[str, dict[str, Any], random.Random], bytes]


def whole(path: str) -> dict[str, Any]:
    """A body that is answered with 200."""
    if path == "/api/show":
        return {"model": MODEL}
    if path == COUNT_TOKENS:
        return {"model": MODEL, "messages": MESSAGES}
    return body(path)


def names(path: str) -> list[str]:
    """Every field that means something there."""
    fields = {endpoint.path: endpoint.fields for endpoint in ENDPOINTS}
    return sorted(
        fields.get(path, frozenset(whole(path))) | {"keep_alive", "n", "max_completion_tokens", "background"}
    )


def _text(call: Any) -> bytes:
    return json.dumps(call).encode()


def _another_type(path: str, call: dict[str, Any], chance: random.Random) -> bytes:
    name = chance.choice(names(path))
    return _text({**call, name: chance.choice((*VALUES, *NESTED.get(name, ())))})


def _another_type_further_in(path: str, call: dict[str, Any], chance: random.Random) -> bytes:
    name = chance.choice(sorted(NESTED.keys() & names(path)) or ["model"])
    return _text({**call, name: chance.choice(NESTED.get(name, list(VALUES)))})


def _an_options_type(path: str, call: dict[str, Any], chance: random.Random) -> bytes:
    return _text({**call, "options": {chance.choice(OPTIONS): chance.choice(VALUES)}})


def _left_out(path: str, call: dict[str, Any], chance: random.Random) -> bytes:
    return _text({name: call[name] for name in call if name != chance.choice(list(call))})


def _repeated(path: str, call: dict[str, Any], chance: random.Random) -> bytes:
    name = chance.choice(names(path))
    spelled = chance.choice([name, name.upper(), name.title(), name.replace("s", "ſ")])
    return _text(call)[:-1] + b", " + _text(spelled) + b": " + _text(chance.choice(VALUES)) + b"}"


def _deep(path: str, call: dict[str, Any], chance: random.Random) -> bytes:
    levels = chance.choice([100, 199, 201, 3000, 50_000])
    inner = chance.choice(
        [b"[" * levels + b"]" * levels, b'{"a":' * levels + b"1" + b"}" * levels, b"[" * levels]
    )
    return _text(call)[:-1] + b', "%b": %b}' % (chance.choice(names(path)).encode(), inner)


def _wide(path: str, call: dict[str, Any], chance: random.Random) -> bytes:
    many = {f"k{number}": number for number in range(10_000)}
    return _text(chance.choice([{**many, **call}, {**call, "options": many}, {**call, "metadata": many}]))


def _long(path: str, call: dict[str, Any], chance: random.Random) -> bytes:
    long = chance.choice(["x", "é", "\U0001f600", '"', "\\"]) * (1 << 18)
    name = chance.choice([name for name in call if name not in ("stream", "max_tokens")])
    value: Any = [{"role": "user", "content": long}] if name == "messages" else long
    return json.dumps({**call, name: value}, ensure_ascii=False).encode()


def _number(path: str, call: dict[str, Any], chance: random.Random) -> bytes:
    name = chance.choice(["temperature", "max_tokens", "seed", "dimensions", "top_k", "options"])
    digits = [
        b"1e999",
        b"-1e999",
        b"NaN",
        b"Infinity",
        b"-0",
        b"0.1e-400",
        b"9" * 299,
        b"9" * 301,
        b"9" * 5000,
        b"01",
    ]
    return _text(call)[:-1] + b', "%b": %b}' % (name.encode(), chance.choice(digits))


def _no_text(path: str, call: dict[str, Any], chance: random.Random) -> bytes:
    raw = _text(call)
    inside = chance.choice([at + 1 for at in range(len(raw)) if raw[at : at + 1] == b'"'])
    bad = [
        b"\xff\xfe",
        b"\xc3\x28",
        b"\xed\xa0\x80",
        b"\0",
        b"\\ud800",
        b"\\udc00\\ud800",
        b"\\u0000",
        b"\n",
        b"\x1b[2J",
    ]
    return raw[:inside] + chance.choice(bad) + raw[inside:]


def _cut(path: str, call: dict[str, Any], chance: random.Random) -> bytes:
    raw = _text(call)
    return raw[: chance.randrange(len(raw))]


def _no_object(path: str, call: dict[str, Any], chance: random.Random) -> bytes:
    return chance.choice([
        b"", b" ", b"null", b"7", b"true", b'"text"', b"[]", b"{}", b"{}{}", b"[{}]", b"\xef\xbb\xbf{}",
        b"a=b&c=d", b"<a/>", _text(call) * 2, _text(call).decode().encode("utf-16"),
    ])  # fmt: skip


def _none(path: str, call: dict[str, Any], chance: random.Random) -> bytes:
    return _text(call)


MISTAKES: tuple[Mistake, ...] = (
    _another_type, _another_type, _another_type, _another_type_further_in, _another_type_further_in, _an_options_type,
    _left_out, _repeated, _deep, _wide, _long, _number, _no_text, _cut, _no_object, _none,
)  # fmt: skip


def wrong_body(path: str, chance: random.Random, mistake: Mistake | None = None) -> bytes:
    """What is asked of `path`, with one mistake in it; now and then with none."""
    return (mistake or chance.choice(MISTAKES))(path, whole(path), chance)
