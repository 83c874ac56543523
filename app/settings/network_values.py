"""Reading values that say who may come in and how: networks, origins of web pages, files of a certificate.

Rule: as in `values`; what is written in several ways is kept in one, so that comparing needs no reading again.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from app.settings.values import Kind, is_host, items, shown

_SCHEME = re.compile("[a-z][a-z0-9+.-]{0,31}")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def _networks(value: object) -> tuple[str, ...]:
    """Networks or single addresses, each in its one spelling; an address is the network of itself."""
    networks = []
    for item in items(value):
        try:
            networks.append(str(ipaddress.ip_network(item if isinstance(item, str) else "")))
        except ValueError as error:
            told = "has bits set behind its length" if "host bits" in str(error) else "is no network"
            raise ValueError(f"{shown(item)} {told}") from None
    return tuple(dict.fromkeys(networks))


def _origins(value: object) -> tuple[str, ...]:
    """Origins as browsers send them (RFC 6454): scheme and host in lower case, the scheme's own port left out."""
    return tuple(dict.fromkeys(_origin(item) for item in items(value)))


def _origin(item: object) -> str:
    text = item.strip().lower() if isinstance(item, str) else ""
    wrong = ValueError(f"{shown(item)} is not the origin of a page")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise wrong from None
    bare = parts.path or parts.query or parts.fragment or "?" in text or "#" in text or "@" in text
    if bare or not _SCHEME.fullmatch(parts.scheme) or not is_host(host) or port == 0:
        raise wrong
    named = f"[{host}]" if ":" in host else host
    default = port is None or port == _DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{named}" if default else f"{parts.scheme}://{named}:{port}"


def _file(value: object) -> str:
    if not isinstance(value, str) or len(value) > 4096 or not value.isprintable():
        raise ValueError("")
    return value.strip()


NETWORKS = Kind(
    "networks", "networks separated by commas, such as 10.0.0.0/8, 192.168.1.5, or empty for none", _networks
)
ORIGINS = Kind(
    "origins", "origins separated by commas, such as https://chat.example.org, or empty for none", _origins
)
FILE = Kind("file", "the path of a file, or empty", _file)
