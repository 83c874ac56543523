"""Evidence of a difference between two copies of a log: one file that anybody can weigh who has the public keys.

Rule 1: pure. Rule 2: the file's own words (`verdict`, `sentence`) are for whoever reads it, and prove nothing: what it
proves is worked out anew from the proofs and the signed notes in it.

The file is JSON: `form`, `log`, `verdict`, `sentence`, `seq`, and for each side (`ours`, `theirs`) its `holder`, its
newest `checkpoint`, and where a record differs the `proof` of it, a C2SP tlog-proof (see `tlog_proof`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.ledger.checkpoint import VerifierKey, parse_checkpoint, verify_checkpoint
from app.ledger.comparing import Comparison, CopySide, when
from app.ledger.cosignature import CosignerKey, find_cosignature
from app.ledger.errors import BadProof, CheckpointError
from app.ledger.proofs import Inclusion
from app.ledger.tlog_proof import Proven, check_proof, write_proof

FORM = "mortdecai-gateway/evidence/v1"
SUFFIX = ".evidence.json"


@dataclass(frozen=True, slots=True)
class Weighed:
    """What evidence proves to whoever trusts the keys: sentences, and whether it convicts anybody."""

    proven: bool
    sentences: tuple[str, ...]


def write_evidence(found: Comparison) -> str:
    """The file's text."""
    told = {
        "form": FORM,
        "log": found.log,
        "verdict": str(found.verdict),
        "sentence": found.sentence,
        "seq": found.first,
        "acknowledged": found.acked,
        "ours": _side(found.log, found.ours, found.first),
        "theirs": _side(found.log, found.theirs, found.first),
    }
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def _side(log: str, side: CopySide, seq: int | None) -> dict[str, Any]:
    told: dict[str, Any] = {"holder": str(side.holder), "checkpoint": side.note}
    if side.exhibit is not None and seq is not None:
        shown = side.exhibit
        told["proof"] = write_proof(
            Inclusion(log, seq, side.exhibit_size, shown.leaf, shown.path, shown.note)
        )
    return told


def is_evidence(text: str) -> bool:
    """Whether it looks like such a file."""
    return text.lstrip().startswith("{") and FORM in text[:4096]


def weigh(text: str, keys: Sequence[VerifierKey], cosigners: Sequence[CosignerKey] = ()) -> Weighed:
    """What the evidence in `text` proves to whoever trusts `keys` and `cosigners`. BadProof where it is none."""
    try:
        told = json.loads(text)
        log, sides = str(told["log"]), [told["ours"], told["theirs"]]
        holders = [str(side["holder"])[:20] for side in sides]
        notes = [str(side["checkpoint"]) for side in sides]
        proofs = [side.get("proof") for side in sides]
        acknowledged = str(told.get("acknowledged", ""))
        if told["form"] != FORM:
            raise BadProof(f"The evidence is of the form {told['form']!r:.60}, which is unknown here.")
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise BadProof("This is no evidence file: parts of it are missing.") from None
    if any(proofs):
        return _records(log, holders, [str(proof) for proof in proofs], keys, cosigners)
    return _sizes(log, holders, notes, acknowledged, keys, cosigners)


def _records(
    log: str,
    holders: list[str],
    proofs: list[str],
    keys: Sequence[VerifierKey],
    cosigners: Sequence[CosignerKey],
) -> Weighed:
    found: list[Proven] = []
    says: list[str] = []
    for holder, proof in zip(holders, proofs, strict=True):
        try:
            proven = check_proof(proof, keys, log)
        except BadProof as error:
            says.append(f"What the {holder} shows is not signed, so it proves nothing: {error}")
            continue
        found.append(proven)
        also = "".join(
            f", and {cosignature.name} cosigned it at {when(at_s)}"
            for cosignature, at_s in _cosigned(proven.note, cosigners)
        )
        says.append(
            f"Record {proven.seq} of {log} was signed by {proven.key.name}{also}. It says, as the {holder} shows it:"
            f" {proven.leaf.decode(errors='replace')}"
        )
    names = {proven.key.name for proven in found}
    # A key that passed to the next keeps its name; another name is another signer, whose word convicts nobody else.
    if (
        len(found) == 2
        and len(names) == 1
        and found[0].seq == found[1].seq
        and found[0].leaf != found[1].leaf
    ):
        return Weighed(True, (f"{names.pop()} has signed two histories of {log}.", *says))
    if len(found) == 1:
        return Weighed(True, (f"Only one of the two records is what {found[0].key.name} signed.", *says))
    return Weighed(False, tuple(says))


def _sizes(
    log: str,
    holders: list[str],
    notes: list[str],
    acknowledged: str,
    keys: Sequence[VerifierKey],
    cosigners: Sequence[CosignerKey],
) -> Weighed:
    vouched = []
    for note in (*notes, acknowledged):
        for key in keys:
            try:
                vouched.append((verify_checkpoint(note, key, log), key, note))
                break
            except CheckpointError:
                continue
    shown = []
    for holder, note in zip(holders, notes, strict=True):
        try:
            shown.append((parse_checkpoint(note)[0].size if note else 0, holder))
        except CheckpointError:
            raise BadProof(f"The checkpoint of the {holder} in the evidence is none.") from None
    roots: dict[tuple[str, int], bytes] = {}
    for claim, key, _ in vouched:
        if roots.setdefault((key.name, claim.size), claim.root) != claim.root:
            return Weighed(
                True, (f"{key.name} has signed two histories of the first {claim.size} records of {log}.",)
            )
    least, who = min(shown)
    longest = max(vouched, key=lambda one: one[0].size, default=None)
    if longest is None or longest[0].size <= least:
        return Weighed(False, ("No signature in it is over more records than both sides show.",))
    claim, key, note = longest
    says = [f"{key.name} has signed {claim.size} records of {log}, and the {who} shows {least}."]
    says += [
        f"{cosigner.name} cosigned them at {when(at_s)}." for cosigner, at_s in _cosigned(note, cosigners)
    ]
    return Weighed(True, tuple(says))


def _cosigned(note: str, cosigners: Sequence[CosignerKey]) -> list[tuple[CosignerKey, int]]:
    found = []
    for cosigner in cosigners:
        try:
            found.append((cosigner, find_cosignature(note, note.rpartition("\n\n")[2], cosigner).at_s))
        except CheckpointError:
            continue
    return found
