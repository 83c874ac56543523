"""Where a key may stand in the headers."""

from __future__ import annotations

import base64

import pytest
from multidict import CIMultiDict

from app.access.credentials import presented_key


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer mg_x"},
        {"Authorization": "bearer  mg_x "},
        {"Authorization": basic("user:mg_x")},
        {"Authorization": basic(":mg_x")},
        {"authorization": "BASIC " + basic("user:mg_x").partition(" ")[2]},
        {"X-Api-Key": " mg_x "},
        {"Authorization": "Digest whatever", "x-api-key": "mg_x"},
    ],
)
def test_keys_are_read_from_every_place_that_sdks_put_them(headers: dict[str, str]) -> None:
    assert presented_key(CIMultiDict(headers)) == b"mg_x"


def test_a_password_may_hold_colons_and_a_name_may_not() -> None:
    assert presented_key({"Authorization": basic("user:mg:x:")}) == b"mg:x:"
    assert presented_key({"Authorization": basic("a:b:mg_x")}) == b"b:mg_x"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic %%%"},
        {"Authorization": "Basic bWdfeA"},
        {"Authorization": basic("user:mg_x").replace("Basic ", "Basic %")},
        {"Authorization": basic("mg_x")},
        {"Authorization": "Basic " + "é"},
        {"Authorization": "mg_x"},
        {"x-api-key": "  "},
    ],
)
def test_what_holds_no_key_is_no_key(headers: dict[str, str]) -> None:
    assert presented_key(headers) == b""


def test_a_bearer_stands_before_any_other_place() -> None:
    assert presented_key({"Authorization": "Bearer mg_a", "x-api-key": "mg_b"}) == b"mg_a"
    assert presented_key({"Authorization": "Bearer", "x-api-key": "mg_b"}) == b""


def test_bytes_that_are_no_text_stay_what_they_were() -> None:
    assert presented_key({"x-api-key": "mg_\udcff"}) == b"mg_\xff"
