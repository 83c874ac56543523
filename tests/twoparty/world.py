"""Both sides in one simulated world: plays a story step by step, and says what may never be.

Without a fraud there is never an alarm, whatever the network, the clocks, the disks and the two machines do, and at the
end both sides hold the same. `frauds.py` has the other stories.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.gateway.delivery import holdings
from app.ledger.delivery import Came, DeliveryTrouble, Hurry, Refilled
from app.ledger.errors import LedgerRollback, LedgerTampered
from app.ledger.findings import Verdict
from app.ledger.records import decode
from app.ledger.remembered import unpack
from app.ledger.sqlite import rotation
from app.receiver.commits import Outcome
from app.receiver.submission import write_submission
from tests.twoparty.client import ClientSide, empty_copy
from tests.twoparty.garage import LOG, GatewaySide, Vault, empty_ledger
from tests.twoparty.wire import Fault, GatewayDied, Wire

START_US = 1_763_650_000_000_000
DAY_S = 86_400

Step = tuple[Any, ...]
"""The name of a method of `World`, and what it is called with."""
Story = tuple[Step, ...]


class Broken(Exception):
    """Something that may never be was. `str()` says what."""


def require(met: object, what: str) -> None:
    """Broken unless it is met."""
    if not met:
        raise Broken(what)


class Disk:
    """Empty files of both kinds, made once and copied for every story."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.empty_ledger = empty_ledger(folder / "empty.ledger")
        self.empty_copy = empty_copy(folder / "empty.copy")


