"""Whether a container is still what it should be: its spec, written down on it when it was made, against today's.

Rule 1: pure functions. Rule 2: a container without a readable spec differs in everything that can be asked for: making
it anew is the only way to be sure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from app.containers.base import LABEL_SPEC, Container, ContainerSpec


def spec_json(spec: ContainerSpec) -> str:
    """The spec as canonical JSON: the same for equal specs, whatever the order of their mappings. Its `secrets` are
    not in it."""
    return json.dumps(_plain(spec), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def drift(spec: ContainerSpec, container: Container) -> tuple[str, ...]:
    """Names of the fields of ContainerSpec in which `container` was made otherwise, in the spec's order."""
    wanted = json.loads(spec_json(spec))
    made = _made(container.labels)
    compared = [field.name for field in fields(spec) if field.name in wanted]
    return tuple(name for name in compared if made.get(name) != wanted[name])


def _plain(spec: ContainerSpec) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for field in fields(spec):
        if field.name == "secrets":  # labels are anybody's to read
            continue
        value = getattr(spec, field.name)
        plain[field.name] = dict(value) if isinstance(value, Mapping) else value
    # What is put there by `create` itself is none of the spec's.
    plain["labels"].pop(LABEL_SPEC, None)
    return plain


def _made(labels: Mapping[str, str]) -> dict[str, Any]:
    try:
        made = json.loads(labels.get(LABEL_SPEC, ""))
    except ValueError:
        return {}
    return made if isinstance(made, dict) else {}
