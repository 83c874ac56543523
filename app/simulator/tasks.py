"""From what a client asks for, in whichever dialect, to a task of the simulated model.

Rule 1: what a model cannot do is refused in Ollama's words. Rule 2: nothing is called, thought or counted by itself: a
tool is called where the prompt asks the simulator to (`[simulate: call a tool]`), a model thinks where it has the
capability, and the tokens of both take their time like any others.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from app.simulator.exchange import Fields, SimulatedRefusal
from app.simulator.faults import Faults, read_faults
from app.simulator.gojson import Json, dumps
from app.simulator.inference import Task, ToolCall
from app.simulator.library import Library
from app.simulator.models import SimulatedModel
from app.simulator.text import count_tokens, example, split_tokens

KEEP_S = 300.0
TOKENS_A_MESSAGE = 4
TOKENS_A_PICTURE = 768
_TOKENS_OF_THE_TEMPLATE = 7
_THOUGHTS = tuple(
    split_tokens("The simulator pretends to think: nothing is weighed here, and no model runs.")
)
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")

token_json = lru_cache(maxsize=4096)(dumps)
"""A token as JSON; answers are made of a small vocabulary."""


class SimulatedTasks:
    """Finds models and makes tasks. `faults` gives the faults that stand at the moment."""

    def __init__(self, library: Library, faults: Callable[[], Faults]) -> None:
        self._library = library
        self._faults = faults
        self._calls = itertools.count(1)

    def models(self) -> tuple[SimulatedModel, ...]:
        """All there are."""
        return self._library.models()

    def named(self, name: str) -> SimulatedModel | None:
        """The model called `name`, where there is one."""
        return self._library.find(name)

    def found(self, name: str) -> SimulatedModel:
        """The model called `name`; refuses as Ollama does."""
        model = self._library.find(name)
        gone = self._faults().gone
        if model is None or (gone and gone in model.name):
            raise SimulatedRefusal(404, f"model '{name}' not found")
        return model

    def generating(
        self, name: str, verb: str, *, thinks: object = None, tools: Sequence[object] = ()
    ) -> SimulatedModel:
        """The model called `name`, where it can do what is asked; refuses as Ollama does."""
        model = self.found(name)
        if thinks and "thinking" not in model.capabilities:
            raise SimulatedRefusal(400, f'"{name}" does not support thinking')
        if not model.generates:
            raise SimulatedRefusal(400, f'"{name}" does not support {verb}')
        if tools and "tools" not in model.capabilities:
            raise SimulatedRefusal(400, f"registry.ollama.ai/library/{model.name} does not support tools")
        return model

    def task(
        self,
        model: SimulatedModel,
        prompt: str,
        further_tokens: int,
        *,
        limit: int,
        stops: Sequence[object],
        form: object,
        keep_s: float = KEEP_S,
        thinks: object = None,
        tools: Sequence[tuple[str, object]] = (),
    ) -> Task:
        """What is asked of the model; `form` is "json", a JSON schema, or nothing; `tools` are names and schemas.

        A model that can think does so unless `thinks` is False.
        """
        faults = self._faults_of(model, prompt)
        fixed, call = None, None
        if faults.calls_tool and tools:
            name, schema = tools[0]
            arguments = example(schema)
            call = ToolCall(
                f"call_{next(self._calls):08x}", name, arguments if isinstance(arguments, dict) else {}
            )
            fixed = dumps(call.arguments).decode()
        elif isinstance(form, dict):
            fixed = dumps(example(form)).decode()
        elif form == "json":
            fixed = '{"simulated": true, "answer": "No model ran, and no GPU worked for this."}'
        return Task(
            model=model,
            prompt=prompt,
            prompt_tokens=count_tokens(prompt) + further_tokens + _TOKENS_OF_THE_TEMPLATE,
            keep_s=keep_s,
            faults=faults,
            limit=limit,
            stops=tuple(stop for stop in stops if isinstance(stop, str)),
            fixed_text=fixed,
            thoughts=_THOUGHTS if "thinking" in model.capabilities and thinks is not False else (),
            call=call,
        )

    def embedding(
        self, model: SimulatedModel, texts: Sequence[str], prompt_tokens: int, keep_s: float
    ) -> Task:
        """The work of making vectors of `texts`."""
        return Task(
            model=model,
            prompt="",
            prompt_tokens=prompt_tokens,
            keep_s=keep_s,
            faults=read_faults("\n".join(texts), self._faults()),
        )

    def _faults_of(self, model: SimulatedModel, prompt: str) -> Faults:
        faults = read_faults(prompt, self._faults())
        if faults.fails_to_generate and faults.fails_to_generate in model.name:
            return replace(faults, error_after=0)
        return faults


def functions(tools: Sequence[object], *, inside: str, schema: str) -> list[tuple[str, object]]:
    """Names and schemas of a request's tools; `inside`: the key that a tool keeps both under, if any."""
    found: list[tuple[str, object]] = []
    for tool in tools:
        described = tool.get(inside) if inside and isinstance(tool, dict) else tool
        if isinstance(described, dict) and isinstance(described.get("name"), str):
            found.append((described["name"], described.get(schema)))
    return found


def logprobs(tokens: Sequence[str], most_likely: int) -> list[Json]:
    """Of tokens that could not have been others: each has the probability 1, and no other comes second."""
    told: list[Json] = []
    for token in tokens:
        one: Json = {"token": token, "logprob": 0, "bytes": list(token.encode("utf-8", "replace"))}
        told.append(one | {"top_logprobs": [one]} if most_likely > 0 else one)
    return told


def stop_list(stops: object) -> Sequence[object]:
    """`stop` as a list, where it is one text."""
    return [stops] if isinstance(stops, str) else stops if isinstance(stops, list) else []


def keep_s(fields: Fields) -> float:
    """`keep_alive` in seconds, negative for ever: a number, or a duration as Go writes them."""
    value = fields.raw("keep_alive")
    if value is None:
        return KEEP_S
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if isinstance(value, str):
        sign, amount = (-1.0, value[1:]) if value.startswith("-") else (1.0, value.removeprefix("+"))
        pieces = _DURATION.findall(amount)
        if amount == "0":
            return 0.0
        if pieces and "".join(number + unit for number, unit in pieces) == amount:
            return sign * sum(float(number) * _UNITS_S[unit] for number, unit in pieces)
        raise SimulatedRefusal(400, f'time: invalid duration "{value}"')
    raise SimulatedRefusal(400, f"Unsupported type: '{type(value).__name__}'")
