"""What can go wrong in the receiver, each in one sentence for people.

Rule: no exception of a database, of the file system or of the cryptography library leaves this room untranslated.
"""

from __future__ import annotations


class ReceiverError(Exception):
    """Base of everything this room raises on purpose; `str()` is one sentence: what, why, what to do."""


class StoreFault(ReceiverError):
    """The store did not do what was asked; nothing of it counts, and it may be asked again."""


class StoreAway(StoreFault):
    """The store does not answer now."""


class StoreContended(StoreAway):
    """Another receiver over the same database was quicker; nothing is wrong, and the next try may succeed."""


class StoreFull(StoreFault):
    """There is no room left to keep anything."""


class StoreDamaged(StoreFault):
    """What is in the store cannot be read as this program wrote it."""


class EnrolmentError(ReceiverError):
    """A gateway cannot be enrolled or removed as asked."""


class IndicesUnchecked(ReceiverError):
    """The database has no means, or not for this user, to say whether its indices lead to all that is held."""
