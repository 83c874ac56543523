"""What a peer answers, what lies in two files and what a ledger has, as copies: every answer that is none is said."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from app.ledger.copies import AskedCopy, LeavesCopy, LedgerCopy, leaves_of
from app.ledger.descent import ShownRecord
from app.ledger.errors import BadProof, NotInLog
from app.ledger.merkle import leaf_hash, verify_consistency, verify_inclusion
from app.ledger.proofs import Inclusion
from tests.receiver.sending import SendingLog

QUERY = "log=gw_1%2Fc_1"


class Peer:
    """Answers by path, and remembers what it was asked."""

    def __init__(self, **answers: tuple[int, bytes]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def __call__(self, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        return self.answers[path.split("?")[0].split("/")[2]]


def asking(peer: Peer) -> AskedCopy:
    return AskedCopy(peer, QUERY, "receiver")


def shown(**changes: Any) -> bytes:
    said = {"leaf": "{}", "proof": [base64.b64encode(bytes(32)).decode()], "checkpoint": "note"}
    return json.dumps({**said, **changes}).encode()


async def test_a_peer_is_asked_for_its_checkpoint_and_then_for_proofs_in_the_tree_over_it() -> None:
    log = SendingLog(records=4)
    peer = Peer(checkpoint=(200, log.note().encode()), proof=(200, shown()))
    copy = asking(peer)
    assert await copy.newest() == log.note()
    assert await copy.record(1, 3) == ShownRecord(b"{}", (bytes(32),), "note", ())
    assert await copy.exhibit(2) == (ShownRecord(b"{}", (bytes(32),), "note", ()), 5)
    paths = ["checkpoint?" + QUERY, f"proof/1?{QUERY}&size=3", f"proof/2?{QUERY}&size=5"]
    assert peer.asked == ["/ledger/" + path for path in paths]
    growth = [base64.b64encode(bytes([number] * 32)).decode() for number in (1, 2)]
    peer.answers["proof"] = 200, shown(growth=growth)
    assert (await copy.record(1, 3)).growth == (b"\x01" * 32, b"\x02" * 32)


async def test_before_it_has_shown_a_checkpoint_a_peer_has_no_tree() -> None:
    peer = Peer(proof=(200, shown()))
    assert (await asking(peer).exhibit(2))[1] == 0
    assert peer.asked[0].endswith("&size=0")


async def test_a_peer_that_holds_nothing_of_the_log_says_404() -> None:
    assert await asking(Peer(checkpoint=(404, b"whatever"))).newest() == ""
    with pytest.raises(BadProof, match="answers 404: not here"):
        await asking(Peer(proof=(404, b'{"error": "not here"}'))).record(1, 2)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (503, b'{"error": {"code": "x", "message": "It is busy."}}', "The receiver answers 503: It is busy."),
        (401, b'{"error": "No such key."}', "The receiver answers 401: No such key."),
        (500, b"{}", "The receiver answers 500: it does not say why"),
        (500, b'{"error": {}}', "The receiver answers 500: it does not say why"),
        (500, b'{"error": "a\\u0007b\\nc"}', "The receiver answers 500: a b c"),
        (500, json.dumps({"error": "x" * 500}).encode(), "The receiver answers 500: " + "x" * 200),
        (301, b"", "The receiver answers 301, and nothing that can be read."),
        (500, b"\xff", "The receiver answers 500, and nothing that can be read."),
        (500, b"[]", "The receiver answers 500, and nothing that can be read."),
        (500, b"[" * 100_000, "The receiver answers 500, and nothing that can be read."),
    ],
)
async def test_a_refusal_is_passed_on_in_one_line(status: int, body: bytes, said: str) -> None:
    copy = asking(Peer(checkpoint=(status, body), proof=(status, body), entries=(status, body)))
    for asked in (copy.newest(), copy.record(1, 2), copy.leaves()):
        with pytest.raises(BadProof) as refused:
            await asked
        assert str(refused.value) == said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\xff", "answers with what is no text"),
        (b"note", "The checkpoint that the receiver shows is none: "),
    ],
)
async def test_what_is_no_checkpoint_is_said(body: bytes, said: str) -> None:
    with pytest.raises(BadProof, match=said):
        await asking(Peer(checkpoint=(200, body))).newest()


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"leaf": "{}", "checkpoint": "note"}',
        b'{"leaf": "{}", "proof": []}',
        b'{"proof": [], "checkpoint": "note"}',
        shown(proof=5),
        shown(proof=None),
        shown(proof=[5]),
        shown(proof=["AAAA="]),
        shown(growth=None),
        shown(growth=[None]),
        shown(growth=["!"]),
        shown(leaf="\ud800"),
    ],
)
async def test_what_is_no_proof_is_said_with_its_record(body: bytes) -> None:
    with pytest.raises(BadProof) as refused:
        await asking(Peer(proof=(200, body))).record(7, 9)
    assert str(refused.value) == "What the receiver shows of record 7 is no proof."


async def test_every_record_comes_in_one_answer_a_line_each() -> None:
    peer = Peer(entries=(200, b'{"a":1}\n{"b":2}\n'))
    assert await asking(peer).leaves() == [b'{"a":1}', b'{"b":2}']
    assert peer.asked == ["/ledger/entries?" + QUERY]
    assert leaves_of(b"") == []
    for cut in (b"a\nb", b"a"):
        with pytest.raises(BadProof, match="break off in the middle of a line"):
            leaves_of(cut)


async def test_a_stretch_and_the_note_for_whoever_has_read_so_far_are_asked_for_by_number() -> None:
    peer = Peer(entries=(200, b"{}\n[]\n"), checkpoint=(200, b"note"))
    assert await asking(peer).stretch(7, 2) == [b"{}", b"[]"]
    assert await asking(peer).note_for(7, 9) == "note"
    asked = [f"entries?{QUERY}&from=7&limit=2", f"checkpoint?{QUERY}&size=9&known=7"]
    assert peer.asked == ["/ledger/" + path for path in asked]
    for status in (199, 201, 404, 500):
        refusing = asking(Peer(entries=(status, b"{}"), checkpoint=(status, b"{}")))
        for answer in (refusing.stretch(0, 1), refusing.note_for(0, 1)):
            with pytest.raises(BadProof, match=f"^The receiver answers {status}: it does not say why$"):
                await answer


async def test_files_prove_each_record_in_every_tree_that_they_hold() -> None:
    log = SendingLog(records=12)
    copy = LeavesCopy([*log.bodies, b"one more than is signed"], log.note())
    assert await copy.newest() == log.note()
    for size in (1, 2, 7, 8, 13):
        for seq in range(size):
            record = await copy.record(seq, size)
            assert record.leaf == log.bodies[seq]
            verify_inclusion(leaf_hash(record.leaf), seq, size, record.path, log.root(size))
            assert bool(record.growth) == (size < 13)
            verify_consistency(size, 13, record.growth, log.root(size), log.root(13))
    assert await copy.exhibit(3) == (await copy.record(3, 13), 13)


class Kept:
    """A ledger as far as it is compared: `cosigned` of its records are cosigned, None where it knows of no receiver."""

    def __init__(self, log: SendingLog, cosigned: int | None) -> None:
        self.log = log
        self.cosigned = cosigned

    async def checkpoint(self, log_id: str, size: int | None = None, *, cosigned: bool = False) -> str:
        return self.log.note(size) if cosigned else "without cosignature"

    async def cosigned_size(self, log_id: str) -> int:
        if self.cosigned is None:
            raise NotInLog("nobody cosigns it")
        return self.cosigned

    async def inclusion(self, log_id: str, seq: int, size: int | None = None) -> Inclusion:
        size = len(self.log.bodies) if size is None else size
        copy = LeavesCopy(self.log.bodies, self.log.note(size))
        record = await copy.record(seq, size)
        return Inclusion(log_id, seq, size, record.leaf, record.path, record.note)


@pytest.mark.parametrize(("cosigned", "size"), [(None, 6), (0, 6), (3, 6), (4, 4), (5, 5), (6, 6)])
async def test_a_ledger_shows_a_record_under_what_its_receiver_cosigned_where_that_covers_it(
    cosigned: int | None, size: int
) -> None:
    log = SendingLog(records=5)
    copy = LedgerCopy(Kept(log, cosigned), log.log)
    assert await copy.newest() == log.note()
    record, of = await copy.exhibit(3)
    assert (of, record.note) == (size, log.note(size))
    verify_inclusion(leaf_hash(log.bodies[3]), 3, size, record.path, log.root(size))
    assert (await copy.record(2, 5)).note == log.note(5)
