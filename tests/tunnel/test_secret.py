"""A container's secrets are in its environment and in no label."""

from __future__ import annotations

from dataclasses import replace

from app.containers.base import LABEL_SPEC
from app.containers.drift import drift, spec_json
from app.containers.making import container_config
from app.tunnel.container import spec_of
from tests.tunnel.fake_docker import NATIVE, FakeDocker


async def test_the_token_reaches_the_environment_and_nothing_else() -> None:
    spec = spec_of(profile="p", image="x", daemon=NATIVE, address="http://127.0.0.1:8434", token="eyJsecret")
    config = container_config(spec)
    assert config.pop("environment") == {"TUNNEL_TOKEN": "eyJsecret"}
    assert "eyJsecret" not in repr(config) + spec_json(spec)
    assert "secrets" not in config["labels"][LABEL_SPEC]


async def test_another_token_is_no_drift() -> None:
    first, second = (
        spec_of(profile="p", image="x", daemon=NATIVE, address="http://127.0.0.1:8434", token=token)
        for token in ("eyJone", "eyJtwo")
    )
    docker = FakeDocker([])
    container = await docker.create(first)
    container = replace(container, labels={**container.labels, LABEL_SPEC: spec_json(first)})
    assert drift(second, container) == ()


async def test_a_quick_tunnel_reaches_a_gateway_that_speaks_tls_and_asks_nobody_who_vouches_for_it() -> None:
    for daemon, host in ((NATIVE, "127.0.0.1"), (replace(NATIVE, virtual=True), NATIVE.host_alias)):
        plain, secure = (
            spec_of(profile="p", image="x", daemon=daemon, address=f"{scheme}://127.0.0.1:8434", token=None)
            for scheme in ("http", "https")
        )
        assert secure.command[-3:] == ("--url", f"https://{host}:8434", "--no-tls-verify")
        assert plain.command[-2:] == ("--url", f"http://{host}:8434")
