"""A network that does to each exchange what the story says, in place of `Outgoing`."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from app.gateway.delivery.outgoing import NoAnswer, ReceiverAnswer
from app.ledger.cosignature import Cosigner

STRANGER = Cosigner(bytes(31) + b"s", "client.example")
Fault = tuple[Any, ...]
"""The name of what happens to one exchange, and numbers that say where."""

HONEST: tuple[Fault, ...] = (
    ("ok",),
    ("lost_request",),
    ("lost_answer",),
    ("doubled",),
    ("late",),
    ("gateway_dies_before",),
    ("gateway_dies_after",),
    ("receiver_dies_before",),
    ("receiver_dies_after",),
    ("error",),
)
"""What a network and two machines may do; a wire that changes bytes, or a receiver that lies, is none of it."""


class GatewayDied(Exception):
    """The gateway is gone in the middle of an exchange."""


class Answering(Protocol):
    """The receiver as the wire reaches it."""

    def answer(self, method: str, path: str, body: bytes) -> ReceiverAnswer:
        """Take what came and say what comes of it."""

    def die(self) -> None:
        """Be killed, and be started again."""


class Wire:
    """`faults` are those of the coming exchanges; after them all goes well."""

    def __init__(self, receiver: Answering) -> None:
        self.receiver = receiver
        self.faults: deque[Fault] = deque()
        self.late: list[bytes] = []
        """Pushes that have not arrived yet, or will arrive again."""
        self.withheld = False
        """The receiver keeps what it gets and gives no receipt."""
        self._yesterday: ReceiverAnswer | None = None

    async def post(self, url: str, body: bytes, headers: object) -> ReceiverAnswer:
        """See `Outgoing.post`."""
        answer = self._exchange("POST", "/ledger", body)
        if self.withheld and answer.status == 200:
            return ReceiverAnswer(200, b"", None, answer.where)
        return answer

    async def get(self, url: str, headers: object, *, most_b: int = 0) -> ReceiverAnswer:
        """See `Outgoing.get`."""
        return self._exchange("GET", url.removeprefix("http://receiver"), b"")

    def arrive(self, number: int) -> None:
        """A push that was under way, or one more copy of it, reaches the receiver; nobody hears the answer."""
        if self.late:
            self.receiver.answer("POST", "/ledger", self.late[number % len(self.late)])

    def _exchange(self, method: str, path: str, body: bytes) -> ReceiverAnswer:
        name, *where = self.faults.popleft() if self.faults else ("ok",)
        away = NoAnswer("The receiver at receiver:80 cannot be reached: it was so decided.")
        answer = self.receiver.answer
        match name:
            case "lost_request":
                raise away
            case "late":
                if method == "POST":
                    self.late.append(body)
                raise away
            case "gateway_dies_before":
                raise GatewayDied
            case "receiver_dies_before":
                self.receiver.die()
                raise away
            case "error":
                return ReceiverAnswer(500, b"", None, "receiver:80")
            case "doubled":
                answer(method, path, body)
            case "garbled_request":
                return answer(method, path, _garbled(body, *where))
        said = answer(method, path, body)
        match name:
            case "lost_answer":
                raise away
            case "gateway_dies_after":
                raise GatewayDied
            case "receiver_dies_after":
                self.receiver.die()
                raise away
            case "garbled_answer":
                return ReceiverAnswer(said.status, _garbled(said.body, *where), None, said.where)
            case "stranger" if said.status == 200 and method == "POST":
                note = body.rpartition(b"\n\n")[0].rpartition(b"\n\n")[2] + b"\n\n"
                return ReceiverAnswer(200, STRANGER.cosign(note.decode(), 1).encode(), None, said.where)
            case "yesterday" if self._yesterday is not None and method == "POST":
                return self._yesterday
            case "boast" if method == "POST":
                return ReceiverAnswer(409, b"%d\n" % (10_000 + where[0]), None, said.where)
            case "forgets" if method == "POST":
                return ReceiverAnswer(409, b"0\n", None, said.where)
            case "denied" if method == "POST":
                return ReceiverAnswer(422, b'{"error":{"message":"Record 1 is another."}}', None, said.where)
        if method == "POST":
            self._yesterday = said
            self.late.append(body)
            del self.late[:-8]
        return said


def _garbled(data: bytes, at: int, bit: int) -> bytes:
    if not data:
        return data
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
