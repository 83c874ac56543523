"""A request that a tunnel hands on is not from this machine."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from app.access.origin import UNKNOWN, origin
from app.basics.addresses import is_loopback


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.8.9.1"])
@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"CF-Connecting-IP": "203.0.113.7", "CF-Ray": "1-FRA"}, "203.0.113.7"),
        ({"cf-connecting-ip": "2001:db8::1"}, "2001:db8::1"),
        ({"CF-Connecting-IP": "203.0.113.7", "X-Forwarded-For": "127.0.0.1"}, "203.0.113.7"),
        ({"X-Forwarded-For": "127.0.0.1, 203.0.113.7"}, "203.0.113.7"),
        ({"X-Forwarded-For": "203.0.113.7, 127.0.0.1"}, UNKNOWN),
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
