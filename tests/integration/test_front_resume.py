"""Uploads that break off: the client killed, the gateway killed, a connection that nobody misses.

"Pushing a blob in chunks" of the specification says where a client goes on: at the offset that GET
of the session's Location reports. What is asked here is that this is true whatever happened before.
"""
from __future__ import annotations

import hashlib
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.front import BYTES, Front, path_of, with_digest
from support.gateway import Gateway, files_below
from support.images import file_digest
from support.processes import Process
from support.pulled import sha256
from support.raw_http import RawConnection
from support.waiting import wait_until

LARGE = 200_000_000
HALF = LARGE // 2
PIECE = 8 << 20
IDLE_SECONDS = 2
EXPIRY_SECONDS = 60
QUICK_SECONDS = 8.0
REPOSITORY = "spec/resume"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A blob of 200 MB that does not compress."""
    path = tmp_path_factory.mktemp("large") / "blob"
    with path.open("wb") as out:
        for _ in range(0, LARGE, 4_000_000):
            out.write(secrets.token_bytes(4_000_000))
    assert path.stat().st_size == LARGE
    return path


@pytest.fixture
def large_gateway(tmp_path: Path) -> Iterator[Gateway]:
    """As own_gateway, for tests that kill it: its end is not looked at."""
    gateway = Gateway(tmp_path / "gateway")
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.process.stop()


def uploads(gateway: Gateway) -> list[str]:
    """What upload sessions have on the disk."""
    return files_below(gateway.data / "uploads")


def offset(front: Front, location: str) -> int:
    """How many bytes the session has, by its status."""
    reply = front.ask("GET", location)
    assert reply.status == 204, reply
    found = reply.headers["range"].removeprefix("0-")
    return 0 if found in ("0", "-1") else int(found) + 1


def sending(gateway: Gateway, location: str, source: Path, *, rate: str = "100M") -> Process:
    """A client of its own that sends the file in one PATCH."""
    argv = ["curl", "-q", "-sS", "--noproxy", "*", "-X", "PATCH", "--limit-rate", rate]
    argv += ["-H", f"Content-Type: {BYTES}", "-H", "Expect:", "-T", str(source)]
    return Process([*argv, gateway.url + location], gateway.folder, "client")


def kill(process: Process) -> None:
    process.signal(signal.SIGKILL)
    process.wait()


def send_rest(front: Front, location: str, source: Path, at: int) -> str:
    """PATCH after PATCH with what is behind `at`; the Location for the closing PUT."""
    with source.open("rb") as file:
        file.seek(at)
        while piece := file.read(PIECE):
            reply = front.patch(location, piece, f"{at}-{at + len(piece) - 1}")
            assert reply.status == 202, reply
            at += len(piece)
            assert reply.headers["range"] == f"0-{at - 1}"
            location = path_of(reply.headers["location"])
    return location


def pulled_digest(front: Front, path: str) -> str:
    """The digest of what is served there, read piece by piece."""
    digest = hashlib.sha256()
    with RawConnection(front.port, 60) as connection:
        connection.send_head("GET", path, {})
        status, headers = connection.read_head()
        assert status == 200 and int(headers["content-length"]) == LARGE
        left = LARGE
        while left:
            piece = connection.read(min(left, 1 << 20))
            assert piece, f"{left} bytes are missing"
            digest.update(piece)
            left -= len(piece)
    return "sha256:" + digest.hexdigest()


def finish(front: Front, location: str, source: Path) -> None:
    """Close the session, and hold what is served against the file."""
    digest = file_digest(source)
    reply = front.finish(location, digest)
    assert reply.status == 201, reply
    assert pulled_digest(front, path_of(reply.headers["location"])) == digest


def test_client_and_gateway_are_killed(large: Path, large_gateway: Gateway) -> None:
    """Half of 200 MB: the client goes on where the status says, at a gateway that was killed,
    too."""
    with Front(large_gateway.port) as front:
        location = front.begin(REPOSITORY)
        with sending(large_gateway, location, large) as client:
            client.wait_for(lambda: offset(front, location) >= HALF, "half is there")
            kill(client)
    kill(large_gateway.process)
    assert uploads(large_gateway), "what was written is there"
    large_gateway.start()
    with Front(large_gateway.port) as front:
        at = offset(front, location)
        assert HALF <= at < LARGE
        finish(front, send_rest(front, location, large, at), large)
    assert uploads(large_gateway) == []


def test_gateway_is_killed_under_the_client(large: Path, large_gateway: Gateway) -> None:
    """The gateway alone, in the middle of a PATCH, and a second time in the middle of the next."""
    with Front(large_gateway.port) as front:
        location = front.begin(REPOSITORY)
    reached = 0
    for goal in (HALF // 2, HALF):
        with Front(large_gateway.port) as front:
            reached = offset(front, location)
            with RawConnection(large_gateway.port) as client, large.open("rb") as file:
                head = {"Content-Length": str(LARGE - reached), "Content-Type": BYTES}
                head["Content-Range"] = f"{reached}-{LARGE - 1}"
                client.send_head("PATCH", location, head)
                file.seek(reached)
                client.send(file.read(goal - reached))
                wait_until(lambda: offset(front, location) > reached, "some of it is there")
                kill(large_gateway.process)
        large_gateway.start()
        with Front(large_gateway.port) as front:
            assert reached < offset(front, location) <= goal
    with Front(large_gateway.port) as front:
        finish(front, send_rest(front, location, large, offset(front, location)), large)


def test_gateway_ends_in_order(large: Path, tmp_path: Path) -> None:
    """SIGTERM with half an upload: the gateway ends, and the next one knows the session."""
    with Gateway(tmp_path / "gateway") as gateway, Front(gateway.port) as front:
        location = front.begin(REPOSITORY)
        front.patch(location, b"x" * 100_000, "0-99999")
    with Gateway(tmp_path / "gateway") as gateway, Front(gateway.port) as front:
        assert offset(front, location) == 100_000
        assert front.patch(location, b"y", "100000-100000").status == 202
        data = b"x" * 100_000 + b"y"
        assert front.finish(location, sha256(data)).status == 201
        assert uploads(gateway) == []


def test_client_is_killed(large: Path, own_gateway: Gateway) -> None:
    """The next PATCH can come at once; what of the old one was under way counts or does not, but
    the offset is true."""
    with Front(own_gateway.port) as front:
        location = front.begin(REPOSITORY)
        with sending(own_gateway, location, large) as client:
            client.wait_for(lambda: offset(front, location) >= HALF, "half is there")
            kill(client)
        location, at = settled(front, location, large)
        finish(front, send_rest(front, location, large, at), large)
    assert uploads(own_gateway) == []


def settled(front: Front, location: str, source: Path) -> tuple[str, int]:
    """The first further piece, and where to go on. A 416 means that bytes of the old connection
    came in behind the status: then the client asks again, as the specification has it."""
    with source.open("rb") as file:
        for _ in range(10):
            at = offset(front, location)
            file.seek(at)
            piece = file.read(1000)
            reply = front.patch(location, piece, f"{at}-{at + 999}")
            if reply.status == 202:
                return path_of(reply.headers["location"]), at + 1000
            assert reply.status == 416, reply
    raise AssertionError("the offset never was true")


def test_overtaking_a_silent_connection(own_gateway: Gateway) -> None:
    """A connection that is half dead, whose client is gone without a word: the younger one wins,
    and the old one's bytes, should they still come, are not taken."""
    data = secrets.token_bytes(1_000_000)
    with Front(own_gateway.port) as front, RawConnection(own_gateway.port) as silent:
        location = front.begin(REPOSITORY)
        head = {"Content-Length": "1000000", "Content-Range": "0-999999", "Content-Type": BYTES}
        silent.send_head("PATCH", location, head)
        silent.send(data[:400_000])
        wait_until(lambda: offset(front, location) == 400_000, "what was sent is there")
        begin = time.monotonic()
        reply = front.patch(location, data[400_000:700_000], "400000-699999")
        assert (reply.status, reply.headers["range"]) == (202, "0-699999")
        assert time.monotonic() - begin < QUICK_SECONDS
        try_to_send(silent, b"?" * 600_000)
        assert offset(front, location) == 700_000
        assert front.finish(location, sha256(data), data[700_000:]).status == 201
        assert front.blob(REPOSITORY, sha256(data)).body == data


