"""What comes over a connection when an engine answers: the receiving half of HTTP/1.1 (RFC 9112).

Rule 1: no I/O. Bytes go in; the status, the type and the body's bytes come out. llhttp, the parser of Node, reads them.
Rule 2: an engine is trusted with its answer, not with our memory or our framing: heads are bounded, and what
RFC 9112 calls ambiguous is refused, because a misframed answer would leak into the next one on the connection.
llhttp refuses most of it; what it lets pass is refused here.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

_BARE_LIMIT_B = 64 * 1024
"""How much may come in which nothing is of the body: heads, trailers, the sizes of chunks and what hangs on them."""

_NO_HTTP = "it does not speak HTTP/1"
_SWITCHED = "it switched to a protocol that was not asked for"
_AMBIGUOUS = "the length of its answer is ambiguous"
_MISFIT = "its answer is cut into chunks that do not fit"


class BadResponse(ValueError):
    """What arrived is not an HTTP/1.1 response; `str()` says what is wrong, as the end of a sentence."""


class ResponseParser:
    """One connection's answers, one after the other; call `reset()` before each but the first.

    `status` is 0 until the head is complete. `ended` says that the body is. `excess` says that bytes followed the
    end, after which the connection must not be used again; `keep_alive` says whether the engine lets it be.
    """

    __slots__ = (
        "_bare_b",
        "_body",
        "_coding",
        "_llhttp",
        "_sized",
        "content_type",
        "ended",
        "excess",
        "keep_alive",
        "on_body",
        "status",
    )

    def __init__(self) -> None:
        self._body: list[bytes] = []
        self.on_body = self._body.append
        """llhttp's; it costs no call of a function of ours."""
        self._llhttp = HttpResponseParser(self)
        self._bare_b = 0
        self._coding = b""
        self._sized = False
        self.status = 0
        self.content_type = ""
        self.keep_alive = True
        self.ended = self.excess = False

    def reset(self) -> None:
        """Expect the next answer."""
        if not self.ended or self.excess or not self.keep_alive:
            self._llhttp = HttpResponseParser(self)
        self._body.clear()
        self._bare_b = 0
        self._coding = b""
        self._sized = False
        self.status = 0
        self.content_type = ""
        self.keep_alive = True
        self.ended = False
        self.excess = False

    def feed(self, data: bytes, parts: list[bytes]) -> None:
        """Take what the network brought and append the body's bytes to `parts`.

        Raises BadResponse, after which only `reset()` makes sense.
        """
        try:
            self._llhttp.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self.ended:
                raise self._why(error) from None
            self.excess = True
        body = self._body
        if body:
            parts += body
            body.clear()
            self._bare_b = 0
        elif not self.ended:
            self._bare_b += len(data)
            if self._bare_b > _BARE_LIMIT_B:
                raise BadResponse(_MISFIT if self.status else "the head of its answer has no end")

    def feed_eof(self) -> None:
        """The connection ended. Raises BadResponse where the answer needed more."""
        if self.status and not self._coding and not self._sized:
            self.ended = True
        elif not self.ended:
            raise BadResponse("the connection ended before the answer did")

    def on_message_begin(self) -> None:
        """For llhttp."""
        if self.ended:
            raise BadResponse("bytes followed its end")

    def on_header(self, name: bytes, value: bytes) -> None:
        """For llhttp, which joins no repeated headers."""
        if self.status:  # a trailer
            return
        name = name.lower()
        if name == b"content-type":
            if not self.content_type:
                self.content_type = value.strip().decode("latin-1")
        elif name == b"content-length":
            self._sized = True
        elif name == b"transfer-encoding":
            self._coding = b"?" if self._coding else value.strip().lower() or b"?"

    def on_headers_complete(self) -> None:
        """For llhttp."""
        llhttp = self._llhttp
        status = llhttp.get_status_code()
        if status < 200:
            if status < 100:
                raise BadResponse(_NO_HTTP)
            if status == 101:
                raise BadResponse(_SWITCHED)
            self._coding = b""
            self._sized = False
            return
        if llhttp.get_http_version()[:2] != "1.":
            raise BadResponse(_NO_HTTP)
        if self._coding and (self._coding != b"chunked" or self._sized):
            raise BadResponse(_AMBIGUOUS)
        self.keep_alive = llhttp.should_keep_alive()
        self.status = status

    def on_message_complete(self) -> None:
        """For llhttp."""
        self.ended = self.status > 0

    def _why(self, error: Exception) -> BadResponse:
        if isinstance(error.__context__, BadResponse):
            return error.__context__
        if isinstance(error, HttpParserUpgrade):
            return BadResponse(_SWITCHED)
        if self.status:
            return BadResponse(_MISFIT)
        if self._sized or self._coding:
            return BadResponse(_AMBIGUOUS)
        return BadResponse(
            "the head of its answer is malformed" if self._llhttp.get_status_code() else _NO_HTTP
        )
