"""`keys`: who may come in. Asks the running gateway where there is one, and opens the ledger itself where not."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from app.access.client_keys import ClientKeys
from app.access.identify import Access
from app.access.key_secrets import GRACE_MOST_S, KeySecrets
from app.access.limits import COSTS, RATES, LimitError, Limits
from app.access.principals import Role
from app.basics.clock import mono_us, wall_us
from app.basics.figures import plain_digits
from app.commands.books import open_books
from app.commands.common import CommandError, Ground, ground
from app.commands.operator import ask_running
from app.commands.tables import TableColumn, show
from app.commands.trace import leave_trace
from app.commands.verbs import duration_s

_COLUMNS = (
    TableColumn("ID"),
    TableColumn("LABEL", whole=False),
    TableColumn("CLIENT", whole=False),
    TableColumn("CREATED"),
    TableColumn("STATE"),
    TableColumn("LIMITS", whole=False),
)

LONGEST_S = 3650 * 86_400
_RATES_SAID = {
    "requests_per_minute": "requests/min",
    "tokens_per_minute": "tokens/min",
    "concurrent": "at once",
    "weight": "turns for one of others",
}


def keys(options: argparse.Namespace) -> int:
    """`mortdecai-gateway keys list|show|create|address|limit|rotate|revoke`."""
    whole_client = options.action == "limit" and options.client is not None
    if whole_client and options.name:
        raise CommandError("keys limit wants a key or --client, not both.")
    if options.action != "list" and not options.name and not whole_client:
        what = "a label for the key" if options.action == "create" else "the key's id or label"
        raise CommandError(f"keys {options.action} wants {what}.")
    if options.operator and (options.client is not None or options.address):
        raise CommandError("A key of yours has no client, and no address of its own: leave --operator out.")
    return asyncio.run(_keys(ground(options), options))


def _limits(options: argparse.Namespace) -> Limits:
    expires = None
    if options.expires is not None:
        expires = wall_us() // 1_000_000 + duration_s(options.expires, LONGEST_S)
    try:
        return Limits.of(
            {
                "max_output_tokens": options.max_output_tokens,
                "models": options.model,
                "expires": expires,
                **{name: getattr(options, name) for name in RATES},
                "weight": options.weight,
                "hours": options.hours,
                **{name: getattr(options, name) for name in COSTS},
            }
        )
    except LimitError as error:
        raise CommandError(str(error)) from None


def _grace_s(options: argparse.Namespace) -> int:
    return 0 if options.grace is None else duration_s(options.grace, GRACE_MOST_S)


def _role(options: argparse.Namespace) -> Role:
    return Role.OPERATOR if options.operator else Role.CLIENT


async def _keys(base: Ground, options: argparse.Namespace) -> int:
    limits, grace_s = _limits(options), _grace_s(options)
    url = base.running_url()
    if url is not None:
        return _show(options, await _over_http(base, url, options, limits, grace_s))
    async with open_books(base) as (ledger, identity, vault):
        access = Access(mono_us, remote_admin=lambda: False)
        kept = ClientKeys(ledger, vault, access, identity.operator_token)
        await kept.load()
        secrets = KeySecrets(ledger, vault, kept)
        answer: Mapping[str, Any]
        if options.action == "list":
            answer = {"keys": kept.all(), "clients": kept.clients()}
        elif options.action == "create":
            answer = await kept.create(options.name, options.client, limits, role=_role(options))
            if options.address:
                answer = {**answer, "address": await kept.create_address(answer["id"])}
        else:
            try:
                match options.action:
                    case "show":
                        answer = _named(kept.all(), options.name)
                        if options.reveal:
                            answer = {**answer, **await secrets.reveal(answer["id"])}
                    case "rotate":
                        answer = await secrets.rotate(options.name, grace_s)
                    case "address":
                        answer = await kept.create_address(options.name)
                    case "limit" if options.client is not None:
                        answer = await kept.limit_client(options.client, limits.to_json(), anew=options.anew)
                    case "limit":
                        answer = await kept.limit(options.name, limits.to_json(), anew=options.anew)
                    case _:
                        answer = await kept.revoke(options.name)
            except (LookupError, LimitError) as error:
                raise CommandError(str(error)) from None
        if options.action != "list" and (options.action != "show" or options.reveal):
            leave_trace(base, f"keys {options.action}", [answer["id"]])
        return _show(options, answer)


async def _over_http(
    base: Ground, url: str, options: argparse.Namespace, limits: Limits, grace_s: int
) -> dict[str, Any]:
    if options.action == "list":
        return await ask_running(base, url, "GET", "/admin/keys")
    if options.action == "show":
        told = await ask_running(base, url, "GET", "/admin/keys")
        try:
            key = dict(_named(told["keys"], options.name))
        except LookupError as error:
            raise CommandError(str(error)) from None
        if options.reveal:
            key |= await ask_running(base, url, "POST", "/admin/keys/reveal", {"key": key["id"]})
        return key
    if options.action == "rotate":
        asked = {"key": options.name, "grace_seconds": grace_s}
        return await ask_running(base, url, "POST", "/admin/keys/rotate", asked)
    if options.action == "create":
        body = {
            "label": options.name,
            "client": options.client,
            "limits": limits.to_json(),
            "address": options.address,
            "role": _role(options).value,
        }
        return await ask_running(base, url, "POST", "/admin/keys", body)
    if options.action == "address":
        return await ask_running(base, url, "POST", "/admin/keys", {"address_of": options.name})
    if options.action == "limit":
        whose = {"key": options.name} if options.client is None else {"client": options.client}
        asked = {**whose, "limits": limits.to_json(), "anew": options.anew}
        return await ask_running(base, url, "PATCH", "/admin/keys", asked)
    return await ask_running(base, url, "DELETE", "/admin/keys", {"key": options.name})


def _show(options: argparse.Namespace, answer: Mapping[str, Any]) -> int:
    if options.action == "list":
        show(_COLUMNS, (_row(key) for key in answer["keys"]))
        for client in answer.get("clients", ()):
            if client["limits"]:
                print(
                    f"All keys of {client['client']} together: {_said(client['limits'], client.get('budgets', ()))}."
                )
    elif options.action == "show":
        for line in _lines(answer):
            print(line)
    elif options.action == "rotate":
        print(_address(answer) if "path" in answer else answer["key"])
        until = answer["old_secret_until"]
        said = "no more" if until is None else f"until {_when(until)}"
        print(f"The old secret of {answer['label']} ({answer['id']}) works {said}.", file=sys.stderr)
    elif options.action == "create":
        print(answer["key"])
        if options.address:
            print(_address(answer["address"]))
    elif options.action == "address":
        print(_address(answer))
    elif options.action == "limit":
        who = answer["label"] if options.client is None else f"All keys of {answer['client']}"
        print(f"{who} ({answer['id']}): {_said(answer['limits']) or 'no limits'}.")
    else:
        print(f"Revoked {answer['label']} ({answer['id']}).")
    return 0


def _address(made: Mapping[str, Any]) -> str:
    """Whole where a gateway runs and knows where; its path elsewhere."""
    return str(made.get("url") or made["path"])


def _named(keys: Iterable[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """The key of that id or label, whether it works or not; one that does goes before. LookupError."""
    found = [key for key in keys if name in (key["id"], key["label"])]
    found = [key for key in found if key["revoked"] is None] or found[-1:]
    if not found:
        raise LookupError(f"No key is called {name!r}.")
    if len(found) > 1:
        raise LookupError(f"{len(found)} keys are called {name!r}; name one by its id.")
    return found[0]


def _lines(key: Mapping[str, Any]) -> Iterator[str]:
    """All that is known of a key, its secret only where that was asked for."""
    yield f"id: {key['id']}"
    yield f"label: {key['label']}"
    yield f"client: {_owner(key)}"
    yield f"created: {_when(key['created'])}"
    yield f"state: {_state(key)}"
    if key["revoked"] is not None:
        yield f"revoked: {_when(key['revoked'])}"
    yield f"limits: {_said(key['limits'], _budgets(key)) or 'none'}"
    until = key["old_secret_until"]
    if until is not None and until * 1e6 > wall_us():
        yield f"old secret: works until {_when(until)}"
    if "key" in key:
        yield f"secret: {key['key']}"


def _owner(key: Mapping[str, Any]) -> str:
    return "(the operator)" if key["role"] == Role.OPERATOR else str(key["client"])


def _state(key: Mapping[str, Any]) -> str:
    ends = key["limits"].get("expires")
    over = ends is not None and ends * 1e6 <= wall_us()
    return "revoked" if key["revoked"] is not None else "expired" if over else "active"


def _when(at_s: float) -> str:
    return datetime.fromtimestamp(at_s).astimezone().strftime("%Y-%m-%d %H:%M")


def _budgets(key: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those of its own; its client's are said once."""
    return [one for one in key.get("budgets", ()) if one["of"] == "key"]


def _row(key: Mapping[str, Any]) -> tuple[str, ...]:
    created, said = _when(key["created"]), _said(key["limits"], _budgets(key))
    return key["id"], key["label"], _owner(key), created, _state(key), said


def _said(limits: Mapping[str, Any], budgets: Sequence[Mapping[str, Any]] = ()) -> str:
    """The limits of a key in a few words, and what is left of its budgets where a gateway says; nothing where it has
    none."""
    left = {f"cost_per_{one['period']}": one["left"] for one in budgets}
    said = [] if "max_output_tokens" not in limits else [f"{limits['max_output_tokens']} tokens"]
    said += [f"{limits[name]} {words}" for name, words in _RATES_SAID.items() if name in limits]
    for name in COSTS:
        if name in limits:
            rest = f" ({plain_digits(left[name])} left)" if name in left else ""
            said.append(f"{limits[name]} a {name.removeprefix('cost_per_')}{rest}")
    said += limits.get("models", [])
    said += limits.get("hours", [])
    if "address_of" in limits:
        said.append(f"address of {limits['address_of']}")
    if "expires" in limits:
        said.append(f"until {_when(limits['expires'])}")
    return ", ".join(said)
