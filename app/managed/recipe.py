"""What the engine's container is made from: the settings and the GPU in, a `ContainerSpec` out.

Rule 1: pure; the same recipe on the same machine gives the same container. Rule 2: a difference between a container
and the present recipe is told by the names of settings, because those are what a person can change.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

from app.containers.base import LABEL_SPEC, Container, ContainerSpec, Daemon, Gpu, GpuRefused
from app.containers.drift import spec_json
from app.managed.gpu_choice import Choice, Machine, choose
from app.managed.names import LABEL_DIGEST, LABEL_REFERENCE, labels_of, names_of

PORT_INSIDE = 11434
_GB = 1_000_000_000
_PIDS = 4096
"""Threads count too; a runner of Ollama has some hundreds at most."""

_DEFAULT_IMAGE = "ollama/ollama:latest"
_DEFAULT_ROCM_IMAGE = "ollama/ollama:rocm"

_OF_ENVIRONMENT = {
    "OLLAMA_NUM_PARALLEL": "engine_parallel",
    "OLLAMA_MAX_QUEUE": "engine_max_queue",
    "OLLAMA_CONTEXT_LENGTH": "engine_context_length",
    "OLLAMA_KEEP_ALIVE": "engine_keep_alive_minutes",
    "OLLAMA_FLASH_ATTENTION": "engine_flash_attention",
    "HSA_OVERRIDE_GFX_VERSION": "engine_gpu",
}
_OF_FIELD = {
    "gpu": "engine_gpu",
    "devices": "engine_gpu",
    "groups": "engine_gpu",
    "memory_b": "engine_memory_gb",
    "cpus": "engine_cpus",
    "network": "engine_isolated",
}
_OTHER = "engine"
"""Stands for what no setting says: the container was made by another version of this program."""


class EngineSettingsLike(Protocol):
    """The settings that a recipe takes (see `settings.engine_parameters`)."""

    @property
    def engine_image(self) -> str: ...
    @property
    def engine_gpu(self) -> str: ...
    @property
    def engine_port(self) -> int: ...
    @property
    def engine_memory_gb(self) -> int: ...
    @property
    def engine_cpus(self) -> int: ...
    @property
    def engine_parallel(self) -> int: ...
    @property
    def engine_context_length(self) -> int: ...
    @property
    def engine_keep_alive_minutes(self) -> int: ...
    @property
    def engine_max_queue(self) -> int: ...
    @property
    def engine_flash_attention(self) -> bool: ...
    @property
    def engine_isolated(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings that shape the container."""

    profile: str = "default"
    home: str = ""
    """Tells gateways of one profile's name apart (see `names.labels_of`)."""
    image: str = ""
    """Empty: the one that suits the GPU."""
    processor: str = "auto"
    """auto, nvidia, rocm or cpu."""
    port: int = 0
    """On 127.0.0.1; 0: any free one."""
    memory_gb: int = 0
    cpus: int = 0
    parallel: int = 1
    context_length: int = 4096
    keep_alive_minutes: int = 5
    max_queue: int = 64
    flash_attention: bool = True
    isolated: bool = True

    @classmethod
    def of(cls, settings: EngineSettingsLike, profile: str = "default", home: str = "") -> Recipe:
        """The recipe that the settings of `profile` ask for."""
        return cls(
            profile=profile,
            home=home,
            image=settings.engine_image,
            processor=settings.engine_gpu,
            port=settings.engine_port,
            memory_gb=settings.engine_memory_gb,
            cpus=settings.engine_cpus,
            parallel=settings.engine_parallel or 1,
            context_length=settings.engine_context_length,
            keep_alive_minutes=settings.engine_keep_alive_minutes,
            max_queue=settings.engine_max_queue,
            flash_attention=settings.engine_flash_attention,
            isolated=settings.engine_isolated,
        )

    def reference(self, gpu: Gpu) -> str:
        """The image to take: the one asked for, else Ollama's own for this GPU."""
        return self.image or (_DEFAULT_ROCM_IMAGE if gpu is Gpu.ROCM else _DEFAULT_IMAGE)


