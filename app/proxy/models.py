"""Which of the engine's models a client means.

One model has many spellings (another case, no tag, the registry's full path), and each must lead to the same
entry of the allow-list. Models that the engine would send elsewhere (cloud models) do not exist here. Engines that are
not Ollama have no such spellings: their names (`org/Model-7B`) are compared exactly.
"""

from __future__ import annotations

from app.engine.base import Model
from app.engine.health import EngineWatch
from app.models.names import canonical, is_passing


def sent_as(asked: str, name: str) -> str:
    """How the engine is asked for its model `name`: as the client spelled it, where that is surely the same to it, so
    that its answers say what the client said. Elsewhere by its own name.

    To Ollama case is nothing, and its registry and namespace may be said (types/model/name.go, getExistingName)."""
    if asked == name:
        return asked
    plain, own = asked.lower(), name.lower()
    if plain.count("/") == 2:
        plain = plain.removeprefix("registry.ollama.ai/")
    plain = plain.removeprefix("library/")
    same = asked.isascii() and own in (plain, f"{plain}:latest")
    return asked if same else name


class Models:
    """Resolves names against the engine's models, and asks the engine anew for a name it does not know."""

    def __init__(self, watch: EngineWatch) -> None:
        self._watch = watch
        self._seen: tuple[Model, ...] = ()
        self._by_name: dict[str, tuple[str, str | None]] = {}
        self._asked: dict[str, tuple[str, str | None]] = {}
        self._twins: frozenset[str] = frozenset()

    def wanted(self) -> None:
        """Somebody would like an answer; an engine that is in the way is asked again, also if nobody looks."""
        self._watch.wake()

    def known(self, asked: str) -> tuple[str, str | None] | None:
        """(the engine's spelling, digest) without asking the engine; None where the name is not known."""
        if self._watch.state.models is not self._seen:
            self._index()
        found = self._asked.get(asked)
        if found is None:
            found = self._by_name.get(canonical(asked) if self._watch.engine.native else asked)
            if found is not None and len(self._asked) < 256:
                self._asked[asked] = found
        return found

    def sent_as(self, asked: str, name: str) -> str:
        """See the function; of models that differ in case alone each is asked for by its own name."""
        return name if name in self._twins else sent_as(asked, name)

    async def resolve(self, asked: str) -> tuple[str, str | None] | None:
        """Like `known`, after one more look at the engine: a model may have been pulled a moment ago."""
        await self._watch.refresh()
        return self.known(asked)

    def _index(self) -> None:
        self._seen = self._watch.state.models
        self._asked = {}
        self._twins = frozenset()
        if not self._watch.engine.native:
            self._by_name = {model.name: (model.name, model.digest or None) for model in self._seen}
            return
        self._by_name = {
            canonical(model.name): (model.name, model.digest or None)
            for model in self._seen
            if not model.remote
            # What an update is just trying is not on offer yet.
            and not is_passing(model.name)
        }
        spellings: dict[str, list[str]] = {}
        for model in self._seen:
            spellings.setdefault(canonical(model.name), []).append(model.name)
        self._twins = frozenset(name for names in spellings.values() if len(names) > 1 for name in names)
