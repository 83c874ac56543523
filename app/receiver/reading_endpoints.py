"""The copy for whoever may read it: leaves, checkpoints with their cosignatures, and proofs of single records.

Rule 1: a gateway's secret reads what that gateway sent and hears of no other; the owner's key reads all.
Rule 2: leaves go out byte for byte as they came; the answers have the form of the gateway's own, so either side can
pull from the other.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode

from aiohttp import web

from app.access.query import number, whole
from app.access.refusals import Refusal
from app.billing.money import pico_to_float
from app.ledger.canonical import INT_MAX
from app.ledger.listing import LedgerRow, listed
from app.ledger.records import decode
from app.receiver.doorkeeper import Doorkeeper
from app.receiver.held_copy import shown_record
from app.receiver.keeper import Keeper
from app.receiver.kept import KeptLog
from app.receiver.parties import Listed
from app.receiver.server import TEXT, Routes, reply

LEAVES = "application/x-ndjson"
AT_ONCE = 256
WRITE_S = 60.0
PAGE_MAX = 500
_PROOF = "/ledger/proof/"
_UJ_PER_WH = 3_600_000_000


class ReadingEndpoints:
    """Handlers of GET that read the copy."""

    def __init__(self, keeper: Keeper, doorkeeper: Doorkeeper) -> None:
        self._keeper = keeper
        self._doorkeeper = doorkeeper

    def routes(self) -> Routes:
        """Path → method → handler."""
        return {
            "/ledger": {"GET": self.recent},
            "/ledger/logs": {"GET": self.logs},
            "/ledger/checkpoint": {"GET": self.checkpoint},
            "/ledger/entries": {"GET": self.entries},
            _PROOF + "*": {"GET": self.proof},
        }

    async def recent(self, request: web.BaseRequest) -> web.Response:
        """The newest records to come (`?limit=`, `?log=`), and what all of them cost."""
        limit = whole(request, "limit", 50, 1, PAGE_MAX)
        enrolment, found = await self._logs(request)
        one = found[0].log if "log" in request.query and len(found) == 1 else None
        bodies = await self._keeper.read(lambda store: store.newest(enrolment, one, limit))
        total = sum(each.log.head.cum for each in found)
        return reply(
            {
                "transactions": [_transaction(body) for body in bodies],
                "total_cost": pico_to_float(total),
                "total_cost_pico": str(total),
                "entries": sum(each.log.size for each in found),
            }
        )

    async def logs(self, request: web.BaseRequest) -> web.Response:
        """The logs that this key may read, and the verifier key of their cosignatures."""
        _, found = await self._logs(request)
        return reply(
            {
                "vkey": self._keeper.cosigner.vkey,
                "logs": [
                    {
                        "log": each.log.name,
                        "gateway": self._doorkeeper.name_of(each.log.enrolment),
                        "size": each.log.size,
                        "vkey": each.log.keys[-1][1],
                    }
                    for each in found
                ],
            }
        )

    async def checkpoint(self, request: web.BaseRequest) -> web.Response:
        """The newest checkpoint, signed by the gateway and by us."""
        log = await self._log(request)
        _require_newest(request, log)
        return web.Response(body=self.cosigned(log).encode(), headers={"Content-Type": TEXT})

    async def entries(self, request: web.BaseRequest) -> web.StreamResponse:
        """The leaves from `?from=` (default 0) on, at most `?limit=` (default: all there are), one a line."""
        log = await self._log(request)
        at = whole(request, "from", 0, 0, INT_MAX)
        left = min(whole(request, "limit", INT_MAX, 0, INT_MAX), max(0, log.size - at))
        part = await self._part(log, at, left)
        response = web.StreamResponse(headers={"Content-Type": LEAVES})
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        while part:
            async with asyncio.timeout(WRITE_S):
                await response.write(b"\n".join(part) + b"\n")
            at, left = at + len(part), left - len(part)
            part = await self._part(log, at, left)
        return response

    async def proof(self, request: web.BaseRequest) -> web.Response:
        """Record number … of the log with the proof that it is in the newest checkpoint's tree. With `?size=`, in that
        of the first so many records, and `growth` proves that the checkpoint's only appended to it."""
        log = await self._log(request)
        size = whole(request, "size", log.size, 1, INT_MAX)
        if size > log.size:
            raise Refusal(400, "invalid_value", f"The log {log.name} holds {log.size} records, not {size}.")
        path = request.raw_path.partition("?")[0]
        seq = number(path.removeprefix(_PROOF), "The record's number", 0, INT_MAX)
        if seq >= size:
            raise Refusal(
                404, "record_not_found", f"There is no record {seq} among the first {size} of {log.name}."
            )
        shown = await self._keeper.read(lambda store: shown_record(store, log, seq, size))
        return reply(
            {
                "leaf": shown.leaf.decode(),
                "seq": seq,
                "size": size,
                "proof": [b64encode(step).decode() for step in shown.path],
                "checkpoint": self.cosigned(log),
                "growth": [b64encode(step).decode() for step in shown.growth],
            }
        )

    def cosigned(self, log: KeptLog) -> str:
        """The newest note of a log with our signature under the gateway's: the one it was given, for Ed25519 gives the
        same one again."""
        return log.head.checkpoint + self._keeper.cosigner.cosign(log.head.checkpoint, log.cosigned_s)

    async def _part(self, log: KeptLog, at: int, left: int) -> tuple[bytes, ...]:
        if left <= 0:
            return ()
        return await self._keeper.read(lambda store: store.bodies(log, at, min(left, AT_ONCE)))

    async def _logs(self, request: web.BaseRequest) -> tuple[str | None, tuple[Listed, ...]]:
        """Whose logs may be read, and which of them are asked for by `?gateway=` and `?log=`."""
        reading = await self._doorkeeper.reader(request.headers, request.remote)
        gateway, name = request.query.get("gateway"), request.query.get("log")
        enrolment = reading.enrolment
        if gateway is not None:
            asked = await self._enrolled(gateway)
            if asked is None or enrolment not in (None, asked):
                raise Refusal(404, "gateway_not_found", f"There is no gateway {gateway!r:.80} for this key.")
            enrolment = asked
        found = await self._keeper.read(lambda store: store.logs(enrolment, name))
        if name is not None and not found:
            # To a gateway another's log sounds just like one that never was.
            raise Refusal(404, "log_not_found", f"There is no log {name!r:.80} for this key.")
        return enrolment, found

    async def _log(self, request: web.BaseRequest) -> KeptLog:
        _, found = await self._logs(request)
        if len(found) != 1:
            some = ", ".join(each.log.name for each in found[:8]) + (", …" if len(found) > 8 else "")
            sentence = (
                f"There are {len(found)} logs: name one with ?log= and its gateway with ?gateway= ({some})."
            )
            raise Refusal(400, "log_required", sentence if found else "There is no log yet.")
        return found[0].log

    async def _enrolled(self, name: str) -> str | None:
        for each in await self._keeper.read(lambda store: store.enrolments()):
            if each.name == name:
                return each.id
        return None


def _require_newest(request: web.BaseRequest, log: KeptLog) -> None:
    size = whole(request, "size", log.size, 0, INT_MAX)
    if size != log.size:
        raise Refusal(
            400,
            "invalid_value",
            f"Of {log.name} the checkpoint over {log.size} records is held, and no other one.",
        )


def _transaction(body: bytes) -> dict[str, object]:
    record = decode(body)
    row: LedgerRow = listed(0, record.log, record.seq, 0, b"", body)
    return {
        "log": row.log,
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
        "energy_wh": None if row.e_uj is None else row.e_uj / _UJ_PER_WH,
        "energy_source": row.e_src,
        "cost": pico_to_float(row.cost_pico),
        "cost_pico": str(row.cost_pico),
        "total_cost_pico": str(row.cum_pico),
    }
