"""Requests that no client makes by intent: what they may cost, and what comes after them."""
from __future__ import annotations

import contextlib
import resource
from pathlib import Path

import pytest

from support.front import Front
from support.gateway import Gateway, slipway_binary
from support.raw_http import RawConnection

HEAD = b"Host: localhost\r\n"
LAST = b"Connection: close\r\n"


def exchange(gateway: Gateway, sent: bytes) -> bytes:
    """All that comes until the server ends the connection."""
    parts = []
    with gateway.connect(20) as connection:
        connection.sendall(sent)
        while data := connection.recv(65536):
            parts.append(data)
    return b"".join(parts)


def test_requests_without_room_leave_nothing(tmp_path: Path) -> None:
    """libmicrohttpd drops a request whose parameters do not fit without a word; the leak check at
    the gateway's end sees what is kept of it."""
    parameters = b"&".join(b"a=%d" % number for number in range(3000))
    with Gateway(tmp_path / "gateway") as gateway:
        for _ in range(3):
            assert exchange(gateway, b"GET /v2/?" + parameters + b" HTTP/1.1\r\n\r\n") == b""
        for lines in (b"X: " + b"a" * 200_000, b"X: a\r\n" * 30_000, b"no colon"):
            assert exchange(gateway, b"GET /v2/ HTTP/1.1\r\n" + lines + b"\r\n\r\n")
        assert gateway.request("/healthz").status == 200


@pytest.mark.parametrize(
    "framing",
    (
        b"Content-Length: 0\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Content-Length : 5\r\n",
        b"Content-Length-: 5\r\n",
        b"Content-Length5: 0\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding(: chunked\r\n",
        b"X Y: z\r\n",
        b"Host: localhost\r\n",
    ),
)
def test_a_head_can_be_read_in_one_way(gateway: Gateway, framing: bytes) -> None:
    """A proxy in front may read it in another way: nothing behind such a head is a request."""
    request = b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HEAD + framing + b"\r\n"
    inner = b"GET /v2/ HTTP/1.1\r\n" + HEAD + b"\r\n"
    answer = exchange(gateway, request + b"0\r\n\r\n" + inner)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b"\r\nConnection: close\r\n" in answer, answer
    assert answer.count(b"HTTP/1.1 ") == 1 and b'"code":"BAD_REQUEST"' in answer, answer


def test_chunks_are_of_the_newer_http(gateway: Gateway) -> None:
    request = b"POST /v2/a/blobs/uploads/ HTTP/1.0\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    answer = exchange(gateway, request + b"0\r\n\r\n")
    assert answer.split(b" ", 2)[1] == b"400", answer
    assert b"HTTP/1.0 has no Transfer-Encoding" in answer, answer


def test_silent_connections_leave_room(tmp_path: Path) -> None:
    """More connections without a request than a shell's limit on open files: who has one is
    served, and the silent ones do not take the files of a push."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < 4096:
        pytest.skip(f"only {most} open files are allowed here")
    program = tmp_path / "slipway"
    program.write_text(f'#!/bin/bash\nulimit -S -n 1024\nexec {slipway_binary()} "$@"\n')
    program.chmod(0o755)
    gateway = Gateway(tmp_path / "gateway", binary=program)
    with gateway, contextlib.ExitStack() as silent:
        for _ in range(1200):
            silent.enter_context(gateway.connect())
        with Front(gateway.port, 10) as front:
            front.tagged("crowded/app", "1.0")
            assert front.manifest("crowded/app", "1.0").status == 200
        assert "Too many open files" not in gateway.log()


def test_slow_uploads_keep_nobody_from_the_rest(tmp_path: Path) -> None:
    """Bodies that do not come hold the threads for bodies, and only those."""
    with Gateway(tmp_path / "gateway", {"limits": {"blobs": 2, "pushes": 2}}) as gateway:
        with Front(gateway.port, 10) as front, contextlib.ExitStack() as slow:
            digest = front.push_blob("slow/app", b"here")
            for path in [front.begin("slow/app") for _ in range(3)]:
                connection = slow.enter_context(RawConnection(gateway.port))
                connection.send_head("PATCH", path, {"Content-Length": "100"})
                connection.send(b"x")
            for number in range(3):
                connection = slow.enter_context(RawConnection(gateway.port))
                path = f"/v2/slow/app/manifests/{number}"
                connection.send_head("PUT", path, {"Content-Length": "100"})
                connection.send(b"{")
            mount = f"/v2/slow/other/blobs/uploads/?mount={digest}&from=slow/app"
            assert front.ask("POST", mount).status == 201
            assert front.ask("DELETE", front.begin("slow/app")).status == 204
            assert front.ask("DELETE", f"/v2/slow/app/blobs/{digest}").status == 202
            assert front.blob("slow/other", digest).body == b"here"


def test_the_usual_lengths_are_taken(gateway: Gateway) -> None:
    for framing in (b"Content-Length: 0\r\n", b"Transfer-Encoding: Chunked\r\n", b""):
        end = b"0\r\n\r\n" if b"Chunked" in framing else b""
        request = b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n" + HEAD + LAST + framing
        assert exchange(gateway, request + b"\r\n" + end).startswith(b"HTTP/1.1 202 ")
