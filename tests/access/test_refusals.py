"""What a refusal carries, and those that every part of the proxy gives alike."""

from __future__ import annotations

import pytest

from app.access.identify import Access
from app.access.principals import Principal, Role, key_digest
from app.access.refusals import Refusal, foreign_page, management_forbidden, not_found


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (not_found(), 404, "not_found"),
        (management_forbidden(), 403, "management_forbidden"),
        (foreign_page(), 403, "foreign_page"),
    ],
)
def test_each_refusal_keeps_its_status_and_its_code(refusal: Refusal, status: int, code: str) -> None:
    assert (refusal.status, refusal.code, refusal.retry_after_s) == (status, code, None)
    assert refusal.sentence == str(refusal)
    assert refusal.sentence.endswith(".")


def test_a_refusal_says_how_long_to_wait_where_waiting_helps() -> None:
    assert Refusal(429, "later", "Later.", retry_after_s=60).retry_after_s == 60


def test_a_key_that_was_taken_away_meanwhile_is_refused_like_one_that_never_was() -> None:
    access = Access(lambda: 0, remote_admin=lambda: False, wall_us=lambda: 0)
    who = Principal("k_1", "laptop", Role.CLIENT, "First", "log/1", key_digest("mg_x"))
    access.replace([who])
    access.require(who)
    access.replace([])
    with pytest.raises(Refusal) as taken:
        access.require(who)
    with pytest.raises(Refusal) as never:
        access.identify({"x-api-key": "mg_never"}, "192.0.2.1")
    assert (taken.value.status, taken.value.code, taken.value.sentence) == (
        never.value.status,
        never.value.code,
        never.value.sentence,
    )
    assert taken.value.status == 401


def test_whoever_failed_too_often_is_told_to_come_back_in_a_minute() -> None:
    access = Access(lambda: 0, remote_admin=lambda: False, wall_us=lambda: 0)
    answers = []
    for _ in range(21):
        with pytest.raises(Refusal) as caught:
            access.identify({"x-api-key": "mg_wrong"}, "192.0.2.1")
        answers.append((caught.value.status, caught.value.retry_after_s))
    assert answers == [(401, None)] * 20 + [(429, 60)]
