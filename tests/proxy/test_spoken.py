"""What an engine lacks is remembered for a while, for that engine and that version alone."""

from __future__ import annotations

import pytest

from app.access.refusals import Refusal
from app.proxy.spoken import FORGOTTEN_US, Spoken

PATH = "/v1/responses"


class Stand:
    """A clock and an engine."""

    def __init__(self) -> None:
        self.now_us = 0
        self.engine = ("http://127.0.0.1:11434", "0.12.0")
        self.spoken = Spoken(lambda: self.engine, lambda: self.now_us)

    def refuses(self, path: str = PATH) -> bool:
        try:
            self.spoken.require(path)
        except Refusal as refusal:
            return refusal.code == "not_spoken" and path in refusal.sentence
        return False


def test_nothing_is_missing_before_the_engine_was_asked_and_then_that_path_alone() -> None:
    stand = Stand()
    assert not stand.refuses()
    assert stand.spoken.missing(PATH).status == 501
    assert stand.refuses()
    assert not stand.refuses("/v1/messages")


def test_it_is_forgotten_after_a_minute() -> None:
    stand = Stand()
    stand.spoken.missing(PATH)
    stand.now_us = FORGOTTEN_US - 1
    assert stand.refuses()
    stand.now_us = FORGOTTEN_US
    assert not stand.refuses()
    stand.now_us = 0
    assert not stand.refuses(), "forgotten is forgotten"


@pytest.mark.parametrize("other", [("http://127.0.0.1:11434", "0.13.0"), ("http://127.0.0.1:8080", "0.12.0")])
def test_another_version_or_another_engine_is_asked_at_once(other: tuple[str, str]) -> None:
    stand = Stand()
    stand.spoken.missing(PATH)
    stand.engine = other
    assert not stand.refuses()