class World:
    """`seed` makes the keys; everything else is in the story."""

    def __init__(self, disk: Disk, seed: int) -> None:
        self.us = START_US
        self.skew_gateway_us = 0
        self.skew_receiver_us = 0
        self.vault = Vault(seed)
        self.disk = disk
        self.client = ClientSide(disk.folder / "copy.sqlite3", disk.empty_copy, self._receiver_s)
        self.wire = Wire(self.client)
        self.garage = GatewaySide(
            disk.folder / "ledger.sqlite3", disk.empty_ledger, self.vault, self.wire, self._gateway_us
        )
        self.garage.begin()
        self.recorded = 0
        self.kept_gateway: tuple[bytes, list[str], int] | None = None
        """A backup of the ledger's file and of what the vault remembers, and how many keys there were."""
        self.kept_size = 0
        """How many records are in it."""
        self.kept_client: bytes | None = None
        self.lying = False
        """The wire changes bytes, or the receiver says what is not so: an alarm may come, and must go."""
        self.restored = False
        self.wordless = False
        """The old key's checkpoints were lost with it: a receiver that has read less than up to a push before that key
        passed on cannot be told of the next one any more."""

    def close(self) -> None:
        """Let go of the files."""
        self.garage.close()
        self.client.close()
        for path in self.disk.folder.iterdir():
            if not path.name.startswith("empty."):
                path.unlink()

    def _gateway_us(self) -> int:
        return self.us + self.skew_gateway_us

    def _receiver_s(self) -> int:
        return (self.us + self.skew_receiver_us) // 1_000_000

    def play(self, story: Sequence[Step]) -> None:
        """All of it, with a look after every step. Broken where something was that may never be."""
        for step in story:
            getattr(self, step[0])(*step[1:])
            self.look()

    def look(self) -> None:
        """What holds at any time in an honest story."""
        if not self.lying:
            require(
                self.garage.troubles <= {"", "ahead"},
                f"a false alarm of the gateway: {self.garage.troubles}, {self.garage.said[-1:]}",
            )
            require(not self.client.charges(), f"a false charge: {self.client.charges()[:1]}")
        require("fork" not in self.garage.troubles, f"a false fork: {self.garage.said[-1:]}")
        require(not any(charge.proof for charge in self.client.charges()), "a false proof of a fork")

    # The steps.

    def append(self, *costs: int) -> None:
        """Requests of so many pico-units, in one commit."""
        self.recorded += len(costs)
        self.garage.append(*map(self.garage.usage, costs))

    def other(self, number: int) -> None:
        """A record that is no request's."""
        self.recorded += 1
        self.garage.append(self.garage.other(number))

    def revoke_key(self) -> None:
        """One more, where there is a key."""
        self.garage.revoke_key()

    def new_key(self) -> None:
        """A record of another kind."""
        self.recorded += 1
        self.garage.new_key()

    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.us += seconds * 1_000_000

    def deliver(self, *faults: Fault) -> None:
        """The delivery looks whether it is time; the coming exchanges meet these faults."""
        self._deliver(faults, hurry=False)

    def hurry(self, *faults: Fault) -> None:
        """The delivery is told to try at once."""
        self._deliver(faults, hurry=True)

    def _deliver(self, faults: Sequence[Fault], *, hurry: bool) -> None:
        self.wire.faults.clear()
        self.wire.faults.extend(faults)
        try:
            self.garage.deliver(Hurry() if hurry else Came())
        except GatewayDied:
            self.garage.die()
        self.wire.faults.clear()

    def arrive(self, number: int) -> None:
        """Something that was under way arrives."""
        self.wire.arrive(number)

    def keep(self) -> None:
        """The courier keeps how far it is, and the vault what is the newest."""
        self.garage.keep_standing()
        self.garage.remember()

    def kill_gateway(self) -> None:
        """-9, and a new start."""
        self.garage.die()

    def kill_receiver(self) -> None:
        """-9, and a new start."""
        self.client.die()

    def skew_gateway(self, seconds: int) -> None:
        """Somebody sets its clock."""
        self.skew_gateway_us = seconds * 1_000_000

    def skew_receiver(self, seconds: int) -> None:
        """Somebody sets its clock."""
        self.skew_receiver_us = seconds * 1_000_000

    def rotate(self) -> None:
        """The signing key passes on to the next one."""
        self.recorded += 1
        self.garage.rotate()

    def withhold(self, withheld: bool) -> None:
        """The receiver gives no receipts from now on, or does again."""
        self.wire.withheld = withheld

    def lie(self, *faults: Fault) -> None:
        """What is said is not what arrives."""
        self.lying = True
        self._deliver(faults, hurry=True)

    def back_up_gateway(self) -> None:
        """A copy of its file and its vault."""
        self.kept_gateway = self.garage.copied(), list(self.vault.newest), len(self.vault.signers)
        self.kept_size = self.garage.size

    def restore_gateway(self, *faults: Fault) -> None:
        """The copy of file and vault in place of both, as who loses a disk does it. Before anything is recorded, the
        receiver is asked what it has."""
        if self.kept_gateway is None or self.kept_gateway[2] != len(self.vault.signers):
            return  # with the key of before, nothing that came later can be signed: that is no restoring
        data, newest, _ = self.kept_gateway
        self.wire.late.clear()
        self.vault.newest = list(newest)
        self.garage.restore(data)
        self.restored = True
        self._deliver(faults, hurry=True)
        for _ in range(3):
            self._deliver((), hurry=True)
        require(self.garage.size >= self.client.size, "the lost tail is not back")

    def restore_file_alone(self) -> None:
        """An older copy of the file, and the vault remembers better: it does not open, and says why. Nor does one from
        before the key passed on, which is worth a word even where nothing is remembered."""
        if self.kept_gateway is None:
            return
        newest = self.garage.copied()
        older = {claim.origin: claim.size for claim in unpack(self.vault.newest)}.get(LOG, 0)
        held = self.garage.size
        try:
            self.garage.restore(self.kept_gateway[0])
            require(self.garage.size >= older, "an older copy than the vault remembers was opened")
            require(self.kept_gateway[2] == len(self.vault.signers), "a copy by an old key was opened")
        except LedgerRollback as error:
            require("older copy" in str(error), f"a rollback that is not called one: {error}")
            report = self.garage.audit()
            require(report.verdict is Verdict.ROLLBACK, f"of an older copy it is said: {report.sentence}")
        except LedgerTampered as error:
            require(self.kept_size >= older, f"an older copy than the vault remembers is called {error}")
            require(self.kept_gateway[2] < len(self.vault.signers), f"an older copy is called {error}")
            require("another key" in str(error), f"a copy by an old key is called {error}")
        there, known = self.client.size, self.client.held
        told = known is not None and known.log.keys[-1][1] == self.vault.signers[-1].vkey
        if self.kept_gateway[2] < len(self.vault.signers) and told and there >= older:
            # What it lacks is with the receiver, and today's key has signed it.
            self.wire.late.clear()
            self.restored = self.wordless = True
            self.kept_client = None
            event = self.garage.refill(self.kept_gateway[0])
            require(event == Refilled(there), f"it is not refilled: {event}")
            require(self.garage.bodies() == self.client.bodies(), "other records came back")
            return
        self.garage.path.write_bytes(newest)
        self.garage._open()
        require(self.garage.size == held, "the newest copy is not as it was")

    def back_up_receiver(self) -> None:
        """A copy of its file."""
        self.kept_client = self.client.copied()

    def restore_receiver(self) -> None:
        """That copy in place of its file."""
        if self.kept_client is not None:
            self.client.restore(self.kept_client)

    def push(self, bodies: Sequence[bytes], note: str, old: int = 0) -> Outcome:
        """What the receiver says to records from `old` on that somebody hands in, whoever that is."""
        self.client.answer("POST", "/ledger", write_submission(old, tuple(bodies), note))
        return self.client.outcomes[-1]

    # The end.

    def settle(self) -> None:
        """Everything works again, for three days: whoever waits is asked again within one, and of a receiver that has
        less than it had nobody hears before the heartbeat."""
        self.wire.withheld = False
        for _ in range(3):
            self._deliver((), hurry=False)
            self.wait(DAY_S + 1)
        self._deliver((), hurry=False)
        require(not self.garage.life.waits, f"it never comes to an end: {self.garage.life.standing}")

    def require_agreed(self) -> None:
        """Both sides hold the same, and nobody is accused of anything."""
        garage, client, standing = self.garage, self.client, self.garage.life.standing
        held = client.held
        require(held is not None, "the receiver has nothing")
        assert held is not None
        head = garage.journal.heads[LOG]
        require(held.log.head.frontier.root() == head.frontier.root(), "the roots differ")
        require(client.bodies() == garage.bodies(), "the records differ")
        require(held.log.head.cum == head.cum, "the totals differ")
        records = [decode(body) for body in client.bodies()]
        require(len({record.draft.id for record in records}) == len(records), "a record is there twice")
        require(sum(record.draft.cost for record in records) == head.cum, "the total is not the sum")
        if not self.restored:
            require(len(records) >= 1 + self.recorded, "a record was lost")
        for claim in garage.acked:
            if claim.size <= head.size and not (self.restored and self.kept_client is not None):
                require(
                    garage.root_at(claim.size) == claim.root,
                    f"of {claim.size} acknowledged records one is another now",
                )
        require(
            (standing.trouble, standing.said, standing.acked) == (DeliveryTrouble.NONE, "", head.size),
            f"an alarm stays at the gateway: {standing}",
        )
        require(not garage.life.overdue(self._gateway_us()), "a receipt is overdue")
        report = garage.audit()
        require(report.verdict is Verdict.OK, f"the gateway accuses itself: {report.sentence}")
        require(not client.charges(), f"a charge stays: {client.charges()[:1]}")
        verdict = client.verdict()
        require(verdict.status == "OK", f"the receiver accuses the gateway: {verdict}")
        audited = client.audit()
        require(not audited.sentence and audited.valid == head.size, f"the copy is not in order: {audited}")


@contextmanager
def small_parts() -> Iterator[None]:
    """What takes several parts only where it is long takes them where it is short."""
    before = holdings.AT_ONCE, rotation.SIGNED_EVERY, rotation.NEAR_EVERY
    holdings.AT_ONCE, rotation.SIGNED_EVERY, rotation.NEAR_EVERY = 3, 4, 2
    try:
        yield
    finally:
        holdings.AT_ONCE, rotation.SIGNED_EVERY, rotation.NEAR_EVERY = before
