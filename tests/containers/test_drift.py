"""A container is compared with what it should be, by what was written on it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.containers.base import LABEL_SPEC, Container, ContainerSpec, Gpu
from app.containers.drift import drift, spec_json

SPEC = ContainerSpec(
    name="engine",
    image="ollama/ollama:0.12",
    environment={"B": "2", "A": "1"},
    labels={"profile": "p"},
    ports={11434: 18434},
    gpu=Gpu.NVIDIA,
    memory_b=8 << 30,
)


def made_from(spec: ContainerSpec | None, label: str = "") -> Container:
    text = spec_json(spec) if spec is not None else label
    return Container("i", "engine", "x", "y", {LABEL_SPEC: text}, "exited", 0, False, "", "", {}, ())


def test_the_same_spec_is_no_drift_in_whatever_order_its_mappings_are() -> None:
    again = replace(SPEC, environment={"A": "1", "B": "2"})
    assert spec_json(again) == spec_json(SPEC)
    assert drift(again, made_from(SPEC)) == ()


def test_the_label_that_holds_the_spec_is_no_part_of_it() -> None:
    assert spec_json(replace(SPEC, labels={**SPEC.labels, LABEL_SPEC: "x"})) == spec_json(SPEC)


def test_what_differs_is_named_in_the_specs_order() -> None:
    now = replace(SPEC, memory_b=0, image="ollama/ollama:0.13", ports={11434: 1})
    assert drift(now, made_from(SPEC)) == ("image", "ports", "memory_b")


@pytest.mark.parametrize("label", ["", "{", "[]", "null", "7"])
def test_a_container_without_a_readable_spec_differs_in_everything(label: str) -> None:
    assert "image" in drift(SPEC, made_from(None, label))
    assert "pids" in drift(SPEC, made_from(None, label))


def test_a_spec_of_an_older_version_of_ours_differs_in_what_it_did_not_know() -> None:
    older = spec_json(SPEC).replace('"read_only":false,', "")
    assert drift(SPEC, made_from(None, older)) == ("read_only",)
