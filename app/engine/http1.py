"""What comes over a connection when an engine answers: the receiving half of HTTP/1.1 (RFC 9112).

Rule 1: no I/O. Bytes go in; the status, the type and the body's bytes come out.
Rule 2: an engine is trusted with its answer, not with our memory or our framing: heads are bounded, and what
RFC 9112 calls ambiguous is refused, because a misframed answer would leak into the next one on the connection.
"""

from __future__ import annotations

_HEAD_LIMIT_B = 64 * 1024
_LINE_LIMIT_B = 4 * 1024

# What the next byte of a body belongs to. Plain numbers: they are compared for every piece of every answer.
_HEAD, _LENGTH, _UNTIL_CLOSE, _CHUNK_SIZE, _CHUNK_DATA, _CHUNK_END, _TRAILERS = range(7)

_HEX = b"0123456789abcdefABCDEF"
_AFTER_CODE = (b" ", b"\r", b"")


class BadResponse(ValueError):
    """What arrived is not an HTTP/1.1 response; `str()` says what is wrong, as the end of a sentence."""


class ResponseParser:
    """One connection's answers, one after the other; call `reset()` before each.

    `status` is 0 until the head is complete. `ended` says that the body is. `excess` says that bytes followed the
    end, after which the connection must not be used again; `keep_alive` says whether the engine lets it be.
    """

    __slots__ = ("_buffer", "_left_b", "_next", "content_type", "ended", "excess", "keep_alive", "status")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Expect the next answer."""
        self.status = 0
        self.content_type = ""
        self.keep_alive = True
        self.ended = False
        self.excess = False
        self._next = _HEAD
        self._buffer = b""
        self._left_b = 0

    def feed(self, data: bytes, parts: list[bytes]) -> None:
        """Take what the network brought and append the body's bytes to `parts`.

        Raises BadResponse, after which only `reset()` makes sense.
        """
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        if self._next == _HEAD:
            data = self._read_heads(data)
        coming = self._next
        if coming == _LENGTH:
            left_b = self._left_b - len(data)
            self._left_b = left_b
            if left_b <= 0:
                if left_b < 0:
                    self.excess = True
                    data = data[:left_b]
                self.ended = True
                self._left_b = 0
            if data:
                parts.append(data)
        elif coming == _UNTIL_CLOSE:
            if data:
                parts.append(data)
        elif coming != _HEAD:
            self._read_chunks(data, parts)

    def feed_eof(self) -> None:
        """The connection ended. Raises BadResponse where the answer needed more."""
        if self._next == _UNTIL_CLOSE:
            self.ended = True
        elif not self.ended:
            raise BadResponse("the connection ended before the answer did")

    def _read_heads(self, data: bytes) -> bytes:
        """Read up to the final head; returns what follows it, or keeps everything for later."""
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                if len(data) > _HEAD_LIMIT_B:
                    raise BadResponse("the head of its answer has no end")
                if data[:7] != b"HTTP/1."[: len(data)]:
                    raise BadResponse("it does not speak HTTP/1")
                self._buffer = data
                return b""
            self._read_head(data[:end])
            data = data[end + 4 :]
            if self._next != _HEAD:
                return data

    def _read_head(self, head: bytes) -> None:
        code = head[9:12]
        if (
            head[:7] != b"HTTP/1."
            or head[8:9] != b" "
            or head[12:13] not in _AFTER_CODE
            or not code.isdigit()
        ):
            raise BadResponse("it does not speak HTTP/1")
        status = int(code)
        if status < 200:
            if status == 101:
                raise BadResponse("it switched to a protocol that was not asked for")
            return
        fields = head.lower()
        self.status = status
        at = fields.find(b"\r\ncontent-type:")
        if at >= 0:
            self.content_type = head[at + 15 :].partition(b"\r\n")[0].strip().decode("latin-1")
        connection = _field(fields, b"\r\nconnection:")
        self.keep_alive = connection != b"close" if head[7:8] != b"0" else connection == b"keep-alive"
        length = _field(fields, b"\r\ncontent-length:")
        coding = _field(fields, b"\r\ntransfer-encoding:")
        # Where the body ends: RFC 9112, section 6.3.
        if status == 204 or status == 304:
            self._next = _LENGTH
        elif coding:
            if coding != b"chunked" or length:
                raise BadResponse("the length of its answer is ambiguous")
            self._next = _CHUNK_SIZE
        elif length:
            if not length.isdigit() or len(length) > 18:
                raise BadResponse("the length of its answer is no number")
            self._next = _LENGTH
            self._left_b = int(length)
        else:
            self._next = _UNTIL_CLOSE
            self.keep_alive = False

    def _read_chunks(self, data: bytes, parts: list[bytes]) -> None:
        """RFC 9112, section 7.1. Only a line's beginning ever waits in the buffer; chunk data passes at once."""
        at, size = 0, len(data)
        if self._next == _CHUNK_SIZE:
            # Nearly always exactly one chunk arrives, and it is all there.
            at = data.find(b"\r\n") + 2
            if (
                at > 2
                and at < size - 2
                and data[-2:] == b"\r\n"
                and _chunk_size(data[: at - 2]) == size - at - 2
            ):
                parts.append(data[at:-2])
                return
            at = 0
        while at < size:
            coming = self._next
            if coming == _CHUNK_DATA:
                end = at + self._left_b
                if end > size:
                    parts.append(data[at:] if at else data)
                    self._left_b = end - size
                    return
                parts.append(data[at:end])
                at = end
                self._next = _CHUNK_END
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                if size - at > _LINE_LIMIT_B or (coming == _CHUNK_END and data[at:] != b"\r"):
                    raise BadResponse("its answer is cut into chunks that do not fit")
                break
            line = data[at:end]
            at = end + 2
            if coming == _CHUNK_SIZE:
                self._left_b = left_b = _chunk_size(line)
                self._next = _CHUNK_DATA if left_b else _TRAILERS
            elif coming == _CHUNK_END:
                if line:
                    raise BadResponse("its answer is cut into chunks that do not fit")
                self._next = _CHUNK_SIZE
            elif not line:
                self.ended = True
                self._next = _LENGTH
                self.excess = at < size
                return
        if at < size:
            self._buffer = data[at:]


def _field(fields: bytes, name: bytes) -> bytes:
    """The value of a header in lower case, or b""; one that comes twice gives what is neither number nor word."""
    at = fields.find(name)
    if at < 0:
        return b""
    end = fields.find(b"\r\n", at + 2)
    if end < 0:
        return fields[at + len(name) :].strip()
    return fields[at + len(name) : end].strip() if fields.find(name, end) < 0 else b"?"


def _chunk_size(line: bytes) -> int:
    digits = line if not line.strip(_HEX) else line.partition(b";")[0].rstrip(b" \t")
    # int() alone would also take 0x, a sign, underscores and spaces.
    if not digits or digits.strip(_HEX) or len(digits) > 15:
        raise BadResponse("its answer is cut into chunks that do not fit")
    return int(digits, 16)
