"""What each inference path is asked with and answered with: for tests that hold of every dialect."""

from __future__ import annotations

import json
from typing import Any

from tests.gateway.conftest import MODEL

MESSAGES = [{"role": "user", "content": "Hello"}]
ASKED: dict[str, dict[str, Any]] = {
    "/api/chat": {"messages": MESSAGES},
    "/api/generate": {"prompt": "Hello"},
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": "Hello"},
    "/v1/responses": {"input": "Hello"},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 20},
    "/api/embed": {"input": "Hello"},
    "/api/embeddings": {"prompt": "Hello"},
    "/v1/embeddings": {"input": "Hello"},
}
"""Every path of inference."""
STREAMED = tuple(path for path in ASKED if "embed" not in path)


def body(path: str, **more: Any) -> dict[str, Any]:
    """A small request."""
    streamed = {"stream": True} if path in STREAMED else {}
    return {"model": MODEL, **streamed, **ASKED[path], **more}


def piece(path: str, text: str = "x") -> bytes:
    """One content frame of a streamed answer, as Ollama sends it."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": None}
    match path:
        case "/api/chat":
            frame: dict[str, Any] = {"message": {"role": "assistant", "content": text}, "done": False}
        case "/api/generate":
            frame = {"response": text, "done": False}
        case "/v1/chat/completions":
            frame = {"object": "chat.completion.chunk", "choices": [{**choice, "delta": {"content": text}}]}
        case "/v1/completions":
            frame = {"object": "text_completion", "choices": [{**choice, "text": text}]}
        case "/v1/messages":
            frame = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        case _:
            frame = {
                "type": "response.output_text.delta",
                "output_index": 0,
                "sequence_number": 1,
                "delta": text,
            }
    data = json.dumps({"model": MODEL, **frame}).encode()
    if path.startswith("/api/"):
        return data + b"\n"
    name = f"event: {frame['type']}\n".encode() if "type" in frame else b""
    return name + b"data: " + data + b"\n\n"


def refusal(path: str, answer: dict[str, Any]) -> str:
    """The sentence of a refusal; fails where it is not in the dialect of the path."""
    error = answer["error"]
    if path.startswith("/api/"):
        assert isinstance(error, str)
        return error
    assert (answer.get("type") == "error") is path.startswith("/v1/messages")
    assert {"message", "type", "code"} <= error.keys()
    return str(error["message"])


def last_frame(path: str, stream: bytes) -> dict[str, Any]:
    """The data of a stream's last frame that has any."""
    if path.startswith("/api/"):
        found = stream.splitlines()[-1]
    else:
        lines = [line for line in stream.splitlines() if line.startswith(b"data: {")]
        found = lines[-1].removeprefix(b"data: ")
    parsed = json.loads(found)
    assert isinstance(parsed, dict)
    return parsed
