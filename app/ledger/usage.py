"""The fast way of usage records into bytes and back: one f-string out, one regular expression in.

Rule 1: pure, and never a second opinion: whatever is not plainly in order here gets None, and `records.py`, which
is slower and knows all the rules, decides. Rule 2: the names below stand in RFC 8785's order.

Every request passes here under the interpreter lock, and a million of them pass in an audit.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from app.ledger.canonical import INT_MAX, quote
from app.ledger.drafts import MONEY_MAX, OUTCOMES, TEXT_MAX, TOKEN_SOURCES, UsageDraft
from app.ledger.ids import ID_PATTERN, is_id

_SOURCES = frozenset({"nvml", "amdgpu", "simulated", "mixed", "model"})


def encode(draft: UsageDraft, log: str, seq: int, cum: int) -> bytes | None:
    """The record's canonical bytes, or None where anything is out of the ordinary."""
    key, model, endpoint, tariff, cost = draft.key, draft.model, draft.endpoint, draft.tariff, draft.cost
    req, digest, tok_in, tok_out = draft.req, draft.model_digest, draft.tok_in, draft.tok_out
    t0, t1, dur_us, e_uj = draft.t0, draft.t1, draft.dur_us, draft.e_uj
    known_in = 0 if tok_in is None else tok_in
    known_out = 0 if tok_out is None else tok_out
    if draft.e_parts is not None or draft.share_us is not None:
        return None
    try:
        # Or-ing them bounds all counts at once, for INT_MAX is all ones; a bool or a float is no integer here.
        if not (
            0 <= (t0 | t1 | dur_us | e_uj | seq | known_in | known_out) <= INT_MAX
            and t0.__class__ is t1.__class__ is dur_us.__class__ is e_uj.__class__ is seq.__class__ is int
            and known_in.__class__ is known_out.__class__ is cost.__class__ is cum.__class__ is int
            and -MONEY_MAX <= cost <= MONEY_MAX
            and -MONEY_MAX <= cum <= MONEY_MAX
            and len(key) + len(model) + len(endpoint) + len(tariff) + len(req or "") + len(digest or "")
            <= TEXT_MAX
            and draft.outcome in OUTCOMES
            and draft.tok_src in TOKEN_SOURCES
            and draft.e_src in _SOURCES
            and is_id(draft.id)
        ):
            return None
        return (
            f'{{"cost":"{cost}","cum":"{cum}","dur_us":{dur_us},"e_src":"{draft.e_src}","e_uj":{e_uj}'
            f',"endpoint":{quote(endpoint)},"id":"{draft.id}","key":{quote(key)},"kind":"usage","log":{quote(log)}'
            f',"model":{quote(model)},"model_digest":{"null" if digest is None else quote(digest)}'
            f',"outcome":"{draft.outcome}","req":{"null" if req is None else quote(req)},"seq":{seq}'
            f',"t0":{t0},"t1":{t1},"tariff":{quote(tariff)},"tok_in":{"null" if tok_in is None else tok_in}'
            f',"tok_out":{"null" if tok_out is None else tok_out},"tok_src":"{draft.tok_src}","v":1}}'
        ).encode()
    except (TypeError, UnicodeEncodeError):
        return None


def searchable(draft: UsageDraft) -> str:
    """See `records.searchable`; here it is key, model, endpoint, outcome and kind."""
    return f"{draft.key}\n{draft.model}\n{draft.endpoint}\n{draft.outcome}\nusage".lower()


# Plain printable ASCII without escapes, and numbers that need no further check of their bounds: what is beyond
# (up to 2**53 - 1 and 64 bits) is left to the slow way. Each pattern has one group, the value.
_STRING = rf'"([ !#-\[\]-\x7f]{{0,{TEXT_MAX}}}+)"'
_COUNT = r"([1-9][0-9]{0,14}|0|[1-8][0-9]{15})"
_INSTANT = r"([1-8][0-9]{15}|[1-9][0-9]{0,14}|0)"
_MONEY = r'"(-?[1-9][0-9]{0,17}|0)"'


def _optional(pattern: str) -> str:
    return f"(?:null|{pattern})"


_PATTERNS = {
    "cost": _MONEY,
    "cum": _MONEY,
    "dur_us": _COUNT,
    "e_src": r'"([a-z0-9_]{1,32}+)"',
    "e_uj": _COUNT,
    "endpoint": _STRING,
    "id": f'"({ID_PATTERN})"',
    "key": _STRING,
    "kind": '"usage"',
    "log": _STRING,
    "model": _STRING,
    "model_digest": _optional(_STRING),
    "outcome": f'"({"|".join(sorted(OUTCOMES))})"',
    "req": _optional(_STRING),
    "seq": _COUNT,
    "t0": _INSTANT,
    "t1": _INSTANT,
    "tariff": _STRING,
    "tok_in": _optional(_COUNT),
    "tok_out": _optional(_COUNT),
    "tok_src": f'"({"|".join(sorted(TOKEN_SOURCES))})"',
    "v": "1",
}


def _reader(*left_out: str) -> Callable[[str], re.Match[str] | None]:
    """Matches a record that surely is canonical and fits the schema of usage. Its groups are the values in the order
    above, as text, but for those of `left_out`: a group that nobody reads costs time a million times."""
    fields = []
    for name, pattern in _PATTERNS.items():
        shown = re.sub(r"\((?!\?)", "(?:", pattern) if name in left_out else pattern
        fields.append(f'"{name}":{shown}')
    return re.compile(r"\{" + ",".join(fields) + r"\}").fullmatch


_read = _reader()
scan = _reader("e_src", "model_digest", "req", "t1", "tariff", "tok_src")
"""For the audit: cost, cum, dur_us, e_uj, endpoint, id, key, log, model, outcome, seq, t0, tok_in, tok_out."""


def decode(body: bytes) -> tuple[str, int, int, UsageDraft] | None:
    """log, seq, cum and the draft, or None where anything is out of the ordinary."""
    match = _read(body.decode("latin-1"))  # which reads any byte; those beyond ASCII match nothing
    if match is None:
        return None
    (
        cost, cum, dur_us, e_src, e_uj, endpoint, identity, key, log, model, digest, outcome, req, seq, t0, t1, tariff,
        tok_in, tok_out, tok_src,
    ) = match.groups()  # fmt: skip
    known_in = None if tok_in is None else int(tok_in)
    known_out = None if tok_out is None else int(tok_out)
    draft = UsageDraft(
        identity, int(t0), int(t1), int(dur_us), req, key, model, digest, endpoint, known_in, known_out, tok_src,
        outcome, int(e_uj), e_src, tariff, int(cost),
    )  # fmt: skip
    return log, int(seq), int(cum), draft
