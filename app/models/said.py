"""What Ollama says when something about a model fails, and what that means for a person.

Rule: pure. Ollama's errors are Go's, wrapped one in another; parts of them are looked for, in the order of the table,
and what is not known is quoted.
"""

from __future__ import annotations

from app.models.base import ModelError


class Passing(ModelError):
    """Nothing is wrong with what was asked for: the same may work later, and what has come is kept."""


class NoMemory(ModelError):
    """It does not fit at the moment."""


def broken_off() -> Passing:
    """The engine or its line went away in the middle."""
    return Passing(
        "The engine broke off in the middle: see that it runs, then try again; what has come is kept."
    )


_NO_ROOM = "The engine's disk is full: delete a model or make room, then try again."
_NO_LINE = "The engine could not reach the library of models: check the network, then try again; what has come is kept."
_BUSY = "The engine has too much to do at the moment: try again later."
_NO_MEMORY = "The model {name} does not fit into the GPU's memory: unload others, or use a smaller one."
_MEANINGS: tuple[tuple[str, str], ...] = (
    ("no space left", _NO_ROOM),
    ("not enough space", _NO_ROOM),
    ("disk quota exceeded", _NO_ROOM),
    (
        "pull model manifest: file does not exist",
        "The library has no model {name}: check its spelling and its tag.",
    ),
    ("pull model manifest: 404", "The library has no model {name}: check its spelling and its tag."),
    ("pull model manifest: 412", "This engine is too old for {name}: update the engine, then try again."),
    ("requires a newer version", "This engine is too old for {name}: update the engine, then try again."),
    ("not in gguf format", "The file is not a GGUF model that this engine can read: use another file."),
    (
        "unknown model architecture",
        "This engine does not know this kind of model: update the engine, or use another.",
    ),
    (
        "unsupported architecture",
        "This engine does not know this kind of model: update the engine, or use another.",
    ),
    (
        # Ollama 0.32 says no more of a kind of model that it does not know.
        "llama-quantize failed",
        "This engine cannot use the file: it does not know this kind of model, or the file is damaged; "
        "update the engine, or use another file.",
    ),
    ("invalid model name", "«{name}» is not a model's name: write it like llama3.1:8b."),
    (" is invalid", "«{name}» is not a model's name: write it like llama3.1:8b."),
    (
        "requires more system memory",
        "The model {name} is too large for this machine's memory: use a smaller one.",
    ),
    (
        "out of memory",
        _NO_MEMORY,
    ),
    ("digest mismatch", "What came of {name} is damaged: try again."),
    ("no such host", _NO_LINE),
    ("dial tcp", _NO_LINE),
    ("i/o timeout", _NO_LINE),
    ("tls handshake", _NO_LINE),
    ("network is unreachable", _NO_LINE),
    ("connection refused", _NO_LINE),
    ("max retries exceeded", _NO_LINE),
    ("unexpected eof", _NO_LINE),
    ("connection reset", _NO_LINE),
    ("unauthorized", "The library does not hand out {name} to everybody: choose another model."),
    ("server busy", _BUSY),
    ("not found", "The engine has no model {name}: look at the list of models."),
)
_KINDS: dict[str, type[ModelError]] = {
    _NO_LINE: Passing,
    _NO_ROOM: Passing,
    _BUSY: Passing,
    _NO_MEMORY: NoMemory,
}


_DAMAGED = "The file of {name} is damaged or not whole: fetch it anew, or use another file."


def in_words(text: str, name: str, *, of_file: bool = False) -> ModelError:
    """The sentence for what the engine said about the model `name`; `of_file`: while it read a file that it had."""
    low = text.lower()
    if of_file and "unexpected eof" in low:
        # In a pull the same words are about the network.
        return ModelError(_DAMAGED.format(name=name or "the model"))
    for part, sentence in _MEANINGS:
        if part in low:
            return _KINDS.get(sentence, ModelError)(sentence.format(name=name or "the file"))
    # Nothing that would move a terminal's cursor, nor half a character that no record could hold.
    plain = "".join(letter if letter.isprintable() else " " for letter in text[:2000])
    said = " ".join(plain.split())[:200].rstrip(".")
    return ModelError(f"The engine says «{said}»: look at its log.")
