"""Who gets in."""

from __future__ import annotations

import base64
import hmac
from dataclasses import replace

import pytest
from multidict import CIMultiDict

from app.access.identify import Access
from app.access.limits import Limits
from app.access.principals import Principal, Role, key_digest, new_key
from app.access.refusals import Refusal
from app.basics.addresses import is_loopback

KEY, TOKEN = new_key(), new_key()
CLIENT = Principal("k_1", "laptop", Role.CLIENT, "First", "log/1", key_digest(KEY))
OPERATOR = Principal("operator", "operator", Role.OPERATOR, "First", "log/1", key_digest(TOKEN))


class Door:
    def __init__(self, *, remote_admin: bool = False) -> None:
        self.now_us = 0
        self.wall_us = 1_800_000_000_000_000
        self.access = Access(
            lambda: self.now_us, remote_admin=lambda: remote_admin, wall_us=lambda: self.wall_us
        )
        self.access.replace([CLIENT, OPERATOR])

    def knock(self, key: str, remote: str = "192.0.2.7") -> int:
        """200, or the status of the refusal."""
        try:
            self.access.identify({"Authorization": f"Bearer {key}"}, remote)
        except Refusal as refusal:
            return refusal.status
        return 200


def test_a_key_has_256_random_bits_behind_its_prefix() -> None:
    assert KEY.startswith("mg_")
    assert len(base64.urlsafe_b64decode(KEY[3:] + "=")) == 32
    assert new_key() != new_key()


def test_a_known_key_comes_in_and_is_known_by_name() -> None:
    assert Door().access.identify({"x-api-key": KEY}, "192.0.2.7") is CLIENT


def test_every_wrong_key_gets_the_same_answer() -> None:
    door = Door()
    said = set()
    for headers in ({}, {"x-api-key": "mg_no"}, {"Authorization": "Bearer"}, {"Authorization": "Basic %%%"}):
        with pytest.raises(Refusal) as caught:
            door.access.identify(headers, "192.0.2.7")
        said.add((caught.value.status, caught.value.code, caught.value.sentence))
    assert len(said) == 1


def test_after_twenty_failures_an_address_waits_and_others_do_not() -> None:
    door = Door()
    assert [door.knock("mg_no") for _ in range(21)] == [401] * 20 + [429]
    assert door.knock("mg_no", "192.0.2.8") == 401


def test_a_valid_key_is_let_in_however_many_wrong_ones_came_from_its_address() -> None:
    door = Door()
    for _ in range(50):
        door.knock("mg_no", "127.0.0.1")
    assert door.knock("mg_no", "127.0.0.1") == 429
    assert door.knock(KEY, "127.0.0.1") == 200
    assert door.knock(TOKEN, "127.0.0.1") == 200


def test_a_failure_is_hashed_and_compared_before_it_is_told_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr("app.access.identify.hmac.compare_digest", counted)
    door = Door()
    for _ in range(25):
        door.knock("mg_no")
    door.knock("")
    assert compared == [(32, 32)] * 26, "throttled or not, known or not, an answer takes the same work"


def test_what_a_foreign_page_sends_is_refused_and_never_counts() -> None:
    door = Door()
    for _ in range(50):
        with pytest.raises(Refusal) as caught:
            door.access.identify(CIMultiDict({"Origin": "https://evil.example"}), "127.0.0.1")
        assert (caught.value.status, caught.value.code) == (403, "foreign_page")
    assert door.knock("mg_no", "127.0.0.1") == 401, "not one of the fifty was counted"


def test_a_browser_that_sends_a_remembered_password_for_a_foreign_page_gets_nowhere() -> None:
    basic = base64.b64encode(f"user:{TOKEN}".encode()).decode()
    headers = CIMultiDict({"Authorization": f"Basic {basic}", "Sec-Fetch-Site": "cross-site"})
    with pytest.raises(Refusal, match="another origin"):
        Door().access.identify(headers, "127.0.0.1")


def test_only_the_operator_passes_where_only_the_operator_may() -> None:
    door = Door()
    assert door.access.operator({"x-api-key": TOKEN}, "127.0.0.1") is OPERATOR
    for key, status in ((KEY, 403), ("mg_no", 401)):
        with pytest.raises(Refusal) as caught:
            door.access.operator({"x-api-key": key}, "127.0.0.1")
        assert caught.value.status == status


def test_an_expired_key_is_refused_and_counted_as_every_wrong_one() -> None:
    door = Door()
    door.access.replace([replace(CLIENT, limits=Limits(expires_us=door.wall_us + 1))])
    assert door.knock(KEY) == 200
    door.wall_us += 1
    said = set()
    for key in [KEY, "mg_no"] * 10:
        with pytest.raises(Refusal) as caught:
            door.access.identify({"x-api-key": key}, "192.0.2.7")
        said.add((caught.value.status, caught.value.code, caught.value.sentence))
    assert len(said) == 1
    assert door.knock(KEY) == 429


def test_a_key_that_was_taken_away_since_is_refused_where_its_work_would_begin() -> None:
    door = Door()
    found = door.access.identify({"x-api-key": KEY}, "192.0.2.7")
    door.access.replace([replace(CLIENT, label="renamed"), OPERATOR])
    door.access.require(found)
    door.access.replace([OPERATOR])
    with pytest.raises(Refusal) as caught:
        door.access.require(found)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")


