"""What may follow `ledger`: each action with its own words, and the module that does it.

Rule: argparse only, as in `arguments.py`. An action is added by a function here and its line in `ACTIONS`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from app.commands.arguments import handed_over

Declare = Callable[[argparse.ArgumentParser], None]


def _list(command: argparse.ArgumentParser) -> None:
    command.add_argument("--limit", type=int, default=20, help="how many records (default 20)")
    command.add_argument("--json", action="store_true", help="one JSON object a line")


def _log(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--log",
        default=None,
        metavar="LOG",
        help="which log, or whose: needed where there are several clients",
    )


def _prove(command: argparse.ArgumentParser) -> None:
    command.add_argument("seq", type=int, metavar="SEQ", help="the record's number in its log, from 0")
    _log(command)
    of = command.add_mutually_exclusive_group()
    of.add_argument(
        "--size",
        type=int,
        default=None,
        metavar="N",
        help="in the log as it was with N records (default: now)",
    )
    of.add_argument("--cosigned", action="store_true", help="in the log as far as a receiver has cosigned it")
    command.add_argument(
        "--out",
        default=None,
        metavar="FILE",
        help="where to write it (default: named after the record; -: print it)",
    )


def _check_proof(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="the proof (-: read it from standard input)")
    command.add_argument(
        "--vkey", action="append", required=True, metavar="KEY", help="the log's public key (repeat for more)"
    )
    command.add_argument("--log", default=None, metavar="LOG", help="accept the records of this log only")
    command.add_argument(
        "--cosigner",
        action="append",
        default=[],
        metavar="KEY",
        help="this receiver must have cosigned it too",
    )


def _export(command: argparse.ArgumentParser) -> None:
    form = command.add_mutually_exclusive_group()
    form.add_argument(
        "--format",
        choices=["jsonl", "csv", "seed"],
        default="jsonl",
        help="jsonl: the very bytes that were hashed (default); csv: a table; seed: the older flat form with its hash",
    )
    form.add_argument("--jsonl", action="store_const", const="jsonl", dest="format", help="--format jsonl")
    form.add_argument("--csv", action="store_const", const="csv", dest="format", help="--format csv")
    command.add_argument(
        "--from", dest="since", default=None, metavar="TIME", help="for example 2026-08 or 2026-08-31"
    )
    command.add_argument(
        "--to", dest="until", default=None, metavar="TIME", help="counted in, where it is a day or a month"
    )
    command.add_argument("--log", default=None, metavar="LOG", help="which log, or whose (default: all)")
    command.add_argument("--out", default=None, metavar="FILE", help="write to a file instead of printing it")


def _statement(command: argparse.ArgumentParser) -> None:
    command.add_argument("--month", required=True, metavar="YYYY-MM", help="which month")
    _log(command)
    command.add_argument(
        "--time-zone",
        default=None,
        metavar="ZONE",
        help="in which the month begins and ends, such as Europe/Berlin (default: this machine's)",
    )
    command.add_argument("--out", default=None, metavar="FOLDER", help="where to write it (default: here)")


def _check_statement(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="any file of the statement; the others lie beside it")
    command.add_argument(
        "--vkey", action="append", required=True, metavar="KEY", help="the log's public key (repeat for more)"
    )
    command.add_argument(
        "--leaves",
        default=None,
        metavar="FILE",
        help="the log's records, one a line: every figure is worked out anew",
    )


def _deliver(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "client", nargs="?", metavar="CLIENT", help="whose log (default: list all receivers)"
    )
    command.add_argument(
        "line",
        nargs="?",
        metavar="LINE",
        help="what the client's `receiver enrol` printed (default: read it from standard input)",
    )
    command.add_argument(
        "--stop", action="store_true", help="deliver to no receiver of the client's any more"
    )
    command.add_argument("--json", action="store_true", help="list: one JSON object a line")


def _reconcile(command: argparse.ArgumentParser) -> None:
    _log(command)
    handed_over(command)
    command.add_argument(
        "--cosigner",
        default="",
        metavar="KEY",
        help="the receiver's public key, where it is not the enrolled one",
    )


def _file(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="the copy")


def _accept_rollback(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--despite-receivers",
        action="store_true",
        help="also where a client's receiver cannot be asked, or has the lost records: these are given up for good",
    )


def _nothing(command: argparse.ArgumentParser) -> None:
    """No words of its own."""


ACTIONS: dict[str, tuple[str, str, str, Declare]] = {
    "list": ("ledger", "newest", "the newest records", _list),
    "verify": (
        "ledger",
        "verify",
        "re-hash every record, and name the first that is not as it was signed",
        _nothing,
    ),
    "vkey": ("ledger_proofs", "vkey", "print the public key by which others check this ledger", _nothing),
    "prove": ("ledger_proofs", "prove", "write a file that proves one record", _prove),
    "check-proof": (
        "ledger_proofs",
        "check",
        "check such a file, or evidence of a difference, with nothing but the public key",
        _check_proof,
    ),
    "export": ("ledger_export", "export", "write the records of a period", _export),
    "statement": (
        "ledger_statement",
        "statement",
        "write a client's month as a signed page that a person can read, with the data beside it",
        _statement,
    ),
    "check-statement": (
        "ledger_statement",
        "check_statement",
        "check such a page and its data, with nothing but the public key",
        _check_statement,
    ),
    "backup": (
        "ledger_keeping",
        "backup",
        "copy the ledger into one file, whether or not the gateway runs, and verify the copy",
        _file,
    ),
    "restore": (
        "ledger_keeping",
        "restore",
        "put such a copy in the ledger's place, once it is verified; what was there is moved aside",
        _file,
    ),
    "reconcile": (
        "ledger_reconcile",
        "reconcile_ledger",
        "hold the ledger against the client's copy, and name the first difference and who the signatures convict",
        _reconcile,
    ),
    "rotate-key": (
        "ledger_keeping",
        "rotate_key",
        "pass the key that signs the ledger on to a new one",
        _nothing,
    ),
    "deliver": ("ledger_deliver", "deliver", "send a client's log to the receiver it keeps", _deliver),
    "refill": (
        "ledger_refill",
        "refill",
        "fetch records that an older copy lacks back from the clients' receivers, each verified",
        _nothing,
    ),
    "demo-fraud": (
        "demo_fraud",
        "demo_fraud",
        "show four frauds and how each is detected, on a ledger that is made for it and goes away",
        _nothing,
    ),
    "accept-rollback": (
        "ledger_rollback",
        "accept_rollback",
        "go on with an older copy, once no receiver has more, and say so in the logs that lost records",
        _accept_rollback,
    ),
}
"""Action → module in `app.commands`, its function, a line of help, and what declares its arguments."""


def ledger(command: argparse.ArgumentParser, profile_options: Declare) -> None:
    """What may follow `ledger`. The options of the profile may stand before the action or after it."""
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION", dest="action")
    for name, (module, function, help, declare) in ACTIONS.items():
        action = actions.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        action.set_defaults(module=module, function=function)
        declare(action)
        mine = {option.dest for option in action._actions}
        profile_options(action)
        for option in action._actions:
            if option.dest not in mine:
                option.default = argparse.SUPPRESS  # so that what stood before the action is not undone
