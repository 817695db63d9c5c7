"""Connections of the HTTP server: TLS where none is spoken, kept ones, queues, an orderly end."""
from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from support.certificates import Authority
from support.gateway import Gateway, files_below
from support.http_server import LoopbackServer
from support.raw_http import RawConnection
from support.waiting import wait_until

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64, 128))
# A client that is not answered at once waits for the server's timeout of two minutes.
AT_ONCE_SECONDS = 5.0


def to_the_end(connection: socket.socket) -> bytes:
    parts = []
    while data := connection.recv(65536):
        parts.append(data)
    return b"".join(parts)


def together(count: int, work: Callable[[int], None]) -> None:
    """`work` on so many threads at once; the first failure is the test's."""
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def descriptors(gateway: Gateway) -> int:
    return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))


# TLS on the plain port


def test_a_hello_is_answered_at_its_first_byte(gateway: Gateway) -> None:
    for hello in (HELLO[:1], HELLO, HELLO + b"\nGET /healthz HTTP/1.1\r\n\r\n", HELLO * 400):
        with gateway.connect(AT_ONCE_SECONDS) as connection:
            connection.sendall(hello)
            answer = to_the_end(connection)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 "), answer
        assert b"application/json" in head and b"plain HTTP" in body, answer


def test_tls_clients_give_up_at_once(gateway: Gateway) -> None:
    clients = (
        ["curl", "-sSk", f"https://127.0.0.1:{gateway.port}/v2/"],
        ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}"],
    )
    for argv in clients:
        done = subprocess.run(argv, capture_output=True, timeout=AT_ONCE_SECONDS, check=False)
        assert done.returncode != 0, argv


def test_both_kinds_of_clients_at_once_are_not_mixed_up(gateway: Gateway) -> None:
    before = descriptors(gateway)

    def visit(number: int) -> None:
        for turn in range(100):
            with gateway.connect() as connection:
                if (number + turn) % 2 == 0:
                    connection.sendall(HELLO)
                    assert to_the_end(connection).startswith(b"HTTP/1.1 400 ")
                else:
                    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                    connection.sendall(request)
                    answer = to_the_end(connection)
                    assert answer.startswith(b"HTTP/1.1 200 "), answer
                    assert answer.endswith(b'{"status":"alive"}'), answer

    together(8, visit)
    wait_until(lambda: descriptors(gateway) <= before, "no descriptor is left behind")


# Kept connections


def test_a_connection_is_kept(gateway: Gateway) -> None:
    with RawConnection(gateway.port) as connection:
        for method, path, body, status in (
            ("GET", "/healthz", b"", 200),
            ("GET", "/nowhere", b"", 404),
            ("POST", "/nowhere", b"x" * 60000, 404),
            ("PATCH", "/v1/version", b"x", 405),
            ("GET", "/v2/", b"", 200),
            ("PUT", "/v2/App/manifests/1", b"{}", 400),
            ("GET", "/v1/version", b"", 200),
        ):
            connection.send_head(method, path, {"Content-Length": str(len(body))})
            connection.send(body)
            got, headers, _ = connection.read_answer()
            assert got == status, (method, path)
            assert headers.get("connection", "").lower() != "close", (method, path)


# Queues


def begin_upload(gateway: Gateway, repository: str = "team/app") -> str:
    reply = gateway.request(f"/v2/{repository}/blobs/uploads/", method="POST")
    assert reply.status == 202, reply.body
    return str(reply.headers["location"])


def test_blobs_beyond_the_limit_wait_their_turn(tmp_path: Path) -> None:
    limit = 2
    with Gateway(tmp_path / "gateway", {"limits": {"blobs": limit}}) as gateway:
        held = [RawConnection(gateway.port) for _ in range(limit)]
        for connection in held:
            headers = {"Content-Length": "200000", "Content-Type": "application/octet-stream"}
            connection.send_head("PATCH", begin_upload(gateway), headers)
            connection.send(b"a" * 100000)
        data = b"b" * 1000000
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        statuses: list[int] = []

        def put(number: int) -> None:
            with RawConnection(gateway.port, 60) as connection:
                location = f"{begin_upload(gateway, f'team/app{number}')}?digest={digest}"
                connection.send_head("PUT", location, {"Content-Length": str(len(data))})
                connection.send(data)
                statuses.append(connection.read_answer()[0])

        workers = [threading.Thread(target=put, args=(number,)) for number in range(5)]
        for worker in workers:
            worker.start()
        # Other requests are not held up, and none of the five gets through meanwhile.
        for _ in range(20):
            assert gateway.request("/v2/").status == 200
        assert not statuses
        for connection in held:
            connection.send(b"a" * 100000)
            assert connection.read_head()[0] == 202
            connection.close()
        for worker in workers:
            worker.join()
        assert statuses == [201] * 5


# Sessions that nobody comes back to


def test_a_session_expires_and_leaves_nothing(tmp_path: Path) -> None:
    with Gateway(tmp_path / "gateway", {"limits": {"upload_session": "1s"}}) as gateway:
        location = begin_upload(gateway)
        with RawConnection(gateway.port) as connection:
            connection.send_head("PATCH", location, {"Content-Length": "1000"})
            connection.send(b"x" * 1000)
            assert connection.read_head()[0] == 202
        uploads = gateway.data / "uploads"
        assert files_below(uploads)
        wait_until(lambda: not files_below(uploads), "the session's bytes are gone")
        reply = gateway.request(location)
        assert (reply.status, reply.error["code"]) == (404, "BLOB_UPLOAD_UNKNOWN")


