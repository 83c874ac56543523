"""Whose an address is."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.basics.addresses import (
    bare,
    is_here,
    is_loopback,
    is_metadata,
    is_public,
    neighbourhood,
    parsed,
    url_is_here,
)


@pytest.mark.parametrize(
    "address",
    "127.0.0.1 10.1.2.3 192.168.1.1 172.16.0.1 169.254.169.254 0.0.0.0 100.64.0.1 224.0.0.1 240.0.0.1 "
    "::1 :: fe80::1 fc00::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: "
    "fd00:ec2::254".split(),
)
def test_addresses_of_this_machine_and_its_network_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111"])
def test_public_addresses_are(address: str) -> None:
    assert is_public(address)


@given(
    st.ip_addresses(network="127.0.0.0/8")
    | st.ip_addresses(network="10.0.0.0/8")
    | st.ip_addresses(network="fe80::/10")
)
def test_no_local_address_is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert not is_public(str(address))


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.0.0.1.example.com", "127.1", "256.0.0.1", "1.2.3.4:80"]
)
def test_what_is_no_address_is_nobodys(text: str) -> None:
    assert parsed(text) is None
    assert [is_loopback(text), is_public(text), is_metadata(text)] == [False, False, False]


@pytest.mark.parametrize("text", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "::1%lo"])
def test_loopback_is_this_machine_in_each_of_its_spellings(text: str) -> None:
    assert is_loopback(text)
    assert is_here(text)


@pytest.mark.parametrize("text", [None, "0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"])
def test_what_others_may_have_is_not_loopback(text: str | None) -> None:
    assert not is_loopback(text)


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost:11434", True),
        ("http://LOCALHOST./", True),
        ("http://[::1]:11434/x", True),
        ("http://127.0.0.2", True),
        ("http://127.example.com", False),
        ("http://localhost.example.com", False),
        ("http://192.168.1.2:11434", False),
        ("http://[::1", False),
        ("", False),
    ],
)
def test_a_url_leads_here_by_its_host_alone(url: str, here: bool) -> None:
    assert url_is_here(url) is here


@pytest.mark.parametrize(
    "address",
    "169.254.169.254 ::ffff:169.254.169.254 fe80::1 fe80::1%eth0 fd00:ec2::254 fd00:ec2::254%eth0 100.100.100.200 "
    "192.0.0.192 0.0.0.0 :: 224.0.0.1 ff02::1".split(),
)
def test_link_local_addresses_and_a_clouds_metadata_are_told_apart(address: str) -> None:
    assert is_metadata(address)


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.1", "fc00::1", "1.1.1.1", "127.0.0.1"])
def test_the_rest_of_a_private_network_is_no_metadata(address: str) -> None:
    assert not is_metadata(address)


@pytest.mark.parametrize(
    "text",
    ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "168.63.129.16"],
)
def test_a_metadata_service_is_one_also_inside_another_address(text: str) -> None:
    assert is_metadata(text)


@pytest.mark.parametrize(
    ("text", "same"),
    [("::ffff:10.0.0.1", "10.0.0.1"), ("fe80::1%eth0", "fe80::1"), ("0:0::1", "::1"), ("localhost", "")],
)
def test_an_address_has_one_spelling_to_be_compared_in(text: str, same: str) -> None:
    assert bare(text) == same


@pytest.mark.parametrize(
    ("peer", "one"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("?", "?"),
    ],
)
def test_what_counts_as_one_address(peer: str, one: str) -> None:
    assert neighbourhood(peer) == one
