"""One model, many spellings."""

from __future__ import annotations

import pytest

from app.engine.base import Loaded, Model
from app.engine.health import EngineWatch
from app.models.names import canonical
from app.proxy.models import Models


class Shelf:
    """An engine that knows its models and nothing else."""

    name, kind, url, simulated, native = "Shelf", "ollama", "http://127.0.0.1:1", False, True

    def __init__(self, *models: Model) -> None:
        self.has = models

    async def version(self) -> str:
        return "1"

    async def models(self) -> tuple[Model, ...]:
        return self.has

    async def loaded(self) -> tuple[Loaded, ...]:
        return ()


def model(name: str, *, remote: bool = False) -> Model:
    return Model(name, "d" * 64, 1, "llama", "8B", "Q4", remote)


async def models(*known: Model) -> tuple[Shelf, Models]:
    shelf = Shelf(*known)
    watch = EngineWatch(shelf)  # type: ignore[arg-type]
    await watch.refresh()
    return shelf, Models(watch)


@pytest.mark.parametrize(
    "asked",
    [
        "llama3",
        "LLAMA3",
        "llama3:latest",
        "library/llama3",
        "registry.ollama.ai/library/llama3:latest",
        " llama3 ",
    ],
)
async def test_every_spelling_leads_to_the_engines_own(asked: str) -> None:
    _, names = await models(model("llama3:latest"))
    assert names.known(asked) == ("llama3:latest", "d" * 64)


async def test_of_two_that_differ_in_case_alone_the_engine_is_asked_by_its_own_spelling() -> None:
    _, names = await models(model("tiny:latest"), model("Tiny:latest"), model("other:latest"))
    found = names.known("TINY")
    assert found is not None
    assert names.sent_as("TINY", found[0]) == found[0]
    assert names.sent_as("OTHER", "other:latest") == "OTHER"


async def test_cloud_models_do_not_exist_here() -> None:
    _, names = await models(model("big:cloud", remote=True), model("far:latest", remote=True))
    for asked in ("big:cloud", "far", "BIG:CLOUD"):
        assert names.known(asked) is None


async def test_a_model_pulled_a_moment_ago_is_found_by_asking_again() -> None:
    shelf, names = await models(model("a:latest"))
    assert names.known("b") is None
    shelf.has = (model("a:latest"), model("b:latest"))
    assert await names.resolve("b") == ("b:latest", "d" * 64)


async def test_a_model_that_went_is_no_longer_known() -> None:
    shelf, names = await models(model("a:latest"))
    assert names.known("a") is not None
    shelf.has = ()
    assert await names.resolve("a") is None


def test_another_registry_and_another_owner_stay_what_they_are() -> None:
    assert canonical("hf.co/Owner/Model:Q4") == "hf.co/owner/model:q4"
    assert canonical("localhost:5000/x") == "localhost:5000/x:latest"


async def test_names_of_an_engine_that_is_not_ollama_are_compared_exactly() -> None:
    shelf = Shelf(model("org/Model-7B"), model("my-cloud"))
    shelf.native = False
    watch = EngineWatch(shelf)  # type: ignore[arg-type]
    await watch.refresh()
    names = Models(watch)
    assert names.known("org/Model-7B") == ("org/Model-7B", "d" * 64)
    assert names.known("my-cloud") is not None
    for asked in ("org/model-7b", "org/Model-7B:latest", "library/org/Model-7B"):
        assert names.known(asked) is None
