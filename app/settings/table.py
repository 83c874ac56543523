"""docs/settings.md, printed from the declarations: `python -m app.settings.table > docs/settings.md`.

Rule 1: the page says nothing that the declarations do not say, besides how values are given.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from app.settings.catalogue import PARAMETERS, Catalogue, Parameter
from app.settings.values import shown

_HEAD = """\
# Settings

<!-- Written by `python -m app.settings.table > docs/settings.md`; a test compares the two. -->

A value is taken from the first of these that has one: the command line, the environment, the settings file, the
default. A value that is not allowed stops the start with one sentence that says which, where, and what is allowed.

- **Environment**: the process's own variables, then those in the environment file (`.env`). Every parameter can also
  be given as `MORTDECAI_` and its name in capitals. An empty variable counts as not set.
- **Settings file**: `settings.toml` in the profile's configuration folder, for example `spending_cap = 10`. The
  gateway writes it again when a setting changes, and keeps the old file when its version changes.
- **While the gateway runs**: in the settings window or with `POST /config`, by the name in lower or upper case. A
  change to what the command line or the environment sets holds for this run only, if it works at once, and is kept in
  the file for when it is no longer set there.
- **Writing**: decimals with a point (0.15); `true` or `false`, `yes` or `no`, `on` or `off`, `1` or `0`; lists with
  commas (in the file as `["a", "b"]`).
"""


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join((_HEAD, *tables(PARAMETERS)))


def tables(catalogue: Catalogue) -> Iterator[str]:
    """The lines of a table for each group of parameters."""
    for group in dict.fromkeys(parameter.group for parameter in catalogue.values()):
        yield f"## {group}\n"
        yield "| Parameter | Environment | Default | Unit | Allowed | A change works | What it does |"
        yield "|---|---|---|---|---|---|---|"
        yield from (_row(parameter) for parameter in catalogue.values() if parameter.group == group)
        yield ""


def _row(parameter: Parameter) -> str:
    works = "after the next start" if parameter.restart else "at once"
    cells = (
        f"`{parameter.name}`",
        f"`{parameter.env[-1]}`",
        "none" if parameter.default in ("", ()) else f"`{_default(parameter)}`",
        parameter.unit or "–",
        parameter.allowed,
        "never while the gateway runs" if parameter.who == "nobody" else works,
        f"**{parameter.label}.** {parameter.help}",
    )
    return f"| {' | '.join(cells)} |"


def _default(parameter: Parameter) -> str:
    return parameter.default if isinstance(parameter.default, str) else shown(parameter.default)


if __name__ == "__main__":
    # Windows would write the marks in its own code page.
    sys.stdout.buffer.write(page().encode())
