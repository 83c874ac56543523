"""How a request that reached the engine can end: the one list of it, for records, wire and faces. Pure data."""

from __future__ import annotations

from enum import StrEnum


class RequestOutcome(StrEnum):
    """The end of one request, as its record says it. A record of an unknown one is refused, so this list only grows."""

    COMPLETE = "complete"
    CLIENT_ABORT = "client_abort"
    """The client went away."""
    BUDGET_CUT = "budget_cut"
    """The spending cap had no room for more of it."""
    CUT_OFF = "cut_off"
    """The engine ended the answer by itself and early, as Ollama does with one that repeats itself."""
    REFUSED = "refused"
    """The engine refused it (status 4xx): the client's mistake, which costs nothing."""
    UPSTREAM_ERROR = "upstream_error"
    """The engine failed."""
    TIMEOUT = "timeout"
    """Nothing moved for too long."""
    STOPPED = "stopped"
    """We ended it: the contributor took the GPU back, the key was revoked, or the ledger could not be written."""
    CRASH_RECOVERED = "crash_recovered"
    """We ended in its middle; what it had cost until then was recorded at the next start."""
