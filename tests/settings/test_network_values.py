"""How networks, origins and files are written, and what is none."""

from __future__ import annotations

import pytest

from app.settings.catalogue import parse


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("", ()),
        ("10.0.0.0/8, 192.168.1.5", ("10.0.0.0/8", "192.168.1.5/32")),
        (["2001:DB8::/32", "2001:db8::/32"], ("2001:db8::/32",)),
    ],
)
def test_a_network_has_one_spelling(value: object, read: tuple[str, ...]) -> None:
    assert parse("trusted_proxies", value) == read


@pytest.mark.parametrize(
    ("value", "hint"),
    [("10.0.0.1/8", "bits set"), ("nginx", "no network"), ("10.0.0.0/33", "no network"), ([7], "7")],
)
def test_what_is_no_network_is_named(value: object, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        parse("trusted_proxies", value)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("https://Chat.Example, http://a.example:80", ("https://chat.example", "http://a.example")),
        ("http://localhost:3000", ("http://localhost:3000",)),
        (["http://[::1]:3000", "app://obsidian.md"], ("http://[::1]:3000", "app://obsidian.md")),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(value: object, read: tuple[str, ...]) -> None:
    assert parse("cors_origins", value) == read


@pytest.mark.parametrize(
    "value",
    [
        "*",
        "null",
        "chat.example",
        "https://a.example/",
        "https://a.example/x",
        "https://u@a.example",
        "https://a:0",
        "https://",
        "https://a?b",
        "https://a#",
        "https://*.a.example",
    ],
)
def test_what_is_no_origin_is_named(value: str) -> None:
    with pytest.raises(ValueError, match="not the origin"):
        parse("cors_origins", value)


def test_a_file_is_a_path_in_one_line() -> None:
    assert parse("tls_key", "  /etc/ssl/key.pem ") == "/etc/ssl/key.pem"
    for value in ("a\nb", "x" * 5000, 7):
        with pytest.raises(ValueError):
            parse("tls_key", value)
