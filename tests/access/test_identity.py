"""The gateway's own key and the operator's token."""

from __future__ import annotations

from hashlib import sha256

from app.access.identity import OPERATOR_TOKEN, SIGNING_KEY, Identity, gateway_id_of
from app.ledger.checkpoint import Signer
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
