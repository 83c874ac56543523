"""What the contributor says, and what follows."""

from __future__ import annotations

from app.presence.blockers import Blocker, Weight
from app.presence.conduct import Conduct, Wish, cap_reached

HOUR_US = 3_600_000_000


def engine_down(url: str) -> Blocker:
    return Blocker("engine_down", f"No engine answers at {url}.", "Start it.", Weight.FAULT)


def conduct() -> Conduct:
    return Conduct(lambda: None)


def codes(subject: Conduct) -> list[str]:
    return [blocker.code for blocker in subject.blockers.all()]


def test_a_gateway_that_has_not_started_serves_nobody() -> None:
    assert codes(conduct()) == ["starting"]


def test_it_starts_paused_unless_told_to_contribute() -> None:
    quiet, eager = conduct(), conduct()
    quiet.started(contribute=False)
    eager.started(contribute=True)
    assert codes(quiet) == ["paused"]
    assert eager.serving


def test_finishing_becomes_a_pause_when_the_last_request_has_ended() -> None:
    subject = conduct()
    subject.started(contribute=True)
    subject.finish()
    assert codes(subject) == ["finishing"]
    subject.finished()
    assert codes(subject) == ["paused"]


def test_contribute_takes_a_finish_back() -> None:
    subject = conduct()
    subject.started(contribute=True)
    subject.finish()
    subject.contribute()
    subject.finished()
    assert subject.serving


def test_a_snooze_says_until_when_and_ends_then_and_not_before() -> None:
    subject = conduct()
    subject.started(contribute=True)
    subject.snooze(HOUR_US, "22:00", now_us=0)
    blocker = subject.blockers.first()
    assert blocker is not None
    assert blocker.until_us == HOUR_US
    assert blocker.retry_after_s == 3600
    assert "22:00" in blocker.sentence
    subject.due(HOUR_US - 1)
    assert not subject.serving
    subject.due(HOUR_US)
    assert subject.serving
    assert subject.wish is Wish.CONTRIBUTE


def test_a_fault_does_not_change_what_the_contributor_wants() -> None:
    subject = conduct()
    subject.started(contribute=True)
    subject.put(engine_down("http://127.0.0.1:11434"))
    assert codes(subject) == ["engine_down"]
    subject.lift("engine_down")
    assert subject.serving


def test_the_heaviest_reason_is_shown_first() -> None:
    subject = conduct()
    subject.started(contribute=False)
    subject.put(cap_reached("$10.00"))
    assert codes(subject) == ["cap_reached", "paused"]
    subject.stopping()
    assert codes(subject)[0] == "stopping"


def test_faces_hear_of_changes_and_of_nothing_else() -> None:
    heard: list[int] = []
    subject = Conduct(lambda: heard.append(1))
    subject.started(contribute=True)
    before = len(heard)
    subject.put(engine_down("x"))
    subject.put(engine_down("x"))
    subject.lift("nothing")
    assert len(heard) == before + 1
