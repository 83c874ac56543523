"""The settings in docs/receiver.md, printed from their declarations: `python -m app.receiver.table`.

Rule: the section says nothing that the declarations do not say.
"""

from __future__ import annotations

import sys

from app.receiver.settings import RECEIVER_PARAMETERS
from app.settings.table import tables

MARK = "<!-- Written by `python -m app.receiver.table`; a test compares the two. -->\n"


def section() -> str:
    """What follows the mark, to the end of the page."""
    return MARK + "\n" + "\n".join(line.replace("## ", "### ", 1) for line in tables(RECEIVER_PARAMETERS))


if __name__ == "__main__":
    sys.stdout.buffer.write(section().encode())
