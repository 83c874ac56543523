"""What may follow the commands that manage: engine, models, engines, public-address, setup.

Rule: argparse only. The commands themselves are imported when they are asked for, which keeps the start quick.
"""

from __future__ import annotations

import argparse


def engine(command: argparse.ArgumentParser) -> None:
    """What may follow `engine`."""
    verbs = ("status", "start", "stop", "restart", "update", "recreate", "remove", "log")
    command.add_argument("verb", choices=verbs)
    command.add_argument(
        "--image", default="", help="update: to this image, for example ollama/ollama@sha256:…"
    )
    command.add_argument("--models", action="store_true", help="remove: the models too")
    command.add_argument("--yes", action="store_true", help="remove: do not ask")


def setup(command: argparse.ArgumentParser) -> None:
    """What may follow `setup`."""
    command.add_argument(
        "--engine",
        choices=["auto", "container", "endpoint"],
        default="auto",
        help="where answers come from: an Ollama in Docker, one that runs already, or whichever is there (auto)",
    )
    command.add_argument("--upstream", metavar="URL", default=None, help="the engine that runs already")
    command.add_argument("--model", default="", help="the model to get (default: one that fits the GPU)")
    command.add_argument("--yes", action="store_true", help="take the proposed answer to every question")
    command.add_argument(
        "--json", action="store_true", help="print the connection as one line of JSON at the end"
    )


def models(command: argparse.ArgumentParser) -> None:
    """What may follow `models`."""
    actions = ("list", "pull", "rm", "load", "unload", "show", "cancel", "update")
    command.add_argument("action", choices=actions, nargs="?", default="list")
    command.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="the model; for update the address of its GGUF file and then the model",
    )
    command.add_argument("--all", action="store_true", help="list: the catalogue's models too")
    command.add_argument("--json", action="store_true", help="list, show: as JSON")
    command.add_argument("--sha256", metavar="HASH", default="", help="update: what the file must hash to")


def engines(command: argparse.ArgumentParser) -> None:
    """Nothing may follow `engines`."""


def tariff(command: argparse.ArgumentParser) -> None:
    """What may follow `tariff`."""
    actions = ("show", "presets", "set", "import")
    command.add_argument("action", choices=actions, nargs="?", default="show")
    command.add_argument("what", nargs="?", help="set: one of the presets; import: a file or an address")
    command.add_argument(
        "--price",
        action="append",
        default=None,
        metavar="NAME=PRICE",
        help="set: a price of your own, per kilowatt-hour (repeat for each that the preset has)",
    )


def public(command: argparse.ArgumentParser) -> None:
    """What may follow `public-address`."""
    actions = ("status", "token", "quick", "named", "off")
    command.add_argument("action", choices=actions, nargs="?", default="status")


def receiver(command: argparse.ArgumentParser) -> None:
    """What may follow `receiver`."""
    actions = ("run", "enrol", "list", "remove", "verify", "pull", "reconcile")
    command.add_argument("action", choices=actions, nargs="?", default="run")
    command.add_argument("name", nargs="?", help="all but run and list: the gateway, as you call it")
    command.add_argument("--host", default=None, help="run: listen on this address (default 127.0.0.1)")
    command.add_argument(
        "--port", type=int, default=None, help="run: listen on this port (default 8435; 0: a free one)"
    )
    command.add_argument(
        "--database",
        metavar="URL",
        default=None,
        help="keep the copy in PostgreSQL: postgresql://user:password@host/name",
    )
    command.add_argument(
        "--print-connection",
        action="store_true",
        help="run: print one line of JSON with address and keys when ready",
    )
    command.add_argument(
        "--public-url", metavar="URL", default=None, help="enrol: where gateways reach this receiver"
    )
    command.add_argument(
        "--vkey",
        default="",
        help="enrol: the one key that the gateway's logs may be signed by (default: any)",
    )
    command.add_argument("--renew", action="store_true", help="enrol: give a known gateway a new secret")
    command.add_argument("--json", action="store_true", help="enrol, list: as JSON")
    command.add_argument("--url", default=None, help="pull, reconcile: the gateway's address")
    command.add_argument(
        "--key",
        default=None,
        help="pull, reconcile: your key there (-: read it from standard input, so that none sees it)",
    )
    command.add_argument(
        "--fingerprint",
        metavar="SHA256",
        default=None,
        help="pull, reconcile: the gateway's certificate, where no authority vouches for it",
    )
    command.add_argument("--log", default=None, help="pull, reconcile: which log, where there are several")
    handed_over(command, "reconcile: ")


def handed_over(command: argparse.ArgumentParser, about: str = "") -> None:
    """The other side's copy as files, and where evidence goes; `about` begins each line of help."""
    command.add_argument(
        "--leaves",
        default=None,
        metavar="FILE",
        help=about + "the other side's records, one a line (`GET /ledger/entries`)",
    )
    command.add_argument(
        "--checkpoint",
        default=None,
        metavar="FILE",
        help=about + "its newest checkpoint (`GET /ledger/checkpoint`)",
    )
    command.add_argument(
        "--every-record",
        action="store_true",
        help=about
        + "fetch every record of the other side's, instead of asking where the first difference is",
    )
    command.add_argument(
        "--out",
        default=None,
        metavar="FILE",
        help=about + "where evidence is written, if there is any (default: named after the log)",
    )
