"""What is counted into one line, and what a flood costs."""

from __future__ import annotations

from app.access.deeds import LINES_A_MINUTE, MOST_WAITING, OTHERS, Deed, DeedLines

MINUTE = 60_000_000


def refused(address: str = "192.0.2.7", code: str = "invalid_api_key") -> Deed:
    return Deed("", address, "GET /api/tags", 401, code)


DONE = Deed("operator", "127.0.0.1", "POST /config", 200, "", "spending_cap")


def test_the_same_refusal_within_a_minute_is_counted_and_after_it_a_line_of_its_own() -> None:
    lines = DeedLines()
    for now in (5, 6, MINUTE):
        lines.add(refused(), now)
    [line] = lines.take()
    assert (line.first_us, line.last_us, line.count) == (5, MINUTE, 3)
    lines.add(refused(), MINUTE + 4)
    assert lines.take() == [line], "counted further, it is written again"
    assert line.count == 4
    lines.add(refused(), MINUTE + 5)
    [later] = lines.take()
    assert later is not line
    assert later.count == 1


def test_what_was_done_has_a_line_each_time() -> None:
    lines = DeedLines()
    for _ in range(3):
        lines.add(DONE, 1)
    assert [line.count for line in lines.take()] == [1, 1, 1]


def test_beyond_a_minutes_lines_refusals_are_counted_by_their_code_and_none_is_lost() -> None:
    lines = DeedLines()
    for number in range(10_000):
        lines.add(refused(f"198.51.100.{number}"), number)
        lines.add(refused(f"198.51.100.{number}", "other"), number)
    taken = lines.take()
    assert len(taken) == LINES_A_MINUTE + 2
    assert sum(line.count for line in taken) == 20_000
    assert {line.deed.code for line in taken if line.deed.address == OTHERS} == {"invalid_api_key", "other"}


def test_a_clock_that_is_set_back_begins_a_new_minute() -> None:
    lines = DeedLines()
    lines.add(refused(), 10 * MINUTE)
    lines.add(refused(), 1)
    assert [line.count for line in lines.take()] == [1, 1]


def test_what_cannot_be_written_waits_in_its_order_and_within_bounds() -> None:
    lines = DeedLines()
    lines.add(refused(), 1)
    taken = lines.take()
    lines.add(DONE, 2)
    lines.put_back(taken)
    assert [line.deed for line in lines.take()] == [refused(), DONE]
    for _ in range(MOST_WAITING + 7):
        lines.add(DONE, 3)
    assert (len(lines.take()), lines.lost) == (MOST_WAITING, 7)
