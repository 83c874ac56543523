"""Whether a key may be used at this hour, for asking the engine; figures and the ledger may be read at any hour."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo

from app.access.principals import Principal
from app.access.refusals import Refusal
from app.basics.clock import wall_us
from app.billing.periods import edge_text


class Opening:
    """`zone` is the contributor's; keys without hours cost one look."""

    def __init__(self, zone: Callable[[], tzinfo], now_us: Callable[[], int] = wall_us) -> None:
        self._zone = zone
        self._now_us = now_us

    def require(self, principal: Principal) -> None:
        """Refusal 403, which no SDK tries again by itself, outside the hours of the key or of its client."""
        if principal.limits.hours is None and principal.shared.hours is None:
            return
        now_us, zone = self._now_us(), self._zone()
        for who, hours in (("key", principal.limits.hours), ("client", principal.shared.hours)):
            if hours is not None and not hours.open_at(now_us, zone):
                opens_us = hours.opens_us(now_us, zone)
                raise Refusal(
                    403,
                    "outside_hours",
                    f"This {who} may be used {', '.join(hours.said)} only: again from "
                    f"{edge_text(opens_us, now_us, zone)} by the contributor's clocks.",
                    retry_after_s=-(-(opens_us - now_us) // 1_000_000),
                )
