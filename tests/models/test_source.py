"""Where a model's file may come from."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.basics.threads import Aside
from app.models.source import Refused, Rules, checked, is_listed, resolver, shown

RULES = Rules(("huggingface.co", "*.hf.co", "10.0.0.5", "*.example.org"), http=False, most_b=10**9)


@pytest.mark.parametrize(
    "url",
    [
        "https://huggingface.co/a/b/resolve/main/m.gguf?download=true",
        "https://cdn.eu.hf.co/m.gguf",
        "https://HuggingFace.CO./m.gguf",
        "https://10.0.0.5:8443/m.gguf",
    ],
)
def test_listed_hosts_are_asked(url: str) -> None:
    assert checked(url + "#part", RULES) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://huggingface.co/m.gguf", "not encrypted"),
        ("ftp://huggingface.co/m.gguf", "must begin with https"),
        ("file:///etc/passwd", "must begin with https"),
        ("m.gguf", "must begin with https"),
        ("https:///m.gguf", "must begin with https"),
        ("https://evil.org/m.gguf", "may not come from evil.org"),
        ("https://hf.co/m.gguf", "may not come from hf.co"),
        ("https://nothf.co/m.gguf", "may not come from"),
        ("https://huggingface.co.evil.org/m.gguf", "may not come from"),
        ("https://user:secret@huggingface.co/m.gguf", "user's name"),
        ("https://huggingface.co@evil.org/m.gguf", "user's name"),
        ("https://huggingface.co\\@evil.org/", "a character that no address has"),
        ("https://huggingface.co/a b", "a character that no address has"),
        ("https://huggingface.co/\r\nX: y", "a character that no address has"),
        ("https://ä.hf.co/m", "letters that addresses do not have"),
        ("https://huggingface.co:99999/m", "cannot be read"),
        ("https://[::1/m", "cannot be read"),
        ("https://127.0.0.1/m", "may not come from"),
        ("https://huggingface.co/" + "a" * 5000, "too long"),
    ],
)
def test_everything_else_is_refused_in_a_sentence(url: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        checked(url, RULES)


def test_letters_that_are_not_ascii_are_written_as_browsers_do_and_signatures_stay() -> None:
    assert checked("https://huggingface.co/ä%2Fb.gguf?s=a%2B/=+ö", RULES) == (
        "https://huggingface.co/%C3%A4%2Fb.gguf?s=a%2B/=+%C3%B6"
    )


def test_plain_http_is_for_those_who_ask_for_it() -> None:
    rules = Rules(("huggingface.co",), http=True, most_b=1)
    assert checked("http://huggingface.co/m", rules) == "http://huggingface.co/m"


def test_an_address_is_shown_without_its_secrets() -> None:
    assert shown("https://u:p@hf.co:8443/a/m.gguf?token=secret#x") == "https://hf.co:8443/a/m.gguf"


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_no_text_makes_the_check_fall_over(text: str) -> None:
    for url in (text, "https://" + text, "https://huggingface.co" + text):
        try:
            found = checked(url, RULES)
        except Refused:
            continue
        assert found.startswith("https://")


async def resolved(host: str, *addresses: str, rules: Rules = RULES) -> list[str]:
    aside = Aside("test")
    names = resolver(rules, aside, lambda host, port: [(int(socket.AF_INET), one) for one in addresses])
    try:
        return [result["host"] for result in await names.resolve(host, 443)]
    finally:
        aside.close()


async def test_a_name_leads_to_public_addresses_only() -> None:
    assert await resolved("cdn.hf.co", "1.1.1.1") == ["1.1.1.1"]
    for inside in ("127.0.0.1", "10.0.0.5", "169.254.169.254"):
        with pytest.raises(Refused, match="not on the public internet"):
            await resolved("cdn.hf.co", "1.1.1.1", inside)


async def test_a_host_that_was_listed_by_its_own_name_may_be_in_the_house_but_never_metadata() -> None:
    assert await resolved("huggingface.co", "192.168.1.9") == ["192.168.1.9"]
    with pytest.raises(Refused, match="not on the public internet"):
        await resolved("huggingface.co", "169.254.169.254")


async def test_a_name_without_an_address_is_no_connection() -> None:
    with pytest.raises(OSError, match="no address"):
        await resolved("cdn.hf.co")


def test_a_star_means_everything_below_and_not_the_name_itself() -> None:
    assert is_listed("a.b.example.org", ("*.example.org",))
    assert not is_listed("example.org", ("*.example.org",))
    assert not is_listed("badexample.org", ("*.example.org",))
