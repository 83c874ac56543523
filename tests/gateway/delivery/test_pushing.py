"""One push and what is made of each answer: the ledger's way and the seed's."""

from __future__ import annotations

import hashlib
import json

import pytest
from aiohttp import web

from app.basics.clock import wall_us
from app.gateway.delivery.pushing import LedgerPush
from app.ledger.checkpoint import Signer
from app.ledger.cosignature import Cosigner, find_cosignature
from app.ledger.delivery import (
    Acknowledged,
    Contested,
    DeliveryEvent,
    DeliveryRow,
    DeliveryWay,
    Failed,
    Progressed,
    Sized,
    Standing,
)
from app.ledger.drafts import RotationDraft
from app.ledger.records import decode
from app.ledger.signing_keys import SigningKeys
from app.receiver.submission import parse_submission
from tests.gateway.delivery.conftest import COSIGNER, SIGNER, Bench, Copy
from tests.gateway.delivery.strange import receiver


def nobody(_: Progressed) -> None: ...


async def answered(bench: Bench, old: int = 0) -> DeliveryEvent:
    return await bench.ledger_push().push(old)


async def failed(bench: Bench) -> str:
    event = await answered(bench)
    assert isinstance(event, Failed), event
    return event.sentence


async def test_what_was_sent_is_cosigned_and_the_cosignature_is_kept_with_it(bench: Bench) -> None:
    copy = Copy()
    bench.strange.answer = copy
    await bench.append(3)
    event = await answered(bench)
    assert isinstance(event, Acknowledged)
    assert event.size == bench.size == len(copy.leaves) == 4
    text, _, lines = event.note.rpartition("\n\n")
    assert find_cosignature(text + "\n\n" + lines, lines, COSIGNER.verifier).checkpoint.size == 4
    assert tuple(copy.leaves) == await bench.ledger.entries(bench.log, 0, 10)
    (heard,) = bench.strange.heard
    assert (heard.method, heard.path) == ("POST", "/ledger")


async def test_more_than_one_push_holds_goes_in_several_each_with_a_checkpoint_of_its_own(
    bench: Bench,
) -> None:
    copy = Copy()
    bench.strange.answer = copy
    await bench.append(1030)
    push = bench.ledger_push()
    assert await push.push(0) == Acknowledged(1024, copy.note + _line(copy.note))
    event = await push.push(1024)
    assert isinstance(event, Acknowledged)
    assert event.size == 1031
    assert copy.pushes == [(0, 1024), (1024, 7)]


