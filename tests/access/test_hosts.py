"""Which names call this machine."""

from __future__ import annotations

import socket

import pytest

from app.access.hosts import is_own_name

NAMED = ("gpu.example", "*.home.example", "")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost",
        "LOCALHOST:8434",
        "localhost.:8434",
        "127.0.0.1:8434",
        "192.168.1.5",
        "[::1]:8434",
        "[fe80::1%25eth0]",
        "box.local:8434",
        "app.localhost",
        "host.docker.internal:8434",
        "gpu.example:8434",
        "GPU.example",
        "a.home.example",
        socket.gethostname(),
    ],
)
def test_an_address_and_a_name_of_its_own(host: str) -> None:
    assert is_own_name(host, NAMED)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8434",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "x.gpu.example",
        "home.example",
        "evilhome.example",
        "local",
        "evil.example:1:2",
        "evil.example/127.0.0.1",
        "[::1].evil.example",
    ],
)
def test_a_name_that_anybody_can_make_lead_here(host: str) -> None:
    assert not is_own_name(host, NAMED)
