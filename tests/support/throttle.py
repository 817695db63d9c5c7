"""A TCP proxy that makes a fast loopback registry slow, or holds it still.

Rates are per connection and direction, so that a small request on a second connection is not
stuck behind a bulk transfer. hold() stops everything towards the server until release(): a push
can be caught in its middle without any guess about speed. The connection that brings the bytes sent
over `cut_after` is cut, once.
"""
from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType

CHUNK_BYTES = 16 << 10


class ThrottledProxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`server_port`; 0 bytes a second is no limit."""

    def __init__(
        self,
        server_port: int,
        *,
        to_server: int = 0,
        from_server: int = 0,
        hold_after: int | None = None,
        cut_after: int | None = None,
    ) -> None:
        self._server_port = server_port
        self._rates = {"up": to_server, "down": from_server}
        self._hold_after = hold_after
        self._cut_after = cut_after
        self.was_cut = False
        self._moving = threading.Event()
        self._moving.set()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self.sent_up = 0
        self._listener = socket.socket()
        # A small receive window, inherited by what is accepted: else the kernel takes megabytes
        # off the sender before the limit shows.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * CHUNK_BYTES)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port: int = self._listener.getsockname()[1]

    def hold(self) -> None:
        """Nothing more reaches the server until release()."""
        self._moving.clear()

    def release(self) -> None:
        with self._lock:
            self._hold_after = None
        self._moving.set()

    def held(self) -> bool:
        return not self._moving.is_set()

    def __enter__(self) -> ThrottledProxy:
        self._spawn(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._closed = True
            sockets = [self._listener, *self._sockets]
        self.release()
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in sockets:
            sock.close()

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                client.close()
                continue
            with self._lock:
                if self._closed:
                    client.close()
                    server.close()
                    return
                self._sockets.update((client, server))
            self._spawn(self._pump, client, server, "up")
            self._spawn(self._pump, server, client, "down")

    def _count(self, size: int) -> bool:
        """True when the connection is to be cut."""
        with self._lock:
            self.sent_up += size
            if self._hold_after is not None and self.sent_up > self._hold_after:
                self._moving.clear()
            cut = self._cut_after is not None and self.sent_up > self._cut_after
            if cut:
                self._cut_after = None
                self.was_cut = True
            return cut

    def _pump(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        rate = self._rates[direction]
        due = time.monotonic()
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                if direction == "up":
                    self._moving.wait()
                    if self._count(len(data)):
                        source.shutdown(socket.SHUT_RDWR)
                        break
                if rate:
                    due = max(due, time.monotonic()) + len(data) / rate
                    time.sleep(max(0.0, due - time.monotonic()))
                sink.sendall(data)
        for sock, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
            with contextlib.suppress(OSError):
                sock.shutdown(how)