def _line(note: str) -> str:
    return COSIGNER.cosign(note, wall_us() // 1_000_000)


async def test_a_receiver_that_takes_less_at_once_gets_less(bench: Bench) -> None:
    copy = Copy()

    async def small(request: web.Request, body: bytes) -> web.StreamResponse:
        if len(parse_submission(body).leaves) > 3:
            return web.Response(status=413)
        return await copy(request, body)

    bench.strange.answer = small
    await bench.append(9)
    push = bench.ledger_push()
    event = await push.push(0)
    assert isinstance(event, Acknowledged)
    assert event.size == 2
    assert isinstance(await push.push(2), Acknowledged)
    assert copy.pushes == [(0, 2), (2, 2)]


class Small(Copy):
    """One that takes at most `most` records at once."""

    most = 3

    async def __call__(self, request: web.Request, body: bytes) -> web.StreamResponse:
        if body and len(parse_submission(body).leaves) > self.most:
            return web.Response(status=413)
        return await super().__call__(request, body)


async def everything(bench: Bench, push: LedgerPush) -> DeliveryEvent:
    """Push until all is acknowledged, or it goes on no further."""
    at = 0
    while at < bench.size:
        event = await push.push(at)
        if not isinstance(event, Acknowledged):
            return event
        at = event.size
    return Acknowledged(at)


async def kept_behind(bench: Bench, acked: int) -> None:
    """The log goes to a receiver that has so many of its records."""
    standing = Standing(acked=acked)
    await bench.ledger.keep_delivery(
        DeliveryRow(bench.log, DeliveryWay.LEDGER, bench.strange.url, COSIGNER.vkey, standing)
    )


@pytest.mark.parametrize("most", [8, 21, 200])
async def test_a_receiver_that_takes_little_at_once_gets_over_the_passing_on_of_the_key(
    bench: Bench, most: int
) -> None:
    """It knows no key of later, and each push ends with a checkpoint that it can check."""
    copy = Small()
    bench.strange.answer = copy
    copy.most = most
    await kept_behind(bench, 0)
    for key in (b"n", b"l"):
        await bench.append(90)
        await bench.ledger.rotate(Signer(bytes(31) + key, "gw_test"))
    await bench.append(30)
    keys = SigningKeys(bench.log, SIGNER.verifier)
    seen = 0

    async def checks(request: web.Request, body: bytes) -> web.StreamResponse:
        nonlocal seen
        answer = await copy(request, body)
        for seq, leaf in enumerate(copy.leaves[seen:], seen):
            if isinstance(draft := decode(leaf).draft, RotationDraft):
                keys.follow(seq, draft)
        seen = len(copy.leaves)
        assert not seen or keys.verify(copy.note).size == seen
        return answer

    bench.strange.answer = checks
    event = await everything(bench, bench.ledger_push())
    assert isinstance(event, Acknowledged), event
    assert tuple(copy.leaves) == await bench.ledger.entries(bench.log, 0, 1024)


async def test_one_that_takes_less_than_lies_between_two_checkpoints_of_before_is_told_how_much(
    bench: Bench,
) -> None:
    copy = Small()
    bench.strange.answer = copy
    await kept_behind(bench, 0)
    await bench.append(50)
    await bench.ledger.rotate(Signer(bytes(31) + b"n", "gw_test"))
    push = bench.ledger_push()
    event = await everything(bench, push)
    assert isinstance(event, Failed)
    assert "takes too little at once (413)" in event.sentence
    assert "is over 8 records, and it has 1. Let it take 7 records" in event.sentence
    # Once it does, and as many later on, all goes through.
    copy.most = 8
    assert isinstance(await everything(bench, push), Acknowledged)


async def test_a_record_that_is_too_much_alone_is_named(bench: Bench) -> None:
    copy = Small()
    bench.strange.answer = copy
    copy.most = 0
    await bench.append(9)
    sentence = await failed(bench)
    assert "Record 0 alone is too much at once for the receiver at 127.0.0.1:" in sentence
    assert "4 MiB" in sentence
    assert "\n" not in sentence


async def test_nothing_new_is_a_question_with_a_checkpoint_and_no_leaves(bench: Bench) -> None:
    copy = Copy()
    bench.strange.answer = copy
    await answered(bench)
    assert isinstance(await answered(bench, 1), Acknowledged)
    assert copy.pushes == [(0, 1), (1, 0)]


@pytest.mark.parametrize(("body", "size"), [("7\n", 7), ("0", 0)])
async def test_a_receiver_of_another_size_says_which(bench: Bench, body: str, size: int) -> None:
    bench.strange.says(409, body)
    assert await answered(bench) == Sized(size)


@pytest.mark.parametrize("body", ["", "seven", "-1", "07", "1" * 17, "7\n7"])
async def test_a_size_that_is_none_is_a_failure(bench: Bench, body: str) -> None:
    bench.strange.says(409, body)
    assert "says not which" in await failed(bench)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (301, "redirects (301), which is not followed"),
        (400, "refuses the records (400)"),
        (404, "refuses the records (404)"),
        (401, "does not know this gateway (401): enrol it there anew"),
        (403, "does not know this gateway (403)"),
        (413, "(413): with its checkpoint it has"),
        (429, "is busy (429)"),
        (503, "is busy (503)"),
        (500, "failed (500)"),
        (507, "has no room left (507)"),
        (204, "refuses the records (204)"),
    ],
)
async def test_every_other_answer_is_a_sentence(bench: Bench, status: int, words: str) -> None:
    bench.strange.says(status, Location="/elsewhere")
    sentence = await failed(bench)
    assert words in sentence
    assert "he receiver at 127.0.0.1:" in sentence


async def test_a_busy_receiver_says_when_to_come_back(bench: Bench) -> None:
    bench.strange.says(429, Retry_After="77")
    event = await answered(bench)
    assert isinstance(event, Failed)
    assert event.retry_after_s == 77


async def test_another_logs_cosignature_is_no_acknowledgement(bench: Bench) -> None:
    other = await bench.ledger.create_client("Bert")
    line = COSIGNER.cosign(await bench.ledger.checkpoint(other.log), 1)
    bench.strange.says(200, line)
    assert "does not hold" in await failed(bench)


async def test_yesterdays_cosignature_is_no_acknowledgement_of_today(bench: Bench) -> None:
    line = COSIGNER.cosign(await bench.ledger.checkpoint(bench.log), 1)
    await bench.append()
    bench.strange.says(200, line)
    assert "does not hold" in await failed(bench)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "did not cosign"),
        ("OK", "does not hold"),
        ("\xff\xfe", "does not hold"),
        (Cosigner(bytes(31) + b"x", "client.example").cosign("a\n1\nx\n\n— b c\n", 1), "did not cosign"),
        (Cosigner(bytes(32), "somebody").cosign("a\n1\nx\n\n— b c\n", 1), "did not cosign"),
    ],
)
async def test_an_answer_without_the_receivers_own_cosignature_is_none(
    bench: Bench, body: str, words: str
) -> None:
    bench.strange.says(200, body.encode("latin-1") if body == "\xff\xfe" else body)
    assert words in await failed(bench)


