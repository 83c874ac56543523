"""Which requests a web page of somebody else's had sent."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from app.access.web_pages import from_foreign_page, names_this_machine

HOST = {"Host": "127.0.0.1:8434"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://evil.example:8434"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "nonsense"},
        {"Origin": "http://localhost:8434"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "HTTPS://EVIL.example"},
        {"Origin": "http://evil.example://127.0.0.1:8434"},
        {"Origin": "https://evil.example://127.0.0.1:8434"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "Cross-Site", "Origin": "http://127.0.0.1:8434"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
        {"Sec-Fetch-Site": "something-new"},
    ],
)
def test_another_page_is_foreign_also_one_of_another_port_of_this_machine(headers: dict[str, str]) -> None:
    assert from_foreign_page(CIMultiDict(HOST | headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://127.0.0.1:8434"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://gpu.example"},
        {"Origin": "chrome-extension://abcdef"},
        {"Origin": "tauri://localhost", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://gpu.example", "X-Forwarded-Host": "gpu.example"},
    ],
)
def test_our_own_page_a_program_and_an_extension_are_not(headers: dict[str, str]) -> None:
    assert not from_foreign_page(CIMultiDict(HOST | headers))


def test_behind_a_tunnel_the_page_of_the_public_name_is_our_own() -> None:
    assert not from_foreign_page(
        CIMultiDict({"Host": "a-b.trycloudflare.com", "Origin": "https://a-b.trycloudflare.com"})
    )


@pytest.mark.parametrize("host", ["127.0.0.1:8434", "localhost", "LOCALHOST:1", "[::1]:8434", "127.9.9.9"])
def test_this_machines_names_for_itself(host: str) -> None:
    assert names_this_machine(CIMultiDict({"Host": host}))


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "127.0.0.1:8434:1",
        "٢127.0.0.1",
        "0.0.0.0",
    ],
)
def test_names_that_anybody_can_make_point_here_are_none_of_them(host: str) -> None:
    assert not names_this_machine(CIMultiDict({"Host": host}))
