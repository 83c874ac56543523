"""Where a receiver may be, whoever named it, and whatever a name leads to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from app.gateway.delivery.guard import Guard, ReceiverPlace, ReceiverRefused, own_addresses, place_of

GATEWAY, ENGINE = "http://127.0.0.1:8434", "http://ollama.lan:11434"
NAMES = {
    "client.example": ["203.0.114.7"],
    "home.lan": ["192.168.1.5"],
    "here.example": ["127.0.0.1"],
    "here6.example": ["::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "outside.example": ["198.51.101.9"],
    "aws.example": ["169.254.169.254"],
    "azure.example": ["168.63.129.16"],
    "both.example": ["203.0.114.7", "169.254.169.254"],
    "nat64.example": ["64:ff9b::a9fe:a9fe"],
    "local6.example": ["fe80::1"],
    "any.example": ["0.0.0.0"],
    "ollama.lan": ["192.168.1.20"],
    "also-ollama.lan": ["192.168.1.20"],
}
OURS = frozenset({"127.0.0.1", "::1", "192.168.1.2"})


def addresses(host: str, port: int) -> list[tuple[int, str]]:
    if host not in NAMES:
        raise socket.gaierror(f"{host} is unknown")
    return [(int(socket.AF_INET6 if ":" in address else socket.AF_INET), address) for address in NAMES[host]]


Admit = Callable[..., Awaitable[list[str]]]


@pytest.fixture
async def admit() -> AsyncIterator[Admit]:
    """Whether a URL passes, as a connection to it asks: `admit(url, private=…)`."""
    guards: list[Guard] = []

    async def ask(url: str, *, private: bool = False) -> list[str]:
        guard = Guard(
            private=lambda: private, never=lambda: (GATEWAY, ENGINE), addresses=addresses, ours=lambda: OURS
        )
        guards.append(guard)
        await guard.admit(url)
        place = place_of(url)
        if any(character.isalpha() for character in place.host) and ":" not in place.host:
            found = await guard.resolver().resolve(place.host, place.port, socket.AF_UNSPEC)
            return [result["host"] for result in found]
        return [place.host]

    yield ask
    for guard in guards:
        guard.close()


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/transaction",
        "http://[fe80::1]:8435/",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://0.0.0.0:8435/",
        "http://[::]:8435/",
        "http://100.100.100.200/",
        "http://224.0.0.1/",
        "https://aws.example/",
        "https://azure.example/",
        "https://both.example/",
        "https://nat64.example/",
        "https://local6.example/",
        "https://any.example/",
    ],
)
async def test_metadata_services_and_link_local_addresses_never_get_anything(
    admit: Admit, url: str, private: bool
) -> None:
    with pytest.raises(ReceiverRefused, match="link-local address or a metadata service"):
        await admit(url, private=private)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8435/transaction",
        "http://192.168.1.5:8435/transaction",
        "http://10.0.0.1/",
        "http://100.64.0.1/",
        "http://[::1]:8435/",
        "http://home.lan:8435/",
        "http://here.example:8435/",
        "http://mapped.example:8435/",
    ],
)
async def test_this_machine_and_its_network_only_where_the_contributor_said_so(
    admit: Admit, url: str
) -> None:
    with pytest.raises(ReceiverRefused, match="is not on the public internet: turn on"):
        await admit(url)
    assert await admit(url, private=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8434/transaction",
        "http://127.9.9.9:8434/",
        "http://[::1]:8434/",
        "http://[::ffff:127.0.0.1]:8434/",
        "http://192.168.1.2:8434/",
        "http://[::ffff:192.168.1.2]:8434/",
        "http://[::ffff:192.168.1.20]:11434/",
        "http://here.example:8434/",
        "http://here6.example:8434/",
        "http://mapped.example:8434/",
        "http://ollama.lan:11434/api/delete",
        "http://also-ollama.lan:11434/",
        "http://192.168.1.20:11434/",
    ],
)
async def test_the_gateways_own_port_and_the_engines_are_no_receivers(admit: Admit, url: str) -> None:
    with pytest.raises(ReceiverRefused, match="is this gateway or its engine"):
        await admit(url, private=True)


@pytest.mark.parametrize(
    "url", ["http://203.0.114.7:8434/", "http://client.example:11434/", "https://outside.example/x?y=1"]
)
async def test_the_same_ports_elsewhere_are(admit: Admit, url: str) -> None:
    assert await admit(url)


LONG = "h" * 60 + "." + "i" * 60 + ".example"


@pytest.mark.parametrize(
    ("url", "begins"),
    [
        ("http://169.254.169.254/", "169.254.169.254 is a link-local address"),
        ("https://aws.example/", "aws.example leads to 169.254.169.254, which is a link-local address"),
        ("http://10.0.0.1/", "10.0.0.1 is not on the public internet"),
        ("http://home.lan/", "home.lan leads to 192.168.1.5, which is not on the public internet"),
        (f"http://{LONG}/", f"{LONG[:100]} leads to 10.0.0.2, which is not"),
    ],
)
async def test_the_sentence_names_what_was_written_and_where_it_leads(
    admit: Admit, monkeypatch: pytest.MonkeyPatch, url: str, begins: str
) -> None:
    monkeypatch.setitem(NAMES, LONG, ["10.0.0.2"])
    with pytest.raises(ReceiverRefused) as refused:
        await admit(url)
    assert str(refused.value).startswith(begins)


@pytest.mark.parametrize(
    ("host", "family"), [("203.0.114.7", socket.AF_INET), ("2a00:1450::1", socket.AF_INET6)]
)
async def test_an_address_is_connected_to_as_what_it_is(host: str, family: int) -> None:
    guard = Guard(private=lambda: False, never=lambda: (), addresses=addresses, ours=lambda: OURS)
    try:
        (found,) = await guard.resolver().resolve(host, 443, socket.AF_UNSPEC)
    finally:
        guard.close()
    assert (found["host"], found["family"], found["port"]) == (host, family, 443)


async def test_the_thread_that_looks_names_up_ends_with_the_guard() -> None:
    guard = Guard(private=lambda: True, never=lambda: (), addresses=addresses, ours=lambda: OURS)
    await guard.admit("http://203.0.114.7/")

    def looking() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if each.name.startswith("finding a receiver")]

    begun = looking()
    assert begun
    guard.close()
    for thread in begun:
        await asyncio.to_thread(thread.join, 10)
    assert not set(begun) & set(looking())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://user@client.example/", "leave them out"),
        ("http://:secret@client.example/", "leave them out"),
        ("ftp://client.example/", "cannot be read"),
        ("file:///etc/passwd", "cannot be read"),
        ("client.example:8435", "cannot be read"),
        ("http://", "cannot be read"),
        ("http://[::1", "cannot be read"),
        ("http://h:99999/", "cannot be read"),
        ("http://h/ä", "cannot be read"),
        ("http://h/\x00", "cannot be read"),
        ("http://user:secret@client.example/", "leave them out"),
        ("http://2130706433/", "is no address"),
        ("http://127.1/", "is no address"),
    ],
)
async def test_what_is_no_address_is_said(admit: Admit, url: str, words: str) -> None:
    with pytest.raises(ReceiverRefused, match=words) as caught:
        await admit(url, private=True)
    assert "secret" not in str(caught.value)


def test_the_port_is_the_schemes_where_none_is_written() -> None:
    assert place_of("https://h/x") == ReceiverPlace("h", 443)
    assert place_of("http://h/x") == ReceiverPlace("h", 80)
    assert place_of("http://H:8435/x") == ReceiverPlace("h", 8435)


def test_this_machine_knows_its_own_addresses() -> None:
    assert "127.0.0.1" in own_addresses()
    assert all(ipaddress.ip_address(address) for address in own_addresses())
