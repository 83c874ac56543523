"""A named tunnel's token, as people paste it.

Source: cloudflared's `connection.TunnelToken`: base64 of a JSON object with the account (`a`), the tunnel (`t`) and
its secret (`s`). Cloudflare shows it at the end of a command, which is what people copy.
"""

from __future__ import annotations

import base64
import binascii
import json

from app.tunnel.words import TunnelError

TOKEN_NAME = "tunnel-token"  # noqa: S105 - the name under which it is kept in the vault


def read_token(pasted: str) -> str:
    """The token in what was pasted: itself, or a whole command that ends with it. Raises TunnelError."""
    for word in reversed(pasted.replace("=", "= ").split()):
        padded = word.rstrip("=")
        if _is_token(padded + "=" * (-len(padded) % 4)):
            return padded + "=" * (-len(padded) % 4)
    raise TunnelError(
        "That is not a tunnel's token: it begins with eyJ and is shown by Cloudflare when a tunnel is made.",
        "Copy the whole command that Cloudflare shows for «cloudflared», and paste it here.",
    )


def _is_token(text: str) -> bool:
    try:
        value = json.loads(
            base64.b64decode(text, altchars=b"-_" if {"-", "_"} & set(text) else None, validate=True)
        )
    except (ValueError, binascii.Error, RecursionError):
        return False
    return isinstance(value, dict) and all(isinstance(value.get(name), str) and value[name] for name in "ats")
