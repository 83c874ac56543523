"""How an engine's bytes become an answer."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.http1 import BadResponse, ResponseParser


def parse(data: bytes, cuts: tuple[int, ...] = (), *, eof: bool = False) -> tuple[ResponseParser, bytes]:
    parser = ResponseParser()
    parts: list[bytes] = []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in zip(edges, edges[1:], strict=False):
        if begin < end:
            parser.feed(data[begin:end], parts)
    if eof:
        parser.feed_eof()
    assert all(parts), "a part is never empty"
    return parser, b"".join(parts)


WITH_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\nA;name=value\r\n, you all!\r\n0\r\nTrailer: yes\r\n\r\n"
)


def test_a_body_ends_at_its_length() -> None:
    parser, body = parse(WITH_LENGTH)
    assert (parser.status, parser.content_type, body) == (200, "application/json", b"hello")
    assert parser.ended
    assert parser.keep_alive
    assert not parser.excess


def test_a_chunked_body_is_put_together_without_its_frames() -> None:
    parser, body = parse(CHUNKED)
    assert (parser.status, parser.content_type, body) == (200, "application/x-ndjson", b"hello, you all!")
    assert parser.ended
    assert not parser.excess


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    parser, body = parse(b"HTTP/1.0 200 OK\r\n\r\nhel" + b"lo", eof=True)
    assert body == b"hello"
    assert parser.ended
    assert not parser.keep_alive


@pytest.mark.parametrize("status", [204, 304])
def test_answers_that_have_no_body_end_with_their_head(status: int) -> None:
    parser, body = parse(b"HTTP/1.1 %d Nothing\r\n\r\n" % status)
    assert parser.ended
    assert body == b""


def test_an_interim_answer_is_passed_over() -> None:
    parser, body = parse(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + WITH_LENGTH)
    assert (parser.status, body) == (200, b"hello")


def test_bytes_after_the_end_are_excess_and_belong_to_nobody() -> None:
    for answer in (WITH_LENGTH, CHUNKED):
        parser, body = parse(answer + b"HTTP/1.1 200 OK\r\n")
        assert parser.excess
        assert b"HTTP" not in body


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close", False),
        (b"HTTP/1.1 200 OK\r\nconnection: Close", False),
        (b"HTTP/1.1 200 OK", True),
        (b"HTTP/1.0 200 OK", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive", True),
    ],
)
def test_the_engine_decides_whether_the_connection_stays(head: bytes, keep_alive: bool) -> None:
    parser, _ = parse(head + b"\r\nContent-Length: 0\r\n\r\n")
    assert parser.ended
    assert parser.keep_alive is keep_alive


def test_a_header_that_only_contains_a_known_name_is_another_header() -> None:
    parser, body = parse(
        b"HTTP/1.1 200 OK\r\nX-Content-Length: 99\r\nContent-Length: 2\r\nOld-Transfer-Encoding: gzip\r\n\r\nok"
    )
    assert parser.ended
    assert body == b"ok"


OK = b"HTTP/1.1 200 OK\r\n"
IN_CHUNKS = OK + b"Transfer-Encoding: chunked\r\n\r\n"

NOT_HTTP = [
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 2xx OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
]
AMBIGUOUS_HEADS = [
    b"Content-Length: 5\r\nContent-Length: 6\r\n",
    b"Content-Length: 5\r\nContent-Length: 5\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: 5 5\r\n",
    b"Content-Length: -5\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length: 0x5\r\n",
    b"Content-Length: 1_0\r\n",
    b"Content-Length: \r\n",
    b"Content-Length: 99999999999999999999999\r\n",
    b"Content-Length: 5\r\n 6\r\n",  # a folded line
    b"X: a\r\n Content-Length: 7\r\nContent-Length: 5\r\n",
    b"Content-Length : 5\r\n",
    b" Content-Length: 5\r\n",
    b"Content-Length: 5\rX: y\r\n",
    b"Content-Length: 5\nX: y\r\n",  # a bare line feed
    b"X: \0\r\nContent-Length: 5\r\n",
    b"X Content-Length: 5\r\n",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked;q=1\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: \x0bchunked\r\n",
    b"Transfer-Encoding: \r\n",
]
AMBIGUOUS_CHUNKS = [
    b"+5\r\nhello\r\n",
    b"-5\r\nhello\r\n",
    b"0x5\r\nhello\r\n",
    b"1_0\r\nhello\r\n",
    b" 5\r\nhello\r\n",
    b"5 \r\nhello\r\n",
    b"\r\nhello\r\n",
    b"5\nhello\r\n",
    b"5\rhello\r\n",
    b"5;\nhello\r\n",
    b"5\r\nhello\n",
    b"5\r\nhelloXX\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\n",
    b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
    b"5\r\nhello\r\n0\r\nno trailer\r\n\r\n",
    b"10000000000000005\r\nhello\r\n",
    b"f" * 5000,
]


@pytest.mark.parametrize("cut", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize(
    "data",
    [
        *NOT_HTTP,
        OK.replace(b"\r\n", b"\n") + b"Content-Length: 5\n\nhello",
        *(OK + head + b"\r\nhello" for head in AMBIGUOUS_HEADS),
        *(IN_CHUNKS + chunks for chunks in AMBIGUOUS_CHUNKS),
    ],
)
def test_what_is_not_clearly_an_answer_is_refused(data: bytes, cut: bool) -> None:
    with pytest.raises(BadResponse):
        parse(data, tuple(range(len(data))) if cut else ())


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (OK, b"X: " + b"x" * 997 + b"\r\n"),
        (OK + b"X: ", b"x" * 1000),
        (b"", b"HTTP/1.1 103 Hints\r\nLink: " + b"x" * 970 + b"\r\n\r\n"),
        (IN_CHUNKS + b"5\r\nhello\r\n0\r\n", b"X: " + b"x" * 997 + b"\r\n"),
        (IN_CHUNKS + b"5;", b"x" * 1000),
    ],
    ids=["headers", "a header", "interim heads", "trailers", "what hangs on a chunk's size"],
)
def test_what_is_no_body_is_bounded(begin: bytes, more: bytes) -> None:
    parser, parts = ResponseParser(), []
    if begin:
        parser.feed(begin, parts)
    for _ in range(60):
        parser.feed(more, parts)
    with pytest.raises(BadResponse):
        parser.feed(more * 10, parts)


@pytest.mark.parametrize("data", [WITH_LENGTH[:-1], CHUNKED[:-3], WITH_LENGTH[:40], b""])
def test_an_answer_that_stops_early_is_not_taken_for_a_whole_one(data: bytes) -> None:
    with pytest.raises(BadResponse):
        parse(data, eof=True)


@given(st.sampled_from([WITH_LENGTH, CHUNKED]), st.lists(st.integers(0, 400), max_size=12).map(tuple))
def test_wherever_the_network_cuts_the_answer_is_the_same(data: bytes, cuts: tuple[int, ...]) -> None:
    whole, expected = parse(data)
    parser, body = parse(data, cuts)
    assert body == expected
    assert parser.ended
    assert (parser.status, parser.content_type, parser.excess) == (whole.status, whole.content_type, False)


@given(
    st.lists(st.binary(min_size=1, max_size=70), max_size=8),
    st.lists(st.integers(0, 900), max_size=9).map(tuple),
)
def test_chunks_of_any_bytes_arrive_unchanged(chunks: list[bytes], cuts: tuple[int, ...]) -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    data += b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    parser, body = parse(data, cuts)
    assert body == b"".join(chunks)
    assert parser.ended


@given(st.binary(max_size=200), st.binary(max_size=60), st.lists(st.integers(0, 400), max_size=5).map(tuple))
def test_no_bytes_do_more_harm_than_being_refused(noise: bytes, tail: bytes, cuts: tuple[int, ...]) -> None:
    for data in (noise, CHUNKED[:90] + noise + tail, WITH_LENGTH[: len(noise) % 70] + tail):
        with contextlib.suppress(BadResponse):
            parse(data, cuts, eof=True)


def test_a_parser_starts_afresh_for_the_next_answer() -> None:
    parser, parts = ResponseParser(), []
    parser.feed(CHUNKED + b"excess", parts)
    parser.reset()
    assert (parser.status, parser.ended, parser.excess, parser.content_type) == (0, False, False, "")
    parser.feed(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", parts)
    assert parser.status == 404
    assert parts[-1] == b"no"
