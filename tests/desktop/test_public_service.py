"""What a person is told to let a tunnel at Cloudflare lead to."""

from __future__ import annotations

from app.desktop.cards.public import service


def test_the_service_is_called_as_the_gateway_speaks() -> None:
    assert service("http://127.0.0.1:8434") == (
        "http://localhost:8434 (with Docker Desktop http://host.docker.internal:8434)"
    )
    assert service("https://127.0.0.1:8434") == (
        "https://localhost:8434 (with Docker Desktop https://host.docker.internal:8434), with «No TLS Verify» on"
    )
