"""Which errors are a person's to mend.

Rule: an error that is listed here is told as its one sentence, without a traceback; anything else is a fault of ours.
"""

from __future__ import annotations

from app.basics.door import DoorTaken
from app.commands.common import CommandError
from app.ledger.errors import LedgerError
from app.receiver.errors import ReceiverError
from app.settings.errors import SettingError
from app.vault.base import VaultUnavailable


def for_people() -> tuple[type[Exception], ...]:
    """The errors whose text is a sentence for the person at the keyboard."""
    return (CommandError, LedgerError, DoorTaken, ReceiverError, SettingError, VaultUnavailable)
