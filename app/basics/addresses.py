"""Whose an address is: this machine's own, the public internet's, or one that no name may lead to.

Rule 1: pure, and nobody is asked: a name says nothing but `localhost`. Rule 2: an address that hides another one
(IPv4 mapped into IPv6, 6to4, Teredo, NAT64) is what it hides. Rule 3: what is no address is nobody's.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_METADATA = frozenset({"fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"})


def parsed(text: str) -> Address | None:
    """The IP address that `text` is, a zone behind `%` left out; None where it is none."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def bare(text: str) -> str:
    """An IP address in its one spelling, IPv4 mapped into IPv6 as IPv4, so that two can be compared; "" where it is
    none."""
    address = parsed(text)
    return "" if address is None else str(unmapped(address))


def is_loopback(text: str | None) -> bool:
    """Whether an IP address is this machine's own, IPv4 mapped into IPv6 included."""
    if text == "127.0.0.1":
        return True
    address = parsed(text or "")
    return address is not None and unmapped(address).is_loopback


def is_here(host: str) -> bool:
    """Whether a URL's host is this machine's own: a loopback address, or the name `localhost`."""
    return host.lower().rstrip(".") == "localhost" or is_loopback(host.strip("[]"))


def url_is_here(url: str) -> bool:
    """Whether what a URL leads to is on this machine; False where it cannot be read."""
    try:
        return is_here(urlsplit(url).hostname or "")
    except ValueError:
        return False


def is_public(text: str) -> bool:
    """Whether an IP address is one of the public internet."""
    address = parsed(text)
    if address is None:
        return False
    address = _hidden(address) or address
    return address.is_global and not address.is_multicast and not address.is_reserved


def is_metadata(text: str) -> bool:
    """Whether an IP address is link-local or a cloud's metadata service: no name may lead there, listed or not."""
    address = parsed(text)
    if address is None:
        return False
    address = _hidden(address) or address
    return (
        address.is_link_local or address.is_unspecified or address.is_multicast or str(address) in _METADATA
    )


def unmapped(address: Address) -> Address:
    """The address itself, or the IPv4 one that is mapped into it."""
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def neighbourhood(text: str) -> str:
    """What counts as one address where anybody is counted: an IPv6 customer has a whole /64 of them."""
    address = parsed(text)
    if address is None:
        return text
    address = unmapped(address)
    return str(address) if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


def _hidden(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner
