"""JSON without a byte too many, for clients and engines.

Rule: what is signed or compared later (the ledger's bodies, a tariff's text, a container's label) has writers of its
own, because not a byte of those may ever change.
"""

from __future__ import annotations

import json

_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def compact(value: object) -> bytes:
    """`value` as UTF-8. Raises UnicodeEncodeError for half of a surrogate pair, TypeError for what JSON has not."""
    return _ENCODE(value).encode()
