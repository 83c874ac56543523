"""The catalogue, names, pace, and what the engine says in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.base import Loaded, Model
from app.models import fits
from app.models.base import Fit, ModelError
from app.models.catalogue import CATALOGUE, embeds, offer, smallest, suggest
from app.models.listing import Capacity, entries
from app.models.names import NEW, OLD, is_passing, passing, spelled
from app.models.pace import Pace
from app.models.said import NoMemory, Passing, in_words

GB = 2**30


def model(name: str, size_b: int = 1, family: str = "llama", *, remote: bool = False) -> Model:
    return Model(name, f"digest of {name}", size_b, family, "8.0B", "Q4_K_M", remote)


def test_every_offer_can_be_pulled_by_its_name_and_makes_sense() -> None:
    names = [one.name for one in CATALOGUE]
    assert len(set(names)) == len(names) >= 25
    for one in CATALOGUE:
        assert spelled(one.name) == one.name
        assert one.note.endswith(".")
        bits = one.size_b * 8 / one.parameters
        # Small models keep large tables of tokens at higher precision.
        assert 0.8 < bits / fits.BITS[one.quantization] < 1.4, one.name


@pytest.mark.parametrize(
    ("gpu_gb", "name"),
    [
        (4, "qwen3:4b"),
        (8, "qwen3:8b"),
        (12, "qwen3:14b"),
        (24, "qwen3:32b"),
        (80, "qwen3:32b"),
        (1, "qwen3:0.6b"),
    ],
)
def test_the_suggestion_grows_with_the_gpu(gpu_gb: int, name: str) -> None:
    assert suggest(gpu_gb * GB, 16 * GB).name == name


@pytest.mark.parametrize("gpu_b", [4 * GB, 6 * GB, 8 * GB, 12 * GB, 16 * GB, 24 * GB, 48 * GB])
def test_what_is_suggested_fits_with_the_usual_context(gpu_b: int) -> None:
    chosen = suggest(gpu_b, 16 * GB)
    (entry,) = [
        one
        for one in entries((), (), {}, Capacity(gpu_b, 16 * GB, 4096, 1), native=True)
        if one.name == chosen.name
    ]
    assert entry.estimate.fit in (Fit.FITS, Fit.TIGHT)


def test_without_a_gpu_something_small_is_suggested() -> None:
    assert suggest(None, 16 * GB).size_b < 3 * 10**9
    assert suggest(0, 2 * GB).name == "qwen3:0.6b"


def test_for_tests_the_smallest_model_that_writes_is_taken() -> None:
    found = smallest(
        [model("big:1", 9), model("nomic-embed-text:latest", 1), model("small:1", 5), model("x:1", 2, "bert")]
    )
    assert found is not None
    assert found.name == "small:1"
    assert smallest([model("bge-m3:latest", 1, "bert")]) is None
    assert not embeds("qwen3:8b", "qwen3")


def test_the_list_is_the_engines_models_and_then_the_rest_of_the_catalogue() -> None:
    here = (model("mine:1", 5_000_000_000), model("qwen3:8b", 5_225_388_164), model("big:cloud", remote=True))
    loaded = (Loaded("mine:1", "", 6, 5, "soon"),)
    listed = entries(here, loaded, {}, Capacity(12 * GB, 32 * GB, 4096, 1), native=True)
    assert [one.name for one in listed[:2]] == ["mine:1", "qwen3:8b"]
    assert [one.installed for one in listed] == [True, True] + [False] * (len(listed) - 2)
    assert (listed[0].loaded, listed[0].vram_b, listed[0].expires_at) == (True, 5, "soon")
    assert listed[1].note == offer("qwen3:8b").note  # type: ignore[union-attr]
    assert [one.name for one in listed].count("qwen3:8b") == 1
    assert all(one.estimate.fit is not Fit.UNKNOWN for one in listed)


def test_an_engine_that_is_not_ollama_gets_no_catalogue() -> None:
    listed = entries((model("org/Model-7B"),), (), {}, Capacity(None, 0, 4096, 1), native=False)
    assert [one.name for one in listed] == ["org/Model-7B"]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("qwen3", "qwen3:latest"),
        (" qwen3:8b ", "qwen3:8b"),
        ("registry.ollama.ai/library/qwen3:8b", "qwen3:8b"),
        ("hf.co/Someone/Model-GGUF:Q4_K_M", "hf.co/Someone/Model-GGUF:Q4_K_M"),
        ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
    ],
)
def test_names_are_spelled_in_one_way(asked: str, name: str) -> None:
    assert spelled(asked) == name


@pytest.mark.parametrize(
    "asked", ["", " ", "a b", "../x", "a:b:c:d", "a/b/c/d/e", "ä", "x:" + "y" * 99, "-x", "a\nb"]
)
def test_what_is_no_name_is_refused_with_an_example(asked: str) -> None:
    with pytest.raises(ModelError, match=r"write it like llama3\.1:8b"):
        spelled(asked)


@given(st.from_regex(r"[a-z0-9]{1,20}:[a-z0-9]{1,80}", fullmatch=True))
def test_passing_names_are_names_of_their_own(name: str) -> None:
    for mark in (NEW, OLD):
        assert is_passing(spelled(passing(name, mark)))
        assert passing(name, mark) != name


def test_the_speed_is_smooth_and_what_was_there_does_not_count() -> None:
    pace = Pace()
    assert pace.tell(0.0, "x", 900, 2000).rate_b_per_s == 0
    first = pace.tell(1.0, "x", 1000, 2000)
    assert (first.rate_b_per_s, first.seconds_left) == (100, 10)
    spike = pace.tell(1.5, "x", 1500, 2000)
    assert 100 < spike.rate_b_per_s < 400
    anew = pace.tell(2.0, "x", 0, 2000)
    assert (anew.rate_b_per_s, anew.seconds_left) == (0, None)


def test_what_was_kept_from_an_earlier_try_is_no_speed() -> None:
    pace = Pace()
    pace.tell(0.0, "Asking", 0, 0)
    assert pace.tell(0.5, "Downloading", 2_000_000_000, 3_300_000_000).rate_b_per_s == 0
    assert pace.tell(1.5, "Downloading", 2_100_000_000, 3_300_000_000).rate_b_per_s == 100_000_000


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 10**9)), min_size=1), st.integers(0, 10**10))
def test_the_pace_is_never_negative(steps: list[tuple[float, int]], total_b: int) -> None:
    pace, now_s, done_b = Pace(), 0.0, 0
    for passed_s, more_b in steps:
        now_s, done_b = now_s + passed_s, done_b + more_b
        told = pace.tell(now_s, "x", done_b, total_b)
        assert told.rate_b_per_s >= 0
        assert told.seconds_left is None or told.seconds_left >= 0


@pytest.mark.parametrize(
    ("text", "kind", "part"),
    [
        ("pull model manifest: file does not exist", ModelError, "has no model m:1"),
        ("write blobs/x: no space left on device", Passing, "disk is full"),
        (
            'Get "https://registry.ollama.ai/v2/": dial tcp: lookup registry.ollama.ai: no such host',
            Passing,
            "check the network",
        ),
        ("max retries exceeded: EOF", Passing, "what has come is kept"),
        ("llama runner process has terminated: cudaMalloc failed: out of memory", NoMemory, "does not fit"),
        ("model requires more system memory (9 GiB) than is available", ModelError, "too large"),
        ("model 'm:1' not found", ModelError, "has no model m:1"),
        ("pull model manifest: 412: The model requires a newer version of Ollama", ModelError, "too old"),
        ("something\nnew.", ModelError, "says «something new»"),
    ],
)
def test_what_the_engine_says_becomes_a_sentence(text: str, kind: type[ModelError], part: str) -> None:
    error = in_words(text, "m:1")
    assert type(error) is kind
    assert part in str(error)
    assert str(error).endswith(".")
