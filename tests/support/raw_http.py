"""HTTP by hand, for requests that are left half-sent or that no client would make."""
from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from support.curl import Reply


class RawConnection:
    """One connection; what is sent and when is the test's business."""

    def __init__(self, port: int, seconds: float = 20) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self._input = self.socket.makefile("rb")

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._input.close()
        self.socket.close()

    def send_head(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_chunk(self, data: bytes) -> None:
        """One chunk of a chunked body; b"" ends it."""
        self.socket.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def read(self, size: int) -> bytes:
        """So many bytes of a body; fewer only at the end of the connection."""
        return self._input.read(size)

    def read_head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer, which may be a 100. Values of one name are joined
        by commas (RFC 9110, 5.3)."""
        line = self._input.readline()
        if not line:
            raise ConnectionResetError("the connection ended before an answer")
        assert line.startswith(b"HTTP/1.1 "), line
        headers: dict[str, str] = {}
        while (header := self._input.readline().strip()) != b"":
            name, _, value = header.partition(b":")
            key, text = name.decode().lower(), value.decode().strip()
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        return int(line.split()[1]), headers

    def read_chunk(self) -> bytes:
        """The next chunk of a chunked body; b"" is its end."""
        size = int(self._input.readline(), 16)
        data = self._input.read(size)
        self._input.readline()
        return data

    def read_body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            parts = []
            while data := self.read_chunk():
                parts.append(data)
            return b"".join(parts)
        return self._input.read(int(headers.get("content-length", "0")))

    def read_reply(self, method: str) -> Reply:
        """The final answer to a request of this method, which may have no body."""
        interim: list[int] = []
        status, headers = self.read_head()
        while status < 200:
            interim.append(status)
            status, headers = self.read_head()
        empty = method == "HEAD" or status in (204, 304)
        return Reply(status, headers, b"" if empty else self.read_body(headers), tuple(interim))

    def read_answer(self) -> tuple[int, dict[str, str], Any]:
        """The final answer, with its JSON; a 100 before it is passed over."""
        status, headers = self.read_head()
        while status == 100:
            status, headers = self.read_head()
        body = self.read_body(headers)
        return status, headers, json.loads(body) if body else None
