"""What everything of one profile's engine is called at the daemon, and the labels that say that it is ours.

Rule: a name alone proves nothing. Only what carries the labels of this profile in this very home is ours to start,
stop or remove.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.containers.base import LABEL_HOME, LABEL_PROFILE, LABEL_ROLE, PREFIX, Container

ROLE = "engine"
LABEL_REFERENCE = f"{PREFIX}.image"
"""The image that the settings asked for when the container was made; the container itself names an exact image id."""
LABEL_DIGEST = f"{PREFIX}.digest"
"""`sha256:…` of that image as it was pulled, or empty."""

_STEM = "mortdecai-ollama"


@dataclass(frozen=True, slots=True)
class Names:
    """The container, the volume of its models, and its two networks."""

    container: str
    volume: str
    sealed: str
    """The network from which no connection leads out."""
    opened: str
    """The one that leads out, joined while a model is being pulled. A container's way out is the first of its networks
    in order of the alphabet (moby/libnetwork#1141; tried with Docker 20.10), so its name comes before the other's."""


def names_of(profile: str) -> Names:
    """`mortdecai-ollama` for the profile `default`, else with the profile's name behind it."""
    stem = _STEM if profile == "default" else f"{_STEM}-{profile}"
    return Names(container=stem, volume=f"{stem}-models", sealed=f"{stem}-sealed", opened=f"{stem}-open")


def labels_of(profile: str, home: str = "") -> Mapping[str, str]:
    """What every container, network and volume of this engine carries. `home` tells profiles of one name apart."""
    return {LABEL_PROFILE: profile, LABEL_ROLE: ROLE, LABEL_HOME: home}


def is_ours(container: Container, profile: str, home: str = "") -> bool:
    """Whether this profile's gateway in this home made the container."""
    return all(container.labels.get(name) == value for name, value in labels_of(profile, home).items())
