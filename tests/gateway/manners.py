"""What nginx, Caddy, Traefik, HAProxy, Cloudflare and old HTTP libraries do to a request, one habit a line."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from tests.gateway.conftest import chat

CHAT = json.dumps(chat(stream=False)).encode()
STREAM = json.dumps(chat(tokens=3)).encode()


@dataclass(frozen=True)
class Line:
    """One habit."""

    who: str
    said: str
    status: int
    body: bytes = b""
    keyed: bool = True
    has: dict[str, str] = field(default_factory=dict)
    """Headers of the answer, and what they are."""
    lacks: tuple[str, ...] = ()
    stays: bool | None = None


def post(path: str = "/api/chat", *lines: str, version: str = "1.1", body: bytes = CHAT) -> str:
    said = [f"POST {path} HTTP/{version}", "Host: gateway.example", *lines, f"Content-Length: {len(body)}"]
    return "\n".join(said)


def get(path: str, *lines: str, version: str = "1.1", method: str = "GET") -> str:
    return "\n".join([f"{method} {path} HTTP/{version}", "Host: gateway.example", *lines])


TABLE = (
    # The request line.
    Line("a client that takes us for its proxy", post("http://gateway.example/api/chat"), 200, CHAT),
    Line("the same, asking for the engine's own list", get("http://gateway.example/api/tags"), 200),
    Line("the same, with a query", get("http://gateway.example/ledger?limit=1"), 200),
    Line("the same, without a path", get("http://gateway.example"), 200),
    Line("an open-proxy scanner", get("http://elsewhere.example/"), 200, has={"content-length": "28"}),
    Line("a scanner that wants a tunnel", get("elsewhere.example:443", method="CONNECT"), 404),
    Line("TRACE", get("/health", method="TRACE"), 405),
    Line("nginx with «proxy_pass http://gateway/;» under /ai", get("//api/tags"), 404),
    Line("a base URL that ends in a slash", post("//v1/chat/completions"), 404, CHAT),
    Line("a trailing slash", post("/api/chat/"), 404, CHAT),
    Line("a percent-encoded letter", get("/api/%74ags"), 404),
    Line("a dotted path", get("/x/../api/tags"), 404),
    Line("a fragment", get("/api/tags#x"), 404),
    Line("an empty query", get("/api/tags?"), 200),
    Line("a cache-buster", get("/api/tags?_=1700000000"), 200),
    Line("HEAD, by a health check of HAProxy", get("/health", method="HEAD"), 200, keyed=False),
    Line("HEAD /, by Ollama's own command", get("/", method="HEAD"), 200, keyed=False),
    Line(
        "OPTIONS, by HAProxy's «option httpchk»",
        get("/health", method="OPTIONS"),
        204,
        keyed=False,
        has={"allow": "GET, HEAD, OPTIONS"},
        lacks=("access-control-allow-origin", "content-type"),
    ),
    Line("OPTIONS *", get("*", method="OPTIONS"), 204, keyed=False, has={"allow": "OPTIONS"}),
    Line("a method of the wrong kind", get("/api/chat"), 405, has={"allow": "POST, OPTIONS"}),
    Line("a method nobody knows", get("/api/chat", method="BREW"), 400),
    Line("empty lines before the request", "\n\n" + get("/api/tags"), 200),
    # Versions and connections.
    Line(
        "nginx before 1.29, by default",
        post(version="1.0"),
        200,
        CHAT,
        lacks=("transfer-encoding",),
        stays=False,
    ),
    Line(
        "an HTTP/1.0 client that asks for a stream",
        post(version="1.0", body=STREAM),
        200,
        STREAM,
        lacks=("transfer-encoding", "content-length"),
        stays=False,
    ),
    Line(
        "ab -k",
        get("/health", "Connection: Keep-Alive", version="1.0"),
        200,
        has={"connection": "keep-alive"},
        stays=True,
    ),
    Line("HTTP/1.0 without Host", "GET /health HTTP/1.0", 200, stays=False),
    Line("HTTP/1.1 without Host", "GET /health HTTP/1.1", 400, stays=False),
    Line("an empty Host", "GET /health HTTP/1.1\nHost:", 200),
    Line("two Hosts", get("/health", "Host: another"), 400, stays=False),
    Line(
        "Connection: close",
        get("/health", "Connection: close"),
        200,
        has={"connection": "close"},
        stays=False,
    ),
    Line(
        "a Connection that names headers",
        get("/health", "Connection: keep-alive, X-Mine", "X-Mine: 1"),
        200,
        stays=True,
    ),
    Line("Proxy-Connection, by old curl", get("/health", "Proxy-Connection: Keep-Alive"), 200, stays=True),
    Line(
        "Keep-Alive, by old browsers",
        get("/health", "Keep-Alive: 300", "Connection: keep-alive"),
        200,
        stays=True,
    ),
    Line(
        "curl --http2 and Java's HttpClient, which offer h2c",
        post(
            "/api/chat",
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
        ),
        200,
        CHAT,
    ),
    Line(
        "a probe for WebSockets",
        get(
            "/health",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAA",
        ),
        200,
    ),
    Line("HTTP/2 without being asked", "PRI * HTTP/2.0\n\nSM", 400, stays=False),
    Line("TLS to a plain port", "\x16\x03\x01\x02", 400, stays=False),
    Line("the PROXY protocol", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n" + get("/health"), 400, stays=False),
    # Headers.
    Line(
        "lower case, by every HTTP/2 proxy",
        post().lower().replace("post /api/chat http", "POST /api/chat HTTP"),
        200,
        CHAT,
    ),
    Line("upper case", post().replace("Content-Length", "CONTENT-LENGTH"), 200, CHAT),
    Line("no space after the colon", post().replace("Content-Length: ", "Content-Length:"), 200, CHAT),
    Line("a space before the colon", get("/health", "X-Mine : 1"), 400, stays=False),
    Line("a folded header", get("/health", "X-Mine: 1", " 2"), 400, stays=False),
    Line(
        "two equal lengths, joined by a comma",
        post().replace(f": {len(CHAT)}", f": {len(CHAT)}, {len(CHAT)}"),
        400,
        CHAT,
        stays=False,
    ),
    Line("two different lengths", post("/api/chat", "Content-Length: 1"), 400, CHAT, stays=False),
    Line("a length with a sign", post().replace(f": {len(CHAT)}", f": +{len(CHAT)}"), 400, CHAT, stays=False),
    Line(
        "a length and chunks, as smugglers send",
        post("/api/chat", "Transfer-Encoding: chunked"),
        400,
        CHAT,
        stays=False,
    ),
    Line(
        "Transfer-Encoding: identity, by old libraries",
        post("/api/chat", "Transfer-Encoding: identity"),
        400,
        CHAT,
        stays=False,
    ),
    Line("TE: trailers, by gRPC and Go", post("/api/chat", "TE: trailers"), 200, CHAT),
    Line(
        "every encoding is welcome",
        post("/api/chat", "Accept-Encoding: gzip, deflate, br, zstd"),
        200,
        CHAT,
        lacks=("content-encoding",),
    ),
    Line(
        "Accept: text/html",
        post("/api/chat", "Accept: text/html"),
        200,
        CHAT,
        has={"content-type": "application/json; charset=utf-8"},
    ),
    Line(
        "a body that calls itself a form",
        post("/api/chat", "Content-Type: application/x-www-form-urlencoded"),
        200,
        CHAT,
    ),
    Line(
        "a charset in the type",
        post("/api/chat", 'Content-Type: application/json; charset="UTF-8"'),
        200,
        CHAT,
    ),
    Line("a GET that announces an empty body", get("/api/tags", "Content-Length: 0"), 200),
    Line("a GET with a body", get("/api/tags", "Content-Length: 2"), 200, b"{}", stays=True),
    Line(
        "conditions",
        get("/health", 'If-None-Match: "x"', "If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT"),
        200,
    ),
    Line("a range, by a download manager", get("/health", "Range: bytes=0-1"), 200, lacks=("content-range",)),
    Line("two X-Request-Ids", post("/api/chat", "X-Request-Id: a", "X-Request-Id: b"), 200, CHAT),
    Line("a header of eight kilobytes", get("/health", "Cookie: " + "x" * 8100), 200),
    Line("a header of nine", get("/health", "Cookie: " + "x" * 9000), 400, stays=False),
    Line(
        "more headers than anybody needs",
        get("/health", *(f"X-{n}: 1" for n in range(200))),
        400,
        stays=False,
    ),
    Line(
        "Via and X-Forwarded-For, by a proxy on this machine",
        post("/api/chat", "Via: 1.1 caddy", "X-Forwarded-For: 192.0.2.1"),
        200,
        CHAT,
    ),
    Line(
        "Cloudflare's",
        post("/api/chat", "CF-Connecting-IP: 192.0.2.1", "CF-Ray: 1-FRA", "CDN-Loop: cloudflare"),
        200,
        CHAT,
    ),
    Line(
        "the same, where the operator's page would be open",
        get("/dashboard/data", "CF-Connecting-IP: 192.0.2.1"),
        401,
        keyed=False,
    ),
    Line(
        "Method override, by old frameworks",
        post("/admin/pause", "X-HTTP-Method-Override: DELETE"),
        403,
        b"{}",
    ),
    # Bodies that are announced.
    Line(
        "an expectation nobody knows", post("/api/chat", "Expect: 200-ok"), 417, has={"connection": "close"}
    ),
    Line(
        "Expect in HTTP/1.0", post("/api/chat", "Expect: 100-continue", version="1.0"), 200, CHAT, stays=False
    ),
)
