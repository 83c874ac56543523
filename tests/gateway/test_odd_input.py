"""Whatever is sent to the control endpoints, the answer is one sentence with a status of its own: never 500."""

from __future__ import annotations

import asyncio
import json
import logging
from itertools import product
from typing import Any

import pytest
from yarl import URL

from tests.gateway.conftest import House

DIGITS = "9" * 5000
QUERIES = (
    f"limit={DIGITS}", f"before={DIGITS}", f"limit=-{DIGITS}", "limit=", "limit=0", "limit=1001", "limit=1.0",
    "limit=%D9%A1", "limit=%C2%B2", "limit=1&limit=x", "limit=x&limit=1", "limit=%00", "limit=%ff", "limit=%",
    "limit=%zz", "limit=+5", "limit=1%0d%0aX-Evil:1", "before=0", "before=9223372036854775808", "limit[]=1", "=",
    "&&&", "%", "?",
    "a" * 7000,
)  # fmt: skip
BODIES: tuple[bytes, ...] = (
    b"", b"[]", b"null", b"7", b'"text"', b"true", b"{", b"\xff\xfe", b"\x00", b"{}", b'{"a":1e999}', b'{"a":NaN}',
    b'{"a":' + DIGITS.encode() + b"}", b"[" * 5000 + b"]" * 5000, b'{"a":"\\ud800"}', b'{"\\u0000":1}', b'{"":{}}',
)  # fmt: skip
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, -1e308, 10**299, -(10**299), 1e-320, "", " ", "a\nb", "a\u0000b", "\u202e",
    "\x1b[2J", "x" * 300, "é" * 64, [], [[]], {}, {"a": 1}, "9" * 299, "NaN", "Infinity", "-0", "1e400",
)  # fmt: skip
FIELDS = {
    ("POST", "/config"): (
        "SPENDING_CAP", "electricity_rate", "gpu_idle_watts", "port", "host", "currency", "max_body_mb", "billing_mode",
        "allowed_models", "upstream_url", "log_level", "vault", "engine", "hold_seconds", "remote_admin",
        "public_hostname",
    ),
    ("POST", "/admin/keys"): ("label", "client", "limits"),
    ("DELETE", "/admin/keys"): ("key",),
    ("POST", "/admin/snooze"): ("seconds",),
    ("POST", "/admin/engine"): ("verb",),
    ("POST", "/admin/public-address"): ("mode",),
    ("POST", "/admin/update-model"): ("url", "name", "sha256"),
    ("POST", "/admin/models/pull"): ("model",),
    ("POST", "/admin/models/load"): ("model",),
    ("POST", "/admin/models/unload"): ("model",),
    ("POST", "/admin/models/show"): ("model",),
    ("DELETE", "/admin/models"): ("model",),
    ("POST", "/admin/models/cancel"): ("operation",),
}  # fmt: skip
FIT: dict[str, Any] = {
    "label": "fit",
    "url": "https://huggingface.invalid/a",
    "name": "tiny",
    "model": "none:1b",
}


async def ask(house: House, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
    """The status and the sentence of an answer, which names every error as errors are named here."""
    url = URL(house.gateway.address + path, encoded=True)
    headers = {"Authorization": f"Bearer {house.operator}", "Content-Type": "application/json"}
    async with asyncio.timeout(20), house.session.request(method, url, data=body, headers=headers) as reply:
        text = await reply.text()
        if reply.status < 400:
            return reply.status, ""
        error = json.loads(text)["error"]
        assert reply.headers["X-Request-Id"]
        return reply.status, error


def check(status: int, sentence: str, what: object) -> None:
    assert status != 500, what
    if status >= 400:
        assert sentence.strip().endswith("."), (what, sentence)
        assert len(sentence) < 600, (what, sentence)
        assert sentence.replace("\n", "").isprintable(), (what, sentence)


@pytest.mark.parametrize(
    "path", ["/ledger", "/stats", "/reconcile", "/config", "/admin/keys", "/dashboard/data", "/health"]
)
async def test_no_query_makes_a_fault_of_ours(
    house: House, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    for query in QUERIES:
        status, sentence = await ask(house, "GET", f"{path}?{query}")
        check(status, sentence, query[:80])
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_no_body_makes_a_fault_of_ours(house: House, caplog: pytest.LogCaptureFixture) -> None:
    for (method, path), body in product(FIELDS, BODIES):
        status, sentence = await ask(house, method, path, body)
        check(status, sentence, body[:80])
        assert 400 <= status < 500 or (path, body) in [("/config", b"{}")], body[:80]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(("method", "path"), FIELDS)
async def test_no_value_makes_a_fault_of_ours(
    house: House, method: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    fields = FIELDS[method, path]
    fit = {name: FIT[name] for name in fields if name in FIT}
    for name, value in product(fields, ODD):
        status, sentence = await ask(house, method, path, json.dumps({**fit, name: value}).encode())
        check(status, sentence, (name, str(value)[:80]))
    status, _ = await ask(house, "GET", "/stats")
    assert status == 200, "whatever was taken, the gateway still counts"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_label_with_control_characters_is_refused_with_a_sentence(house: House) -> None:
    for field in ("label", "client"):
        for text in ("a\nb", "a\x00b", "\x1b[2J", "\u202eabc", "a\u2028b"):
            status, sentence = await ask(
                house, "POST", "/admin/keys", json.dumps({"label": "fit", field: text}).encode()
            )
            assert (status, sentence) == (400, f"{field} must be a text of 1 to 64 printable characters.")
    assert len(house.gateway.keys.all()) == 1


async def test_what_the_ledger_cannot_do_is_said_in_its_own_sentence(house: House) -> None:
    await house.gateway.ledger.close()
    for path in ("/ledger", "/reconcile"):
        status, sentence = await ask(house, "GET", path)
        assert status == 503, sentence
    status, _ = await ask(house, "POST", "/admin/keys", b'{"label": "late"}')
    assert status == 503


async def test_two_keys_at_once_for_a_new_client_are_both_its_own(house: House) -> None:
    body = json.dumps({"label": "one of two", "client": "Twice"}).encode()
    answers = await asyncio.gather(*[ask(house, "POST", "/admin/keys", body) for _ in range(4)])
    assert {status for status, _ in answers} == {201}
    assert [key["client"] for key in house.gateway.keys.all()].count("Twice") == 4
    assert len(house.gateway.ledger.clients()) == 2
