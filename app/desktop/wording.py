"""What the faces say about the gateway's present state.

Rule 1: pure; a snapshot goes in, short sentences come out, and every face says the same.
Rule 2: no jargon, no blame, and never a figure that the snapshot does not hold.
"""

from __future__ import annotations

from app.billing.money import format_money
from app.billing.periods import Period
from app.desktop import format as fmt
from app.desktop.receipt_wording import tooltip_line
from app.desktop.theme import Tone
from app.face import GpuView, MoneyView, RunningRequest, Serving, Snapshot
from app.tunnel.state import TunnelPhase

APP_NAME = "Mortdecai Gateway"

_HEADLINES = {
    Serving.STARTING: "Starting",
    Serving.CONTRIBUTING: "Contributing",
    Serving.FINISHING: "Finishing",
    Serving.PAUSED: "Paused",
    Serving.BLOCKED: "Not serving",
    Serving.STOPPING: "Stopping",
}

_TONES = {
    Serving.CONTRIBUTING: Tone.ACCENT,
    Serving.FINISHING: Tone.ACCENT,
    Serving.BLOCKED: Tone.WARN,
}

TOOLTIP_MOST = 127
"""Windows cuts a tray's tooltip off after so many characters."""

_REASONS = {
    Serving.STARTING: "It is ready in a moment.",
    Serving.STOPPING: "What ran is being settled.",
}

_READYING = frozenset({"engine_starting", "preparing"})
"""What stands in the way for a moment and ends by itself: nothing is wrong."""

SIMULATION = "This is a simulation. No GPU works, and nobody owes anything."


def shown(snapshot: Snapshot) -> Serving:
    """The state as marks and icons show it: an engine on its way is no warning."""
    blocker = snapshot.blocker
    if snapshot.serving is Serving.BLOCKED and blocker is not None and blocker.code in _READYING:
        return Serving.STARTING
    return snapshot.serving


def headline(snapshot: Snapshot) -> str:
    """The state in one or two words, with its end where it has one: «Paused until 22:00»."""
    if snapshot.serving is not Serving.STARTING and shown(snapshot) is Serving.STARTING:
        return "Getting ready"
    word = _HEADLINES[snapshot.serving]
    blocker = snapshot.blocker
    if snapshot.serving is Serving.PAUSED and blocker is not None and blocker.until_us is not None:
        return f"{word} until {fmt.when(blocker.until_us, snapshot.at_us)}"
    return word


def headline_tone(serving: Serving) -> Tone:
    """What the state's mark is coloured by, next to its shape."""
    return _TONES.get(serving, Tone.MUTED)


def reason(snapshot: Snapshot) -> str:
    """Why we serve or not, and what ends it, in one line."""
    if snapshot.serving is Serving.CONTRIBUTING:
        return activity(snapshot)
    blocker = snapshot.blocker
    if blocker is not None:
        # «Paused» stands above it already.
        said = "" if sentences(blocker.sentence) == f"{headline(snapshot)}." else blocker.sentence
        return sentences(said, blocker.ends)
    return f"{_requests(snapshot.running)}." if snapshot.running else _REASONS.get(snapshot.serving, "")


def activity(snapshot: Snapshot) -> str:
    """What is running: «2 requests running · llama3.1:8b · 61 °C»."""
    parts = [_requests(snapshot.running)]
    models = tuple(dict.fromkeys(request.model for request in snapshot.running if not request.queued))
    loaded = models or snapshot.engine.loaded
    if loaded:
        parts.append(", ".join(loaded) + ("" if models else " in memory"))
    if snapshot.gpu.temperature_c is not None:
        parts.append(f"{snapshot.gpu.temperature_c:.0f} °C")
    return " · ".join(parts)


def _requests(running: tuple[RunningRequest, ...]) -> str:
    if not running:
        return "No requests right now"
    queued = sum(request.queued for request in running)
    text = fmt.counted(len(running) - queued, "request running", "requests running")
    return f"{text}, {queued} waiting" if queued else text


def sentences(*texts: str | None) -> str:
    """Those that say something, each ended by a full stop, in one line."""
    return " ".join(filter(None, (_sentence(text or "") for text in texts)))


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text.endswith((".", "?", "…")) else f"{text}."


def spent_of_cap(money: MoneyView) -> str:
    """«$3.42 of $10.00», or «$3.42 of $10.00 this week»."""
    spent, cap = (format_money(amount, money.currency) for amount in (money.spent_pico, money.cap_pico))
    return f"{spent} of {cap} {Period(money.cap_period).this}".rstrip()


def per_hour(money: MoneyView, cost_pico_per_hour: int | None = None) -> str:
    """What clients cost at this rate: «$0.017/h»."""
    cost = money.cost_pico_per_hour if cost_pico_per_hour is None else cost_pico_per_hour
    return f"{format_money(cost, money.currency)}/h"


def menu_line(snapshot: Snapshot) -> str:
    """The tray menu's first line: «Contributing, $3.42 of $10.00»."""
    simulated = " (simulation)" if snapshot.simulated else ""
    return f"{headline(snapshot)}{simulated}, {spent_of_cap(snapshot.money)}"


def tooltip(snapshot: Snapshot) -> str:
    """State, watts, money, whether the internet reaches us and whether a receipt is overdue, in short lines.

    Where amounts are long, what a tooltip can spare goes first.
    """
    state = headline(snapshot)
    simulated = " (simulation)" if snapshot.simulated else ""
    long, short = f"{APP_NAME}: {state[:1].lower()}{state[1:]}{simulated}", f"{state}{simulated}"
    money = rate = spent_of_cap(snapshot.money)
    watts = f"{fmt.watts(snapshot.total_w)}, nothing running"
    if snapshot.running:
        watts = f"{fmt.watts(snapshot.total_w)}, {fmt.watts(snapshot.marginal_w)} for clients"
        rate = f"{money}, now {per_hour(snapshot.money)}"
    public = "open to the internet" if snapshot.public.phase is TunnelPhase.OPEN else ""
    receipts = tooltip_line(snapshot.receipts)
    ways = ((long, watts, rate), (short, watts, rate), (short, watts, money), (short, money))
    texts = ["\n".join(filter(None, (*lines, public, receipts))) for lines in ways]
    return next((text for text in texts if len(text) <= TOOLTIP_MOST), "\n".join(ways[-1]))


def gpu_source(gpu: GpuView) -> str:
    """Where the watts come from, in words."""
    if gpu.source == "simulated":
        return "simulated"
    return "measured by the card" if gpu.measured else "estimated from the watts in the settings"


def certificate(snapshot: Snapshot) -> str:
    """By what clients know that they speak with this gateway; empty where nothing is encrypted."""
    tls = snapshot.tls
    return "" if tls is None else f"Certificate SHA-256 {tls.fingerprint}"


def cap_warning(money: MoneyView) -> str:
    """That the spending cap is nearly reached."""
    return f"{money.cap_warning_pct} % of the spending cap is spent: {spent_of_cap(money)}."
