"""A request's way, from top to bottom: identify, admit, allow, wait, hold, open an account, relay, settle, finish.

Rule 1: every request that reached the engine leaves exactly one record, whatever its end (see `settling`). Rule 2: no
byte of an answer leaves before the hold, or the record, is durable. Rule 3: spent plus held never exceeds the cap; what
is refused a renewal ends with a well-formed last frame. Rule 4: before its turn at the engine a request holds no money
and uses no energy.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from aiohttp import web

from app.access.allowances import Allowances, Grant
from app.access.identify import Access
from app.access.opening import Opening
from app.access.refusals import Refusal
from app.basics.clock import mono_us, wall_us
from app.billing.pricing import Pricing
from app.billing.purses import Funds
from app.engine.base import Engine, EngineBroken, EngineError, EngineTimeout, EngineUnreachable, Reply
from app.engine.evidence import has_no_such_path
from app.ledger.holds import HoldRow
from app.ledger.ids import new_id
from app.ledger.outcomes import RequestOutcome
from app.ledger.sqlite.store import Ledger
from app.power.meter import Meter
from app.proxy.admission import PARSE_IN_THREAD_B, Admission, Answered, Call, require_dialect
from app.proxy.dialects.base import JSON, Endpoint, Frames, Tokens, json_object, large_json_object, splice
from app.proxy.jobs import STORAGE, Job, Jobs
from app.proxy.metadata import gateway_json
from app.proxy.no_money import no_money
from app.proxy.saying_rates import busy, rate_headers
from app.proxy.settling import Settling
from app.proxy.waiting import Queue, QueuePlace
from app.proxy.waiting_stream import WaitingStream, asks_to_be_told

_JSON_TYPE = "application/json"


class Inference:
    """Carries one request after the other through the eight steps."""

    def __init__(
        self,
        *,
        access: Access,
        admission: Admission,
        opening: Opening,
        allowances: Allowances,
        queue: Queue,
        funds: Funds,
        ledger: Ledger,
        meter: Meter,
        engine: Callable[[], Engine],
        pricing: Callable[[], Pricing],
        hold_seconds: Callable[[], float],
        jobs: Jobs,
        engine_failed: Callable[[EngineError], None],
    ) -> None:
        self._access = access
        self._admission = admission
        self._opening = opening
        self._allowances = allowances
        self._queue = queue
        self._funds = funds
        self._ledger = ledger
        self._meter = meter
        self._engine = engine
        self._pricing = pricing
        self._hold_seconds = hold_seconds
        self._jobs = jobs
        self._engine_failed = engine_failed
        self._books = Settling(funds, ledger, meter)

    async def serve(self, request: web.BaseRequest, endpoint: Endpoint) -> web.StreamResponse:
        """Answer one inference request. Raises Refusal while nothing of an answer has been sent."""
        principal = self._access.identify(request.headers, request.remote)  # 1
        self._opening.require(principal)
        require_dialect(endpoint.dialect, self._engine())
        try:
            call = await self._admission.admit(request, endpoint, principal)  # 2
        except Answered as answered:
            return web.Response(body=answered.body, headers={"Content-Type": JSON})
        self._access.require(principal)  # the body may have taken a minute to come
        with self._allowances.take(principal, len(call.body)) as grant:  # 3
            self._require_budget(call)
            place = self._queue.enter(call, principal.weight)  # 4
            try:
                if place.turn.running:
                    return await self._at_engine(request, call, grant, place)
                if asks_to_be_told(request.headers, call):
                    return await self._told(request, call, grant, place)
                await self._queue.wait(place, lambda: self._still_welcome(call))
                self._still_welcome(call)
                return await self._at_engine(request, call, grant, place)
            finally:
                place.leave()

    def _require_budget(self, call: Call) -> None:
        """Refusal 402 where the budget of the key or its client is spent: nobody need wait to hear that."""
        if not self._funds.beside_cap:
            return
        payer, pricing, now_us = call.principal, self._pricing(), wall_us()
        wanted_pico = pricing.ceiling(self._meter.full_w, self._hold_seconds(), now_us)
        short = self._funds.spent_out(wanted_pico, payer.key, payer.log, now_us)
        if short is not None:
            raise no_money(short, wanted_pico, now_us, pricing.tariff.currency)

    def _still_welcome(self, call: Call) -> None:
        """Much may have happened while a request waited. Refusal 401, 402, 403 or 503."""
        self._access.require(call.principal)
        self._opening.require(call.principal)
        self._admission.require_serving()
        self._require_budget(call)

    async def _told(
        self, request: web.BaseRequest, call: Call, grant: Grant, place: QueuePlace
    ) -> web.StreamResponse:
        """A stream that is told its place while it waits: its answer has begun, so all that follows goes into it."""
        assert call.frames is not None
        rates = rate_headers(grant, call.endpoint.dialect)
        stream = WaitingStream(request, call, call.frames, place.id, rates)
        try:
            await self._queue.wait(place, lambda: self._still_welcome(call), stream.tell)
            self._still_welcome(call)
            return await stream.goes_on(await self._at_engine(request, call, grant, place, stream.response))
        except Refusal as refusal:
            if stream.response is None:
                raise
            return await stream.ends(refusal)

    async def _at_engine(
        self,
        request: web.BaseRequest,
        call: Call,
        grant: Grant,
        place: QueuePlace,
        begun: web.StreamResponse | None = None,
    ) -> web.StreamResponse:
        """Its turn has come. `begun`: the answer, where its head is out already."""
        job = self._hold(call, grant, place)  # 5
        try:
            self._meter.open(job.id, call.model)  # 6
            return await self._relay(request, job, begun)  # 7, 8, 9
        finally:
            if not job.settled:
                # Only where the engine was never reached, or by a fault of our own that must not lose a record.
                self._books.abandon(job)
            self._jobs.remove(job)

    def _hold(self, call: Call, grant: Grant, place: QueuePlace) -> Job:
        """Reserve the next seconds of full power; Refusal 402 where the cap or a budget has no room for them."""
        if self._ledger.fault is not None:
            # It came while the body did: what cannot be recorded is not asked of the engine.
            raise Refusal(507, STORAGE.code, self._ledger.fault, retry_after_s=60)
        pricing = self._pricing()
        now_us = wall_us()
        job = Job(
            place.id or new_id(now_us), call, grant, place, pricing, now_us, mono_us(), asyncio.current_task()
        )
        job.hold_pico = pricing.ceiling(self._meter.full_w, self._hold_seconds(), now_us)
        payer = call.principal
        short = self._funds.hold(job.id, job.hold_pico, payer.key, payer.log, now_us)
        if short is not None:
            raise no_money(short, job.hold_pico, now_us, pricing.tariff.currency)
        row = HoldRow(
            request_id=job.id,
            log=call.principal.log,
            key=call.principal.key,
            model=call.model,
            endpoint=call.endpoint.path,
            tariff=pricing.tariff.id,
            t0_us=now_us,
            amount_pico=job.hold_pico,
            seen_us=now_us,
        )
        if call.frames is None:
            # An unstreamed answer leaves with its record; the row is only written where that takes its time.
            self._ledger.hold_later(row)
        else:
            job.durable = self._ledger.hold(row)
        self._jobs.add(job)
        return job

    async def _relay(
        self, request: web.BaseRequest, job: Job, begun: web.StreamResponse | None
    ) -> web.StreamResponse:
        """Step 7: to the engine and back."""
        call = job.call
        reply: Reply | None = None
        job.reached = True
        try:
            reply = await self._engine().post(call.endpoint.path, call.body)
            # A model that is only loaded is answered in one piece, streamed or not.
            if call.frames is None or reply.status != 200 or reply.content_type.startswith(_JSON_TYPE):
                return await self._answer_whole(job, reply)
            return await self._answer_stream(request, job, reply, begun)
        except EngineUnreachable as error:
            job.reached = False
            self._engine_failed(error)
            raise Refusal(503, "engine_unreachable", str(error), retry_after_s=10) from None
        except (EngineBroken, EngineTimeout) as error:
            outcome = (
                RequestOutcome.TIMEOUT if isinstance(error, EngineTimeout) else RequestOutcome.UPSTREAM_ERROR
            )
            await self._books.record(job, outcome, Tokens())
            self._engine_failed(error)
            status = 504 if outcome == RequestOutcome.TIMEOUT else 502
            raise Refusal(status, f"engine_{outcome}", str(error)) from None
        except Refusal:
            if not job.settled:  # the hold could not be made durable: the disk is full
                self._books.settle(job, RequestOutcome.STOPPED, Tokens())
            raise
        except asyncio.CancelledError:
            if job.settled:
                raise
            ending = job.ending
            if ending is None:
                self._books.settle(job, RequestOutcome.CLIENT_ABORT, Tokens())
                raise
            job.awake()
            await self._books.record(job, ending.outcome, Tokens())
            raise Refusal(ending.status, ending.code, ending.sentence, retry_after_s=60) from None
        finally:
            if reply is not None:
                reply.release()

    async def _answer_whole(self, job: Job, reply: Reply) -> web.Response:
        """An answer in one piece leaves when its record is durable."""
        body = await reply.read()
        large = len(body) > PARSE_IN_THREAD_B
        answer = await asyncio.to_thread(large_json_object, body) if large else json_object(body)
        tokens, outcome = Tokens(), RequestOutcome.UPSTREAM_ERROR
        if has_no_such_path(reply.status, answer):
            await self._books.record(job, RequestOutcome.REFUSED, tokens)
            raise self._admission.spoken.missing(job.call.endpoint.path)
        if 400 <= reply.status < 500 or reply.status == 501:
            outcome = RequestOutcome.REFUSED
            if reply.status == 404:
                # A model has been removed behind our back: the list is looked at again, at once.
                self._engine_failed(EngineBroken("The engine does not know a model that was on its list."))
        elif reply.status == 200 and answer is not None:
            endpoint = job.call.endpoint
            tokens, outcome = endpoint.whole_tokens(answer), RequestOutcome.COMPLETE
            if not endpoint.whole_ended(answer):
                outcome = RequestOutcome.UPSTREAM_ERROR if answer.get("error") else RequestOutcome.CUT_OFF
            job.place.leave(tokens.completion or tokens.prompt or 0)
        job.place.leave()
        gateway = await self._books.record(job, outcome, tokens)
        if answer is None:
            raise Refusal(502, "engine_broken", "The engine's answer was not JSON.")
        status = reply.status if reply.status == 200 or reply.status >= 400 else 502
        return web.Response(
            body=await asyncio.to_thread(splice, body, gateway) if large else splice(body, gateway),
            status=status,
            headers=_headers(job, JSON) | busy(status),
        )

    async def _answer_stream(
        self, request: web.BaseRequest, job: Job, reply: Reply, begun: web.StreamResponse | None
    ) -> web.StreamResponse:
        """Frames pass as they come; the last one waits for the record."""
        call = job.call
        frames = call.frames
        assert frames is not None
        response = begun or web.StreamResponse(headers=_headers(job, call.endpoint.stream_type))
        sentence = "The engine ended its answer before the end."
        outcome, rest = RequestOutcome.UPSTREAM_ERROR, b""
        try:
            async for data in reply.chunks():
                passed = frames.feed(data)
                if not job.progressed:
                    self._meter.progress(job.id)
                    job.place.showed()
                    job.progressed = True
                if passed:
                    if not job.delivered:
                        if job.durable is not None:
                            await self._books.durable(job, job.durable)
                        if not response.prepared:
                            await response.prepare(request)
                        job.delivered = True
                    job.delivering = True
                    await response.write(passed)
                    job.delivering = False
                job.last_us = mono_us()
                if frames.ended:
                    outcome = _end_of(frames)
                    break
            else:
                rest = frames.close()
                if frames.ended:
                    outcome = _end_of(frames)
                elif frames.fell_silent and self._engine().native:
                    outcome = RequestOutcome.CUT_OFF
        except EngineTimeout as error:
            sentence, outcome = str(error), RequestOutcome.TIMEOUT
        except EngineBroken as error:
            sentence, rest = str(error), frames.close()
            if frames.ended:
                outcome = _end_of(frames)
        except ConnectionError:
            # The client went away while we wrote; its task is not always cancelled first.
            outcome = RequestOutcome.CLIENT_ABORT
        except asyncio.CancelledError:
            frames.tokens.counted(frames.deltas)
            if job.ending is None:
                self._books.settle(job, RequestOutcome.CLIENT_ABORT, frames.tokens)
                raise
            job.awake()
            outcome = job.ending.outcome
        reply.release()
        frames.tokens.counted(frames.deltas)
        complete = outcome is RequestOutcome.COMPLETE
        job.place.leave((frames.tokens.completion or 0) if complete else None)
        last = rest + await self._last_frame(job, frames, outcome, sentence, started=response.prepared)
        if outcome != RequestOutcome.CLIENT_ABORT:
            with contextlib.suppress(ConnectionError):
                if not response.prepared:
                    await response.prepare(request)
                await response.write_eof(last)
        return response

    async def _last_frame(
        self, job: Job, frames: Frames, outcome: RequestOutcome, sentence: str, *, started: bool
    ) -> bytes:
        """Step 8 and 9 of a stream: record it, then word its end."""
        ending = job.ending
        try:
            gateway = await self._books.record(job, outcome, frames.tokens)
        except Refusal as refusal:
            if not started:
                raise
            return frames.broken(
                refusal.sentence, refusal.code, gateway_json(self._books.figures(job, outcome, frames.tokens))
            )
        too_late = ending is not None and ending.outcome is RequestOutcome.TIMEOUT
        if (ending is not None and not too_late) or outcome is RequestOutcome.CUT_OFF:
            return frames.cut(gateway)
        if frames.ended:
            return frames.finish(gateway)
        code = f"engine_{outcome}"
        if ending is not None:
            if not started:
                raise Refusal(ending.status, ending.code, ending.sentence, retry_after_s=60)
            sentence, code = ending.sentence, ending.code
        self._engine_failed(EngineBroken(sentence))
        return frames.broken(sentence, code, gateway)


def _end_of(frames: Frames) -> RequestOutcome:
    """How an answer ended whose last frame is in hand."""
    return RequestOutcome.COMPLETE if frames.failure is None else RequestOutcome.UPSTREAM_ERROR


def _headers(job: Job, content_type: str) -> dict[str, str]:
    headers = {
        "Content-Type": content_type,
        "X-Request-Id": job.id,
        **job.place.headers,
        **rate_headers(job.grant, job.call.endpoint.dialect),
    }
    if job.call.ignored:
        headers["X-Ignored-Fields"] = job.call.ignored
    return headers
