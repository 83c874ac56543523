"""What an update keeps of the model before."""

from __future__ import annotations

import json

import aiohttp

from app.models.base import Outcome
from app.models.carry import carried, parameters
from tests.models.conftest import Furnish
from tests.models.file_server import FileServer

NAME = "mortdecai:0.5.0"


async def test_an_update_keeps_the_template_and_the_parameters_and_says_so(
    furnish: Furnish, files: FileServer
) -> None:
    room = await furnish()
    given = {"model": NAME, "from": NAME, "template": "{{ .Tools }}", "parameters": {"top_k": 7}}
    async with (
        aiohttp.ClientSession(room.simulator.url) as engine,
        engine.post("/api/create", json=given) as reply,
    ):
        assert json.loads(await reply.read())["status"] == "success"
    last = await room.ended(room.shelf.update(files.url, NAME))
    assert last.outcome is Outcome.DONE
    assert last.sentence.endswith("has answered; kept of the one before: template, parameters.")
    shown = await room.shelf.show(NAME)
    assert (shown["template"], shown["parameters"]) == ("{{ .Tools }}", "top_k 7")


async def test_an_update_keeps_the_licence_and_what_writes_and_reads_the_conversation(
    furnish: Furnish, files: FileServer
) -> None:
    room = await furnish()
    given = {
        "license": ["MIT", "and more"],
        "renderer": "qwen3-coder",
        "parser": "qwen3",
        "system": "Be kind.",
    }
    async with (
        aiohttp.ClientSession(room.simulator.url) as engine,
        engine.post("/api/create", json={"model": NAME, "from": NAME, **given}) as reply,
    ):
        assert json.loads(await reply.read())["status"] == "success"
    last = await room.ended(room.shelf.update(files.url, NAME))
    assert last.outcome is Outcome.DONE
    assert last.sentence.endswith("kept of the one before: system, license, renderer, parser.")
    shown = await room.shelf.show(NAME)
    assert (shown["license"], shown["system"]) == ("MIT\nand more", "Be kind.")
    assert "\nRENDERER qwen3-coder\nPARSER qwen3\n" in shown["modelfile"]


def test_a_renderer_does_not_go_over_a_template_that_the_new_one_brings() -> None:
    old = {"modelfile": "FROM x\nRENDERER gemma4\nPARSER gemma4\n"}
    assert carried(old, {"template": "{{ .Prompt }}"}) == {"renderer": "gemma4", "parser": "gemma4"}
    assert carried(old, {"template": "{{ .Tools }}"}) == {}
    assert carried(old, {"renderer": "own"}) == {}
    assert carried(old, {"modelfile": "PARSER own\n"}) == {}
    assert carried({"renderer": "told"}, {}) == {"renderer": "told"}


def test_a_renderer_is_not_read_out_of_a_text_of_the_modelfile() -> None:
    trap = "\nRENDERER trap\nPARSER trap\n"
    old = {
        "modelfile": f'FROM x\nTEMPLATE """{trap}"""\nSYSTEM "{trap}"\nMESSAGE user "{trap}"\nPARSER real\n'
    }
    assert carried(old, {}) == {"parser": "real"}


def test_what_the_new_one_brings_goes_before() -> None:
    old = {"template": "old", "parameters": "top_k 7", "system": "Be kind.", "license": "MIT"}
    assert carried(old, {"template": "new", "parameters": "top_k 1", "system": "x", "license": "y"}) == {}
    assert carried(old, {"template": "{{ .Prompt }}"}) == {
        "template": "old",
        "system": "Be kind.",
        "license": "MIT",
        "parameters": {"top_k": 7},
    }
    assert carried({}, {}) == {}


def test_parameters_are_read_as_ollama_lists_them() -> None:
    listed = 'stop    "<|end|>"\nstop    "[INST]"\ntemperature    0.5\nnum_ctx   4096\n'
    assert parameters(listed) == {"stop": ["<|end|>", "[INST]"], "temperature": 0.5, "num_ctx": 4096}
