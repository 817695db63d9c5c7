"""The HTTP server: its small endpoints, its manners, its limits, and how it ends."""
from __future__ import annotations

import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from support.curl import Reply, images_path
from support.gateway import Gateway, pushed
from support.raw_http import RawConnection
from support.registry import Registry
from support.throttle import ThrottledProxy
from support.waiting import wait_until

QUICK_SECONDS = 5.0
# Service managers and container runtimes kill after ten seconds.
STUCK_SECONDS = 9.0


# Small endpoints


def test_health(gateway: Gateway) -> None:
    for path in ("/healthz", "/readyz"):
        assert gateway.request(path).status == 200, path
        assert gateway.request(path, method="HEAD").status == 200, path


def test_version(gateway: Gateway) -> None:
    reply = gateway.request("/v1/version")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.json()["version"].count(".") == 2


@pytest.mark.parametrize(
    "path", ("/", "/v1", "/v1/image", "/v1/images/x", "/healthz/x", "/%2e%2e/etc", "/v1/%00")
)
def test_unknown_path(gateway: Gateway, path: str) -> None:
    reply = gateway.request(path)
    assert (reply.status, reply.error["code"]) == (404, "NOT_FOUND")
    assert reply.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize(
    "method, path, allowed",
    (
        ("GET", "/v1/images", {"POST", "PUT"}),
        ("DELETE", "/v1/images", {"POST", "PUT"}),
        ("POST", "/healthz", {"GET"}),
        ("PUT", "/v1/version", {"GET"}),
        ("BREW", "/readyz", {"GET"}),
    ),
)
def test_wrong_method(gateway: Gateway, method: str, path: str, allowed: set[str]) -> None:
    reply = gateway.request(path, method=method)
    assert (reply.status, reply.error["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert allowed <= {word.strip() for word in reply.headers["allow"].split(",")}


def test_unknown_query_parameter_is_named(gateway: Gateway, archive: Path) -> None:
    """A misspelt `plattform=` that is passed over would push the wrong thing."""
    reply = gateway.post(archive, "r.example.com/x:1", plattform="linux/amd64")
    assert (reply.status, reply.error["code"]) == (400, "BAD_REQUEST")
    assert "plattform" in reply.error["message"]


# Bodies


def test_curl_waits_for_100_and_gets_it(
    gateway: Gateway, registry: Registry, larger_archive: Path
) -> None:
    """curl asks for it by itself when a body is over a megabyte."""
    assert larger_archive.stat().st_size > 1 << 20
    reply = gateway.post(larger_archive, f"{registry.host}/s/expect:1")
    assert 100 in reply.interim
    pushed(reply)


def test_a_refused_request_gets_no_100(gateway: Gateway) -> None:
    """Nobody is asked to send gigabytes that are going to be refused."""
    for path, code in (
        (images_path(["r.example.com/Bad//name:1"]), "REFERENCE_INVALID"),
        (images_path([f"r.example.com/x@sha256:{'0' * 64}"]), "DIGEST_REFERENCE"),
        ("/v1/nothing", "NOT_FOUND"),
    ):
        with RawConnection(gateway.port) as connection:
            head = {"Content-Length": str(1 << 40), "Expect": "100-continue"}
            connection.send_head("POST", path, head)
            status, headers = connection.read_head()
            assert 400 <= status < 500, (path, status)
            assert code.encode() in connection.read_body(headers)


def test_bad_target_is_answered_before_the_body(gateway: Gateway) -> None:
    """Also without Expect: the answer must not wait for a body that may never end."""
    with RawConnection(gateway.port, QUICK_SECONDS) as connection:
        path = images_path(["r.example.com/Bad//name:1"])
        connection.send_head("POST", path, {"Transfer-Encoding": "chunked"})
        connection.send_chunk(b"x" * 1000)
        status, _, value = connection.read_answer()
        assert (status, value["errors"][0]["code"]) == (400, "REFERENCE_INVALID")


@pytest.mark.parametrize("framing", ("length", "chunked"))
def test_client_that_goes_away_leaves_nothing(
    own_gateway: Gateway, registry: Registry, larger_archive: Path, framing: str
) -> None:
    """Often enough that its last bytes and its going away also arrive as one event."""
    target = f"{registry.host}/s/gone-{framing}:1"
    data = larger_archive.read_bytes()
    head = {"Content-Length": str(len(data))}
    if framing == "chunked":
        head = {"Transfer-Encoding": "chunked"}
    for _ in range(20):
        with RawConnection(own_gateway.port) as connection:
            connection.send_head("POST", images_path([target]), head)
            send = connection.send_chunk if framing == "chunked" else connection.send
            send(data[:-200_000])
            wait_until(own_gateway.staged, "the first blob is staged")
        own_gateway.wait_nothing_staged(QUICK_SECONDS)
    assert own_gateway.blobs() == []
    assert registry.tags(f"s/gone-{framing}") == []
    pushed(own_gateway.post(larger_archive, target))


def test_chunked_body_that_ends_too_early(
    gateway: Gateway, registry: Registry, archive: Path
) -> None:
    """A well-formed HTTP body with half an archive in it is answered, not dropped."""
    with RawConnection(gateway.port) as connection:
        path = images_path([f"{registry.host}/s/half:1"])
        connection.send_head("POST", path, {"Transfer-Encoding": "chunked"})
        connection.send_chunk(archive.read_bytes()[: archive.stat().st_size // 2])
        connection.send_chunk(b"")
        status, _, value = connection.read_answer()
    assert status == 400
    assert value["errors"][0]["code"] == "ARCHIVE_TRUNCATED"


def test_byte_by_byte(gateway: Gateway, registry: Registry, archive: Path) -> None:
    """The smallest pieces a network can make."""
    data = archive.read_bytes()
    with RawConnection(gateway.port) as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        path = images_path([f"{registry.host}/s/bytes:1"])
        connection.send_head("POST", path, {"Content-Length": str(len(data))})
        for position in range(2000):
            connection.send(data[position : position + 1])
        connection.send(data[2000:])
        status, _, value = connection.read_answer()
    assert status == 200, value


def test_connection_is_reused_after_a_push(
    gateway: Gateway, registry: Registry, archive: Path
) -> None:
    data = archive.read_bytes()
    with RawConnection(gateway.port) as connection:
        for number in range(3):
            path = images_path([f"{registry.host}/s/reuse:{number}"])
            connection.send_head("POST", path, {"Content-Length": str(len(data))})
            connection.send(data)
            status, _, value = connection.read_answer()
            assert status == 200, value


def test_tls_on_the_plain_port_is_not_left_hanging(gateway: Gateway) -> None:
    """Docker, skopeo and podman try TLS first; each second here is a second of every push."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with gateway.connect(QUICK_SECONDS) as plain, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(plain)
    assert gateway.request("/healthz").status == 200


def test_garbage_on_the_port(gateway: Gateway) -> None:
    for data in (b"\x00" * 100, b"GET\r\n\r\n", b"GET /", b"\xff" * 300_000, b""):
        with gateway.connect(QUICK_SECONDS) as connection, suppress(ConnectionError):
            connection.sendall(data)
    assert gateway.request("/healthz").status == 200


def test_headers_that_are_too_large(gateway: Gateway) -> None:
    with RawConnection(gateway.port, QUICK_SECONDS) as connection:
        connection.send_head("GET", "/healthz", {"X-Large": "x" * 300_000})
        assert connection.read_head()[0] == 431


# Limits


@contextmanager
def stuck_uploads(gateway: Gateway, count: int, target: str) -> Iterator[list[RawConnection]]:
    """Uploads that were let in (each got its 100) and then send nothing more."""
    with ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = stack.enter_context(RawConnection(gateway.port))
            head = {"Transfer-Encoding": "chunked", "Expect": "100-continue"}
            connection.send_head("POST", images_path([target]), head)
            assert connection.read_head()[0] == 100
            connections.append(connection)
        yield connections


@pytest.mark.parametrize("uploads", (None, 3))
def test_one_upload_too_many(
    registry: Registry, archive: Path, tmp_path: Path, uploads: int | None
) -> None:
    config: dict[str, Any] = {"limits": {"uploads": uploads}} if uploads else {}
    count = uploads or 16
    target = f"{registry.host}/s/limit-{count}:1"
    with Gateway(tmp_path / "one-free", config) as gateway:
        with stuck_uploads(gateway, count - 1, target):
            pushed(gateway.post(archive, target))
    with Gateway(tmp_path / "none-free", config) as gateway:
        with stuck_uploads(gateway, count, target):
            reply = gateway.post(archive, target)
            assert (reply.status, reply.error["code"]) == (503, "TOO_MANY_UPLOADS")
            assert int(reply.headers["retry-after"]) > 0
            assert reply.error["detail"]["party"] == "gateway"
            assert gateway.request("/healthz").status == 200
        # The places are free again once the clients are gone.
        pushed(wait_until(lambda: accepted(gateway, archive, target), "a place is free again"))
        gateway.wait_nothing_staged()


def accepted(gateway: Gateway, archive: Path, target: str) -> Reply | None:
    """The answer, unless there was no place for the upload."""
    reply = gateway.post(archive, target)
    return None if reply.status == 503 else reply


# The end


class Posting:
    """A post that runs beside the test."""

    def __init__(self, gateway: Gateway, archive: Path, target: str) -> None:
        self._reply: Reply | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._post, args=(gateway, archive, target))
        self._thread.start()

    def _post(self, gateway: Gateway, archive: Path, target: str) -> None:
        try:
            self._reply = gateway.post(archive, target)
        except BaseException as failure:
            self._failure = failure

    def result(self, seconds: float = 60) -> Reply | BaseException:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the post is neither answered nor broken off"
        result = self._reply or self._failure
        assert result is not None
        return result


@contextmanager
def held_push(
    gateway: Gateway, registry: Registry, archive: Path, name: str
) -> Iterator[tuple[Posting, ThrottledProxy]]:
    """A push that is caught in the middle of its transfers."""
    with ThrottledProxy(registry.port, hold_after=200_000) as proxy:
        posting = Posting(gateway, archive, f"127.0.0.1:{proxy.port}/s/{name}:1")
        try:
            wait_until(proxy.held, "the push is on its way")
            yield posting, proxy
        finally:
            proxy.release()


def test_sigterm_lets_a_push_finish(
    own_gateway: Gateway, registry: Registry, larger_archive: Path
) -> None:
    with held_push(own_gateway, registry, larger_archive, "term") as (posting, proxy):
        own_gateway.process.signal(signal.SIGTERM)
        wait_until(lambda: not accepts(own_gateway), "new work is refused")
        assert own_gateway.process.running()
        proxy.release()
        reply = posting.result()
    assert isinstance(reply, Reply), reply
    pushed(reply)
    assert own_gateway.process.wait(QUICK_SECONDS * 2) == 0
    assert registry.tags("s/term") == ["1"]


def accepts(gateway: Gateway) -> bool:
    """The port is open and says it is ready."""
    try:
        return gateway.request("/readyz", seconds=5).status == 200
    except AssertionError:
        return False


def test_sigterm_when_idle_ends_at_once(own_gateway: Gateway) -> None:
    own_gateway.process.signal(signal.SIGTERM)
    assert own_gateway.process.wait(QUICK_SECONDS) == 0


def test_sigint_is_sigterm(own_gateway: Gateway) -> None:
    own_gateway.process.signal(signal.SIGINT)
    assert own_gateway.process.wait(QUICK_SECONDS) == 0


def test_second_sigterm_ends_at_once(
    tmp_path: Path, registry: Registry, larger_archive: Path
) -> None:
    gateway = Gateway(tmp_path / "gateway")
    gateway.start()
    with gateway.process:
        with held_push(gateway, registry, larger_archive, "twice") as (posting, _):
            gateway.process.signal(signal.SIGTERM)
            wait_until(lambda: not accepts(gateway), "new work is refused")
            gateway.process.signal(signal.SIGTERM)
            gateway.process.wait(QUICK_SECONDS)
        gateway.process.assert_no_sanitizer_report()
        posting.result()
    assert registry.tags("s/twice") == []
    # Whatever it left, the next start puts right.
    with Gateway(tmp_path / "gateway") as again:
        assert again.staged() == []
        pushed(again.post(larger_archive, f"{registry.host}/s/twice:1"))


def test_sigterm_with_half_an_upload(
    tmp_path: Path, registry: Registry, larger_archive: Path
) -> None:
    """A client that stopped sending must not keep the gateway from ending."""
    gateway = Gateway(tmp_path / "gateway")
    gateway.start()
    with gateway.process, RawConnection(gateway.port, 60) as connection:
        path = images_path([f"{registry.host}/s/stuck:1"])
        connection.send_head("POST", path, {"Transfer-Encoding": "chunked"})
        connection.send_chunk(larger_archive.read_bytes()[:-200_000])
        wait_until(gateway.staged, "the first blob is staged")
        gateway.process.signal(signal.SIGTERM)
        wait_until(lambda: not accepts(gateway), "new work is refused")
        gateway.process.signal(signal.SIGTERM)
        gateway.process.wait(STUCK_SECONDS)
        gateway.process.assert_no_sanitizer_report()
    assert gateway.staged() == [] and gateway.blobs() == []


def test_kill_leaves_a_folder_that_works(
    tmp_path: Path, registry: Registry, larger_archive: Path
) -> None:
    target = f"{registry.host}/s/kill:1"
    gateway = Gateway(tmp_path / "gateway")
    gateway.start()
    with gateway.process, RawConnection(gateway.port) as connection:
        connection.send_head("POST", images_path([target]), {"Transfer-Encoding": "chunked"})
        connection.send_chunk(larger_archive.read_bytes()[:-200_000])
        wait_until(gateway.staged, "the first blob is staged")
        gateway.process.signal(signal.SIGKILL)
        gateway.process.wait()
    with Gateway(tmp_path / "gateway") as again:
        assert again.staged() == []
        pushed(again.post(larger_archive, target))
