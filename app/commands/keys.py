"""`keys`: who may come in. Asks the running gateway where there is one, and opens the ledger itself where not."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.access.client_keys import ClientKeys
from app.access.identify import Access
from app.access.limits import COSTS, RATES, LimitError, Limits
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
    """`mortdecai-gateway keys list|create|address|limit|revoke`."""
    whole_client = options.action == "limit" and options.client is not None
    if whole_client and options.name:
        raise CommandError("keys limit wants a key or --client, not both.")
    if options.action != "list" and not options.name and not whole_client:
        what = "a label for the key" if options.action == "create" else "the key's id or label"
        raise CommandError(f"keys {options.action} wants {what}.")
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


async def _keys(base: Ground, options: argparse.Namespace) -> int:
    limits = _limits(options)
    url = base.running_url()
    if url is not None:
        return _show(options, await _over_http(base, url, options, limits))
    async with open_books(base) as (ledger, identity, vault):
        access = Access(mono_us, remote_admin=lambda: False)
        kept = ClientKeys(ledger, vault, access, identity.operator_token)
        await kept.load()
        answer: Mapping[str, Any]
        if options.action == "list":
            answer = {"keys": kept.all(), "clients": kept.clients()}
        elif options.action == "create":
            answer = await kept.create(options.name, options.client, limits)
            if options.address:
                answer = {**answer, "address": await kept.create_address(answer["id"])}
        else:
            try:
                match options.action:
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
        if options.action != "list":
            leave_trace(base, f"keys {options.action}", [answer["id"]])
        return _show(options, answer)


async def _over_http(base: Ground, url: str, options: argparse.Namespace, limits: Limits) -> dict[str, Any]:
    if options.action == "list":
        return await ask_running(base, url, "GET", "/admin/keys")
    if options.action == "create":
        body = {
            "label": options.name,
            "client": options.client,
            "limits": limits.to_json(),
            "address": options.address,
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


def _row(key: Mapping[str, Any]) -> tuple[str, ...]:
    created = datetime.fromtimestamp(key["created"]).astimezone().strftime("%Y-%m-%d %H:%M")
    ends = key["limits"].get("expires")
    over = ends is not None and ends * 1e6 <= wall_us()
    state = "revoked" if key["revoked"] is not None else "expired" if over else "active"
    return (
        key["id"],
        key["label"],
        key["client"],
        created,
        state,
        _said(key["limits"], [one for one in key.get("budgets", ()) if one["of"] == "key"]),
    )


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
        said.append(f"until {datetime.fromtimestamp(limits['expires']).astimezone():%Y-%m-%d %H:%M}")
    return ", ".join(said)