async def test_what_a_receiver_holds_against_us_is_its_word(bench: Bench) -> None:
    bench.strange.says(422, json.dumps({"error": {"code": "x", "message": "Record 1 is\n another."}}))
    event = await answered(bench)
    assert isinstance(event, Contested)
    assert event.sentence.endswith("contests our records: Record 1 is  another.")
    assert not event.forked


@pytest.mark.parametrize("body", [b"", b"no", b"[]", b'{"error":7}', b'{"error":{}}', b"[" * 60_000, b"\xff"])
async def test_a_word_that_is_none_is_a_dispute_all_the_same(bench: Bench, body: bytes) -> None:
    bench.strange.says(422, body)
    assert isinstance(await answered(bench), Contested)


async def test_our_own_signature_on_another_history_is_a_fork(bench: Bench) -> None:
    await bench.append(3)
    copy = Copy()
    forged = (await bench.ledger.entries(bench.log, 0, 1))[0], b"another"
    copy.leaves = list(forged)
    copy.note = SIGNER.sign_checkpoint(bench.log, 2, bytes(32))
    bench.strange.answer = copy
    event = await answered(bench)
    assert isinstance(event, Contested)
    assert event.forked
    assert "another history of our first 2 records, signed by our own key" in event.sentence


@pytest.mark.parametrize("how", ["same root", "another signer", "another log", "garbage"])
async def test_what_we_have_not_signed_is_no_fork(bench: Bench, how: str) -> None:
    await bench.append(3)
    copy = Copy()
    copy.leaves = [b"one", b"two"]
    match how:
        case "same root":
            copy.note = await bench.ledger.checkpoint(bench.log, 2)
        case "another signer":
            copy.note = type(SIGNER)(bytes(32), "gw_test").sign_checkpoint(bench.log, 2, bytes(32))
        case "another log":
            copy.note = SIGNER.sign_checkpoint("gw_test/c_other", 2, bytes(32))
        case _:
            copy.note = "what?"
    bench.strange.answer = copy
    event = await answered(bench)
    assert isinstance(event, Contested)
    assert not event.forked


async def test_the_seeds_receiver_gets_one_flat_transaction_a_request_with_its_hash(bench: Bench) -> None:
    await bench.append(2)
    told: list[int] = []
    event = await bench.seed_push("secret").push(0, lambda progressed: told.append(progressed.acked))
    assert event == Acknowledged(3)
    assert told == [1, 2, 3]
    first, second = bench.strange.heard
    for heard in (first, second):
        said = json.loads(heard.body)
        text = f"{said['id']}{said['prompt_tokens'] + said['completion_tokens']}{said['cost']}secret"
        assert said["hash"] == hashlib.sha256(text.encode()).hexdigest()
        assert heard.path == "/transaction"
        assert heard.headers["Content-Type"] == "application/json"
        assert heard.headers["Webhook-Id"] == said["id"]
        assert "Authorization" not in heard.headers
        assert b"secret" not in heard.body


async def test_what_the_seeds_receiver_took_before_it_failed_is_not_told_again(bench: Bench) -> None:
    await bench.append(4)
    taken: list[str] = []

    async def two_only(request: web.Request, body: bytes) -> web.StreamResponse:
        if len(taken) == 2:
            return web.Response(status=500)
        taken.append(json.loads(body)["id"])
        return web.Response(text="not even JSON")

    bench.strange.answer = two_only
    told: list[int] = []
    event = await bench.seed_push().push(0, lambda progressed: told.append(progressed.acked))
    assert isinstance(event, Failed)
    assert told == [1, 2, 3]


@pytest.mark.parametrize("status", [409, 422])
async def test_the_seeds_receiver_contests_with_a_status(bench: Bench, status: int) -> None:
    await bench.append()
    bench.strange.says(status)
    event = await bench.seed_push().push(0, nobody)
    assert isinstance(event, Contested)
    assert "compare LEDGER_SECRET on both sides" in event.sentence


async def test_a_receiver_that_is_gone_is_a_failure_in_both_ways(bench: Bench) -> None:
    await bench.append()
    async with receiver() as gone:
        bench.strange.url = gone.url
    for event in (await answered(bench), await bench.seed_push().push(0, nobody)):
        assert isinstance(event, Failed)
        assert "cannot be reached" in event.sentence
