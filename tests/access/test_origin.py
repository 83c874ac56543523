"""A request that a tunnel hands on is not from this machine."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from app.access.origin import UNKNOWN, is_proxy, networks, origin
from app.basics.addresses import is_loopback


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.8.9.1"])
@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"CF-Connecting-IP": "203.0.113.7", "CF-Ray": "1-FRA"}, "203.0.113.7"),
        ({"cf-connecting-ip": "2001:db8::1"}, "2001:db8::1"),
        ({"CF-Connecting-IP": "198.51.100.1", "X-Forwarded-For": "203.0.113.7"}, "203.0.113.7"),
        ({"CF-Connecting-IP": "198.51.100.1", "X-Forwarded-For": "127.0.0.1"}, UNKNOWN),
        ({"X-Forwarded-For": "127.0.0.1, 203.0.113.7"}, "203.0.113.7"),
        ({"X-Forwarded-For": "203.0.113.7, 127.0.0.1"}, "203.0.113.7"),
        ({"X-Forwarded-For": "198.51.100.1, 203.0.113.7, ::1"}, "203.0.113.7"),
        ({"X-Forwarded-For": "127.0.0.1"}, UNKNOWN),
        ({"X-Forwarded-For": "203.0.113.7, nonsense"}, UNKNOWN),
        ({"X-Forwarded-For": ""}, UNKNOWN),
        ({"X-Forwarded-For": "203.0.113.7:4711"}, "203.0.113.7"),
        ({"X-Forwarded-For": "[2001:db8::1]:4711"}, "2001:db8::1"),
        ({"X-Forwarded-For": "::ffff:203.0.113.7"}, "203.0.113.7"),
        ({"CF-Connecting-IP": "127.0.0.1"}, UNKNOWN),
        ({"CF-Connecting-IP": "nonsense"}, UNKNOWN),
        ({"CF-Connecting-IP": ""}, UNKNOWN),
        ({"CF-Ray": "1-FRA"}, UNKNOWN),
        ({"Forwarded": "for=127.0.0.1"}, UNKNOWN),
        ({"Via": "1.1 caddy"}, UNKNOWN),
    ],
)
def test_what_a_program_on_this_machine_hands_on_is_not_local(
    peer: str, headers: dict[str, str], address: str
) -> None:
    found = origin(CIMultiDict(headers), peer)
    assert found == address
    assert not is_loopback(found)


def test_a_plain_request_from_this_machine_is_local() -> None:
    assert is_loopback(
        origin(CIMultiDict({"Authorization": "Bearer mg_x", "Host": "127.0.0.1:8434"}), "127.0.0.1")
    )
    assert origin(CIMultiDict(), None) is None


def test_headers_of_a_connection_from_elsewhere_are_not_believed() -> None:
    headers = CIMultiDict({"CF-Connecting-IP": "198.51.100.1", "X-Forwarded-For": "127.0.0.1"})
    assert origin(headers, "192.168.1.9") == "192.168.1.9"


def test_of_two_lines_the_one_that_the_nearest_proxy_added_counts() -> None:
    headers = CIMultiDict([("X-Forwarded-For", "8.8.8.8"), ("X-Forwarded-For", "203.0.113.7")])
    assert origin(headers, "127.0.0.1") == "203.0.113.7"


PROXIES = networks(("10.0.0.0/8", "2001:db8:1::/48"))


@pytest.mark.parametrize("peer", ["10.0.0.2", "::ffff:10.0.0.2", "2001:db8:1::9", "127.0.0.1"])
@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.1.1.1, ::ffff:10.2.2.2", "203.0.113.7"),
        ("203.0.113.7, 2001:db8:1::5, 127.0.0.1", "203.0.113.7"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("nonsense, 10.2.2.2", UNKNOWN),
    ],
)
def test_behind_proxies_that_are_named_the_last_address_that_is_none_of_theirs_counts(
    peer: str, forwarded: str, address: str
) -> None:
    assert origin(CIMultiDict({"X-Forwarded-For": forwarded}), peer, PROXIES) == address


@pytest.mark.parametrize("peer", ["11.0.0.2", "2001:db8:2::9", "nonsense", ""])
def test_whoever_is_not_named_changes_nothing_by_any_header(peer: str) -> None:
    forged = {"X-Forwarded-For": "127.0.0.1", "CF-Connecting-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1"}
    assert origin(CIMultiDict(forged), peer, PROXIES) == peer
    assert not is_proxy(peer, PROXIES)


@pytest.mark.parametrize("peer", ["10.0.0.2", "127.0.0.1", "2001:db8:1::9"])
@pytest.mark.parametrize(
    "claim", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.0.0.1:8434", "localhost", "10.1.1.1", ""]
)
def test_no_header_makes_anybody_local(peer: str, claim: str) -> None:
    for name in ("X-Forwarded-For", "CF-Connecting-IP", "X-Real-IP", "Forwarded", "Via"):
        found = origin(CIMultiDict({name: claim}), peer, PROXIES)
        assert not is_loopback(found), (name, found)


def test_a_named_proxy_that_says_nothing_counts_itself_and_its_cloudflare_header_is_not_believed() -> None:
    assert origin(CIMultiDict(), "10.0.0.2", PROXIES) == "10.0.0.2"
    assert origin(CIMultiDict({"CF-Connecting-IP": "203.0.113.7"}), "10.0.0.2", PROXIES) == "10.0.0.2"
