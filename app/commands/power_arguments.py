"""What may follow `power`: by itself it shows what is measured now; each action has its own words.

Rule: argparse only, as in `ledger_arguments.py`. An action is added by a function here and its line in `ACTIONS`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

Declare = Callable[[argparse.ArgumentParser], None]


def _replay(command: argparse.ArgumentParser) -> None:
    command.add_argument("readings", metavar="READINGS.csv", help="t_s,instant_w,average_w[,energy_mj]")
    command.add_argument(
        "--requests",
        required=True,
        metavar="MARKS.csv",
        help="t_s, start and end alternating, or start_s,end_s[,tokens]",
    )
    command.add_argument("--truth", default=None, metavar="TRUTH.csv", help="an external meter's t_s,power_w")
    command.add_argument(
        "--source",
        choices=["counter", "instant", "average"],
        default=None,
        help="believe this column alone (default: all of them, as they are metered)",
    )
    command.add_argument("--json", action="store_true", help="as one JSON object")


def _calibrate(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--seconds", type=float, default=60, metavar="N", help="watch for so long (default 60)"
    )
    command.add_argument("--json", action="store_true", help="as one JSON object")


def _nothing(command: argparse.ArgumentParser) -> None:
    """No words of its own."""


ACTIONS: dict[str, tuple[str, str, str, Declare]] = {
    "replay": (
        "power_replay",
        "power_replay",
        "bill recorded readings, and say how far that is from the truth",
        _replay,
    ),
    "calibrate": (
        "power_calibrate",
        "calibrate",
        "learn what the GPU draws at rest and, by a plug at the wall, what the socket gives for each watt",
        _calibrate,
    ),
    "plug-token": (
        "power_plug",
        "keep_token",
        "keep the password or token of the plug at the wall, once the plug takes it",
        _nothing,
    ),
}
"""Action → module in `app.commands`, its function, a line of help, and what declares its arguments."""


def power(command: argparse.ArgumentParser, profile_options: Declare) -> None:
    """What may follow `power`. The options of the profile may stand before the action or after it."""
    command.add_argument("--json", action="store_true", help="as one JSON object")
    profile_options(command)
    actions = command.add_subparsers(title="actions", required=False, metavar="ACTION", dest="action")
    for name, (module, function, help, declare) in ACTIONS.items():
        action = actions.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        action.set_defaults(module=module, function=function)
        declare(action)
        mine = {option.dest for option in action._actions}
        profile_options(action)
        for option in action._actions:
            if option.dest not in mine:
                option.default = argparse.SUPPRESS  # so that what stood before the action is not undone
