"""Whether a receiver has newer records of ours than the ledger that lies here: asked before anything is signed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from app.basics.clock import wall_us
from app.gateway.delivery import ahead as ahead_module
from app.gateway.delivery import holdings
from app.gateway.delivery.ahead import Ahead, Unheard, ahead, ask_receivers
from app.gateway.delivery.enrolling import secret_name
from app.ledger.checkpoint import Signer
from app.ledger.delivery import DeliveryRow, DeliveryWay, Standing
from app.ledger.sqlite.store import Ledger
from app.settings.parameters import Settings
from app.vault.memory import MemoryVault
from tests.gateway.delivery.conftest import COSIGNER, SECRET, SIGNER, Copy, draft
from tests.gateway.delivery.strange import Receiver, receiver

HERE = 4


@dataclass
class Lying:
    """A ledger that nobody has open, which was delivered to `strange`."""

    path: Path
    log: str
    vault: MemoryVault
    strange: Receiver

    async def asked(self, *, private: bool = True) -> list[Ahead]:
        settings = Settings(private_receivers=private)
        return await ahead(self.path, SIGNER.vkey, self.vault, lambda: settings)

    async def said(self, *, patience_s: float = 5.0, logs: Sequence[str] = ()) -> list[Ahead | Unheard]:
        settings = Settings(private_receivers=True)
        return await ask_receivers(
            self.path, SIGNER.vkey, self.vault, lambda: settings, patience_s=patience_s, logs=logs
        )

    def shows(self, size: int, signer: Signer = SIGNER, log: str | None = None) -> None:
        self.strange.says(200, signer.sign_checkpoint(log or self.log, size, bytes(32)))


@pytest.fixture
async def lying(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Lying]:
    way = getattr(request, "param", DeliveryWay.LEDGER)
    vault, path = MemoryVault(), tmp_path / "l.db"
    ledger = await Ledger.open(path, signer=SIGNER, gateway_id="gw_test", clock_us=wall_us)
    client = await ledger.create_client("Anna")
    await asyncio.gather(*[ledger.append(client.log, draft(number)) for number in range(HERE - 1)])
    await vault.set(secret_name(client.id), SECRET)
    async with receiver() as strange:
        row = DeliveryRow(client.log, way, strange.url, COSIGNER.vkey, Standing())
        await ledger.keep_delivery(row)
        await ledger.close()
        yield Lying(path, client.log, vault, strange)


async def test_our_signature_over_more_records_than_lie_here_says_that_they_are_lost(lying: Lying) -> None:
    lying.shows(HERE + 3)
    (found,) = await lying.asked()
    assert found == Ahead(lying.log, HERE, HERE + 3)
    assert f"{HERE} of the {HERE + 3} records of {lying.log}" in str(found)
    (heard,) = lying.strange.heard
    assert heard.headers["Authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize("size", [1, HERE])
async def test_a_receiver_that_has_no_more_says_nothing(lying: Lying, size: int) -> None:
    lying.shows(size)
    assert await lying.asked() == []


async def test_what_we_have_not_signed_and_what_is_no_answer_counts_for_nothing(lying: Lying) -> None:
    lying.shows(HERE + 3, Signer(bytes(31) + b"x", "gw_test"))
    assert await lying.asked() == []
    lying.shows(HERE + 3, log="gw_test/c_other")
    assert await lying.asked() == []
    for status, body in ((200, b""), (200, b"\xff\xfe"), (404, b""), (500, b"oh"), (301, b"")):
        lying.strange.says(status, body)
        assert await lying.asked() == []
    # Each time once, and once for the records that could have led to the first one's key.
    assert len(lying.strange.heard) == 7 + 1


async def test_nobody_is_waited_for(lying: Lying, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(request: web.Request, body: bytes) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    lying.strange.answer = never
    monkeypatch.setattr(ahead_module, "PATIENCE_S", 0.05)
    assert await lying.asked() == []
    assert len(lying.strange.heard) == 1


async def test_who_may_not_be_asked_is_not_asked(lying: Lying) -> None:
    lying.shows(HERE + 3)
    assert await lying.asked(private=False) == []
    await lying.vault.delete(secret_name(lying.log.rpartition("/")[2]))
    assert await lying.asked() == []
    assert lying.strange.heard == []


@pytest.mark.parametrize("lying", [DeliveryWay.SEED], indirect=True)
async def test_a_receiver_of_the_seeds_kind_holds_no_records_to_ask_for(lying: Lying) -> None:
    lying.shows(HERE + 3)
    assert await lying.asked() == []
    assert lying.strange.heard == []


async def test_a_ledger_that_cannot_be_read_is_left_to_who_opens_it(lying: Lying) -> None:
    for content in (b"", b"x" * 8192):
        lying.path.write_bytes(content)
        assert await lying.asked() == []
    lying.path.unlink()
    assert await lying.asked() == []


async def test_who_asks_more_patiently_hears_who_has_more_who_has_not_and_of_whom_it_is_not_known(
    lying: Lying,
) -> None:
    lying.shows(HERE)
    assert await lying.said() == []
    lying.shows(HERE + 1)
    assert await lying.said() == [Ahead(lying.log, HERE, HERE + 1)]
    lying.strange.says(500)
    (unheard,) = await lying.said()
    assert isinstance(unheard, Unheard)
    assert str(unheard).startswith(f"{lying.log}: The receiver at 127.0.0.1:")
    lying.shows(HERE, Signer(bytes(31) + b"x", "gw_test"))
    (unheard,) = await lying.said()
    assert "does not show our signature" in str(unheard)


async def test_a_receiver_that_is_silent_is_said_after_the_patience_that_was_asked_for(lying: Lying) -> None:
    async def never(request: web.Request, body: bytes) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    lying.strange.answer = never
    assert await lying.said(patience_s=0.05) == [
        Unheard(lying.log, "Its receiver does not answer within 0.05 s.")
    ]


async def test_a_receiver_whose_address_is_in_no_copy_is_known_by_its_secret(lying: Lying) -> None:
    lying.path.unlink()
    assert await lying.said(logs=["gw_test/c_without"]) == []
    (unheard,) = await lying.said(logs=["gw_test/c_without", lying.log])
    assert unheard.log == lying.log
    assert "whose address is not in this copy" in str(unheard)
    assert lying.strange.heard == []


NEXT, LAST = Signer(bytes(31) + b"n", "gw_test"), Signer(bytes(31) + b"l", "gw_test")


@pytest.fixture
async def outlived(lying: Lying, tmp_path: Path) -> Copy:
    """What the receiver has: the key has passed on twice since the copy that lies here was made."""
    copy, vault = tmp_path / "newer.db", lying.vault
    shutil.copyfile(lying.path, copy)
    ledger = await Ledger.open(copy, signer=SIGNER, gateway_id="gw_test", clock_us=wall_us)
    await ledger.append(lying.log, draft(HERE))
    for signer in (NEXT, LAST):
        await ledger.rotate(signer)
        await ledger.append(lying.log, draft(HERE + ord(signer.vkey[-3])))
    held = Copy(leaves=list(await ledger.entries(lying.log, 0, 100)), note=await ledger.checkpoint(lying.log))
    await ledger.close()
    assert await vault.get(secret_name(lying.log.rpartition("/")[2])) == SECRET
    lying.strange.answer = held
    return held


async def test_a_key_to_which_ours_has_passed_on_since_says_that_the_vault_is_old_too(
    lying: Lying, outlived: Copy
) -> None:
    (found,) = await lying.asked()
    assert found == Ahead(lying.log, HERE, HERE + 5, outlived=True)
    assert str(found).startswith("ROLLBACK: the ledger and the vault are older copies, from before")
    assert f"{HERE} of the {HERE + 5} records of {lying.log}" in str(found)
    assert "put back a copy of the vault" in found.remedy


async def test_a_key_that_ours_has_not_passed_on_to_is_nobodys(lying: Lying, outlived: Copy) -> None:
    rotations = [at for at, leaf in enumerate(outlived.leaves) if b'"kind":"rotation"' in leaf]
    assert len(rotations) == 2
    whole, note = list(outlived.leaves), outlived.note
    # One of the steps is missing, is damaged, stands elsewhere, or leads to another than signs the checkpoint.
    outlived.leaves[rotations[0]] = whole[1]
    assert await lying.asked() == []
    outlived.leaves[rotations[0]] = whole[rotations[0]].replace(b'"old_signature":"', b'"old_signature":"A')
    assert await lying.asked() == []
    outlived.leaves = [*whole[:HERE], *whole[HERE + 1 :], whole[HERE]]
    assert await lying.asked() == []
    outlived.leaves = whole
    outlived.note = Signer(bytes(31) + b"x", "gw_test").sign_checkpoint(lying.log, len(whole), bytes(32))
    assert await lying.asked() == []
    # What it says to have has no end, or is less than lies here.
    outlived.note = LAST.sign_checkpoint(lying.log, HERE, bytes(32))
    assert await lying.asked() == []
    outlived.note = note
    assert [one.outlived for one in await lying.asked()] == [True]


async def test_nobody_is_searched_without_end(
    lying: Lying, outlived: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(request: web.Request, body: bytes) -> web.StreamResponse:
        if request.path != "/ledger/checkpoint":
            return web.Response(body=outlived.leaves[1] + b"\n")
        note = Signer(bytes(31) + b"x", "gw_test").sign_checkpoint(lying.log, 1 << 40, bytes(32))
        return web.Response(text=note)

    lying.strange.answer = endless
    monkeypatch.setattr(holdings, "SEARCH_S", 0.1)
    assert await lying.asked() == []