def try_to_send(connection: RawConnection, data: bytes) -> None:
    """Also to a connection that the other side has ended."""
    try:
        connection.send(data)
    except OSError:
        return


def test_overtaking_by_the_closing_put(own_gateway: Gateway) -> None:
    """The same where what overtakes is the PUT with the rest."""
    data = secrets.token_bytes(500_000)
    with Front(own_gateway.port) as front, RawConnection(own_gateway.port) as silent:
        location = front.begin(REPOSITORY)
        silent.send_head("PATCH", location, {"Transfer-Encoding": "chunked"})
        silent.send_chunk(data[:300_000])
        wait_until(lambda: offset(front, location) == 300_000, "what was sent is there")
        reply = front.finish(location, sha256(data), data[300_000:], "300000-499999")
        assert reply.status == 201
        assert front.blob(REPOSITORY, sha256(data)).body == data
    assert uploads(own_gateway) == []


def test_two_who_send_at_once(own_gateway: Gateway) -> None:
    """Clients that fight for a session: whatever each is told, the bytes are those of one order."""
    data = secrets.token_bytes(200_000)
    with Front(own_gateway.port) as front:
        location = front.begin(REPOSITORY)

        def fight() -> None:
            with Front(own_gateway.port) as client:
                while (at := offset(client, location)) < len(data):
                    piece = data[at : at + 10_000]
                    status = client.patch(location, piece, f"{at}-{at + len(piece) - 1}").status
                    assert status in (202, 400, 409, 416), status

        threads = [threading.Thread(target=fight) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert offset(front, location) == len(data)
        assert front.finish(location, sha256(data)).status == 201


def test_many_who_send_small_pieces_at_once(own_gateway: Gateway) -> None:
    """Requests whose bytes are all there are not overtaken by younger ones: they wait for each
    other, and none is refused."""
    clients, rounds = 8, 12
    with Front(own_gateway.port) as front:
        location = front.begin(REPOSITORY)
        refused: list[int] = []

        def send() -> None:
            with Front(own_gateway.port) as client:
                for _ in range(rounds):
                    status = client.patch(location, b"x" * 100).status
                    if status != 202:
                        refused.append(status)

        threads = [threading.Thread(target=send) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert refused == []
        size = 100 * clients * rounds
        assert offset(front, location) == size
        assert front.finish(location, sha256(b"x" * size)).status == 201


def test_client_goes_away_in_the_closing_put(own_gateway: Gateway) -> None:
    """The session stays, with what came of it."""
    data = secrets.token_bytes(500_000)
    with Front(own_gateway.port) as front:
        location = front.begin(REPOSITORY)
        assert front.patch(location, data[:100_000], "0-99999").status == 202
        head = {"Content-Length": "400000", "Content-Type": BYTES}
        with RawConnection(own_gateway.port) as other:
            other.send_head("PUT", with_digest(location, sha256(data)), head)
            other.send(data[100_000:200_000])
            # libmicrohttpd drops what it has read when it reads the end of the connection.
            wait_until(lambda: offset(front, location) == 200_000, "what was sent is there")
        assert front.blob(REPOSITORY, sha256(data)).status == 404
        assert front.finish(location, sha256(data), data[200_000:]).status == 201


def test_cancel_while_a_patch_runs(own_gateway: Gateway) -> None:
    """DELETE ends the session at once; the PATCH is refused or its connection ended, and the
    disk is as before."""
    with Front(own_gateway.port) as front, RawConnection(own_gateway.port) as client:
        location = front.begin(REPOSITORY)
        client.send_head("PATCH", location, {"Content-Length": "10000000"})
        client.send(b"x" * 300_000)
        wait_until(lambda: offset(front, location) > 0, "some of it is there")
        begin = time.monotonic()
        assert front.ask("DELETE", location).status == 204
        assert time.monotonic() - begin < QUICK_SECONDS
        try_to_send(client, b"x" * 9_700_000)
        assert answer_or_end(client) in (None, 404, 400, 409)
        assert front.ask("GET", location).status == 404
        wait_until(lambda: not uploads(own_gateway), "nothing is left")


def answer_or_end(connection: RawConnection) -> int | None:
    """The status of the next answer; None when the connection ends without one."""
    try:
        return connection.read_head()[0]
    except (AssertionError, ConnectionError):
        return None


# Expiry


@pytest.fixture
def short_gateway(tmp_path: Path) -> Iterator[Gateway]:
    """One whose sessions wait two seconds for their client."""
    config = {"limits": {"upload_session": f"{IDLE_SECONDS}s"}}
    with Gateway(tmp_path / "gateway", config) as running:
        yield running


def test_session_expires(short_gateway: Gateway) -> None:
    """A session that nobody comes back to is 404, and leaves nothing in the data folder."""
    with Front(short_gateway.port) as front:
        location = front.begin(REPOSITORY)
        assert front.patch(location, b"x" * 100_000, "0-99999").status == 202
        assert uploads(short_gateway)
        wait_until(
            lambda: front.ask("GET", location).status == 404, "it is expired", EXPIRY_SECONDS
        )
        reply = front.patch(location, b"x", "100000-100000")
        assert (reply.status, reply.error["code"]) == (404, "BLOB_UPLOAD_UNKNOWN")
        wait_until(lambda: not uploads(short_gateway), "nothing is left")


def test_session_that_is_used_does_not_expire(short_gateway: Gateway) -> None:
    """Slow is not idle: a PATCH of a byte each half second outlives the limit twice."""
    data = secrets.token_bytes(10)
    with Front(short_gateway.port) as front, RawConnection(short_gateway.port) as client:
        location = front.begin(REPOSITORY)
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.send_head("PATCH", location, {"Content-Length": str(len(data))})
        for position in range(len(data)):
            client.send(data[position : position + 1])
            time.sleep(IDLE_SECONDS / 4)  # the pace is what is tested
        status, headers = client.read_head()
        assert (status, headers["range"]) == (202, "0-9")
        assert front.finish(location, sha256(data)).status == 201


def test_session_expires_while_the_gateway_is_down(tmp_path: Path) -> None:
    """The time counts anew from a start, and nothing of the session is left after it."""
    config = {"limits": {"upload_session": f"{IDLE_SECONDS}s"}}
    with Gateway(tmp_path / "gateway", config) as gateway, Front(gateway.port) as front:
        location = front.begin(REPOSITORY)
        assert front.patch(location, b"x" * 1000, "0-999").status == 202
        kill(gateway.process)
        gateway.start()
        wait_until(
            lambda: front_status(gateway, location) == 404, "it is expired", EXPIRY_SECONDS
        )
        wait_until(lambda: not uploads(gateway), "nothing is left")


def front_status(gateway: Gateway, location: str) -> int:
    with Front(gateway.port) as front:
        return front.ask("GET", location).status


def test_files_without_a_session_are_removed(tmp_path: Path) -> None:
    """What a crash left in the folder of uploads, of no session that is known."""
    gateway = Gateway(tmp_path / "gateway")
    with gateway:
        pass
    stray = gateway.data / "uploads" / ("0" * 32)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"x" * 1000)
    with gateway, Front(gateway.port) as front:
        assert front.ask("GET", f"/v2/{REPOSITORY}/blobs/uploads/{'0' * 32}").status == 404
        wait_until(lambda: not uploads(gateway), "nothing is left")
