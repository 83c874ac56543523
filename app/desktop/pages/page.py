"""What the window expects of a page.

Rule: a page works only between `appear` and `vanish`; before and after it asks nothing and keeps no timer running.
"""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from app.face import Snapshot


class PageWidget(QWidget):
    """One tab of the window."""

    def appear(self) -> None:
        """It became the visible page of a visible window; a snapshot follows at once."""

    def vanish(self) -> None:
        """It is not seen any more."""

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Fit to the present moment; called once a second while visible, and on changes that must be instant."""
