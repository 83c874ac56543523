"""What a gateway counts with: who it is, its ledger, the keys that open it, the terms, and the money under the cap.

Rule 1: opened before the door is, closed after it. Rule 2: whatever changes the terms is recorded in every log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from app.access.client_keys import ClientKeys
from app.access.identify import Access
from app.access.identity import Identity
from app.access.key_secrets import KeySecrets
from app.access.principals import new_key
from app.basics.clock import mono_us, wall_us
from app.basics.zones import clocks
from app.billing.pricing import Pricing
from app.billing.purses import Funds
from app.billing.series import PriceSeries, SeriesError
from app.gateway.client_purses import ClientPurses
from app.gateway.delivery.ahead import Ahead, ahead
from app.gateway.labour import Labour
from app.gateway.newest import Newest
from app.gateway.price_files import known_prices
from app.gateway.spending_cap import SpendingCap
from app.gateway.terms import plan_of, pricing_of, terms_record
from app.ledger.drafts import ModelDraft, TariffDraft
from app.ledger.errors import LedgerRollback
from app.ledger.heads import LabourSum, Receipt
from app.ledger.ids import new_id
from app.ledger.records import decode
from app.ledger.sqlite.durable import durable
from app.ledger.sqlite.schema import LEDGER_FILE
from app.ledger.sqlite.store import Ledger
from app.models.updates import Ended, UpdateReport
from app.settings.errors import SettingError
from app.settings.folders import Folders
from app.settings.parameters import Settings
from app.vault.base import Vault

log = logging.getLogger(__name__)


class Books:
    """Open them with `open`."""

    def __init__(
        self,
        identity: Identity,
        ledger: Ledger,
        newest: Newest,
        access: Access,
        keys: ClientKeys,
        secrets: KeySecrets,
        run_token: str,
        settings: Settings,
        cap: SpendingCap,
        funds: Funds,
        purses: ClientPurses,
        labour: Mapping[str, LabourSum],
        series: PriceSeries,
        lost: Sequence[Ahead] = (),
    ) -> None:
        self.identity = identity
        self.ledger = ledger
        self._newest = newest
        self.access = access
        self.keys = keys
        self.secrets = secrets
        self.run_token = run_token
        """What the commands of this machine's user ask with while this gateway runs; made anew at every start."""
        self.series = series
        """The prices that were imported."""
        self.day = plan_of(settings, series).on(wall_us())
        """The tariff in force, and until when it is."""
        self.pricing = pricing_of(settings, self.day.tariff)
        self.lost = lost
        """What clients' receivers have shown to have that is missing here."""
        self._terms_due = bool(lost)
        self.cap = cap
        self.funds = funds
        self.purses = purses
        self.labour = Labour(ledger, cap.purse, lambda: self.pricing, labour)

    @classmethod
    async def open(cls, folders: Folders, vault: Vault, settings: Callable[[], Settings]) -> Books:
        """Raises LedgerError, VaultUnavailable or SettingError; nothing is left open then."""
        identity = await (await Identity.load(vault)).settled(vault, folders.data / LEDGER_FILE)
        newest = await Newest.load(vault)
        path = folders.data / LEDGER_FILE
        lost = await ahead(path, identity.signer.vkey, vault, settings)
        for tail in lost:
            if tail.outlived:
                # What the key of before signs from here on is worth nothing, in any log.
                raise LedgerRollback(f"{tail}: {tail.remedy}.")
        ledger = await Ledger.open(
            path,
            signer=identity.signer,
            gateway_id=identity.gateway_id,
            clock_us=wall_us,
            remembered=newest.claims,
            # What was under way in the copy most likely ended since, in one of the records that are to come back.
            recover=not lost,
        )
        for tail in lost:
            log.error("%s: they are fetched before anything is added to it.", tail)
        if lost:
            ledger.await_lost(_awaited(f"{lost[0]}."))
        newest.follow(ledger)
        try:
            access = Access(
                mono_us,
                remote_admin=lambda: settings().remote_admin,
                proxies=lambda: settings().trusted_proxies,
                pages=lambda: settings().cors_origins,
            )
            run_token = new_key()
            keys = ClientKeys(ledger, vault, access, identity.operator_token, run_token)
            cap = SpendingCap(ledger, settings())
            funds = Funds(cap.purse)
            purses = ClientPurses(ledger, funds, settings().time_zone)
            keys.known.connect(purses.follow)
            await keys.load()
            await cap.ask(settings())
            await purses.ready()
            books = cls(
                identity,
                ledger,
                newest,
                access,
                keys,
                KeySecrets(ledger, vault, keys),
                run_token,
                settings(),
                cap,
                funds,
                purses,
                await ledger.labour(),
                await _imported(folders.data, settings()),
                lost,
            )
            await books._require_currency(settings().currency)
            for recorded in () if lost else books._record_terms():
                await durable(ledger, recorded)
        except BaseException:
            await ledger.close()
            await newest.close()
            raise
        return books

    async def _require_currency(self, currency: str) -> None:
        """Amounts of two currencies cannot be added up, so a ledger keeps the one that it began with."""
        for body in await self.ledger.entries(self.keys.first_log(), 0, 16):
            first = decode(body).draft
            if isinstance(first, TariffDraft) and first.currency != currency:
                raise SettingError(
                    f"currency is {currency}, and the ledger of this profile counts in {first.currency}: set it "
                    "back, or begin a new profile with --profile NAME.",
                    "currency",
                )

    def came_back(self, cost_pico: int, settings: Settings) -> None:
        """Records that had been lost are in the ledger again, though perhaps not yet all of them: they count in full,
        as if spent now until it is known when they were, and their keys open the door."""
        now_us = wall_us()
        self.cap.purse.restore(cost_pico, now_us, now_us)
        self.cap.ask_again(settings, self.labour)
        self.keys.refresh()
        self.purses.read_again()
        self.labour.read_again()

    def tail(self, sentence: str | None) -> None:
        """A receiver has newer records of ours than lie here, as `sentence` says; or None: whatever it had is back, or
        is not to be had, and records may be added to the logs. Again is harmless."""
        if sentence is not None:
            self.ledger.await_lost(_awaited(sentence))
            return
        self.ledger.await_lost(None)
        self.keys.make_up()
        if self._terms_due:
            self._terms_due = False
            self._tell_terms()

    def settle_terms(self, settings: Settings) -> Pricing:
        """Go by the cap and the prices of `settings` from now on. The record of them is written before any that is
        priced by them, and nobody waits for it: a full disk must not keep a cap from being set."""
        self.cap.follow(settings)
        self.purses.set_zone(settings.time_zone)
        self.day = plan_of(settings, self.series).on(wall_us())
        pricing = pricing_of(settings, self.day.tariff)
        if pricing != self.pricing:
            self.pricing = pricing
            self._tell_terms()
        return pricing

    def _tell_terms(self) -> None:
        if self.ledger.missing is not None:
            self._terms_due = True
            return
        for recorded in self._record_terms():
            recorded.add_done_callback(_say_failure)

    def _record_terms(self) -> list[asyncio.Future[Receipt | None]]:
        """Every log names the terms that its later records are priced by; unchanged terms are not repeated."""
        return [
            self.ledger.record_tariff(client.log, terms_record(self.pricing, wall_us()))
            for client in self.ledger.clients()
        ]

    async def record_update(self, report: UpdateReport) -> None:
        """What became of a model's update, in the log of the client who asked for it, or of the first one."""
        owners = {client.id: client.log for client in self.ledger.clients()}
        keys = {key.id: owners.get(key.client or "") for key in self.ledger.keys()}
        now_us = wall_us()
        draft = ModelDraft(
            id=new_id(now_us),
            t0=now_us,
            key=report.by,
            model=report.model,
            model_digest=report.digest or None,
            source=report.url,
            sha256=report.sha256 or None,
            # Whoever cancels is named in the note; for the model it is the same as any failure.
            action="failed" if report.outcome is Ended.CANCELLED else report.outcome.value,
            note=report.reason,
        )
        await self.ledger.append(keys.get(report.by) or self.keys.first_log(), draft)

    async def close(self) -> None:
        """Everything that was recorded is durable on return."""
        await self.cap.close()
        await self.purses.close()
        await self.ledger.close()
        await self._newest.close()


async def _imported(folder: Path, settings: Settings) -> PriceSeries:
    """The prices that were imported; none where no tariff needs them, or the file is damaged, which is said."""
    if settings.tariff != "series":
        return PriceSeries()
    try:
        return await asyncio.to_thread(known_prices, folder, clocks(settings.time_zone))
    except SeriesError as error:
        log.error("Electricity prices: %s", error)
        return PriceSeries()


def _awaited(sentence: str) -> str:
    return f"{sentence} They are fetched back before anything else is recorded: try again in a minute."


def _say_failure(recorded: asyncio.Future[Receipt | None]) -> None:
    if not recorded.cancelled() and (error := recorded.exception()) is not None:
        log.error("The new terms were not recorded: %s", error)
