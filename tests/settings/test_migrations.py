"""Files of older versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from app.settings.errors import SettingError
from app.settings.migrations import CURRENT, MIGRATIONS, lower_names, migrate


def test_names_of_an_unversioned_file_become_lower_case() -> None:
    assert lower_names({"SPENDING_CAP": 1, "port": 2}) == {"spending_cap": 1, "port": 2}


def test_a_name_in_both_cases_is_refused() -> None:
    with pytest.raises(SettingError, match="port is given twice, as port and as PORT: remove one"):
        lower_names({"PORT": 1, "port": 2})


def test_steps_run_in_order_from_the_files_own_version() -> None:
    def named(name: str) -> Any:
        def step(document: Mapping[str, Any]) -> dict[str, Any]:
            return {**document, "steps": [*document.get("steps", []), name]}

        return step

    steps = (named("0 to 1"), named("1 to 2"), named("2 to 3"))
    assert migrate({"version": 1}, steps) == ({"steps": ["1 to 2", "2 to 3"]}, 1)
    assert migrate({"version": 3}, steps) == ({}, 3)
    assert migrate({}, steps) == ({"steps": ["0 to 1", "1 to 2", "2 to 3"]}, 0)


@pytest.mark.parametrize("step", MIGRATIONS)
def test_a_migration_does_not_touch_what_it_is_given(step: Any) -> None:
    document = {"PORT": 1, "host": "x"}
    step(document)
    assert document == {"PORT": 1, "host": "x"}


def test_todays_version_needs_no_migration() -> None:
    document = {"version": CURRENT, "PORT": 1}
    assert migrate(document) == ({"PORT": 1}, CURRENT)
