"""One thing that others may want to hear of, without its room knowing who they are.

The lower room owns the signal and calls it; higher rooms connect to it. So parts are made from the bottom up, each one
whole: what hears of it comes later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec

P = ParamSpec("P")


class Signal(Generic[P]):
    """Call it to tell everybody who is connected, in the order in which they connected."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: tuple[Callable[P, object], ...] = ()

    def connect(self, callback: Callable[P, object]) -> Callable[[], None]:
        """Call `callback` from now on; returns the un-subscriber, which may be called again."""
        self._listeners = (*self._listeners, callback)

        def disconnect() -> None:
            self._listeners = tuple(kept for kept in self._listeners if kept is not callback)

        return disconnect

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> None:
        """Tell them. What one of them raises is raised."""
        for listener in self._listeners:
            listener(*arguments, **named)
