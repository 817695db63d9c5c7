"""A network line: one rate in each direction, shared by all connections that go over it."""
from __future__ import annotations

import contextlib
import socket
import threading
import time

from support.throttle import ThrottledProxy

CHUNK_BYTES = 64 << 10
# A sleep lasts longer than it was asked to; so much of that is made up for.
LAG_SECONDS = 0.02


class Pace:
    """Lets bytes pass at a rate, whoever brings them; 0 bytes a second is no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._due = 0.0

    def wait(self, size: int) -> None:
        if not self._rate:
            return
        now = time.monotonic()
        with self._lock:
            self._due = max(self._due, now - LAG_SECONDS) + size / self._rate
            due = self._due
        time.sleep(max(0.0, due - now))


class Line(ThrottledProxy):
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`server_port`."""

    def __init__(self, server_port: int, *, to_server: int = 0, from_server: int = 0) -> None:
        super().__init__(server_port)
        self._paces = {"up": Pace(to_server), "down": Pace(from_server)}

    def _pump(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        pace = self._paces[direction]
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                if direction == "up":
                    self._count(len(data))
                pace.wait(len(data))
                sink.sendall(data)
        for sock, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
            with contextlib.suppress(OSError):
                sock.shutdown(how)
