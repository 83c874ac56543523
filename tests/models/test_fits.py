"""What a model needs, and whether it fits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.base import Fit
from app.models.fits import BITS, GB, NO_SHAPE, Shape, context, estimate, parameters_of, shape_of

LLAMA = {
    "general.architecture": "llama",
    "llama.block_count": 32,
    "llama.attention.head_count": 32,
    "llama.attention.head_count_kv": 8,
    "llama.embedding_length": 4096,
}


def of(**changes: Any) -> Any:
    return estimate(
        **{
            "size_b": 4_920_753_328,
            "parameters": 8_030_261_312,
            "quantization": "Q4_K_M",
            "tokens": 4096,
            "parallel": 1,
            "gpu_memory_b": 12 * GB,
            "main_memory_b": 32 * GB,
            "shape": shape_of(LLAMA),
            **changes,
        }
    )


def test_llama_8b_takes_what_its_formula_says() -> None:
    found = of()
    assert found.weights_b == 4_920_753_328
    # 2 × 32 layers × 8 heads × 128 × 4096 tokens × 2 bytes.
    assert found.context_b == 2 * 32 * 8 * 128 * 4096 * 2 == 512 * 2**20
    assert found.fit is Fit.FITS
    assert found.sentence == "Needs about 5.8 GB of the GPU's 12.0 GB."


@pytest.mark.parametrize(
    ("gpu", "fit"), [(12, Fit.FITS), (6.2, Fit.TIGHT), (4, Fit.PARTLY), (None, Fit.UNKNOWN), (0, Fit.PARTLY)]
)
def test_the_verdict_follows_the_gpus_memory(gpu: float | None, fit: Fit) -> None:
    found = of(gpu_memory_b=None if gpu is None else int(gpu * GB))
    assert found.fit is fit
    assert found.sentence.startswith("Needs about 5.8 GB")


def test_where_the_processor_computes_main_memory_must_have_the_room() -> None:
    assert (
        of(gpu_memory_b=0).sentence == "Needs about 5.8 GB of main memory: the processor computes it, slowly."
    )
    assert of(gpu_memory_b=0, main_memory_b=4 * GB).fit is Fit.NO


def test_what_neither_memory_holds_does_not_fit() -> None:
    assert of(size_b=65 * 10**9, main_memory_b=8 * GB).fit is Fit.NO


def test_of_an_unknown_model_nothing_is_claimed() -> None:
    found = of(size_b=0, parameters=0)
    assert (found.total_b, found.fit) == (0, Fit.UNKNOWN)


def test_a_size_that_is_not_known_follows_from_parameters_and_quantisation() -> None:
    assert of(size_b=0).weights_b == pytest.approx(4_920_753_328, rel=0.02)
    assert of(size_b=0, quantization="F16").weights_b == 8_030_261_312 * 2


@pytest.mark.parametrize(
    ("parameters", "shape"),
    [
        (1_240_000_000, Shape(16, 8, 64, 64)),
        (8_030_000_000, Shape(32, 8, 128, 128)),
        (32_800_000_000, Shape(64, 8, 128, 128)),
        (70_600_000_000, Shape(80, 8, 128, 128)),
    ],
)
def test_without_a_shape_the_cache_is_near_that_of_models_of_that_size(parameters: int, shape: Shape) -> None:
    assert 0.5 < context(NO_SHAPE, parameters, 4096, 1) / context(shape, 0, 4096, 1) < 2


def test_the_shape_is_read_from_what_ollama_shows() -> None:
    assert shape_of(LLAMA) == Shape(32, 8, 128, 128)
    keyed = {**LLAMA, "llama.attention.key_length": 256, "llama.attention.value_length": 192}
    assert shape_of(keyed) == Shape(32, 8, 256, 192)
    layered = {**LLAMA, "llama.attention.head_count_kv": [8, 0, 8, 0]}
    assert shape_of(layered).kv_heads == 4


@given(
    st.dictionaries(
        st.sampled_from(sorted(LLAMA)),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()),
    )
)
def test_nonsense_in_a_models_head_is_no_shape_and_no_error(info: dict[str, Any]) -> None:
    shape = shape_of({**LLAMA, **info})
    assert shape.cache_b >= 0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("8.0B", 8_000_000_000),
        ("137M", 137_000_000),
        ("1.5b", 1_500_000_000),
        ("", 0),
        ("large", 0),
        ("8", 0),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, number: int) -> None:
    assert parameters_of(text) == number


COUNT = st.integers(0, 10**12)


@given(
    size_b=COUNT,
    parameters=COUNT,
    quantization=st.sampled_from([*BITS, "", "Q9_X"]),
    tokens=st.integers(256, 10**6),
    parallel=st.integers(1, 64),
    more=st.integers(1, 10**6),
    shape=st.sampled_from([NO_SHAPE, Shape(32, 8, 128, 128)]),
)
def test_more_of_anything_never_needs_less(more: int, **given: Any) -> None:
    memory = {"gpu_memory_b": 24 * GB, "main_memory_b": 64 * GB}
    before = estimate(**given, **memory)
    for name, limit in (("tokens", 10**7), ("parallel", 10**7), ("parameters", 10**13)):
        if not given[name]:
            continue  # 0 parameters: not known
        after = estimate(**{**given, name: min(limit, given[name] + more)}, **memory)
        assert after.total_b >= before.total_b
    assert before.total_b == before.weights_b + before.context_b + before.buffers_b


@given(st.integers(1, 10**12), st.integers(1, 10**12), st.integers(0, 10**12))
def test_a_larger_gpu_never_fits_worse(size_b: int, gpu_b: int, more_b: int) -> None:
    order = [Fit.NO, Fit.PARTLY, Fit.TIGHT, Fit.FITS]
    small = of(size_b=size_b, gpu_memory_b=gpu_b).fit
    large = of(size_b=size_b, gpu_memory_b=gpu_b + more_b).fit
    assert order.index(large) >= order.index(small)
