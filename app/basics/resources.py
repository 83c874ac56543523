"""Where the files that are not code lie: icons, web pages, translations.

In a checkout they are in `resources/` beside `app/`; in an installed wheel and in the frozen bundle they are in
`app/_resources/`.
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent.parent


def resource(name: str) -> Path:
    """Path of one resource, for example `icons/app.svg`; FileNotFoundError names what is missing."""
    for root in (_HERE / "_resources", _HERE.parent / "resources"):
        path = root / name
        if path.exists():
            return path
    raise FileNotFoundError(f"The installation is incomplete: the file resources/{name} is missing.")
