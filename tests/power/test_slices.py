"""Slices of time that wait, and what is taken of them."""

from __future__ import annotations

from app.power.exact import PARTS_PER_US
from app.power.slices import Account, Slices


def test_what_was_taken_waits_no_more() -> None:
    slices = Slices()
    account = Account(1, 0)
    slices.add(0, 10, (account,), False)
    slices.add(10, 30, (), True)
    slices.add(30, 60, (), False)
    assert (slices.count, slices.start_us) == (3, 0)
    taken = slices.take(10)
    assert (taken.run, taken.loading, taken.rest, taken.whole) == (10 * PARTS_PER_US, 0, 0, 10 * PARTS_PER_US)
    assert (taken.ran_last, taken.accounts) == (True, [account])
    assert (slices.count, slices.start_us) == (2, 10)
    taken = slices.take(40)
    assert (taken.run, taken.loading, taken.rest) == (0, 20 * PARTS_PER_US, 10 * PARTS_PER_US)
    assert not taken.ran_last
    assert (slices.count, slices.start_us) == (1, 40)
    assert slices.take(40).whole == 0
    assert slices.take(60).rest == 20 * PARTS_PER_US
    assert (slices.count, slices.start_us) == (0, None)


def test_an_account_over_several_slices_is_taken_once_with_all_that_is_due() -> None:
    slices = Slices()
    first, second = Account(1, 0), Account(2, 0)
    slices.add(0, 10, (first,), False)
    slices.add(10, 20, (first, second), False)
    taken = slices.take(20)
    assert taken.accounts == [first, second]
    assert (first.due, second.due) == (15 * PARTS_PER_US, 5 * PARTS_PER_US)
    assert (first.share, first.busy_us, second.share, second.busy_us) == (first.due, 20, second.due, 10)


def test_a_closed_account_has_paid_and_is_given_nothing_though_its_time_counts() -> None:
    slices = Slices()
    account = Account(1, 0)
    slices.add(0, 10, (account,), False)
    account.closed = True
    taken = slices.take(10)
    assert (taken.accounts, account.due) == ([], 0)
    assert taken.run == 10 * PARTS_PER_US
