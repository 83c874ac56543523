"""How much a request may hold, counted alike in every dialect and every spelling."""

from __future__ import annotations

from typing import Any

import pytest

from app.access.refusals import Refusal
from app.proxy.dialects.sizes import refuse_crowds

DATA = "data:image/png;base64,iVBORw0KGgo="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aaaa"}}


def say(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


PICTURES: list[tuple[int, dict[str, Any]]] = [
    (0, {"messages": [{"role": "user", "content": "Hello"}]}),
    (2, {"prompt": "What is it?", "images": ["aaaa", "bbbb"]}),
    (
        3,
        {
            "messages": [
                {"role": "user", "content": "", "images": ["a", "b"]},
                {"Images": ["c"], "content": ""},
            ]
        },
    ),
    (
        1,
        {
            "messages": [
                say({"type": "text", "text": "It?"}, {"type": "image_url", "image_url": {"url": DATA}})
            ]
        },
    ),
    (1, {"messages": [say({"type": "image_url", "Image_URL": DATA})]}),
    (1, {"messages": [say({"type": "input_audio", "input_audio": {"data": "aaaa", "format": "wav"}})]}),
    (1, {"messages": [say({"type": "file", "file": {"file_data": DATA}})]}),
    (2, {"messages": [say(IMAGE, IMAGE)]}),
    (1, {"messages": [say({"type": "tool_result", "tool_use_id": "t", "content": [IMAGE]})]}),
    (0, {"messages": [say({"type": "search_result", "source": "a book", "content": []})]}),
    (1, {"input": [say({"type": "input_image", "image_url": DATA})]}),
    (
        1,
        {"input": [{"type": "function_call_output", "output": [{"type": "input_image", "image_url": DATA}]}]},
    ),
    (0, {"images": "none", "messages": "none", "input": [1, "two", None]}),
]


@pytest.mark.parametrize(("count", "call"), PICTURES)
def test_pictures_sounds_and_files_are_counted_wherever_they_stand(count: int, call: dict[str, Any]) -> None:
    refuse_crowds(call, 100, count)
    if count:
        with pytest.raises(Refusal, match=f"holds {count} pictures.*at most {count - 1}") as refused:
            refuse_crowds(call, 100, count - 1)
        assert (refused.value.status, refused.value.code) == (400, "too_many_images")


@pytest.mark.parametrize("name", ["messages", "input"])
def test_messages_and_texts_to_embed_are_counted_and_the_tokens_of_one_text_are_not(name: str) -> None:
    refuse_crowds({name: ["text"] * 5}, 5, 0)
    with pytest.raises(Refusal, match=f"{name} holds 6 entries; a request may have at most 5") as refused:
        refuse_crowds({name: ["text"] * 6}, 5, 0)
    assert (refused.value.status, refused.value.code) == (400, "too_many_messages")
    refuse_crowds({name: [7] * 6}, 5, 0)
