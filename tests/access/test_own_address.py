"""The secret in a path, however it is spelled, and what a request is without it."""

from __future__ import annotations

import base64

import pytest
from multidict import CIMultiDict

from app.access.credentials import by_address, presented_key
from app.access.own_address import new_secret, path_of, stripped, with_secret


def test_an_addresss_secret_has_256_random_bits_and_fits_into_a_path() -> None:
    secret = new_secret()
    assert len(base64.urlsafe_b64decode(secret.removeprefix("ma_") + "=")) == 32
    assert new_secret() != secret
    assert stripped(path_of(secret)) == (secret.encode(), "/")


@pytest.mark.parametrize(
    ("target", "rest"),
    [
        ("/k/ma_s", "/"),
        ("/k/ma_s/", "/"),
        ("/k/ma_s?x=1", "/?x=1"),
        ("/k/ma_s/api/tags", "/api/tags"),
        ("/k/ma_s//api/tags", "/api/tags"),
        ("/k/ma_s/v1/models?limit=2&a=/k/b", "/v1/models?limit=2&a=/k/b"),
        ("//k/ma_s/api/tags", "/api/tags"),
        ("///k///ma_s///api/tags", "/api/tags"),
        ("/%6b/ma_s/api/tags", "/api/tags"),
        ("/%6B/%6d%61_s/api/tags", "/api/tags"),
        ("/k/ma_s/api//tags", "/api//tags"),
        ("/k/ma_s/api/%74ags", "/api/%74ags"),
        ("/k/ma_s/k/ma_t", "/k/ma_t"),
    ],
)
def test_the_secret_leaves_the_path_in_every_spelling_and_the_rest_stays_as_it_came(
    target: str, rest: str
) -> None:
    assert stripped(target) == (b"ma_s", rest)


@pytest.mark.parametrize("target", ["/k", "/k/", "/k?x", "//k//", "/%6b"])
def test_an_address_without_a_secret_is_one_with_an_empty_secret(target: str) -> None:
    found = stripped(target)
    assert found is not None
    assert found[0] == b""


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "*",
        "/api/tags",
        "/K/ma_s",
        "/%4b/ma_s",
        "/kk/ma_s",
        "/api/k/ma_s",
        "/key",
        "/%6bx/ma_s",
        "//api",
        "/k%2Fma_s",
    ],
)
def test_no_other_path_is_an_address(target: str) -> None:
    assert stripped(target) is None


def test_what_the_secret_decodes_to_is_never_a_decoding_error() -> None:
    found = stripped("/k/%ff%00é/api/tags")
    assert found is not None
    headers = with_secret({}, found[0])
    assert presented_key(headers) == b"\xff\x00\xc3\xa9"


def test_the_address_counts_and_a_key_that_an_sdk_insists_on_sending_does_not() -> None:
    sent = CIMultiDict({"Authorization": "Bearer unused", "X-API-Key": "unused", "Accept": "*/*"})
    headers = with_secret(sent, b"ma_s")
    assert presented_key(headers) == b"ma_s"
    assert by_address(headers)
    assert dict(headers) == {"Authorization": "Address ma_s", "Accept": "*/*"}
    assert not by_address(sent)
    assert not by_address({})
