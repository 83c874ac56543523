"""The control API: figures for clients, everything for the operator.

Rule 1: a client's key sees its own client's log and totals and nothing of anybody else. Rule 2: amounts are decimal
numbers, as the seed has them, with the exact integers beside them as strings.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from app.access.client_keys import ClientKeys
from app.access.identify import Access
from app.access.limits import UNLIMITED, LimitError, Limits
from app.access.principals import Role
from app.access.query import whole
from app.access.refusals import Refusal
from app.basics.clock import wall_us
from app.billing.money import pico_to_float
from app.face import SettingsFace, Snapshot
from app.ledger.findings import GRAVITY
from app.ledger.sqlite.store import Ledger
from app.proxy.bodies import read_body
from app.proxy.budgets import BudgetBook, budgets_json
from app.proxy.dialects.base import JSON, dump
from app.proxy.figures import figures, running
from app.proxy.labour_book import LabourBook
from app.proxy.metadata import three_figures
from app.proxy.receipts import findings, of_log, peers_json, receipts_json, verdict_of
from app.proxy.strict_json import parse_object
from app.proxy.witness import told
from app.settings.errors import SettingError
from app.settings.store import SettingsStore

_SMALL_BODY_B = 64 * 1024
_UJ_PER_WH = 3_600_000_000


def reply(value: object, status: int = 200) -> web.Response:
    """`value` as JSON."""
    return web.Response(body=dump(value), status=status, headers={"Content-Type": JSON})


class Control:
    """Handlers of the control API."""

    def __init__(
        self,
        access: Access,
        ledger: Ledger,
        store: SettingsStore,
        settings: SettingsFace,
        keys: ClientKeys,
        labour: LabourBook,
        budgets: BudgetBook,
        look: Callable[[], Snapshot],
    ) -> None:
        self._access = access
        self._ledger = ledger
        self._store = store
        self._settings = settings
        self._keys = keys
        self._labour = labour
        self._budgets = budgets
        self._look = look

    def routes(self) -> dict[str, dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]]]:
        """Path → method → handler."""
        return {
            "/stats": {"GET": self.stats},
            "/config": {"GET": self.read_config, "POST": self.write_config},
            "/ledger": {"GET": self.recent},
            "/reconcile": {"GET": self.reconcile},
            "/admin/keys": {
                "GET": self.list_keys,
                "POST": self.create_key,
                "PATCH": self.limit_key,
                "DELETE": self.revoke_key,
            },
        }

    async def stats(self, request: web.BaseRequest) -> web.Response:
        """Usage totals and the terms they were billed under: of the key's client, or of all for the operator; and what
        the key may spend a day or a month."""
        principal = self._access.identify(request.headers, request.remote)
        shown = figures(self._look(), self._ledger, self._store, self._labour, principal.scope)
        shown["budgets"] = budgets_json(self._budgets.of(principal.key, principal.log))
        return reply(shown)

    async def read_config(self, request: web.BaseRequest) -> web.Response:
        """Every parameter: value, unit, bounds, label, help."""
        self._access.operator(request.headers, request.remote)
        return reply(self._store.to_json())

    async def write_config(self, request: web.BaseRequest) -> web.Response:
        """Change parameters live, all or none."""
        self._access.operator(request.headers, request.remote)
        changes = parse_object(await read_body(request, _SMALL_BODY_B))
        try:
            done = await self._settings.configure(changes)
        except SettingError as error:
            raise Refusal(400, "invalid_setting", str(error)) from None
        told(request, done["changed"])
        return reply(done)

    async def recent(self, request: web.BaseRequest) -> web.Response:
        """The newest records (`?limit=`, `?before=` the last answer's `next`) and what they cost in all."""
        log = self._access.identify(request.headers, request.remote).scope
        limit = whole(request, "limit", 50, 1, 1000)
        before = whole(request, "before", 0, 1, 2**62) or None
        page = await self._ledger.page(before, limit, log=log)
        totals = self._ledger.totals(log)
        transactions = [
            {
                "seq": row.seq,
                "id": row.id,
                "kind": row.kind,
                "timestamp": row.t0_us / 1e6,
                "duration_seconds": None if row.dur_us is None else row.dur_us / 1e6,
                "key": row.key,
                "model": row.model,
                "endpoint": row.endpoint,
                "prompt_tokens": row.tok_in,
                "completion_tokens": row.tok_out,
                "token_source": row.tok_src,
                "outcome": row.outcome,
                "energy_wh": None if row.e_uj is None else three_figures(row.e_uj, _UJ_PER_WH),
                "energy_source": row.e_src,
                "cost": pico_to_float(row.cost_pico),
                "cost_pico": str(row.cost_pico),
                "total_cost_pico": str(row.cum_pico),
            }
            for row in page.rows
        ]
        return reply(
            {
                "transactions": transactions,
                "next": page.next,
                "total_cost": pico_to_float(totals.cost_pico),
                "total_cost_pico": str(totals.cost_pico),
            }
        )

    async def reconcile(self, request: web.BaseRequest) -> web.Response:
        """Re-hash the whole log, compare it with the counters kept beside it, and say what its receivers say."""
        log = self._access.identify(request.headers, request.remote).scope
        report = (await self._ledger.verify()).of(log)
        difference = report.recomputed.cost_pico - report.counters.cost_pico
        snapshot = self._look()
        receipts = of_log(snapshot.receipts, log)
        return reply(
            {
                "ledger_entries": report.records,
                "ledger_total_cost": pico_to_float(report.recomputed.cost_pico),
                "ledger_total_cost_pico": str(report.recomputed.cost_pico),
                "stats_total_cost": pico_to_float(report.counters.cost_pico),
                "discrepancy": pico_to_float(difference),
                "discrepancy_pico": str(difference),
                "hash_verification": {
                    "total": report.records,
                    "valid": report.valid,
                    "invalid": report.records - report.valid,
                },
                "status": max([report.verdict, *map(verdict_of, receipts)], key=GRAVITY.index).value,
                "merkle": [
                    {"log": entry.log, "size": entry.size, "root": entry.root.hex()}
                    for entry in report.by_log
                ],
                "checkpoint": [entry.checkpoint for entry in report.by_log],
                "holds": len(running(snapshot, log)),
                "keys": [self._ledger.vkey],
                "findings": [finding.sentence for finding in report.findings]
                + findings(receipts, to_client=log is not None),
                "receipts": receipts_json(receipts, to_client=log is not None),
                "peer": peers_json(receipts),
            }
        )

    async def list_keys(self, request: web.BaseRequest) -> web.Response:
        """Every key, without its secret, and every client."""
        self._access.operator(request.headers, request.remote)
        logs = {client.name: client.log for client in self._ledger.clients()}
        keys = [
            {**key, "budgets": budgets_json(self._budgets.of(key["id"], logs.get(key["client"], "")))}
            for key in self._keys.all()
        ]
        clients = [
            {**client, "budgets": budgets_json(self._budgets.of("", client["log"]))}
            for client in self._keys.clients()
        ]
        return reply({"keys": keys, "clients": clients})

    async def create_key(self, request: web.BaseRequest) -> web.Response:
        """`{"label", "client"?, "limits"?, "address"?}` → the new key, in plain text this once; see `Limits` for its
        JSON. With `"address": true` it gets an address of its own; `{"address_of": id or label}` makes one for a key
        that is there. Either is told this once as well. `"role": "operator"`: a key of the operator's, which does what
        the operator's token does, and belongs to no client."""
        self._access.operator(request.headers, request.remote)
        body = parse_object(await read_body(request, _SMALL_BODY_B))
        if body.get("address_of") is not None:
            address = await self._new_address(named(body, "address_of"))
            told(request, (f"{address['id']} of {address['address_of']}",))
            return reply(address, 201)
        client = None if body.get("client") is None else named(body, "client")
        made = await self._keys.create(named(body, "label"), client, _limits(body), role=_role(body))
        await self._budgets.ready()
        told(request, (made["id"],))
        if body.get("address") is True:
            made = {**made, "address": await self._new_address(made["id"])}
        return reply(made, 201)

    async def _new_address(self, key: str) -> Mapping[str, Any]:
        try:
            made = await self._keys.create_address(key)
        except LookupError as error:
            raise Refusal(404, "key_not_found", str(error)) from None
        return {**made, "url": self._look().address + made["path"]}

    async def limit_key(self, request: web.BaseRequest) -> web.Response:
        """`{"key": id or label, "limits": {…}, "anew"?}`: from its next request on it may do what is said; a limit that
        is null is lifted, one that is not named stays, unless `"anew": true` lifts those as well. With `"client"` in
        the place of `"key"`: what all keys of that client may use together."""
        self._access.operator(request.headers, request.remote)
        body = parse_object(await read_body(request, _SMALL_BODY_B))
        changes, anew = body.get("limits"), body.get("anew", False)
        if not isinstance(changes, Mapping) or not isinstance(anew, bool):
            raise Refusal(400, "invalid_value", "limits must be a JSON object, and anew true or false.")
        if changes.get("expires") is not None:
            _limits({"limits": {"expires": changes["expires"]}})  # as for a new key: it lies in the future
        whole = body.get("client") is not None
        if whole and body.get("key") is not None:
            raise Refusal(400, "invalid_value", "Name a key or a client, not both.")
        try:
            if whole:
                done = await self._keys.limit_client(named(body, "client"), changes, anew=anew)
            else:
                done = await self._keys.limit(named(body, "key"), changes, anew=anew)
        except LookupError as error:
            raise Refusal(404, "key_not_found", str(error)) from None
        except LimitError as error:
            raise Refusal(400, "invalid_value", str(error)) from None
        await self._budgets.ready()
        told(request, (done["id"],))
        return reply(done)

    async def revoke_key(self, request: web.BaseRequest) -> web.Response:
        """`{"key": id or label}`: it stops working at once, and what runs for it ends."""
        self._access.operator(request.headers, request.remote)
        body = parse_object(await read_body(request, _SMALL_BODY_B))
        try:
            gone = await self._keys.revoke(named(body, "key"))
        except LookupError as error:
            raise Refusal(404, "key_not_found", str(error)) from None
        told(request, (gone["id"],))
        return reply(gone)


def named(body: Mapping[str, Any], field: str) -> str:
    """The short text that is called `field`. Refusal 400."""
    value = body.get(field)
    text = value.strip() if isinstance(value, str) else ""
    if not 1 <= len(text) <= 64 or not text.isprintable():
        raise Refusal(400, "invalid_value", f"{field} must be a text of 1 to 64 printable characters.")
    return text


def _role(body: Mapping[str, Any]) -> Role:
    said = body.get("role") or Role.CLIENT
    if said not in list(Role):
        raise Refusal(400, "invalid_value", "role must be client or operator.")
    if said == Role.OPERATOR and (body.get("client") is not None or body.get("address")):
        raise Refusal(
            400, "invalid_value", "A key of the operator's has no client, and no address of its own."
        )
    return Role(said)


def _limits(body: Mapping[str, Any]) -> Limits:
    try:
        limits = UNLIMITED if body.get("limits") is None else Limits.of(body["limits"])
    except LimitError as error:
        raise Refusal(400, "invalid_value", str(error)) from None
    if not limits.plain:
        raise Refusal(
            400,
            "invalid_value",
            "address_of, whole_client and former are no limits: name the key or the client beside limits.",
        )
    if limits.expired(wall_us()):
        raise Refusal(400, "invalid_value", "expires must lie in the future.")
    return limits
