"""The command line: what can be said, and which command does it.

Rule 1: only parsing happens here; a command is imported when it is asked for. Rule 2: every error that is a
person's to mend ends as one sentence on stderr and exit status 2 (or 1 where a check found something).
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from app import __version__
from app.commands import arguments, ledger_arguments, power_arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `mortdecai-gateway`; the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments.insert(0, "tray")
    options = parser().parse_args(arguments)
    from app.basics.certificates import import_aiohttp

    import_aiohttp()  # before a command does
    command = importlib.import_module(f"app.commands.{options.module}")
    try:
        return int(getattr(command, options.function)(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        from app.commands.sentences import for_people

        if not isinstance(error, for_people()):
            raise
        print(f"mortdecai-gateway: {error}", file=sys.stderr)
        return 2


def main_tray() -> int:
    """Entry point of the desktop's menu entry."""
    return main(["tray", *sys.argv[1:]])


def parser() -> argparse.ArgumentParser:
    """Everything that can be said."""
    top = argparse.ArgumentParser(
        prog="mortdecai-gateway",
        description="Lend your GPU through an authenticated, metered Ollama proxy. Without a command: tray.",
    )
    top.add_argument("--version", action="version", version=f"mortdecai-gateway {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    tray = _command(commands, "tray", "run", "tray", "run in the tray, with the window one click away")
    serve = _command(commands, "serve", "run", "serve", "run without any desktop, contributing at once")
    for command in (tray, serve):
        _running_options(command)

    demo = _command(commands, "demo", "demo", "demo", "start with the simulator and send three requests")
    demo.add_argument("--once", action="store_true", help="stop after the requests instead of serving on")
    demo.add_argument(
        "--port", type=int, default=None, help="listen on this port (default 8434, or a free one)"
    )
    demo.add_argument("--headless", action="store_true", help="no tray, even where there is a display")

    managing = {
        "setup": ("setup", "setup", "set everything up in one go, and try it out", arguments.setup),
        "engine": ("engine", "engine", "look after the Ollama in Docker", arguments.engine),
        "models": ("models", "models", "list, pull, load, update or remove models", arguments.models),
        "engines": ("engines", "engines", "look for engines on this machine", arguments.engines),
        "public-address": (
            "tunnel",
            "public",
            "open or close an address that the internet can reach",
            arguments.public,
        ),
    }
    more = []
    for name, (module, function, help, declare) in managing.items():
        more.append(_command(commands, name, module, function, help))
        declare(more[-1])
    for name, help in {
        "status": "say in a few lines what the running gateway does",
        "pause": "stop serving now and give the GPU back",
        "finish": "let running requests end, then pause",
        "resume": "contribute again",
        "snooze": "pause for a while",
    }.items():
        verb = _command(commands, name, "verbs", "verbs", help)
        if name == "snooze":
            verb.add_argument("duration", help="for example 30m, 3h or 1d")
        if name == "pause":
            verb.add_argument(
                "--others",
                action="store_true",
                help="unload also the models that were loaded without the gateway",
            )
        more.append(verb)

    keys = _command(commands, "keys", "keys", "keys", "list, show, create, limit, rotate or revoke keys")
    keys.add_argument("action", choices=["list", "show", "create", "address", "limit", "rotate", "revoke"])
    keys.add_argument("name", nargs="?", help="create: the key's label; otherwise its id or label")
    keys.add_argument(
        "--address",
        action="store_true",
        help="create: with an address of its own, for programs that can send no header",
    )
    keys.add_argument(
        "--client",
        default=None,
        help="create: the client it belongs to (default: the first one); limit, in place of a key: all of its keys",
    )
    keys.add_argument(
        "--max-output-tokens",
        type=int,
        default=None,
        metavar="N",
        help="create, limit: no answer to it gets longer",
    )
    keys.add_argument(
        "--model",
        action="append",
        default=None,
        help="create, limit: it may use this model only (repeat for more)",
    )
    for name, words in {
        "requests-per-minute": "it may ask so often",
        "tokens-per-minute": "so many tokens may go in and come out",
        "concurrent": "so many of its requests may run or wait at once",
        "weight": "where others wait, too, it has so many turns for one of theirs",
    }.items():
        keys.add_argument(f"--{name}", type=int, default=None, metavar="N", help=f"create, limit: {words}")
    for name in ("day", "month"):
        keys.add_argument(
            f"--cost-per-{name}",
            default=None,
            metavar="AMOUNT",
            help=f"create, limit: so much money it may spend a {name}, for example 0.50",
        )
    keys.add_argument(
        "--hours",
        action="append",
        default=None,
        metavar="TIMES",
        help="create, limit: it may be used then only, for example 'mon-fri 18:00-23:00' (repeat for more)",
    )
    keys.add_argument(
        "--expires", default=None, metavar="TIME", help="create, limit: when it ends, for example 30d"
    )
    keys.add_argument(
        "--operator",
        action="store_true",
        help="create: a key of yours, which does what the operator's token does, from this machine only",
    )
    keys.add_argument(
        "--grace",
        default=None,
        metavar="TIME",
        help="rotate: so long the old secret goes on working, for example 24h; without it not at all",
    )
    keys.add_argument(
        "--reveal", action="store_true", help="show: its secret as well, where the vault keeps it"
    )
    keys.add_argument(
        "--anew", action="store_true", help="limit: lift every limit that is not named; without it they stay"
    )

    labour = _command(
        commands, "labor", "labour", "labour", "log your own time, or say how much was logged for each client"
    )
    labour.add_argument("hours", nargs="?", help="for example 1.5; without it: what was logged so far")
    labour.add_argument("--note", default=None, metavar="TEXT", help="what it was for; the client reads it")
    labour.add_argument(
        "--client", default=None, help="the client it was for, and who is billed (default: the first one)"
    )

    tariff = _command(
        commands,
        "tariff",
        "tariff",
        "tariff",
        "show what electricity costs now and next, or say what it costs",
    )
    arguments.tariff(tariff)

    audit = _command(commands, "audit", "audit", "audit", "list what was refused and what was administered")
    audit.add_argument("--from", dest="begin", type=int, default=None, metavar="N", help="from this line on")
    audit.add_argument("--limit", type=int, default=100, metavar="N", help="at most so many lines")
    audit.add_argument("--json", action="store_true", help="one JSON object a line")

    power = _command(commands, "power", "power", "power", "show what is measured now, and by what")

    ledger = _command(commands, "ledger", "ledger", "newest", "list, verify, prove or export the ledger")

    receiver = _command(
        commands, "receiver", "receiver", "receiver", "keep a copy of what gateways record, and cosign it"
    )
    arguments.receiver(receiver)

    profiles = _command(commands, "profiles", "profiles", "profiles", "list, create or delete profiles")
    profiles.add_argument("action", choices=["list", "create", "delete"], nargs="?", default="list")
    profiles.add_argument("name", nargs="?")
    profiles.add_argument("--yes", action="store_true", help="delete: do not ask")

    doctor = _command(
        commands, "doctor", "doctor", "doctor", "check what the gateway needs, with a fix for each"
    )
    doctor.add_argument("--upstream", metavar="URL", default=None, help="the engine to check")
    for command in (keys, labour, tariff, audit, ledger, receiver, doctor, *more):
        _profile_options(command)
    ledger_arguments.ledger(ledger, _profile_options)
    power_arguments.power(power, _profile_options)
    return top


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    module: str,
    function: str,
    help: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    command.set_defaults(command=name, module=module, function=function)
    return command


def _profile_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--profile", default="default", metavar="NAME", help="which gateway (default: default)"
    )
    command.add_argument(
        "--vault", choices=["keyring", "file", "memory"], default=None, help="where secrets are kept"
    )
    command.add_argument("--env-file", metavar="FILE", default=None, help="read settings from a .env file")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set any parameter for this run; docs/settings.md lists them",
    )


def _running_options(command: argparse.ArgumentParser) -> None:
    engine = command.add_mutually_exclusive_group()
    engine.add_argument(
        "--simulate", action="store_true", help="use the built-in simulator instead of an engine"
    )
    engine.add_argument("--upstream", metavar="URL", default=None, help="use the Ollama at this address")
    command.add_argument("--host", default=None, help="listen on this address (default 127.0.0.1)")
    command.add_argument(
        "--port", type=int, default=None, help="listen on this port (default 8434; 0: a free one)"
    )
    command.add_argument("--contribute", action="store_true", help="serve at once instead of starting paused")
    command.add_argument(
        "--print-connection",
        action="store_true",
        help="print one line of JSON with address and keys when ready",
    )
    _profile_options(command)
