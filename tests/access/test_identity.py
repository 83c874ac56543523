"""The gateway's own key and the operator's token."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from app.access.identity import OPERATOR_TOKEN, SIGNING_KEY, Identity, gateway_id_of
from app.ledger.checkpoint import Signer
from app.ledger.errors import LedgerClosed
from app.ledger.sqlite.store import Ledger
from app.vault.base import VaultUnavailable
from app.vault.memory import MemoryVault


async def test_both_are_made_once_and_read_ever_after() -> None:
    vault = MemoryVault()
    made = await Identity.load(vault)
    assert await Identity.load(vault) == made
    assert (await vault.get(SIGNING_KEY), await vault.get(OPERATOR_TOKEN)) == (
        made.seed.hex(),
        made.operator_token,
    )
    assert len(made.seed) == 32
    assert made.operator_token.startswith("mg_")
    assert await Identity.load(MemoryVault()) != made


async def test_a_lost_token_is_made_anew_and_the_gateway_stays_the_same() -> None:
    vault = MemoryVault()
    made = await Identity.load(vault)
    await vault.delete(OPERATOR_TOKEN)
    again = await Identity.load(vault)
    assert (again.gateway_id, again.seed) == (made.gateway_id, made.seed)
    assert again.operator_token != made.operator_token


def test_the_gateways_name_is_the_beginning_of_its_public_keys_hash() -> None:
    public = Signer(bytes(32), "x").verifier._public.public_bytes_raw()
    assert gateway_id_of(bytes(32)) == sha256(public).hexdigest()[:16]
    assert Identity("abc", bytes(32), "mg_x").signer_name == "mortdecai-gateway/abc"


@pytest.fixture
async def begun(tmp_path: Path) -> tuple[MemoryVault, Identity, Path]:
    """A vault, its identity, and the ledger of a client that it signs."""
    vault, path = MemoryVault(), tmp_path / "ledger.db"
    identity = await Identity.load(vault)
    ledger = await open_ledger(identity, path)
    await ledger.create_client("Anna")
    await ledger.close()
    return vault, identity, path


async def open_ledger(identity: Identity, path: Path) -> Ledger:
    return await Ledger.open(
        path, signer=identity.signer, gateway_id=identity.gateway_id, clock_us=lambda: 1_763_650_000_000_000
    )


async def test_the_key_passes_on_and_the_name_stays(begun: tuple[MemoryVault, Identity, Path]) -> None:
    vault, identity, path = begun
    ledger = await open_ledger(identity, path)
    after = await identity.rotate(vault, ledger)
    await ledger.close()
    assert after.seed != identity.seed
    assert (after.gateway_id, after.operator_token) == (identity.gateway_id, identity.operator_token)
    loaded = await Identity.load(vault)
    assert loaded == after
    assert await loaded.settled(vault, path) is loaded
    assert (await (await open_ledger(loaded, path)).verify()).verdict == "OK"


class Broken(MemoryVault):
    """A vault that fails with the write of `last`, and every later one."""

    def __init__(self, whole: MemoryVault, last: int) -> None:
        super().__init__()
        self._secrets = whole._secrets
        self.left = last

    async def set(self, key: str, secret: str) -> None:
        self._count()
        await super().set(key, secret)

    async def delete(self, key: str) -> bool:
        self._count()
        return await super().delete(key)

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise VaultUnavailable("gone")


@pytest.mark.parametrize("last", range(4))
async def test_a_passing_on_that_is_cut_off_anywhere_is_seen_to_its_end_or_never_happened(
    begun: tuple[MemoryVault, Identity, Path], last: int
) -> None:
    vault, identity, path = begun
    ledger = await open_ledger(identity, path)
    with pytest.raises(VaultUnavailable):
        await identity.rotate(Broken(vault, last), ledger)
    await ledger.close()
    again = await (await Identity.load(vault)).settled(vault, path)
    assert again.gateway_id == identity.gateway_id
    assert (again.seed == identity.seed) == (last < 2)
    assert again == await Identity.load(vault)
    ledger = await open_ledger(again, path)
    assert (await ledger.verify()).verdict == "OK"
    await ledger.close()


async def test_where_the_disk_takes_no_record_of_it_the_old_key_still_counts(
    begun: tuple[MemoryVault, Identity, Path],
) -> None:
    vault, identity, path = begun
    ledger = await open_ledger(identity, path)
    await ledger.close()
    with pytest.raises(LedgerClosed):
        await identity.rotate(vault, ledger)
    again = await (await Identity.load(vault)).settled(vault, path)
    assert again.seed == identity.seed
