"""A registry seen through a bad network: a proxy that lets a part of all requests go wrong.

What befalls a request is drawn from a generator with a seed, so a run can be told from another; with
several requests at once their order is the scheduler's all the same.
"""
from __future__ import annotations

import collections
import contextlib
import http.client
import random
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

# What may befall a request, and how often beside the others.
FATES = {
    "reset before": 3,  # nothing reaches the registry
    "reset in the body": 2,
    "answer lost": 3,  # the registry did the work
    "answer cut": 2,
    "500": 2,
    "502 page": 1,
    "503 at once": 2,
    "503 in a second": 1,
    "429 at once": 2,
    "429 in a second": 1,
    "429 unsaid": 1,
    "late": 3,
}
PAGE = b"<html><head><title>Bad Gateway</title></head><body>nginx</body></html>"
HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}


class ChaosProxy:
    """Forwards to 127.0.0.1:`server_port`; of all requests `share` meet a fate while it is on."""

    def __init__(self, server_port: int, seed: int, share: float = 0.1) -> None:
        self._server_port = server_port
        self._random = random.Random(seed)
        self._share = share
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self.on = False
        self.requests = 0
        self.fates: collections.Counter[str] = collections.Counter()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}
        )

    def __enter__(self) -> ChaosProxy:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def draw(self) -> str | None:
        with self._lock:
            if not self.on:
                return None
            self.requests += 1
            if self._random.random() >= self._share:
                return None
            # Each of them once before any of them again.
            open_fates = {fate: FATES[fate] for fate in FATES if not self.fates[fate]} or FATES
            (fate,) = self._random.choices(list(open_fates), list(open_fates.values()))
            self.fates[fate] += 1
            return fate

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._server_port, timeout=60)


class _Handler(BaseHTTPRequestHandler):
    proxy: ChaosProxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def setup(self) -> None:
        super().setup()
        self._upstream = self.proxy.connect()

    def finish(self) -> None:
        self._upstream.close()
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def _any(self) -> None:
        fate = self.proxy.draw()
        size = int(self.headers.get("Content-Length") or 0)
        if fate == "reset before":
            self._reset()
            return
        if fate == "reset in the body":
            self.rfile.read(size // 2)
            self._reset()
            return
        body = self.rfile.read(size)
        if fate is not None and fate[0].isdigit():
            self._refuse(fate)
            return
        if fate == "late":
            time.sleep(0.3)
        status, headers, content = self._forward(body)
        if fate == "answer lost":
            self._reset()
        elif fate == "answer cut":
            self._cut(status)
        else:
            self._answer(status, headers, content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP
        }
        self._upstream.request(self.command, self.path, body or None, headers)
        response = self._upstream.getresponse()
        content = response.read()
        kept = [
            (name, value)
            for name, value in response.getheaders()
            if name.lower() not in HOP_BY_HOP | {"content-length"}
        ]
        length = response.getheader("Content-Length")
        if self.command == "HEAD" and length is not None:
            kept.append(("Content-Length", length))
        elif self.command != "HEAD" and response.status != 204:
            kept.append(("Content-Length", str(len(content))))
        return response.status, kept, content

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _refuse(self, fate: str) -> None:
        content = PAGE if "page" in fate else b"slow down\n" if fate[:3] == "429" else b""
        headers = [("Content-Length", str(len(content)))]
        if "at once" in fate:
            headers.append(("Retry-After", "0"))
        if "second" in fate:
            headers.append(("Retry-After", "1"))
        if "page" in fate:
            headers.append(("Content-Type", "text/html"))
        self._answer(int(fate[:3]), headers, content)

    def _cut(self, status: int) -> None:
        """The connection ends in the middle of the head."""
        self.wfile.write(f"HTTP/1.1 {status} Some\r\nContent-Le".encode())
        self.close_connection = True

    def _reset(self) -> None:
        """RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
