"""Which software answers at an address, judged by its answers. Pure: no request is made here.

Rule 1: no single answer decides. Each one weighs for one software or another, and the heaviest wins; below `_ENOUGH`
nobody has a name, and a list of models makes it «some OpenAI-compatible server». Rule 2: shapes count, not statuses:
LM Studio answers 200 to every path, llama-server copies Ollama's /api/tags, and a router's page answers anything.

Sources: llama.cpp `tools/server`, vLLM `entrypoints/openai`, LM Studio's REST API v0 and v1, LiteLLM's health and
response-header pages, Ollama's `server/routes.go`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

_ENOUGH = 3
_UNEXPECTED = "Unexpected endpoint or method"
"""What LM Studio says of a path that it does not have."""


class Software(StrEnum):
    """What can answer at an engine's address."""

    OLLAMA = "ollama"
    SIMULATOR = "simulator"
    LLAMA_SERVER = "llama-server"
    VLLM = "vllm"
    LM_STUDIO = "lm-studio"
    LITELLM = "litellm"
    OPENAI = "openai"
    """Something else with OpenAI's API."""
    GATEWAY = "gateway"
    """A gateway like this one: never an engine, it would ask itself."""


NAMES = {
    Software.OLLAMA: "Ollama",
    Software.SIMULATOR: "Simulator",
    Software.LLAMA_SERVER: "llama-server",
    Software.VLLM: "vLLM",
    Software.LM_STUDIO: "LM Studio",
    Software.LITELLM: "LiteLLM",
    Software.OPENAI: "OpenAI-compatible engine",
    Software.GATEWAY: "Mortdecai Gateway",
}
NATIVE = frozenset({Software.OLLAMA, Software.SIMULATOR})
"""Those with Ollama's own API; the others serve `/v1` only."""


@dataclass(frozen=True)
class ProbeAnswer:
    """One answer to a GET: status, headers with lower-case names, and the body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def text(self) -> str:
        """The body as text; what is no UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")

    @cached_property
    def json(self) -> dict[str, Any]:
        """The body's JSON object, empty where it is none. Read once: a large one takes more than a millisecond."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


Answers = Mapping[str, ProbeAnswer]
"""By path; a path that got no answer is missing."""

PATHS = (
    "/",
    "/api/version",
    "/v1/models",
    "/props",
    "/version",
    "/api/v0/models",
    "/api/v1/models",
    # Not /health: LiteLLM answers that one by asking every model it has, at its owner's expense.
    "/health/liveliness",
)
"""What is asked. None of them costs anything in any of the programs."""


@dataclass(frozen=True, slots=True)
class Found:
    """What answers, as far as it says."""

    software: Software
    version: str
    """Empty where it tells none."""
    models: tuple[str, ...]
    healthy: bool
    """It lists its models, so it can be asked."""
    locked: bool
    """It wants a key of its own, and the gateway has none to send."""
    unloads: bool
    """It can be told to give a model's memory back."""

    @property
    def name(self) -> str:
        """For people."""
        return NAMES[self.software]

    @property
    def native(self) -> bool:
        """It speaks Ollama's own API."""
        return self.software in NATIVE


def judge(answers: Answers) -> Found | None:
    """What these answers add up to; None where nothing of it looks like an engine."""
    weights = _weigh(answers)
    software, weight = max(weights.items(), key=lambda item: item[1], default=(Software.OPENAI, 0))
    if weight < _ENOUGH:
        software = Software.OPENAI
    listed = model_entries(_json(answers, "/v1/models"))
    locked = _is_locked(answers, software)
    if weight < _ENOUGH and listed is None and not locked:
        return None
    return Found(
        software=software,
        version=_version(answers, software),
        models=tuple(entry["id"] for entry in listed or ()),
        healthy=listed is not None and not locked,
        locked=locked,
        unloads=_unloads(answers, software, listed or []),
    )


