"""Tools that a client may name, and those that the engine itself would run.

Rule: what the engine runs for a client is not on offer. Ollama's web search sends the question to somebody else's
computer and asks the model again with what came back; vLLM's runs code on the contributor's machine. A client's own
tools cost nothing but their words. What is not offered is left out, and the answer's headers name it.
"""

from __future__ import annotations

from typing import Any

from app.access.refusals import Refusal
from app.proxy.strict_json import refuse_case_variants

_KEYS = frozenset("type name description input_schema parameters strict tools function".split())


def keep_the_clients_own(call: dict[str, Any], own: tuple[str, ...]) -> None:
    """Leave in `call` the tools whose type is missing or begins with one of `own`. Refusal 400 for what is no tool."""
    tools = call.get("tools")
    if tools is None:
        return
    kept = _kept(tools, own)
    if len(kept) == len(tools):
        return
    call["tools"] = kept
    if isinstance(call.get("tool_choice"), dict):
        del call["tool_choice"]  # it may name one that is gone
    if not kept:
        del call["tools"]
        call.pop("tool_choice", None)


def _kept(tools: object, own: tuple[str, ...]) -> list[dict[str, Any]]:
    if not isinstance(tools, list):
        raise Refusal(400, "invalid_value", "tools must be a list.")
    kept = []
    for tool in tools:
        if not isinstance(tool, dict):
            raise Refusal(400, "invalid_value", "Each of the tools must be an object.")
        refuse_case_variants(tool, _KEYS, where="A tool")
        if "tools" in tool:  # a namespace of tools
            tool["tools"] = _kept(tool["tools"], own)
        if str(tool.get("type") or own[0]).startswith(own):
            kept.append(tool)
    return kept