def environment(recipe: Recipe, choice: Choice) -> dict[str, str]:
    """Ollama's own variables (its envconfig).

    OLLAMA_NOPRUNE is left out: it would keep half-done pulls over a restart, and every old version of a model too.
    """
    return {
        "OLLAMA_HOST": f"0.0.0.0:{PORT_INSIDE}",
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_NUM_PARALLEL": str(recipe.parallel),
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_MAX_QUEUE": str(recipe.max_queue),
        "OLLAMA_CONTEXT_LENGTH": str(recipe.context_length),
        "OLLAMA_KEEP_ALIVE": f"{recipe.keep_alive_minutes}m",
        "OLLAMA_FLASH_ATTENTION": "1" if recipe.flash_attention else "0",
        **choice.environment,
    }


def spec(recipe: Recipe, choice: Choice, *, image: str, digest: str, port: int) -> ContainerSpec:
    """The container: `image` is the exact id of what `recipe.reference` named, `port` is on 127.0.0.1."""
    names = names_of(recipe.profile)
    return ContainerSpec(
        name=names.container,
        image=image,
        environment=environment(recipe, choice),
        labels={
            **labels_of(recipe.profile, recipe.home),
            LABEL_REFERENCE: recipe.reference(choice.gpu),
            LABEL_DIGEST: digest,
        },
        volumes={names.volume: "/root/.ollama"},
        ports={PORT_INSIDE: port},
        network=names.sealed if recipe.isolated else names.opened,
        gpu=choice.gpu,
        devices=choice.devices,
        groups=choice.groups,
        memory_b=recipe.memory_gb * _GB,
        cpus=recipe.cpus,
        pids=_PIDS,
    )


def changed_settings(recipe: Recipe, choice: Choice, container: Container) -> tuple[str, ...]:
    """Names of the settings that differ from those the container was made with, in order of the alphabet.

    The exact image and a port that we chose ourselves are no difference.
    """
    made = _made(container)
    now: dict[str, Any] = json.loads(spec_json(spec(recipe, choice, image="", digest="", port=recipe.port)))
    found: set[str] = set()
    if container.labels.get(LABEL_REFERENCE, "") != recipe.reference(choice.gpu):
        found.add("engine_image")
    if recipe.port and made_port(container) != recipe.port:
        found.add("engine_port")
    for name, value in now.items():
        if name in ("image", "ports", "labels"):
            continue
        before = made.get(name)
        if name == "environment":
            was = before if isinstance(before, dict) else {}
            found.update(
                _OF_ENVIRONMENT.get(key, _OTHER)
                for key in value.keys() | was.keys()
                if value.get(key) != was.get(key)
            )
        elif before != value:
            found.add(_OF_FIELD.get(name, _OTHER))
    return tuple(sorted(found))


def drift_now(recipe: Recipe, daemon: Daemon, machine: Machine, container: Container) -> tuple[str, ...]:
    """The same at this daemon on this machine; the GPU alone where it cannot be had."""
    try:
        return changed_settings(recipe, choose(recipe.processor, daemon, machine), container)
    except GpuRefused:
        return ("engine_gpu",)


def made_port(container: Container) -> int:
    """The port on 127.0.0.1 that the container was made with; 0 where that cannot be told."""
    ports = _made(container).get("ports")
    port = ports.get(str(PORT_INSIDE)) if isinstance(ports, dict) else None
    return port if isinstance(port, int) else container.ports.get(PORT_INSIDE, 0)


def _made(container: Container) -> dict[str, Any]:
    try:
        made = json.loads(container.labels.get(LABEL_SPEC, ""))
    except ValueError:
        return {}
    return made if isinstance(made, dict) else {}
