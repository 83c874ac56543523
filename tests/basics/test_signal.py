"""Whoever connects hears, in order, until they do not want to any more."""

from __future__ import annotations

from app.basics.signal import Signal


def test_everybody_hears_in_the_order_in_which_they_connected() -> None:
    signal: Signal[[str]] = Signal()
    heard: list[tuple[int, str]] = []
    signal.connect(lambda word: heard.append((1, word)))
    signal.connect(lambda word: heard.append((2, word)))
    signal("a")
    assert heard == [(1, "a"), (2, "a")]


def test_nobody_connected_is_nobody_told() -> None:
    Signal[[]]()()


def test_disconnecting_takes_one_listener_away_and_again_is_harmless() -> None:
    signal: Signal[[]] = Signal()
    heard: list[int] = []
    first = signal.connect(lambda: heard.append(1))
    signal.connect(lambda: heard.append(2))
    first()
    first()
    signal()
    assert heard == [2]


def test_whoever_disconnects_while_it_is_told_disturbs_nobody() -> None:
    signal: Signal[[]] = Signal()
    heard: list[int] = []
    leave = signal.connect(lambda: leave())
    signal.connect(lambda: heard.append(2))
    signal()
    assert heard == [2]
