"""Lines and events whose end is long in coming, or never comes: each byte is copied and looked at a few times."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.base import EngineBroken
from app.proxy.dialects.base import MOST_UNFINISHED_B, Frames, Unfinished
from app.proxy.dialects.ollama import NdjsonFrames
from app.proxy.dialects.openai import SseFrames

KINDS: dict[str, tuple[Callable[[], Frames], bytes, bytes]] = {
    "ollama": (lambda: NdjsonFrames("m", {"response": ""}), b'{"response":"', b'","done":false}\n'),
    "openai": (
        lambda: SseFrames("m", wants_usage=True),
        b'data: {"choices":[{"delta":{"content":"',
        b'"}}]}\n\n',
    ),
}
PIECE = b"x" * 16_384


class Counted(bytes):
    """Bytes that count what is done to them: `work` grows by each byte that is copied to another place."""

    work = 0

    def __add__(self, other: Any) -> Counted:
        Counted.work += len(self) + len(other)
        return Counted(bytes(self) + bytes(other))

    def __radd__(self, other: Any) -> Counted:
        if isinstance(other, bytearray):  # which grows in place, by a fraction of its size at a time
            return NotImplemented
        Counted.work += len(self) + len(other)
        return Counted(bytes(other) + bytes(self))

    def __getitem__(self, key: Any) -> Any:
        got = super().__getitem__(key)
        if isinstance(got, int):
            return got
        Counted.work += len(got)
        return Counted(got)


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_line_is_not_copied_again_with_each_piece(kind: str) -> None:
    make, head, tail = KINDS[kind]
    reader = make()
    pieces = 4 * 2**20 // len(PIECE)
    Counted.work = 0
    assert reader.feed(Counted(head)) == b""
    for _ in range(pieces):
        assert reader.feed(Counted(PIECE)) == b""
    whole = reader.feed(Counted(tail))
    assert whole == head + PIECE * pieces + tail
    assert reader.deltas == 1
    assert Counted.work < 3 * len(whole)


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_line_is_not_searched_again_with_each_piece(kind: str) -> None:
    """Eight times as much takes about eight times as long; where all is searched again, sixty-four times."""

    def took_s(size_b: int) -> float:
        make, head, tail = KINDS[kind]
        reader, piece = make(), b"x" * 64
        began = time.thread_time()
        reader.feed(head)
        for _ in range(size_b // len(piece)):
            reader.feed(piece)
        assert len(reader.feed(tail)) == len(head) + size_b + len(tail)
        return time.thread_time() - began

    little, much = (min(took_s(size_b) for _ in range(3)) for size_b in (2**18, 2**21))
    assert much < 24 * little


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_without_end_is_given_up(kind: str) -> None:
    make, head, _ = KINDS[kind]
    reader = make()
    reader.feed(head)
    for _ in range(MOST_UNFINISHED_B // len(PIECE) - 1):
        assert reader.feed(PIECE) == b""
    reader.feed(PIECE[: -len(head)])
    with pytest.raises(EngineBroken, match="a line of more than 8 MB"):
        reader.feed(b"x")
    assert b"error" in reader.broken("Why.", "engine_broken", b"{}")


def test_white_space_without_end_is_read_once() -> None:
    """`\\s*` from each line's beginning would read what follows again and again."""
    reader = NdjsonFrames("m", {"response": ""})
    content = b'{"response":"x","done":false}\n'
    assert reader.feed(b" " * 9 + content + b"\n\x0b" * 500_000 + b"\n") == b" " * 9 + content


@pytest.mark.parametrize("ends", [(b"\n",), (b"\n\n", b"\n\r\n")])
@given(data=st.data())
def test_wherever_it_is_cut_everything_comes_out_and_only_whole(ends: tuple[bytes, ...], data: Any) -> None:
    parts = data.draw(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\r", *ends]), max_size=30))
    text = b"".join(parts)
    reader, passed = Unfinished(*ends), b""
    for part in parts:
        got = reader.whole(part)
        assert not got or got.endswith(ends)
        passed += got
    assert text.startswith(passed)
    assert not any(end in text[len(passed) :] for end in ends)


def test_content_that_says_data_is_content() -> None:
    reader = SseFrames("m", wants_usage=True)
    last = b'data: {"choices":[{"delta":{"content":"data: x"},"finish_reason":"stop"}]}\n\n'
    assert reader.feed(last) == b"", "the last chunk is held back, whatever it quotes"
    reader.feed(b"data: [DONE]\n\n")
    assert reader.finish(b"{}").count(b'"_gateway"') == 1
    assert b'"content":"data: x"' in reader.finish(b"{}")
