"""Models for the faces to look at: scripted, at the edge of these tests.

It shows the entries and operations it was given, writes down what it was asked, and refuses where it was told to.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from app.engine.host import Progress
from app.models.base import Doing, Entry, Estimate, Fit, ModelError, Operation, Outcome

GB = 1_000_000_000
GIB = 2**30

_SENTENCES = {
    Fit.FITS: "Needs about {need} of the GPU's 24.0 GB.",
    Fit.TIGHT: "Needs about {need} of the GPU's 24.0 GB, and leaves little for anything else.",
    Fit.PARTLY: "Needs about {need} and the GPU has 24.0 GB: the rest is computed on the processor, slowly.",
    Fit.NO: "Needs about {need}, more than this machine has.",
    Fit.UNKNOWN: "",
}


def an_estimate(fit: Fit = Fit.FITS, weights_b: int = 5 * GIB) -> Estimate:
    """What a model needs, with the sentence that goes with it."""
    need = f"{(weights_b + GIB) / GIB:.1f} GB"
    return Estimate(weights_b, GIB // 2, GIB // 2, fit, _SENTENCES[fit].format(need=need))


def an_entry(name: str = "llama3.1:8b", **changes: Any) -> Entry:
    """A model on this machine that is not loaded."""
    entry = Entry(
        name=name,
        installed=True,
        size_b=4_920_753_328,
        family="llama",
        parameter_size="8.0B",
        quantization="Q4_K_M",
        digest="46e0c10c039e019119339687c3c1757cc81b9da49709a3b3924863ba87ca666e",
        loaded=False,
        vram_b=0,
        expires_at="",
        estimate=an_estimate(),
    )
    return replace(entry, **changes)


def an_offer(name: str, size_b: int, fit: Fit = Fit.FITS, **changes: Any) -> Entry:
    """A model of the catalogue that is not on this machine."""
    changes = {"note": "A well-known all-rounder with a long context.", **changes}
    return an_entry(
        name, installed=False, size_b=size_b, digest="", estimate=an_estimate(fit, size_b), **changes
    )


def an_operation(model: str = "llama3.1:8b", **changes: Any) -> Operation:
    """A pull half-way."""
    operation = Operation(
        id=f"op-{model}",
        doing=Doing.PULL,
        model=model,
        outcome=Outcome.RUNNING,
        progress=Progress(f"Downloading {model}", 1_200_000_000, 4_920_753_328, 38_000_000.0, 98.0),
        sentence="",
    )
    return replace(operation, **changes)


SOME = (
    an_entry("llama3.1:8b", loaded=True, vram_b=int(6.1 * GIB)),
    an_entry("mortdecai:0.5.0", size_b=7_400_000_000, parameter_size="14.8B", family="qwen3"),
    an_entry("qwen2.5:3b", size_b=1_929_912_432, parameter_size="3.1B", family="qwen2"),
)
OFFERS = (
    an_offer("qwen3:0.6b", 523_000_000, note="Tiny, and enough to try things out on any machine.",
             parameter_size="752M"),
    an_offer("gemma3:12b", 8_100_000_000, note="Reads pictures too; for cards with 12 GB.",
             parameter_size="12.2B"),
    an_offer("mistral-small3.2:24b", 15_000_000_000, Fit.TIGHT, parameter_size="24.0B",
             note="A strong all-rounder that reads pictures; for cards with 24 GB."),
    an_offer("qwen3:32b", 20_000_000_000, Fit.PARTLY, parameter_size="32.8B",
             note="Among the best that one card holds."),
    an_offer("llama3.3:70b", 43_000_000_000, Fit.NO, parameter_size="70.6B",
             note="For machines with several cards."),
    an_offer("somebody/a-model-with-a-very-long-name-indeed:latest", 3_000_000_000, Fit.UNKNOWN, note=""),
)  # fmt: skip


class FakeModels:
    """A `ModelsFace`. `present` and `work` are what it tells; `error` is raised by whatever it is asked next."""

    def __init__(self, calls: list[tuple[Any, ...]]) -> None:
        self.calls = calls
        self.present: tuple[Entry, ...] = (*SOME, *OFFERS)
        self.work: tuple[Operation, ...] = ()
        self.error: ModelError | None = None
        self.told: dict[str, Any] = {}
        self.asked_entries = 0

    def entries(self) -> tuple[Entry, ...]:
        self.asked_entries += 1
        return self.present

    def operations(self) -> tuple[Operation, ...]:
        return self.work

    def pull(self, name: str) -> Operation:
        return self._begin("pull", an_operation(name))

    def update(self, url: str, name: str, sha256: str = "") -> Operation:
        return self._begin(
            "update", an_operation(name, doing=Doing.UPDATE, source=url, sha256=sha256), url, sha256
        )

    def load(self, name: str) -> Operation:
        work = Progress(f"Loading {name}", 0, 0)
        return self._begin("load", an_operation(name, doing=Doing.LOAD, progress=work))

    def cancel(self, operation: str) -> None:
        self._note("cancel", operation)
        self.end(operation, Outcome.CANCELLED, "Cancelled; what came so far is kept.")

    async def unload(self, name: str) -> None:
        await self._slowly("unload", name)

    async def delete(self, name: str) -> None:
        await self._slowly("delete", name)
        self.present = tuple(entry for entry in self.present if entry.name != name)

    async def show(self, name: str) -> dict[str, Any]:
        await self._slowly("show", name)
        return self.told

    def change(self, name: str, **changes: Any) -> None:
        """Something about a model has changed."""
        self.present = tuple(
            replace(entry, **changes) if entry.name == name else entry for entry in self.present
        )

    def end(self, operation: str, outcome: Outcome, sentence: str) -> None:
        """An operation has ended."""
        self.work = tuple(
            replace(work, outcome=outcome, sentence=sentence) if work.id == operation else work
            for work in self.work
        )

    def _begin(self, verb: str, operation: Operation, *more: str) -> Operation:
        self._note(verb, operation.model, *more)
        operation = replace(operation, id=f"{operation.id}-{len(self.calls)}")
        self.work = (operation, *self.work)
        return operation

    def _note(self, *call: str) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    async def _slowly(self, *call: str) -> None:
        await asyncio.sleep(0)
        self._note(*call)
