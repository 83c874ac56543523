"""What cloudflared writes is understood, and secrets are not kept."""

from __future__ import annotations

import pytest

from app.tunnel.log import TAIL, LogReader, Route, Trouble
from tests.tunnel.fake_docker import BOX, QUICK, STAMP, lost, registered


def read(*lines: str, secrets: tuple[str, ...] = ()) -> LogReader:
    reader = LogReader(secrets)
    for line in lines:
        reader.feed(line)
    return reader


def test_the_quick_address_is_read_from_the_box() -> None:
    reader = read(*BOX)
    assert reader.address == QUICK
    assert not reader.connected
    reader.feed(registered())
    assert reader.connected


@pytest.mark.parametrize(
    "line",
    [
        'failed to request quick Tunnel: Post "https://api.trycloudflare.com/tunnel": dial tcp: no such host',
        f"{STAMP} INF Requesting new quick Tunnel on trycloudflare.com...",
        "see https://developers.cloudflare.com/cloudflare-one/connections/connect-apps",
        "https://trycloudflare.com.example.org",
    ],
)
def test_other_addresses_in_the_log_are_not_ours(line: str) -> None:
    assert read(line).address == ""


def test_older_versions_say_registered_in_another_order() -> None:
    reader = read(
        f"{STAMP} INF Connection 5c313303-b31f-4cbe-96d7-3c111c8ac630 registered connIndex=1 location=DEN"
    )
    assert reader.connected


def test_it_is_connected_while_one_of_its_connections_stands() -> None:
    reader = read(registered(0), registered(1), lost(0))
    assert reader.connected
    reader.feed(f'{STAMP} ERR Connection terminated error="timeout: no recent network activity" connIndex=1')
    assert not reader.connected


@pytest.mark.parametrize(
    ("lines", "trouble", "hopeless"),
    [
        (["Provided Tunnel token is not valid."], Trouble.TOKEN, True),
        (
            [
                f'{STAMP} ERR Register tunnel error from server side error="Unauthorized: Invalid tunnel secret" '
            ]
            * 3,
            Trouble.TOKEN,
            True,
        ),
        (
            [f'{STAMP} ERR Register tunnel error error="Unauthorized: Failed to get tunnel"'],
            Trouble.TOKEN,
            False,
        ),
        (
            [
                f"{STAMP} ERR Error unmarshaling QuickTunnel response: error code: 1015 "
                'status_code="429 Too Many Requests"'
            ],
            Trouble.RATE,
            True,
        ),
        (
            ['Post "https://api.trycloudflare.com/tunnel": dial tcp: lookup: no such host'],
            Trouble.NETWORK,
            False,
        ),
        ([f"{STAMP} ERR edge discovery: error looking up Cloudflare edge IPs"], Trouble.NETWORK, False),
        (["panic: runtime error"], Trouble.OTHER, False),
        ([], Trouble.OTHER, False),
    ],
)
def test_what_is_the_matter_is_told_from_the_log(lines: list[str], trouble: Trouble, hopeless: bool) -> None:
    reader = read(*lines)
    assert (reader.trouble, reader.hopeless) == (trouble, hopeless)


def test_a_refusal_that_is_followed_by_a_connection_was_none() -> None:
    refused = f'{STAMP} ERR Register tunnel error error="Unauthorized: Failed to get tunnel"'
    reader = read(refused, refused, registered(), refused, refused, refused)
    assert not reader.hopeless


def test_the_routes_of_a_named_tunnel_are_read_from_its_configuration() -> None:
    reader = read(
        f"{STAMP} INF Updated to new configuration "
        r'config="{\"ingress\":[{\"hostname\":\"a.example.com\",\"originRequest\":{},\"service\":\"http://localhost:1\"},'
        r"{\"hostname\":\"gpu.example.com\",\"service\":\"http://localhost:8434\"},"
        r'{\"service\":\"http_status:404\"}]}" version=3'
    )
    assert Route("gpu.example.com", "http://localhost:8434") in reader.routes


def test_the_token_is_in_nothing_that_is_kept() -> None:
    reader = read("Settings: map[token:eyJsecret]", secrets=("eyJsecret",))
    assert "eyJsecret" not in "".join(reader.tail)


def test_only_the_last_lines_are_kept_and_long_ones_are_cut() -> None:
    reader = read(*[f"line {number} " + "x" * 10_000 for number in range(100)])
    assert len(reader.tail) == TAIL
    assert max(map(len, reader.tail)) <= 500
    assert reader.tail[-1].startswith("line 99")
