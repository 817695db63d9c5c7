"""A TCP proxy that makes a fast loopback registry slow, holds it still, or loses the line.

Rates are per connection and direction, so that a small request on a second connection is not
stuck behind a bulk transfer; with `shared` all connections together have them, as on a network
line. hold() stops everything towards the server until release(): a push
can be caught in its middle without any guess about speed.

The line is lost `cuts` times, each time when `cut_after` more bytes came from clients: all
connections are cut, and the next `refuse` ones are closed as soon as they are accepted. With
`cut_at_answer` that waits for the server's next answer and happens right behind it, so that the
server has seen whole requests only.
"""
from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

CHUNK_BYTES = 16 << 10
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


@dataclass(eq=False)
class Pair:
    """A connection of a client and the one to the server that belongs to it."""

    client: socket.socket
    server: socket.socket
    pumps: int = 2  # that still run
    lost: bool = False

    def shut(self) -> None:
        for sock in (self.client, self.server):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Close with RST: who still sends hears of it at once, whatever the windows hold."""
        for sock in (self.client, self.server):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()


class ThrottledProxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`server_port`; 0 bytes a second is no limit."""

    def __init__(
        self,
        server_port: int,
        *,
        to_server: int = 0,
        from_server: int = 0,
        shared: bool = False,
        hold_after: int | None = None,
        cut_after: int | None = None,
        cuts: int = 1,
        refuse: int = 0,
        cut_at_answer: bool = False,
    ) -> None:
        self._server_port = server_port
        self._plain_port: int | None = None
        self._rates = {"up": to_server, "down": from_server}
        self._shared = {name: Pace(rate) for name, rate in self._rates.items() if shared}
        self._hold_after = hold_after
        self._cut_after = cut_after
        self._cuts = cuts if cut_after is not None else 0
        self._next_cut = cut_after or 0
        self._refuse = refuse
        self._refusing = 0
        self._cut_at_answer = cut_at_answer
        self.cuts_made = 0
        self._moving = threading.Event()
        self._moving.set()
        self._lock = threading.Lock()
        self._pairs: set[Pair] = set()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self.sent_up = 0
        self.openings: list[bytes] = []  # what each connection began with, but for empty ones
        self._listener = socket.socket()
        # A small receive window, inherited by what is accepted: else the kernel takes megabytes
        # off the sender before the limit shows.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * CHUNK_BYTES)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port: int = self._listener.getsockname()[1]

    def lead_to(self, server_port: int) -> None:
        """Where connections lead from now on; those that are open (a browser has spare ones) end."""
        with self._lock:
            self._server_port = server_port
        self.drop()

    def drop(self) -> None:
        """All connections end, and what is held of them does not reach the server."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.shut()

    def lead_plain_to(self, port: int) -> None:
        """Where connections without TLS lead from now on."""
        with self._lock:
            self._plain_port = port

    def hold(self) -> None:
        """Nothing more reaches the server until release()."""
        self._moving.clear()

    def hold_after(self, more: int) -> None:
        """hold() when so many bytes more have come."""
        with self._lock:
            self._hold_after = self.sent_up + more

    def release(self) -> None:
        with self._lock:
            self._hold_after = None
        self._moving.set()

    def connections(self) -> int:
        """How many were accepted and led on, and were not cut."""
        with self._lock:
            return len(self._pairs)

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
            pairs = list(self._pairs)
        self.release()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for pair in pairs:
            pair.shut()
        for thread in self._threads:
            thread.join()
        self._listener.close()
        for pair in pairs:
            pair.client.close()
            pair.server.close()

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
            if self._is_refused():
                client.close()
                continue
            self._spawn(self._lead, client)

    def _lead(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._port_for(client)))
        except OSError:
            client.close()
            return
        with self._lock:
            if self._closed:
                client.close()
                server.close()
                return
            pair = Pair(client, server)
            self._pairs.add(pair)
        self._spawn(self._pump, pair, client, server, "up")
        self._spawn(self._pump, pair, server, client, "down")

    def _port_for(self, client: socket.socket) -> int:
        """With another place for those who speak no TLS, what a connection begins with decides."""
        with self._lock:
            if self._plain_port is None:
                return self._server_port
        tls = client.recv(1, socket.MSG_PEEK) == b"\x16"
        return self._server_port if tls else self._plain_port

    def _is_refused(self) -> bool:
        with self._lock:
            refused = self._refusing > 0
            self._refusing -= refused
            return refused

    def _count(self, size: int) -> None:
        with self._lock:
            self.sent_up += size
            if self._hold_after is not None and self.sent_up > self._hold_after:
                self._moving.clear()

    def _loses_line(self) -> bool:
        """The line is lost now, if it is time; the data at hand goes no further."""
        with self._lock:
            if self.cuts_made == self._cuts or self.sent_up <= self._next_cut:
                return False
            self.cuts_made += 1
            self._next_cut = self.sent_up + (self._cut_after or 0)
            self._refusing = self._refuse
            for pair in self._pairs:
                pair.lost = True
            return True

    def _end(self, pair: Pair) -> None:
        """A pump has ended; what is left of a lost connection goes with the second one."""
        with self._lock:
            pair.pumps -= 1
            lost = [one for one in self._pairs if one.lost]
            for one in lost:
                one.shut()
            if pair.lost and pair.pumps == 0:
                self._pairs.discard(pair)
                pair.reset()

    def _pump(
        self, pair: Pair, source: socket.socket, sink: socket.socket, direction: str
    ) -> None:
        pace = self._shared.get(direction) or Pace(self._rates[direction])
        first = True
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                if direction == "up" and first:
                    self.openings.append(data[:16])
                first = False
                if direction == "up":
                    self._moving.wait()
                    self._count(len(data))
                    if pair.lost or (not self._cut_at_answer and self._loses_line()):
                        break
                elif self._cut_at_answer and self._loses_line():
                    sink.sendall(data)
                    break
                pace.wait(len(data))
                sink.sendall(data)
        for sock, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
            with contextlib.suppress(OSError):
                sock.shutdown(how)
        self._end(pair)
