"""A client cannot have the engine fetch anything: every way of naming an address, and what only looks like one."""

from __future__ import annotations

from typing import Any

import pytest

from app.access.refusals import Refusal
from app.proxy.dialects.anthropic import MESSAGES, prepare_count
from app.proxy.dialects.openai import CHAT_COMPLETIONS
from app.proxy.dialects.responses import RESPONSES

DATA = "data:image/png;base64,iVBORw0KGgo="
WHERE = [
    "http://169.254.169.254/latest",
    "https://example.com/a.png",
    "HTTPS://example.com",
    "file:///etc/passwd",
    "file:/etc/passwd",
    " ftp://a",
]


def parts(address: str) -> list[dict[str, Any]]:
    return [
        {"type": "image_url", "image_url": {"url": address}},
        {"type": "image_url", "image_url": address},
        {"type": "image_url", "Image_URL": {"URL": address}},
        {"type": "video_url", "video_url": {"url": address}},
        {"type": "audio_url", "audio_url": {"url": address}},
        {"type": "input_image", "image_url": address},
        {"type": "input_file", "file_url": address},
        {"type": "image", "source": {"type": "url", "url": address}},
        {"type": "document", "source": {"type": "url", "url": address}},
        {"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": address}}]},
    ]


def prepared(part: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]
    CHAT_COMPLETIONS.prepare({"model": "m", "messages": messages}, 9)
    MESSAGES.prepare({"model": "m", "messages": messages}, 9)
    prepare_count({"model": "m", "messages": messages})
    RESPONSES.prepare({"model": "m", "input": messages}, 9)
    RESPONSES.prepare(
        {"model": "m", "input": [{"type": "function_call_output", "call_id": "c", "output": [part]}]}, 9
    )


@pytest.mark.parametrize("address", WHERE)
def test_an_address_is_refused_wherever_it_stands(address: str) -> None:
    for part in parts(address):
        message = {"role": "user", "content": [part]}
        for ask in (
            lambda message=message: CHAT_COMPLETIONS.prepare({"model": "m", "messages": [message]}, 9),
            lambda message=message: MESSAGES.prepare({"model": "m", "messages": [message]}, 9),
            lambda message=message: prepare_count({"model": "m", "messages": [message]}),
            lambda message=message: RESPONSES.prepare({"model": "m", "input": [message]}, 9),
        ):
            with pytest.raises(Refusal) as caught:
                ask()
            assert (caught.value.status, caught.value.code) == (400, "address_refused")


@pytest.mark.parametrize("data", [DATA, DATA.replace("data", "DATA"), "iVBORw0KGgo=", ""])
def test_data_passes(data: str) -> None:
    for part in parts(data):
        prepared(part)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "Read https://example.com/a.png"},
        {"type": "tool_use", "id": "t", "name": "fetch", "input": {"url": "https://example.com"}},
        {"type": "search_result", "source": "https://example.com", "title": "A page", "content": []},
        {"type": "tool_result", "content": [{"type": "web_search_result", "url": "https://example.com"}]},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "image_url", "image_url": None},
    ],
)
def test_words_about_an_address_pass(part: dict[str, Any]) -> None:
    prepared(part)
