"""The running whole, as faces and commands have it: its parts, each of which speaks for itself.

Rule 1: it is made by `assembly.running`, whole, and ends with it; there is no gateway that has not started.
Rule 2: it forwards nothing. What a part can do is asked of the part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.access.client_keys import ClientKeys
from app.access.deeds import Deed
from app.access.identity import Identity
from app.basics.clock import wall_us
from app.face import GatewayFace, Snapshot
from app.gateway.changes import Changes
from app.gateway.configuration import Configuration
from app.gateway.delivery.deliveries import Deliveries
from app.gateway.duty import Duty
from app.gateway.noted import NotedGateway
from app.gateway.public_address import PublicAddress
from app.gateway.upstream import Upstream
from app.gateway.view import View
from app.ledger.sqlite.store import Ledger
from app.models.shelf import Shelf
from app.power.history import PowerPoint
from app.power.meter import Meter


@dataclass(frozen=True, slots=True)
class Gateway:
    """A `GatewayFace`, and what commands and tests see besides."""

    address: str
    """The URL clients use."""
    identity: Identity
    ledger: Ledger
    keys: ClientKeys
    meter: Meter
    upstream: Upstream
    duty: Duty
    settings: Configuration
    public: PublicAddress
    deliveries: Deliveries
    view: View
    changes: Changes
    note: Callable[[Deed], None]
    """Takes a line for the audit trail."""

    @property
    def models(self) -> Shelf:
        """The engine's models, and what can be done with them."""
        return self.upstream.models

    def at(self, place: str) -> GatewayFace:
        """The same, with its verbs noted as used at `place`."""
        return NotedGateway(self, self.note, place)

    def snapshot(self) -> Snapshot:
        """The present moment."""
        return self.view.now()

    def watching(self, watcher: object, *, active: bool) -> None:
        """A visible face wants the sensor read."""
        self.meter.watching(watcher, active=active)

    def on_changed(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after state, cap or errors changed; several changes at once make one call."""
        return self.changes.connect(callback)

    def history(self, span_us: int) -> Sequence[PowerPoint]:
        """Points of the graph, oldest first."""
        return self.meter.history.series(span_us, wall_us())