LOCAL = {"Host": "127.0.0.1:8434"}


def test_this_machine_sees_all_figures_without_a_key_and_a_client_elsewhere_its_own() -> None:
    door = Door()
    assert door.access.viewer(CIMultiDict(LOCAL), "127.0.0.1") is None
    assert door.access.viewer(CIMultiDict({"Host": "gpu.lan:8434", "x-api-key": KEY}), "192.0.2.7") == "log/1"
    assert door.access.viewer(CIMultiDict({**LOCAL, "x-api-key": TOKEN}), "127.0.0.1") is None


@pytest.mark.parametrize(
    ("headers", "remote", "status"),
    [
        (LOCAL, "192.0.2.7", 401),
        ({"Host": "evil.example:8434"}, "127.0.0.1", 401),
        ({"Host": "127.0.0.1.evil.example"}, "127.0.0.1", 401),
        ({}, "127.0.0.1", 401),
        ({**LOCAL, "X-Forwarded-For": "203.0.113.7"}, "127.0.0.1", 401),
        ({**LOCAL, "Origin": "http://evil.example"}, "127.0.0.1", 403),
        ({**LOCAL, "Origin": "http://chat.example"}, "127.0.0.1", 403),
        ({**LOCAL, "Origin": "null"}, "127.0.0.1", 403),
        ({**LOCAL, "Sec-Fetch-Site": "cross-site"}, "127.0.0.1", 403),
    ],
)
def test_nobody_else_sees_figures_without_a_key(headers: dict[str, str], remote: str, status: int) -> None:
    with pytest.raises(Refusal) as caught:
        Door().access.viewer(CIMultiDict(headers), remote)
    assert caught.value.status == status


@pytest.mark.parametrize("remote", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_the_operator_comes_in_from_this_machine(remote: str) -> None:
    assert is_loopback(remote)
    assert Door().knock(TOKEN, remote) == 200


@pytest.mark.parametrize("remote", ["192.0.2.7", "::2", "::ffff:192.0.2.7", "", "nonsense"])
def test_the_operator_comes_in_from_elsewhere_only_where_that_is_switched_on(remote: str) -> None:
    assert Door().knock(TOKEN, remote) == 403
    assert Door(remote_admin=True).knock(TOKEN, remote) == 200


def test_a_key_that_is_taken_away_stops_working() -> None:
    door = Door()
    door.access.replace([OPERATOR])
    assert door.knock(KEY) == 401


PAGE = {"Origin": "https://chat.example", "Sec-Fetch-Site": "cross-site", "Host": "127.0.0.1:8434"}


def named_page() -> Access:
    access = Access(lambda: 0, remote_admin=lambda: True, pages=lambda: ("https://chat.example",))
    access.replace([CLIENT, OPERATOR])
    return access


def test_a_page_that_is_named_may_ask_with_a_key_and_sees_nothing_without_one() -> None:
    access = named_page()
    assert access.identify(CIMultiDict({**PAGE, "x-api-key": KEY}), "127.0.0.1") is CLIENT
    assert access.viewer(CIMultiDict({**PAGE, "x-api-key": KEY}), "127.0.0.1") == "log/1"
    for ask in (access.identify, access.viewer):
        with pytest.raises(Refusal) as caught:
            ask(CIMultiDict(PAGE), "127.0.0.1")
        assert caught.value.status == 401, "what this machine sees without a key, its pages do not"


@pytest.mark.parametrize(
    "origin", ["https://chat.example:444", "http://chat.example", "https://chat.example.evil", "null"]
)
def test_a_page_of_nearly_the_same_origin_is_another_one(origin: str) -> None:
    with pytest.raises(Refusal) as caught:
        named_page().identify(CIMultiDict({**PAGE, "Origin": origin, "x-api-key": KEY}), "127.0.0.1")
    assert caught.value.code == "foreign_page"


def test_what_is_the_operators_stays_closed_to_a_page_that_is_named() -> None:
    with pytest.raises(Refusal) as caught:
        named_page().operator(CIMultiDict({**PAGE, "x-api-key": TOKEN}), "127.0.0.1")
    assert caught.value.code == "foreign_page"


def test_failures_are_counted_by_the_address_behind_a_proxy_that_is_named() -> None:
    access = Access(lambda: 0, remote_admin=lambda: False, proxies=lambda: ("10.0.0.0/8",))

    def status(client: str, peer: str) -> int:
        with pytest.raises(Refusal) as caught:
            access.identify(CIMultiDict({"X-Forwarded-For": client}), peer)
        return caught.value.status

    assert [status("203.0.113.7", "10.0.0.2") for _ in range(21)] == [401] * 20 + [429]
    assert status("203.0.113.8", "10.0.0.2") == 401
    assert [status(f"198.51.100.{number}", "192.0.2.9") for number in range(21)] == [401] * 20 + [429]


def test_the_operator_is_not_local_through_any_proxy() -> None:
    access = Access(lambda: 0, remote_admin=lambda: False, proxies=lambda: ("10.0.0.0/8",))
    access.replace([OPERATOR])
    for peer in ("10.0.0.2", "127.0.0.1"):
        with pytest.raises(Refusal) as caught:
            access.identify(CIMultiDict({"x-api-key": TOKEN, "X-Forwarded-For": "127.0.0.1"}), peer)
        assert caught.value.code == "operator_is_local"
