"""The simulator's models: in memory for demonstrations, or in a folder that survives it, as in a container's volume.

Rule 1: without a folder nothing touches the disk: a file that is pushed is hashed, weighed and let go. Rule 2: what
was pulled in part stays, and the next pull goes on from there. Rule 3: pulled models weigh nothing here, whatever
they say; only files that somebody pushed are really kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

from app.simulator.models import MODELS, SimulatedModel, from_file, spelled

_STATE = "simulator.json"
_HEAD_B = 4


class WrongDigest(Exception):
    """A file's SHA-256 is not the announced one; `str()` is the real one."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A file that was pushed."""

    size_b: int
    head: bytes
    """Its first four bytes."""


class Library:
    """Models by name, files by digest, and pulls that were broken off.

    `folder` None: everything in memory, with the models that the simulator is born with unless `empty`. Raises
    OSError where the folder cannot be used, ValueError where its state makes no sense.
    """

    def __init__(self, folder: Path | None = None, *, empty: bool = False) -> None:
        self._folder = folder
        self._models: dict[str, SimulatedModel] = {}
        self._blobs: dict[str, Blob] = {}
        self.partial: dict[str, int] = {}
        """Digest of a layer → bytes that have come."""
        if folder is not None:
            (folder / "blobs").mkdir(parents=True, exist_ok=True)
            self._read(folder)
        elif not empty:
            self._models = {model.name: model for model in MODELS}

    def models(self) -> tuple[SimulatedModel, ...]:
        """All of them, the newest first, as Ollama lists them."""
        return tuple(sorted(self._models.values(), key=lambda model: -model.modified_ns))

    def find(self, name: str) -> SimulatedModel | None:
        """The model that Ollama would take `name` for."""
        return self._models.get(spelled(name))

    def put(self, name: str, model: SimulatedModel) -> None:
        """Call a model `name` from now on, whatever was called so before."""
        before = self._models.get(name)
        made_of = model.made_of or model.name
        self._models[name] = replace(model, name=name, made_of=made_of, modified_ns=time.time_ns())
        self._let_go(before)
        self.save()

    def create(self, name: str, digest: str) -> None:
        """A model made of the file `digest`, which must be here."""
        self.put(name, from_file(name, digest, self._blobs[digest].size_b, time.time_ns()))

    def remove(self, name: str) -> None:
        """Forget a model, and its file where no other is made of it."""
        self._let_go(self._models.pop(name))
        self.save()

    def blob(self, digest: str) -> Blob | None:
        """The file of that digest, if it was pushed."""
        return self._blobs.get(digest)

    async def receive(self, digest: str, chunks: AsyncIterator[bytes]) -> None:
        """Take a file in. Raises WrongDigest, OSError; what did not arrive whole is thrown away."""
        hashed, size_b, head = hashlib.sha256(), 0, b""
        target = self._path(digest)
        incoming = target and target.with_name(f"{target.name}.{id(chunks)}")
        file = _opened(incoming) if incoming else None
        try:
            async for chunk in chunks:
                hashed.update(chunk)
                size_b += len(chunk)
                if len(head) < _HEAD_B:
                    head += bytes(chunk[: _HEAD_B - len(head)])
                if file:
                    file.write(chunk)
            if (found := f"sha256:{hashed.hexdigest()}") != digest:
                raise WrongDigest(found)
            if file and incoming and target:
                file.close()
                os.replace(incoming, target)
        finally:
            if file and incoming:
                file.close()
                incoming.unlink(missing_ok=True)
        self._blobs[digest] = Blob(size_b, head)

    def save(self) -> None:
        """Write the state down, where there is a folder."""
        if self._folder is None:
            return
        state = {"models": [asdict(model) for model in self._models.values()], "partial": self.partial}
        draft = self._folder / f"{_STATE}.new"
        draft.write_text(json.dumps(state))
        os.replace(draft, self._folder / _STATE)

    def _read(self, folder: Path) -> None:
        with suppress(FileNotFoundError):
            state = json.loads((folder / _STATE).read_text())
            try:
                self.partial = {str(digest): int(size_b) for digest, size_b in state["partial"].items()}
                for kept in state["models"]:
                    model = SimulatedModel(**{**kept, "capabilities": tuple(kept["capabilities"])})
                    self._models[model.name] = model
            except (TypeError, KeyError, AttributeError) as error:
                raise ValueError(f"{folder / _STATE} is not a simulator's: {error}") from error
        for path in (folder / "blobs").iterdir():
            if path.name.startswith("sha256-") and "." not in path.name:
                with path.open("rb") as file:
                    head = file.read(_HEAD_B)
                self._blobs[path.name.replace("-", ":")] = Blob(path.stat().st_size, head)
            else:
                path.unlink()
        # As Ollama does when it starts: what no model is made of goes.
        for digest in list(self._blobs):
            self._drop(digest)

    def _let_go(self, model: SimulatedModel | None) -> None:
        if model is not None and model.blob:
            self._drop(model.blob)

    def _drop(self, digest: str) -> None:
        """Delete a file that no model is made of."""
        if all(model.blob != digest for model in self._models.values()):
            self._blobs.pop(digest, None)
            if path := self._path(digest):
                path.unlink(missing_ok=True)

    def _path(self, digest: str) -> Path | None:
        return self._folder / "blobs" / digest.replace(":", "-") if self._folder else None


def _opened(path: Path) -> BinaryIO:
    """Its own loop may wait for a disk, as the gateway's never does."""
    return path.open("wb")
