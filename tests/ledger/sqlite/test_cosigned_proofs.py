"""What a receiver has cosigned is proven with its cosignature, as far as that holds."""

from __future__ import annotations

import pytest

from app.ledger.checkpoint import verify_checkpoint
from app.ledger.cosignature import Cosigner, find_cosignature
from app.ledger.delivery import DeliveryRow, DeliveryWay, Standing
from app.ledger.errors import NotInLog, UnsignedCheckpoint

RECEIVER = Cosigner(bytes(range(32)), "receiver/anna")


def row(log: str, note: str, vkey: str = RECEIVER.vkey) -> DeliveryRow:
    return DeliveryRow(log, DeliveryWay.LEDGER, "https://anna.example", vkey, Standing(acked=1, note=note))


def lines(note: str) -> str:
    return note.rpartition("\n\n")[2]


@pytest.fixture
async def cosigned(ledger, log, drafts):
    """A log of 31 records, of which Anna's receiver has cosigned the first 20."""
    for _ in range(30):
        await ledger.append(log, drafts())
    note = await ledger.checkpoint(log, 20)
    await ledger.keep_delivery(row(log, note + RECEIVER.cosign(note, 1_790_000_000)))
    return log


async def test_a_proof_at_the_size_that_was_cosigned_carries_the_cosignature(ledger, cosigned, signer):
    assert await ledger.cosigned_size(cosigned) == 20
    for note in (
        (await ledger.inclusion(cosigned, 7, 20)).checkpoint,
        await ledger.checkpoint(cosigned, 20, cosigned=True),
    ):
        assert verify_checkpoint(note, signer.verifier, cosigned).size == 20
        assert find_cosignature(note, lines(note), RECEIVER.verifier).at_s == 1_790_000_000


async def test_no_other_size_carries_it(ledger, cosigned):
    for size in (19, 21, None):
        note = (await ledger.inclusion(cosigned, 7, size)).checkpoint
        assert note == await ledger.checkpoint(cosigned, size)
        with pytest.raises(UnsignedCheckpoint):
            find_cosignature(note, lines(note), RECEIVER.verifier)
    assert await ledger.checkpoint(cosigned, 20, cosigned=False) == await ledger.checkpoint(cosigned, 20)


async def test_what_is_kept_and_does_not_hold_is_not_handed_on(ledger, cosigned):
    whole = await ledger.checkpoint(cosigned, 20)
    line = RECEIVER.cosign(whole, 5)
    other = Cosigner(bytes(32), "receiver/anna")
    older = await ledger.checkpoint(cosigned, 10)
    for kept in (
        row(cosigned, ""),
        row(cosigned, "nonsense"),
        row(cosigned, whole),
        row(cosigned, whole + line[:-9] + "\n"),
        row(cosigned, whole + other.cosign(whole, 5)),
        row(cosigned, whole + line, "nonsense"),
        row(cosigned, older + line),
    ):
        await ledger.keep_delivery(kept)
        assert (await ledger.inclusion(cosigned, 7, 20)).checkpoint == whole
        with pytest.raises(NotInLog, match="No receiver has cosigned"):
            await ledger.cosigned_size(cosigned)


async def test_a_cosignature_over_another_history_is_not_put_under_ours(ledger, cosigned, signer):
    foreign = signer.sign_checkpoint(cosigned, 20, bytes(32))
    await ledger.keep_delivery(row(cosigned, foreign + RECEIVER.cosign(foreign, 5)))
    assert (await ledger.inclusion(cosigned, 7, 20)).checkpoint == await ledger.checkpoint(cosigned, 20)


async def test_a_file_of_the_time_before_deliveries_is_proven_from_all_the_same(ledger, cosigned, rows):
    rows("DROP TABLE delivery")
    assert (await ledger.inclusion(cosigned, 7, 20)).size == 20
    with pytest.raises(NotInLog, match="No receiver"):
        await ledger.cosigned_size(cosigned)
