"""What set-up decides: where answers come from, and which model to begin with.

Rule 1: pure. The command and the wizard look, ask and do; the choice itself is made here, once. Rule 2: what runs
already is taken before anything is installed, and whatever is chosen comes with the sentence that says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.containers.base import Daemon
from app.engine.discovery import FoundEngine


class NothingToServeWith(Exception):
    """Neither an engine nor anything to run one in; `str()` is a sentence with the way out."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Where answers will come from."""

    kind: str
    """`container` or `endpoint`, as the setting has it."""
    url: str
    """The endpoint's address; empty for a container."""
    sentence: str
    """What is proposed, for a person to agree to."""


def choose_engine(
    wanted: str, upstream: str | None, findings: Sequence[FoundEngine], daemon: Daemon | None, no_daemon: str
) -> EngineChoice:
    """`wanted`: auto, container or endpoint; `upstream`: an address that was named; `no_daemon`: why there is none.

    Raises NothingToServeWith.
    """
    if upstream is not None:
        return EngineChoice(
            "endpoint", upstream, f"Use the engine at {upstream}, which stays its own master."
        )
    usable = [finding for finding in findings if not finding.found.locked]
    # An Ollama before the others: it loads and unloads, and its models can be managed from here.
    usable.sort(key=lambda finding: (not finding.found.native, not finding.usable))
    if wanted != "container" and usable:
        best = usable[0]
        return EngineChoice(
            "endpoint", best.url, f"Use what runs already and never stop it: {best.sentence.rstrip('.')}."
        )
    if wanted == "endpoint":
        raise NothingToServeWith(
            "No engine answers on this machine. Start Ollama and run this again, or name its address with --upstream."
        )
    if daemon is None:
        raise NothingToServeWith(
            f"No engine runs here, and {no_daemon[:1].lower()}{no_daemon[1:]}"
            if wanted == "auto"
            else no_daemon
        )
    return EngineChoice(
        "container",
        "",
        f"Run Ollama in {daemon.name} {daemon.version}, in a container of its own that stops with us.",
    )