def model_entries(answer: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The models of an answer to /v1/models, each with an `id`; None where it is no such answer.

    Ollama without any model writes null in place of an empty list.
    """
    data = answer.get("data")
    if data is None and answer.get("object") == "list":
        data = []
    if not isinstance(data, list):
        return None
    entries = [entry for entry in data if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
    return entries if len(entries) == len(data) else None


def has_no_such_path(status: int, answer: Mapping[str, Any] | None) -> bool:
    """Whether a POST was answered so because there is nothing at its path; `answer` is the JSON object of it, if any.

    A model that is not found is a 404 as well, so the shape decides: Ollama says this in plain text, vLLM and LiteLLM
    in `detail`, llama-server as of a file, and LM Studio under status 200.
    """
    if status == 200:
        said = answer.get("error") if answer is not None else None
        return isinstance(said, str) and said.startswith(_UNEXPECTED)
    if status not in (404, 405):
        return False
    error = answer.get("error") if answer is not None else None
    return (
        answer is None
        or answer.get("detail") in ("Not Found", "Method Not Allowed")
        or (isinstance(error, dict) and error.get("message") == "File Not Found")
    )


def _weigh(answers: Answers) -> Counter[Software]:
    weights: Counter[Software] = Counter()
    _weigh_headers(weights, answers.values())
    front = answers.get("/")
    if front is not None and front.status == 200:
        text = front.text[:200]
        if text.startswith("Ollama is running"):
            simulated = "simulated" in text
            weights[Software.SIMULATOR if simulated else Software.OLLAMA] += 6
        elif text.startswith("Mortdecai Gateway"):
            weights[Software.GATEWAY] += 10
    version = _json(answers, "/api/version").get("version")
    if isinstance(version, str) and version:
        weights[Software.SIMULATOR if version.endswith("-simulated") else Software.OLLAMA] += 3
    if isinstance(_json(answers, "/version").get("version"), str):
        weights[Software.VLLM] += 2
    if {"default_generation_settings", "total_slots"} & _json(answers, "/props").keys():
        weights[Software.LLAMA_SERVER] += 5
    alive = answers.get("/health/liveliness")
    if alive is not None and "I'm alive" in alive.text[:200]:
        weights[Software.LITELLM] += 5
    _weigh_lists(weights, answers)
    return weights


def _weigh_headers(weights: Counter[Software], answers: Iterable[ProbeAnswer]) -> None:
    for software, seen in (
        (Software.GATEWAY, lambda headers: "mortdecai-gateway" in headers.get("www-authenticate", "")),
        (Software.LLAMA_SERVER, lambda headers: headers.get("server", "").startswith("llama.cpp")),
        (Software.LITELLM, lambda headers: any(name.startswith("x-litellm-") for name in headers)),
    ):
        if any(seen(answer.headers) for answer in answers):
            weights[software] += 10 if software is Software.GATEWAY else 6


def _weigh_lists(weights: Counter[Software], answers: Answers) -> None:
    owners = {entry.get("owned_by") for entry in model_entries(_json(answers, "/v1/models")) or ()}
    for owner, software, weight in (
        ("llamacpp", Software.LLAMA_SERVER, 4),
        ("vllm", Software.VLLM, 5),
        ("library", Software.OLLAMA, 1),
        ("organization_owner", Software.LM_STUDIO, 2),
    ):
        weights[software] += weight if owner in owners else 0
    older = model_entries(_json(answers, "/api/v0/models"))
    if older and all("state" in entry for entry in older):
        weights[Software.LM_STUDIO] += 6
    newer = _json(answers, "/api/v1/models").get("models")
    if (
        isinstance(newer, list)
        and newer
        and all(isinstance(one, dict) and "loaded_instances" in one for one in newer)
    ):
        weights[Software.LM_STUDIO] += 6
    if any(_UNEXPECTED in answer.text[:200] for answer in answers.values()):
        weights[Software.LM_STUDIO] += 4


def _is_locked(answers: Answers, software: Software) -> bool:
    listed = answers.get("/v1/models")
    refused = listed is not None and listed.status in (401, 403)
    if software is Software.LLAMA_SERVER:
        # It lists its models to everybody, also where it wants a key for everything else.
        settings = answers.get("/props")
        return refused or (settings is not None and settings.status in (401, 403))
    if software is Software.OPENAI:
        # A page behind a password is no engine: an engine refuses with a JSON object that has an error in it.
        return refused and listed is not None and bool({"error", "detail"} & listed.json.keys())
    return refused


def _version(answers: Answers, software: Software) -> str:
    value: object = None
    if software in NATIVE:
        value = _json(answers, "/api/version").get("version")
    elif software is Software.VLLM:
        value = _json(answers, "/version").get("version")
    elif software is Software.LLAMA_SERVER:
        value = _json(answers, "/props").get("build_info")
    elif software is Software.LITELLM:
        told = [answer.headers.get("x-litellm-version", "") for answer in answers.values()]
        value = max(told, default="")
    return value[:64] if isinstance(value, str) and value.isprintable() else ""


def _unloads(answers: Answers, software: Software, listed: list[dict[str, Any]]) -> bool:
    if software is Software.LM_STUDIO:
        return isinstance(_json(answers, "/api/v1/models").get("models"), list)
    if software is Software.LLAMA_SERVER:
        # Only as a router of several models, which is when each has a status, can it let one go.
        return bool(listed) and all(isinstance(entry.get("status"), dict) for entry in listed)
    return software in NATIVE


def _json(answers: Answers, path: str) -> dict[str, Any]:
    answer = answers.get(path)
    return answer.json if answer is not None and answer.status == 200 else {}
