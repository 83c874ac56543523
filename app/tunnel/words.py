"""What a person is told of the tunnel: what is wrong, and what to do."""

from __future__ import annotations

from app.tunnel.exposure import Reach
from app.tunnel.log import Trouble

PAST_GATEWAY = (
    "The engine itself answered at the public address, without asking for a key, so the tunnel was closed at once.",
    "At Cloudflare, let the tunnel lead to the gateway's port instead of the engine's.",
)


class TunnelError(Exception):
    """The public address did not come about, or does not go away; `str()` is a sentence, `fix` what to do."""

    def __init__(self, sentence: str, fix: str = "") -> None:
        super().__init__(sentence)
        self.fix = fix


def trouble_words(trouble: Trouble, mode: str) -> tuple[str, str]:
    """The problem and its fix."""
    if trouble is Trouble.TOKEN:
        return (
            "Cloudflare refuses the tunnel's token.",
            "Copy the token again from Cloudflare, then run: mortdecai-gateway public-address token",
        )
    if trouble is Trouble.RATE:
        return (
            "Cloudflare gives out no quick address now, because too many were asked for from here.",
            "Try again in an hour, or set up a named tunnel.",
        )
    if trouble is Trouble.NETWORK:
        return (
            "Cloudflare cannot be reached from this machine.",
            "Check the internet connection, and that port 7844 is not blocked on the way out.",
        )
    if mode == "named":
        return ("The tunnel ended several times and is not started again.", "Its last log lines say why.")
    return ("The quick tunnel ended several times and is not started again.", "Its last log lines say why.")


def reach_words(reach: Reach) -> tuple[str, str] | None:
    """The problem and its fix where somebody else than the gateway answers at the address; None where all is well."""
    if reach is Reach.OTHER:
        return (
            "Something else than this gateway answers at the public address.",
            "Check at Cloudflare where the tunnel leads, and whether a login stands in front of it.",
        )
    if reach is Reach.NOBODY:
        return (
            "The tunnel is open, but its address does not answer from here yet.",
            "Wait a few minutes; a new address is not known everywhere at once.",
        )
    return None
