"""What a client hears where there is no money for its request: under the cap, or in its key's or its client's budget.

Rule: 402, for SDKs try again by themselves what is refused with 429. Where only what runs is in the way, waiting for
that helps; otherwise waiting for the next day or month, if the request fits into that at all.
"""

from __future__ import annotations

from app.access.refusals import Refusal
from app.billing.money import format_money
from app.billing.periods import edge_text
from app.billing.purses import PurseOf

NOW_AND_THEN_S = 5
"""So often it is worth asking whether a running request has ended."""


def no_money(short: PurseOf, wanted_pico: int, now_us: int, currency: str) -> Refusal:
    """The refusal of a request that wanted to hold so much where `short` has no room for it."""
    purse = short.purse
    if short.whose == "cap":
        return Refusal(
            402,
            "cap_reached",
            # Where what is spent leaves no room for a single request, the blocker has said so before.
            "The contributor's spending cap has no room for another request beside those that run: try again when "
            "one has ended.",
            retry_after_s=NOW_AND_THEN_S,
        )
    budget, code = _budget(short, currency), f"{short.whose}_budget_reached"
    if not purse.exact:
        sentence = f"It is not known yet what is left of {budget}: try again in a moment."
        return Refusal(503, "budget_unknown", sentence, retry_after_s=NOW_AND_THEN_S)
    if wanted_pico > purse.cap:
        wanted = format_money(wanted_pico, currency)
        return Refusal(
            402, code, f"{budget[0].upper()}{budget[1:]} is less than the {wanted} that a request holds."
        )
    if purse.spent + wanted_pico <= purse.cap:
        sentence = "has no room for another request beside those that run: try again when one has ended."
        return Refusal(402, code, f"{budget[0].upper()}{budget[1:]} {sentence}", retry_after_s=NOW_AND_THEN_S)
    return Refusal(402, code, _spent(short, now_us, currency), retry_after_s=_renews_in_s(short, now_us))


def out_of_money(short: PurseOf, now_us: int, currency: str) -> tuple[str, str]:
    """Why a running request ends that `short` has no more room for: code and sentence."""
    if short.whose == "cap":
        return "cap_reached", "The contributor's spending cap is reached."
    return f"{short.whose}_budget_reached", _spent(short, now_us, currency)


def _budget(short: PurseOf, currency: str) -> str:
    amount = f"{format_money(short.purse.cap, currency)} {short.purse.period.each}".rstrip()
    return f"this {short.whose}'s budget of {amount}"


def _spent(short: PurseOf, now_us: int, currency: str) -> str:
    budget, to_us = _budget(short, currency), short.purse.span.to_us
    anew = "" if to_us is None else f": it begins anew at {edge_text(to_us, now_us, short.purse.zone)}"
    return f"{budget[0].upper()}{budget[1:]} is spent{anew}."


def _renews_in_s(short: PurseOf, now_us: int) -> int | None:
    to_us = short.purse.span.to_us
    return None if to_us is None else max(1, -((now_us - to_us) // 1_000_000))
