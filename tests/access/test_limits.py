"""What a key may use at most, how it is written, and what is refused because nothing would enforce it."""

from __future__ import annotations

from typing import Any

import pytest

from app.access.limits import UNLIMITED, LimitError, Limits, listed

FULL = Limits(
    256,
    frozenset({"tiny:latest", "qwen2.5:3b"}),
    1_800_000_000_500_000,
    requests_per_minute=60,
    tokens_per_minute=100_000,
    concurrent=4,
    weight=3,
    whole_client=True,
)


@pytest.mark.parametrize("limits", [UNLIMITED, FULL, Limits(expires_us=1_800_000_000_000_000), Limits(1)])
def test_limits_come_back_as_they_were_written(limits: Limits) -> None:
    assert Limits.load(limits.dump()) == limits
    assert Limits.of(limits.to_json()) == limits


def test_each_bound_itself_is_allowed() -> None:
    for tokens in (1, 1_000_000):
        assert Limits.of({"max_output_tokens": tokens}).max_output_tokens == tokens
    for names in ({"x" * 256}, {f"m{number}" for number in range(100)}):
        assert Limits.of({"models": sorted(names)}).models == names
    assert Limits.of({"models": [" tiny "]}).models == {"tiny"}
    assert Limits.of({"expires": 253_402_300_799}).expires_us == 253_402_300_799_000_000
    assert Limits.of({"expires": 0.000001}).expires_us == 1
    assert Limits.of({"expires": 1.5}).to_json() == {"expires": 1.5}


def test_an_expiry_is_written_as_a_whole_number_of_seconds_where_it_is_one() -> None:
    assert Limits(expires_us=1_800_000_000_000_000).dump() == '{"expires":1800000000}'
    assert Limits(expires_us=1_800_000_000_500_000).dump() == '{"expires":1800000000.5}'


def test_a_models_name_is_written_as_it_is() -> None:
    assert Limits(models=frozenset({"gemütlich", "b"})).dump() == '{"models":["b","gemütlich"]}'


def test_no_limits_are_an_empty_object() -> None:
    assert UNLIMITED.dump() == "{}"
    assert Limits.of({"max_output_tokens": None, "models": None, "expires": None}) == UNLIMITED


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([], "JSON object"),
        ("{}", "JSON object"),
        (None, "JSON object"),
        ({"requests_per_second": 5}, "does not enforce"),
        ({"requests_per_minute": 0}, "1 to 100000"),
        ({"requests_per_minute": 2.0}, "whole number"),
        ({"tokens_per_minute": 1_000_000_001}, "1 to 1000000000"),
        ({"concurrent": True}, "whole number"),
        ({"weight": 0}, "weight must be a whole number from 1 to 1000"),
        ({"weight": 1001}, "1 to 1000"),
        ({"whole_client": 1}, "true or false"),
        ({"whole_client": True, "address_of": "k_1"}, "address_of"),
        ({"concurrent": 1001}, "concurrent must be a whole number from 1 to 1000"),
        ({"Models": ["tiny"]}, "does not enforce"),
        ({"max_output_tokens": 0}, "1 to 1000000"),
        ({"max_output_tokens": 1_000_001}, "1 to 1000000"),
        ({"max_output_tokens": True}, "whole number"),
        ({"max_output_tokens": 1.5}, "whole number"),
        ({"max_output_tokens": 10**5000}, "whole number"),
        ({"models": []}, "1 to 100 names"),
        ({"models": "tiny"}, "1 to 100 names"),
        ({"models": [7]}, "1 to 100 names"),
        ({"models": ["tiny", 7]}, "1 to 100 names"),
        ({"models": ["  "]}, "1 to 100 names"),
        ({"models": [7, "tiny"]}, "1 to 100 names"),
        ({"models": ["a\nb"]}, "printable"),
        ({"models": ["x" * 257]}, "256"),
        ({"models": ["x"] * 101}, "1 to 100 names"),
        ({"expires": 0}, "since 1970"),
        ({"expires": -1}, "since 1970"),
        ({"expires": True}, "since 1970"),
        ({"expires": "tomorrow"}, "since 1970"),
        ({"expires": float("inf")}, "since 1970"),
        ({"expires": float("nan")}, "since 1970"),
        ({"expires": 10**5000}, "since 1970"),
        ({"expires": 253_402_300_800}, "since 1970"),
    ],
)
def test_what_is_no_limit_is_refused_with_what_is_allowed(said: Any, words: str) -> None:
    with pytest.raises(LimitError, match=words):
        Limits.of(said)


@pytest.mark.parametrize("text", ["", "{", "[1]", "nonsense", '{"hours":"9-17"}'])
def test_stored_limits_that_cannot_be_read_are_an_error(text: str) -> None:
    with pytest.raises(LimitError):
        Limits.load(text)


def test_a_limit_may_be_as_small_and_as_large_as_its_sentence_says() -> None:
    assert Limits.of({"max_output_tokens": 1}).max_output_tokens == 1
    assert Limits.of({"max_output_tokens": 1_000_000}).max_output_tokens == 1_000_000
    assert Limits.of({"models": [" x "]}).models == {"x"}
    assert Limits.of({"models": ["x" * 256]}).models == {"x" * 256}
    assert len(Limits.of({"models": [f"m{number}" for number in range(100)]}).models) == 100
    assert Limits.of({"expires": 0.5}).expires_us == 500_000
    assert Limits.of({"expires": 253_402_300_799}).expires_us == 253_402_300_799_000_000


def test_the_largest_answer_is_the_smaller_of_the_keys_and_the_settings() -> None:
    assert FULL.output_tokens(100) == 100
    assert FULL.output_tokens(256) == 256
    assert FULL.output_tokens(257) == 256
    assert UNLIMITED.output_tokens(4096) == 4096


def test_a_key_expires_in_the_very_microsecond() -> None:
    assert not FULL.expired(1_800_000_000_499_999)
    assert FULL.expired(1_800_000_000_500_000)
    assert not UNLIMITED.expired(2**62)


@pytest.mark.parametrize(
    "name", ["tiny", "Tiny:latest", "library/tiny", "registry.ollama.ai/library/tiny:latest"]
)
def test_an_allow_list_means_a_model_in_any_spelling(name: str) -> None:
    assert listed("tiny:latest", frozenset({name}))
    assert not listed("tiny:8b", frozenset({name}))


def test_an_empty_allow_list_means_every_model() -> None:
    assert listed("anything", frozenset())
