"""A TCP proxy that puts a round trip of a wide-area network between client and server.

Bytes arrive half a round trip later in each direction, whatever their number. The first ones of a
connection also wait for the round trip in which its handshake would have been.
"""
from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType

CHUNK_BYTES = 64 << 10
Pieces = asyncio.Queue[tuple[float, bytes]]


class DelayProxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`server_port`; a context manager."""

    def __init__(self, server_port: int, round_trip_s: float) -> None:
        self._server_port = server_port
        self._round_trip = round_trip_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.port = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> DelayProxy:
        self._thread.start()
        started = asyncio.start_server(self._serve, "127.0.0.1", 0)
        server = asyncio.run_coroutine_threadsafe(started, self._loop).result()
        self.port = server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_at = self._loop.time() + self._round_trip
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        try:
            with contextlib.suppress(ConnectionError):
                await asyncio.gather(
                    self._carry(reader, to_writer, open_at), self._carry(to_reader, writer, open_at)
                )
        finally:
            writer.close()
            to_writer.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, open_at: float
    ) -> None:
        pieces: Pieces = asyncio.Queue()
        await asyncio.gather(self._take(reader, pieces, open_at), self._give(pieces, writer))

    async def _take(self, reader: asyncio.StreamReader, pieces: Pieces, open_at: float) -> None:
        data = b"-"
        while data:
            data = await reader.read(CHUNK_BYTES)
            sent = max(self._loop.time(), open_at)
            pieces.put_nowait((sent + self._round_trip / 2, data))

    async def _give(self, pieces: Pieces, writer: asyncio.StreamWriter) -> None:
        while True:
            due, data = await pieces.get()
            await asyncio.sleep(due - self._loop.time())
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()
