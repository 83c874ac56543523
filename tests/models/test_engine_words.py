"""What Ollama says of a file, and of a model that is not there, as a person hears it."""

from __future__ import annotations

import pytest

from app.models.base import ModelError, Outcome
from app.simulator import Faults
from tests.models.conftest import Furnish
from tests.models.file_server import FileServer


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("unexpected EOF", "damaged or not whole"),
        ("read blobs/sha256-1: unexpected EOF", "damaged or not whole"),
        ("llama-quantize failed: exit status 1", "does not know this kind of model"),
        (
            "failed to validate GGUF with llama-quantize without compatibility patches: "
            "llama-quantize failed: exit status 1",
            "does not know this kind of model",
        ),
    ],
)
async def test_a_file_that_the_engine_cannot_use_is_not_called_a_fault_of_the_network(
    furnish: Furnish, files: FileServer, said: str, heard: str
) -> None:
    room = await furnish()
    room.simulator.faults = Faults(create_says=said)
    last = await room.ended(room.shelf.update(files.url, "mortdecai:0.5.0"))
    assert last.outcome is Outcome.FAILED
    assert heard in last.sentence
    assert "network" not in last.sentence


async def test_a_model_that_is_not_there_is_not_said_to_have_been_unloaded(furnish: Furnish) -> None:
    room = await furnish()
    with pytest.raises(ModelError, match="has no model nope:latest"):
        await room.shelf.unload("nope")
    await room.shelf.unload("qwen2.5:3b")
