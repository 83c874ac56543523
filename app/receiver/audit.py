"""Is every record that is held still what was signed? Reads a whole log again and names its first bad record.

Rule: it believes the keys that the log began with and nothing else that is stored; bodies are re-hashed. It blocks, in
short reads, beside a receiver that runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.ledger.checkpoint import VerifierKey
from app.ledger.drafts import GenesisDraft, RotationDraft
from app.ledger.errors import CheckpointError, RecordError
from app.ledger.merkle import Frontier, leaf_hash
from app.ledger.records import decode
from app.ledger.signing_keys import SigningKeys
from app.receiver.dating import Dating
from app.receiver.kept import KeptLog
from app.receiver.repricing import Repricing
from app.receiver.store import CopyStore

AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class CopyReport:
    """`valid` of `size` records, counted from the first, are as they were signed; `sentence` says what is wrong with
    the next one or with the whole, and is empty where nothing is. `notes` are sentences about what was signed so and is
    odd (see `dating.py` and `repricing.py`)."""

    log: str
    size: int
    valid: int
    cost_pico: int
    sentence: str
    notes: tuple[str, ...] = ()


def audit_copy(
    store: CopyStore, log: KeptLog, progress: Callable[[int, int], None] | None = None
) -> CopyReport:
    """Check `log` as far as it was held when it was looked up; `progress(read, all)` is called now and then."""
    frontier, cum, keys, dating, repricing = Frontier(), 0, None, Dating(), Repricing()
    size = log.size
    try:
        while frontier.size < size:
            rows = store.stretch(log, frontier.size, min(AT_ONCE, size - frontier.size))
            before = frontier.size
            for seq, leaf, body in rows:
                if seq != frontier.size:
                    raise RecordError(f"Record {frontier.size} is gone")
                record = decode(body)
                if leaf_hash(body) != leaf:
                    raise RecordError(f"Record {seq} is not what its stored hash says")
                cum += record.draft.cost
                if (record.log, record.seq, record.cum_pico) != (log.name, seq, cum):
                    raise RecordError(f"Record {seq} says another log, place or total than its own")
                if seq == 0:
                    if not isinstance(record.draft, GenesisDraft):
                        raise RecordError("Record 0 is no genesis record")
                    keys = SigningKeys(log.name, VerifierKey.parse(record.draft.vkey))
                elif isinstance(record.draft, RotationDraft) and keys is not None:
                    keys.follow(seq, record.draft)
                frontier.append(leaf)
                dating.take(seq, record.draft)
                repricing.take(seq, record.draft)
            if frontier.size == before:
                raise RecordError(f"Record {before} is gone")
            if progress is not None:
                progress(frontier.size, size)
        if keys is None:
            raise RecordError("The log holds no record")
        claim = keys.verify(log.head.checkpoint)
        if (claim.size, claim.root) != (size, frontier.root()) or cum != log.head.cum:
            raise CheckpointError("the records do not lead to the newest checkpoint, though each reads well")
    except (RecordError, CheckpointError) as error:
        text = str(error).rstrip(".")
        named = text if text.startswith(("Record", "The log")) else f"Record {frontier.size}: {text}"
        if isinstance(error, CheckpointError):
            named = f"The checkpoint cannot be believed: {text}"
        return CopyReport(log.name, size, frontier.size, cum, f"{named}.", dating.notes + repricing.notes)
    return CopyReport(log.name, size, size, cum, "", dating.notes + repricing.notes)
