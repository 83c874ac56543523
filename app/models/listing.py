"""The engine's models and the catalogue's as one list, each with what it needs and whether that fits.

Rule 1: pure; the shelf hands in what it knows. Rule 2: what the engine says of a model goes before the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.engine.base import Loaded, Model
from app.models import fits
from app.models.base import Entry, Estimate
from app.models.catalogue import CATALOGUE, Offer, embeds, offer
from app.models.names import is_passing


@dataclass(frozen=True, slots=True)
class Capacity:
    """What estimates depend on beside the model: memory in bytes, context in tokens, answers at once."""

    gpu_memory_b: int | None
    main_memory_b: int
    tokens: int
    parallel: int


def entries(
    models: tuple[Model, ...],
    loaded: tuple[Loaded, ...],
    shapes: Mapping[str, fits.Shape],
    machine: Capacity,
    *,
    native: bool,
) -> tuple[Entry, ...]:
    """The engine's models in its own order, then the catalogue's that are not there (for Ollama only).

    `shapes`: by digest. Models of somebody else's cloud, and those that an update is just trying, are left out.
    """
    in_memory = {one.name: one for one in loaded}
    here = [
        _installed(model, in_memory.get(model.name), shapes, machine)
        for model in models
        if not model.remote and not is_passing(model.name)
    ]
    names = {model.name for model in models}
    there = [_offered(one, machine) for one in CATALOGUE if native and one.name not in names]
    return (*here, *there)


def _installed(
    model: Model, loaded: Loaded | None, shapes: Mapping[str, fits.Shape], machine: Capacity
) -> Entry:
    known = offer(model.name)
    shape = shapes.get(model.digest, fits.NO_SHAPE)
    if shape is fits.NO_SHAPE and known is not None:
        shape = _shape(known)
    return Entry(
        name=model.name,
        installed=True,
        size_b=model.size_b,
        family=model.family,
        parameter_size=model.parameter_size,
        quantization=model.quantization,
        digest=model.digest,
        loaded=loaded is not None,
        vram_b=loaded.vram_b if loaded is not None else 0,
        expires_at=loaded.expires_at if loaded is not None else "",
        estimate=_estimate(
            model,
            fits.parameters_of(model.parameter_size) or (known.parameters if known else 0),
            shape,
            machine,
            tokens=min(machine.tokens, known.context_length) if known else machine.tokens,
            embeds_only=embeds(model.name, model.family),
        ),
        note=known.note if known else "",
    )


def _offered(one: Offer, machine: Capacity) -> Entry:
    tokens = min(machine.tokens, one.context_length)
    return Entry(
        name=one.name,
        installed=False,
        size_b=one.size_b,
        family=one.family,
        parameter_size=one.parameter_size,
        quantization=one.quantization,
        digest="",
        loaded=False,
        vram_b=0,
        expires_at="",
        estimate=_estimate(one, one.parameters, _shape(one), machine, tokens=tokens, embeds_only=one.embeds),
        note=one.note,
    )


def _estimate(
    of: Model | Offer,
    parameters: int,
    shape: fits.Shape,
    machine: Capacity,
    *,
    tokens: int,
    embeds_only: bool,
) -> Estimate:
    return fits.estimate(
        size_b=of.size_b,
        parameters=parameters,
        quantization=of.quantization,
        tokens=tokens,
        parallel=machine.parallel,
        gpu_memory_b=machine.gpu_memory_b,
        main_memory_b=machine.main_memory_b,
        shape=shape,
        embeds=embeds_only,
    )


def _shape(one: Offer) -> fits.Shape:
    return fits.Shape(one.layers, one.kv_heads, one.head_dim, one.head_dim)
