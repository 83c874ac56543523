"""Writing down who gets a client's log, and forgetting it: the same whether the gateway runs or not.

Rule: the secret is in the vault before the row that needs it, and the row is gone before the secret is.
"""

from __future__ import annotations

from app.gateway.delivery.guard import ReceiverRefused
from app.gateway.delivery.outgoing import Outgoing
from app.gateway.delivery.pushing import NoSecret
from app.ledger.delivery import DeliveryRow, DeliveryWay, Standing
from app.ledger.invitation import Invitation, NoInvitation
from app.ledger.parties import Client
from app.ledger.sqlite.durable import durable
from app.ledger.sqlite.store import Ledger
from app.vault.base import Vault, VaultUnavailable


def secret_name(client_id: str) -> str:
    """The name under which the vault keeps the secret of a client's receiver."""
    return f"receiver-secret/{client_id}"


async def receiver_secret(vault: Vault, client_id: str) -> str:
    """What names this gateway to the client's receiver. Raises NoSecret."""
    try:
        secret = await vault.get(secret_name(client_id))
    except VaultUnavailable as error:
        raise NoSecret(f"The receiver's secret cannot be read: {error}") from None
    if secret is None:
        raise NoSecret(
            "The vault holds no secret for this receiver: run `mortdecai-gateway ledger deliver` anew."
        )
    return secret


async def require_allowed(outgoing: Outgoing, invitation: Invitation) -> None:
    """Raises NoInvitation where no receiver may be."""
    try:
        await outgoing.admit(invitation.url)
    except ReceiverRefused as error:
        raise NoInvitation(str(error)) from None
    except (OSError, TimeoutError):
        raise NoInvitation("The receiver's host has no address.") from None


async def keep_receiver(
    ledger: Ledger, vault: Vault, client: Client, invitation: Invitation, known: DeliveryRow | None
) -> DeliveryRow:
    """Keep that `client` has this receiver from now on. Where it is the one of the row `known`, only its secret is
    another one. Raises VaultUnavailable, LedgerError."""
    await vault.set(secret_name(client.id), invitation.secret)
    row = DeliveryRow(client.log, DeliveryWay.LEDGER, invitation.url, invitation.vkey, Standing())
    if known is not None and (known.url, known.vkey) == (row.url, row.vkey):
        row = known
    await durable(ledger, ledger.keep_delivery(row))
    return row


async def forget_receiver(ledger: Ledger, vault: Vault, client: Client) -> None:
    """Keep that `client` has none. Raises VaultUnavailable, LedgerError."""
    await durable(ledger, ledger.forget_delivery(client.log, DeliveryWay.LEDGER))
    await vault.delete(secret_name(client.id))
