"""Clients that are slow, or too many: what they hold, others get. Longer times are those of unit tests."""
from __future__ import annotations

import contextlib
import re
import resource
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.front import Front
from support.gateway import Gateway
from support.pulled import sha256
from support.raw_http import RawConnection

HALF = b"GET /healthz HTTP/1.1\r\nHost: local"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
CONNECTIONS = 1024


def from_address(address: str, port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 20, source_address=(address, 0))


def health(port: int, address: str = "127.0.0.1") -> bytes:
    with from_address(address, port) as connection:
        connection.sendall(HEALTH)
        return connection.makefile("rb").read()


def test_half_requests_keep_nobody_out(tmp_path: Path) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 4096:
        pytest.skip(f"only {most} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with Gateway(tmp_path / "gateway") as gateway, contextlib.ExitStack() as slow:
        for _ in range(CONNECTIONS):
            slow.enter_context(from_address("127.0.0.2", gateway.port)).sendall(HALF)
        for address in ("127.0.0.2", "127.0.0.3"):
            assert health(gateway.port, address).startswith(b"HTTP/1.1 200 "), address


def begin_archive(port: int, headers: Mapping[str, str]) -> RawConnection:
    connection = RawConnection(port)
    head = {"Transfer-Encoding": "chunked", "Expect": "100-continue", **headers}
    connection.send_head("POST", "/v1/layers", head)
    return connection


def test_a_trusted_proxy_says_who_its_clients_are(tmp_path: Path) -> None:
    def config(*proxies: str) -> dict[str, Any]:
        return {"limits": {"uploads": 2}, "clients": {"trusted_proxies": list(proxies)}}

    def held(port: int, forwarded: str) -> str:
        with begin_archive(port, {"X-Forwarded-For": forwarded}) as late:
            status, _, value = late.read_answer()
        assert status == 503
        return str(re.search(r"(\d) of them of this address", value["errors"][0]["message"])[1])

    for proxy, mine, others in (("127.0.0.0/8", "2", "0"), ("10.0.0.0/8", "2", "2")):
        folder = tmp_path / proxy.partition("/")[0]
        with Gateway(folder, config(proxy)) as gateway, contextlib.ExitStack() as stack:
            for _ in range(2):
                forwarded = {"X-Forwarded-For": "198.51.100.9, 192.0.2.1"}
                connection = stack.enter_context(begin_archive(gateway.port, forwarded))
                assert connection.read_head()[0] == 100
            assert held(gateway.port, "192.0.2.1") == mine
            assert held(gateway.port, "192.0.2.2") == others


def test_ops_has_connections_of_its_own(tmp_path: Path) -> None:
    with Gateway(tmp_path / "gateway", {"ops": {"listen": "127.0.0.1:0"}}) as gateway:
        found = re.search(r"health is answered on 127\.0\.0\.1:(\d+)", gateway.log())
        assert found is not None
        port = int(found[1])
        for path, status in (("/healthz", 200), ("/readyz", 200), ("/v2/", 404), ("/v1/images", 404)):
            with RawConnection(port) as connection:
                connection.send_head("GET", path, {})
                assert connection.read_head()[0] == status, path
        assert health(port).endswith(b'{"status":"alive"}')


def begin_download(port: int, size: int) -> RawConnection:
    """Of a blob of so many bytes, of which nothing but the headers is read."""
    data = bytes(size)
    with Front(port) as front:
        front.push_blob("drips/unread", data)
    connection = RawConnection(port)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.send_head("GET", f"/v2/drips/unread/blobs/{sha256(data)}", {})
    assert connection.read_head()[0] == 200
    return connection


def test_neither_a_slow_body_nor_an_unread_answer_holds_up_the_end(tmp_path: Path) -> None:
    with (
        Gateway(tmp_path / "gateway") as gateway,
        begin_download(gateway.port, 16 << 20),
        RawConnection(gateway.port) as connection,
    ):
        connection.send_head("POST", "/v1/layers", {"Transfer-Encoding": "chunked", "X-Request-Id": "slow-1"})
        connection.send_chunk(b"x")
        assert gateway.request("/healthz").status == 200
        gateway.process.signal(signal.SIGTERM)
        connection.socket.settimeout(0.5)
        for _ in range(100):
            connection.send_chunk(b"x")
            with contextlib.suppress(TimeoutError):
                answer = connection.socket.recv(65536)
                break
        assert answer.startswith(b"HTTP/1.1 503 ") and b'"code":"STOPPING"' in answer
        assert b"\r\nX-Request-Id: slow-1\r\n" in answer
        # Far less than the 100 seconds after which what runs is cancelled.
        assert gateway.process.wait(30) == 0
        assert "gateway.cancelling" not in gateway.log() and "stopping now" not in gateway.log()