# The end


def put_blob(gateway: Gateway, folder: Path, data: bytes) -> str:
    source = folder / "blob"
    source.write_bytes(data)
    path = "/v2/team/app/blobs/sha256:" + hashlib.sha256(data).hexdigest()
    location = f"{begin_upload(gateway)}?digest={path.rpartition('/')[2]}"
    reply = gateway.request(location, method="PUT", upload=source)
    assert reply.status == 201, reply.body
    return path


def test_a_download_comes_to_its_end(tmp_path: Path) -> None:
    """SIGTERM while a client reads: it gets the rest, and its connection then ends."""
    data = os.urandom(1 << 20) * 32
    with Gateway(tmp_path / "gateway") as gateway:
        path = put_blob(gateway, tmp_path, data)
        with gateway.connect() as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            first = connection.recv(1000)
            gateway.process.signal(signal.SIGTERM)
            gateway.process.wait_for(lambda: "stopping" in gateway.log(), "the end to begin")
            time.sleep(0.5)  # in which it must not end
            assert gateway.process.running()
            answer = first + to_the_end(connection)
        assert answer.partition(b"\r\n\r\n")[2] == data
        assert gateway.process.wait() == 0


def test_a_second_signal_does_not_wait_for_a_download(tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 32
    with Gateway(tmp_path / "gateway") as gateway:
        path = put_blob(gateway, tmp_path, data)
        with gateway.connect() as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            connection.recv(1000)
            gateway.process.signal(signal.SIGTERM)
            gateway.process.wait_for(lambda: "stopping" in gateway.log(), "the end to begin")
            gateway.process.signal(signal.SIGTERM)
            assert gateway.process.wait(AT_ONCE_SECONDS) == 0


def test_who_has_sent_nothing_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with Gateway(tmp_path / "gateway") as gateway:
        connections: list[Any] = [gateway.connect() for _ in range(20)]
        assert gateway.request("/healthz").status == 200
        gateway.process.signal(signal.SIGTERM)
        assert gateway.process.wait(AT_ONCE_SECONDS) == 0
        for connection in connections:
            connection.close()


# Descriptors


class Refusing(BaseHTTPRequestHandler):
    """A registry that keeps its connections and takes nothing."""

    protocol_version = "HTTP/1.1"

    def _go(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(200 if self.path == "/v2/" else 403)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _go

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def test_many_registries_leave_descriptors_for_clients(tmp_path: Path, archive: Path) -> None:
    files = 512
    with LoopbackServer(Refusing) as server:
        before = ["prlimit", f"--nofile={files}:{files}", "--"]
        with Gateway(tmp_path / "gateway", before=before) as gateway:
            for start in range(0, 120, 20):
                # Each name is a registry of its own; resolvers answer all of them (RFC 6761).
                names = [f"h{number}.localhost" for number in range(start, start + 20)]
                targets = [f"{name}:{server.port}/a/b:1" for name in names]
                results = gateway.post(archive, targets).json()["results"]
                assert {result["error"]["code"] for result in results} == {"DENIED"}
                assert descriptors(gateway) < files * 3 // 4
                assert gateway.request("/healthz").status == 200


def test_clients_that_say_nothing_do_not_end_the_service(tmp_path: Path) -> None:
    with Gateway(tmp_path / "gateway", before=["prlimit", "--nofile=128:128", "--"]) as gateway:
        silent = [gateway.connect() for _ in range(150)]
        assert gateway.request("/healthz").status == 200
        for connection in silent:
            connection.close()
        assert gateway.log().count("no connection can be accepted now") == 1

def test_sessions_are_bounded_for_each_address(tmp_path: Path) -> None:
    """And have no file before they have a byte."""
    limits = {"upload_sessions_per_client": 3, "upload_sessions_per_repository": 2}
    with Gateway(tmp_path / "gateway", {"limits": limits}) as gateway:
        locations = [begin_upload(gateway, name) for name in ("a/b", "a/b", "a/c")]
        assert not files_below(gateway.data / "uploads")
        for repository, limit in (("a/c", "per_client is 3"), ("a/b", "per_client is 3")):
            reply = gateway.request(f"/v2/{repository}/blobs/uploads/", method="POST")
            assert (reply.status, reply.error["code"]) == (429, "TOOMANYREQUESTS")
            assert "client 127.0.0.1 has 3" in reply.error["message"]
            assert limit in reply.error["message"] and int(reply.headers["retry-after"]) > 0
        assert gateway.request(locations[2], method="DELETE").status == 204
        reply = gateway.request("/v2/a/b/blobs/uploads/", method="POST")
        assert "upload_sessions_per_repository is 2" in reply.error["message"]
        begin_upload(gateway, "a/c")


def test_plain_http_on_the_tls_port_is_answered(tmp_path: Path) -> None:
    """In text that says what to do, whoever asks, and however much is sent along."""
    server = Authority(tmp_path / "authority").server("gateway")
    tls = {"certificate": str(server.certificate), "key": str(server.key)}
    with Gateway(tmp_path / "gateway", {"tls": tls}) as gateway:
        for body in (b"", bytes(40_000)):
            with RawConnection(gateway.port, 20) as connection:
                connection.send_head("PUT", "/v2/", {"Content-Length": str(len(body))})
                with suppress(ConnectionError):
                    connection.send(body)
                status, headers = connection.read_head()
                assert status == 400 and headers["content-type"].startswith("text/plain")
                text = connection.read_body(headers)
                assert b"speaks HTTPS" in text and text.endswith(b"\n")
