"""What a container is made from, and which settings a difference is told by."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from app.containers.base import LABEL_PROFILE, LABEL_ROLE, LABEL_SPEC, Container, ContainerSpec, Gpu
from app.containers.drift import spec_json
from app.engine.host import Processor
from app.managed.gpu_choice import Choice
from app.managed.names import LABEL_DIGEST, LABEL_REFERENCE
from app.managed.recipe import Recipe, changed_settings, made_port, spec
from app.settings.parameters import Settings

CPU = Choice(Gpu.NONE, Processor.CPU)
NVIDIA = Choice(Gpu.NVIDIA, Processor.GPU)
ROCM = Choice(Gpu.ROCM, Processor.GPU, devices=("/dev/kfd", "/dev/dri"), groups=("44", "992"))


def made(recipe: Recipe, choice: Choice = CPU, port: int = 25_000) -> tuple[ContainerSpec, Container]:
    """A spec, and the container that a daemon would make of it."""
    ordered = spec(recipe, choice, image="sha256:abc", digest="sha256:def", port=recipe.port or port)
    return ordered, Container(
        id="1", name=ordered.name, image=ordered.image, image_id=ordered.image,
        labels={**ordered.labels, LABEL_SPEC: spec_json(ordered)}, status="exited", exit_code=0, out_of_memory=False,
        error="", started_at="", ports={}, networks=(ordered.network,),
    )  # fmt: skip


def test_the_settings_become_ollamas_variables_and_dockers_limits() -> None:
    settings = Settings(
        engine_parallel=3,
        engine_context_length=8192,
        engine_keep_alive_minutes=0,
        engine_max_queue=7,
        engine_flash_attention=False,
        engine_memory_gb=12,
        engine_cpus=4,
        engine_port=25_001,
        engine_image="me/ollama:1",
    )
    ordered, _ = made(Recipe.of(settings, "work"))
    assert ordered.environment == {
        "OLLAMA_HOST": "0.0.0.0:11434",
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_NUM_PARALLEL": "3",
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_MAX_QUEUE": "7",
        "OLLAMA_CONTEXT_LENGTH": "8192",
        "OLLAMA_KEEP_ALIVE": "0m",
        "OLLAMA_FLASH_ATTENTION": "0",
    }
    assert (ordered.memory_b, ordered.cpus, ordered.ports) == (12_000_000_000, 4, {11434: 25_001})
    assert ordered.labels[LABEL_REFERENCE] == "me/ollama:1"
    assert ordered.image == "sha256:abc"


def test_everything_of_a_profile_has_its_name_and_its_labels() -> None:
    ordered, _ = made(Recipe(profile="work"))
    assert ordered.name == "mortdecai-ollama-work"
    assert ordered.volumes == {"mortdecai-ollama-work-models": "/root/.ollama"}
    assert ordered.network == "mortdecai-ollama-work-sealed"
    assert ordered.labels[LABEL_PROFILE] == "work"
    assert ordered.labels[LABEL_ROLE] == "engine"
    assert ordered.labels[LABEL_DIGEST] == "sha256:def"


def test_without_isolation_it_lives_on_the_network_that_leads_out() -> None:
    assert made(Recipe(isolated=False))[0].network == "mortdecai-ollama-open"


def test_an_amd_gpu_has_an_image_devices_and_groups_of_its_own() -> None:
    ordered, _ = made(Recipe(), ROCM)
    assert ordered.gpu is Gpu.ROCM
    assert (ordered.devices, ordered.groups) == (("/dev/kfd", "/dev/dri"), ("44", "992"))
    assert ordered.labels[LABEL_REFERENCE] == "ollama/ollama:rocm"
    assert made(Recipe(), NVIDIA)[0].labels[LABEL_REFERENCE] == "ollama/ollama:latest"


@pytest.mark.parametrize("choice", [CPU, NVIDIA, ROCM])
def test_a_container_is_no_different_from_its_own_recipe(choice: Choice) -> None:
    for recipe in (Recipe(), Recipe(port=25_001, memory_gb=8, cpus=2, isolated=False)):
        assert changed_settings(recipe, choice, made(recipe, choice)[1]) == ()


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"parallel": 2}, ("engine_parallel",)),
        ({"context_length": 8192}, ("engine_context_length",)),
        ({"keep_alive_minutes": 6}, ("engine_keep_alive_minutes",)),
        ({"max_queue": 65}, ("engine_max_queue",)),
        ({"flash_attention": False}, ("engine_flash_attention",)),
        ({"memory_gb": 8}, ("engine_memory_gb",)),
        ({"cpus": 2}, ("engine_cpus",)),
        ({"isolated": False}, ("engine_isolated",)),
        ({"image": "ollama/ollama:0.30"}, ("engine_image",)),
        ({"port": 26_000}, ("engine_port",)),
        ({"cpus": 2, "memory_gb": 8}, ("engine_cpus", "engine_memory_gb")),
    ],
)
def test_a_difference_is_told_by_the_settings_name(change: dict[str, Any], names: tuple[str, ...]) -> None:
    assert changed_settings(replace(Recipe(), **change), CPU, made(Recipe())[1]) == names


def test_a_port_of_our_own_choice_and_a_moved_tag_are_no_difference() -> None:
    _, container = made(Recipe(port=25_001))
    assert changed_settings(Recipe(port=0), CPU, container) == ()
    assert changed_settings(Recipe(port=25_001), CPU, replace(container, image_id="sha256:newer")) == ()


def test_a_gpu_that_has_appeared_is_a_difference_of_the_processor_setting() -> None:
    assert changed_settings(Recipe(), NVIDIA, made(Recipe(), CPU)[1]) == ("engine_gpu",)
    assert "engine_gpu" in changed_settings(Recipe(), ROCM, made(Recipe(), CPU)[1])
    strix = replace(ROCM, environment={"HSA_OVERRIDE_GFX_VERSION": "11.5.1"})
    assert changed_settings(Recipe(), strix, made(Recipe(), ROCM)[1]) == ("engine_gpu",)


def test_a_container_of_another_version_of_this_program_is_due_for_a_new_one() -> None:
    ordered, container = made(Recipe())
    older = json.loads(spec_json(ordered))
    older["environment"]["OLLAMA_OLD"] = "1"
    labels = {**container.labels, LABEL_SPEC: json.dumps(older)}
    assert changed_settings(Recipe(), CPU, replace(container, labels=labels)) == ("engine",)


@pytest.mark.parametrize("label", ["", "no json", "[]", '{"ports": 7, "environment": "x"}'])
def test_a_label_that_says_nothing_makes_a_new_one_due_and_nothing_worse(label: str) -> None:
    _, container = made(Recipe())
    odd = replace(container, labels={**container.labels, LABEL_SPEC: label}, ports={11434: 25_009})
    assert "engine" in changed_settings(Recipe(), CPU, odd)
    assert made_port(odd) == 25_009


def test_the_port_is_known_also_of_a_container_that_does_not_run() -> None:
    assert made_port(made(Recipe(), port=25_123)[1]) == 25_123
