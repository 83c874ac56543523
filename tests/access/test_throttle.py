"""Who has to wait after too many wrong keys, for how long, and whom a full table forgets."""

from __future__ import annotations

from app.access.throttle import ADDRESSES_REMEMBERED, FAILURES_A_MINUTE, Throttle


class Times:
    def __init__(self) -> None:
        self.now_us = 1
        self.throttle = Throttle(lambda: self.now_us)

    def fail(self, address: str = "192.0.2.7", times: int = 1) -> bool:
        """Whether the last of so many failures must wait."""
        return [self.throttle.failed(address) for _ in range(times)][-1]


def test_the_twentieth_failure_of_a_minute_is_the_last_that_hears_no() -> None:
    times = Times()
    assert not times.fail(times=FAILURES_A_MINUTE)
    assert times.fail()
    assert not times.fail("192.0.2.8")


def test_a_minute_after_its_oldest_failure_an_address_may_try_once_more() -> None:
    times = Times()
    times.fail()
    times.now_us = 30_000_001
    times.fail(times=FAILURES_A_MINUTE - 1)
    times.now_us = 60_000_000
    assert times.fail()
    times.now_us = 60_000_001
    assert not times.fail(), "the first is a minute old now, and frees one place"
    assert times.fail()


def test_whoever_keeps_on_failing_while_he_waits_does_not_wait_longer() -> None:
    times = Times()
    times.fail(times=FAILURES_A_MINUTE)
    times.now_us = 59_000_000
    assert times.fail(times=100)
    times.now_us = 60_000_001
    assert not times.fail()


def test_a_full_table_forgets_the_address_that_has_been_quiet_for_longest() -> None:
    times = Times()
    times.fail("first", FAILURES_A_MINUTE)
    times.fail("second", FAILURES_A_MINUTE)
    for number in range(ADDRESSES_REMEMBERED - 3):
        times.fail(f"other {number}")
    times.now_us = 60_000_001
    times.fail("first")  # its old failures are over, and this one is the newest of all
    times.now_us = 60_000_002
    times.fail("first", FAILURES_A_MINUTE - 1)
    assert len(times.throttle) == ADDRESSES_REMEMBERED - 1
    times.fail("one more")
    assert len(times.throttle) == ADDRESSES_REMEMBERED
    times.fail("one too many")
    assert len(times.throttle) == ADDRESSES_REMEMBERED
    assert times.fail("first"), "it failed after the second did, so the second went"
    assert len(times.throttle) == ADDRESSES_REMEMBERED
    times.fail("second")
    assert len(times.throttle) == ADDRESSES_REMEMBERED, (
        "the second was not there any more and pushed another out"
    )
    assert not times.throttle.failed("other 0"), "which was the next that had been quiet for longest"


def test_waiting_addresses_are_not_forgotten_before_quiet_ones_that_failed_earlier() -> None:
    times = Times()
    for number in range(ADDRESSES_REMEMBERED - 1):
        times.fail(f"early {number}")
    times.fail("late", FAILURES_A_MINUTE)
    for number in range(ADDRESSES_REMEMBERED - 1):
        times.fail(f"new {number}")
    assert times.fail("late")
    times.fail("and another")
    assert not times.fail("late"), "now it was the one that had been quiet for longest"


def test_twenty_failures_a_minute_are_allowed_and_ten_thousand_addresses_remembered() -> None:
    assert (FAILURES_A_MINUTE, ADDRESSES_REMEMBERED) == (20, 10_000)


def test_an_ipv6_customer_is_one_however_many_addresses_it_has() -> None:
    times = Times()
    for number in range(FAILURES_A_MINUTE):
        assert not times.fail(f"2001:db8:1:2::{number:x}")
    assert times.fail("2001:db8:1:2:ffff::1")
    assert not times.fail("2001:db8:1:3::1"), "its neighbour is somebody else"
    assert not times.fail("::ffff:192.0.2.7")
