"""Who gets in."""

from __future__ import annotations

import base64

import pytest

from app.access.identify import Access, Principal, Role, is_loopback, key_digest, new_key, presented_key
from app.access.refusals import Refusal

KEY, TOKEN = new_key(), new_key()
CLIENT = Principal("k_1", "laptop", Role.CLIENT, "First", "log/1", key_digest(KEY))
OPERATOR = Principal("operator", "operator", Role.OPERATOR, "First", "log/1", key_digest(TOKEN))


class Door:
    def __init__(self, *, remote_admin: bool = False) -> None:
        self.now_us = 0
        self.access = Access(lambda: self.now_us, remote_admin=lambda: remote_admin)
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
    assert door.knock(KEY) == 429, "the right key must not tell a guesser that it is right"
    assert door.knock(KEY, "192.0.2.8") == 200


def test_a_minute_later_it_may_try_again() -> None:
    door = Door()
    for _ in range(20):
        door.knock("mg_no")
    door.now_us = 59_999_999
    assert door.knock(KEY) == 429
    door.now_us = 60_000_001
    assert door.knock(KEY) == 200


def test_what_is_remembered_of_failures_is_bounded() -> None:
    door = Door()
    for number in range(10_050):
        door.knock("mg_no", f"198.51.{number // 256}.{number % 256}")
    assert len(door.access._failures) == 10_000


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


def test_keys_are_read_from_every_place_that_sdks_put_them() -> None:
    basic = base64.b64encode(b"user:mg_x").decode()
    for headers in (
        {"Authorization": "Bearer mg_x"},
        {"Authorization": "bearer  mg_x "},
        {"Authorization": f"Basic {basic}"},
        {"x-api-key": "mg_x"},
    ):
        assert presented_key(headers) == b"mg_x"
