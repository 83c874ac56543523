"""The table of endpoints: which handler answers which path. Only the wiring; every handler minds its own business."""

from __future__ import annotations

from functools import partial

from app.access.allowances import Allowances
from app.access.opening import Opening
from app.access.trail import Trail
from app.basics.clock import mono_us
from app.basics.zones import clocks
from app.gateway.books import Books
from app.gateway.gateway import Gateway
from app.presence.conduct import Conduct
from app.proxy.admission import Admission, Policy
from app.proxy.audit_reading import AuditReading
from app.proxy.control import Control
from app.proxy.dialects.anthropic import ANTHROPIC, MESSAGES
from app.proxy.dialects.base import Dialect, Endpoint
from app.proxy.dialects.embeddings import EMBED, EMBEDDINGS, EMBEDDINGS_OF_OLD
from app.proxy.dialects.ollama import CHAT, GENERATE
from app.proxy.dialects.openai import CHAT_COMPLETIONS, COMPLETIONS, OPENAI
from app.proxy.dialects.responses import RESPONSES
from app.proxy.estimate import Estimates
from app.proxy.inference import Inference
from app.proxy.jobs import Jobs
from app.proxy.labour import LabourControl
from app.proxy.ledger_reading import LedgerReading
from app.proxy.machine import MachineControl
from app.proxy.model_admin import ModelAdmin
from app.proxy.models import Models
from app.proxy.public import Public
from app.proxy.readonly import ReadOnly
from app.proxy.receivers import Receivers
from app.proxy.secret_control import SecretControl
from app.proxy.server import Handler
from app.proxy.spoken import Spoken
from app.proxy.statements import Statements
from app.proxy.waiting import Queue
from app.settings.store import SettingsStore

ENDPOINTS: tuple[Endpoint, ...] = (
    CHAT,
    GENERATE,
    EMBED,
    EMBEDDINGS_OF_OLD,
    CHAT_COMPLETIONS,
    COMPLETIONS,
    EMBEDDINGS,
    RESPONSES,
    MESSAGES,
)
"""Every path of inference. A dialect is added by its file in proxy/dialects and its endpoints here."""

DIALECTS: dict[str, Dialect] = {
    **{endpoint.path: endpoint.dialect for endpoint in ENDPOINTS},
    "/v1/messages/*": ANTHROPIC,
    "/v1/*": OPENAI,
}
"""What refusals are worded in, also where no such path exists; everywhere else as Ollama words them."""


def routes(
    books: Books,
    gateway: Gateway,
    queue: Queue,
    jobs: Jobs,
    conduct: Conduct,
    store: SettingsStore,
    trail: Trail,
) -> dict[str, dict[str, Handler]]:
    """Path → method → handler."""
    upstream, settings, look = gateway.upstream, gateway.settings, gateway.view.look

    def policy() -> Policy:
        return settings.policy

    models = Models(upstream.watch)
    allowances = Allowances(mono_us)
    spoken = Spoken(lambda: (upstream.engine.url, upstream.watch.state.version))
    inference = Inference(
        access=books.access,
        admission=Admission(conduct.first, models, policy, spoken),
        opening=Opening(lambda: clocks(store.current.time_zone)),
        allowances=allowances,
        queue=queue,
        funds=books.funds,
        ledger=books.ledger,
        meter=gateway.meter,
        engine=lambda: upstream.engine,
        pricing=gateway.settings.pricing,
        hold_seconds=lambda: store.current.hold_seconds,
        jobs=jobs,
        engine_failed=upstream.watch.failed,
    )
    table: dict[str, dict[str, Handler]] = {}
    for endpoint in ENDPOINTS:
        table[endpoint.path] = {"POST": partial(inference.serve, endpoint=endpoint)}
    table |= ReadOnly(
        books.access, models, lambda: upstream.engine, policy, upstream.watch.failed, spoken, allowances
    ).routes()
    table |= Control(
        books.access, books.ledger, store, settings, books.keys, books.labour, books.purses, look
    ).routes()
    table |= SecretControl(books.access, books.secrets, gateway.address).routes()
    table |= LabourControl(books.access, books.ledger, books.labour, lambda: store.current.currency).routes()
    table |= LedgerReading(books.access, books.ledger).routes()
    table |= MachineControl(books.access, gateway.duty, upstream, gateway.public, look).routes()
    table |= ModelAdmin(books.access, upstream.models, lambda: store.current).routes()
    table |= Receivers(books.access, books.ledger, gateway.deliveries).routes()
    table |= Statements(books.access, books.ledger).routes()
    table |= AuditReading(books.access, books.keys, trail).routes()
    table |= Estimates(
        books.access,
        books.ledger,
        models,
        policy,
        settings.pricing,
        queue.newcomer_s,
        lambda: store.current.carbon_intensity,
    ).routes()
    table |= Public(books.access, books.ledger, store, books.labour, look).routes()
    return table
