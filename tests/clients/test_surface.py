"""docs/clients.md against the clients themselves: every call has its row, every row its test."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest

from tests.clients import test_python_anthropic, test_python_ollama, test_python_openai
from tests.clients.surface import Method, methods, required
from tests.gateway.conftest import House

HERE = Path(__file__).parent
MODULES = {
    "ollama": test_python_ollama,
    "openai": test_python_openai,
    "anthropic": test_python_anthropic,
}
GUESSES: tuple[Any, ...] = ("x", ["x"], {"x": "y"}, b"x", __file__, 7)
"""What a required argument may be, tried in turn until the client sends something."""
NO_GUESS = {
    # The client wants some of several arguments, or some object of its own; others of the same group are asked.
    "admin.organization.external_keys.create", "audio.voices.create", "beta.agents.automations.create",
    "beta.agents.environments.files.create", "beta.agents.environments.files.prepare",
    "beta.agents.environments.files.prepare_directory", "beta.agents.environments.files.upload",
    "beta.agents.sessions.artifacts.for_result", "uploads.upload_file_chunked",
    "vector_stores.file_batches.upload_and_poll",
    # What opens a WebSocket needs a package that is not installed with the client.
    "beta.realtime.connect", "beta.responses.connect", "live.connect", "live.forks.connect", "live.sideband.connect",
    "realtime.connect", "realtime.translations.connect", "responses.connect",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    python: str
    javascript: str
    said: str
    test: str


def tables() -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for line in (HERE.parents[1] / "docs" / "clients.md").read_text().splitlines():
        if line.startswith("## "):
            found[line[3:]] = []
        elif line.startswith("| ") and "Through the gateway" not in line:
            cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
            found[list(found)[-1]].append(Row(*cells))
    return found


TABLES = tables()
ROWS = [
    pytest.param(name, row, id=f"{name}-{row.python or row.javascript}")
    for name in TABLES
    for row in TABLES[name]
]


def row_of(name: str, call: str) -> Row:
    """The row that speaks of a call: its own, or that of the group that it belongs to most closely."""
    rows = {row.python: row for row in TABLES[name]}
    parts = call.split(".")
    groups = [".".join([*parts[:count], "*"]) for count in range(len(parts) - 1, -1, -1)]
    return next(rows[one] for one in (call, *groups) if one in rows)


def client(name: str, house: House) -> Any:
    address, key = house.gateway.address, house.key
    if name == "ollama":
        return ollama.AsyncClient(address, headers={"Authorization": f"Bearer {key}"})
    if name == "openai":
        return openai.AsyncOpenAI(
            base_url=f"{address}/v1", api_key=key, admin_api_key=key, max_retries=0, webhook_secret=None
        )
    return anthropic.AsyncAnthropic(base_url=address, api_key=key, max_retries=0)


def calls_in(function: Any) -> set[str]:
    """The dotted names of what a function calls, without the variable that they begin with."""
    tree = ast.parse(inspect.getsource(function).strip())
    return {ast.unparse(node.func).partition(".")[2] for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_every_table_is_there_and_names_no_call_that_a_client_does_not_have(clients_of_nowhere: Any) -> None:
    assert list(TABLES) == list(MODULES)
    for name, made in clients_of_nowhere.items():
        known = set(methods(made))
        for row in TABLES[name]:
            if row.python:
                stem = row.python.removesuffix("*")
                assert row.python in known or (
                    stem != row.python and any(call.startswith(stem) for call in known)
                )
        assert not [call for call in known if row_of(name, call) is None]


@pytest.fixture
async def clients_of_nowhere() -> Any:
    """A client of each kind that asks nothing."""
    made: dict[str, Any] = {
        "ollama": ollama.AsyncClient("http://127.0.0.1:9"),
        "openai": openai.AsyncOpenAI(base_url="http://127.0.0.1:9/v1", api_key="x"),
        "anthropic": anthropic.AsyncAnthropic(base_url="http://127.0.0.1:9", api_key="x"),
    }
    yield made
    await made["ollama"].close()
    await made["openai"].close()
    await made["anthropic"].close()


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_each_row_has_its_test_and_that_test_makes_the_call(name: str, row: Row) -> None:
    if row.javascript:
        asked = (HERE / "npm" / f"{name}.test.mjs").read_text()
        assert re.search(rf"\.{re.escape(row.javascript)}\(", asked)
    if not row.python or row.said.startswith("asks nobody"):
        assert not row.test
    elif row.test == "test_surface":
        assert row.said.startswith("refused")
    else:
        assert row.python in calls_in(getattr(MODULES[name], row.test))


def refused(name: str, made: Any) -> Iterator[tuple[str, Method, Row]]:
    for call, method in methods(made).items():
        row = row_of(name, call)
        if row.test == "test_surface" and call not in NO_GUESS:
            yield call, method, row


async def ask(method: Method, guess: Any) -> None:
    """Make a call with one guess for whatever it needs, and take of its answer until there is something."""
    given = method(**dict.fromkeys(required(method), guess))
    if hasattr(given, "__aenter__"):
        async with given as stream:
            async for _ in stream:
                return
    elif hasattr(given, "__aiter__"):
        async for _ in given:
            return
    else:
        await given


async def error_of(method: Method) -> Any:
    """The error with a status that a call ends with."""
    for guess in GUESSES:
        try:
            async with asyncio.timeout(20):
                await ask(method, guess)
            return None
        except (openai.APIStatusError, anthropic.APIStatusError, ollama.ResponseError) as error:
            return error
        except (TypeError, ValueError, AttributeError, RuntimeError, OSError, ollama.RequestError):
            continue  # the client did not get as far as to ask
    return None


@pytest.mark.parametrize("name", MODULES)
async def test_each_call_that_is_refused_raises_its_status_and_one_sentence_and_asks_no_engine(
    seeing: House, name: str
) -> None:
    made = client(name, seeing)
    wrong: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # whatever the clients' makers think of a call
        for call, method, row in refused(name, made):
            error = await error_of(method)
            stated = {int(status) for status in re.findall(r"\b[45]\d\d\b", row.said)}
            if error is None or error.status_code not in stated:
                wrong[call] = error
                continue
            body = error.body if name == "openai" else getattr(error, "body", {"error": {}})
            said = (
                error.error
                if name == "ollama"
                else (body["message"] if name == "openai" else body["error"]["message"])
            )
            if not re.fullmatch(r"[A-Z/][^\n]{20,160}\.", said):
                wrong[call] = said
    await made.close()
    assert not wrong
    assert seeing.simulator.asked == 0
    assert await seeing.usage() == []
